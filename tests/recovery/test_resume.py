"""Recovery interrupted anywhere and resumed ends with the same bits as without the interruption."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from convsurgeon import ImageSettings, Recovered, RecoverSettings, recover
from convsurgeon.base.errors import ModelLoadError, OutputExists, UnknownName, UsageError
from convsurgeon.base.tensor_file import read_tensors, write_tensors
from convsurgeon.models.images import ImageBatches
from convsurgeon.models.preprocessing import Preprocessing
from convsurgeon.recovery.batches import IterableSource
from convsurgeon.recovery.checkpoint import BEST, LAST, Checkpoints
from convsurgeon.recovery.feed import Feed
from convsurgeon.recovery.images import ImageSource
from convsurgeon.recovery.interruption import Interrupted, StopRequest, stop_requests
from tests.recovery.lessons import IMAGE, Shuffled, batches, converted, equal, original, settings

NET = original()
HALF = converted(NET)
HELD_OUT = batches(1, labels=True)


class _Killed(BaseException):
    """As abrupt as a kill: nothing in the loop catches it."""


def _train(chosen: RecoverSettings, data: Any = None, **more: Any) -> Recovered:
    return recover(NET, HALF, Shuffled() if data is None else data, evaluation=HELD_OUT, settings=chosen, **more)


def _killed_after(step: int, chosen: RecoverSettings, folder: Path, data: Any = None) -> None:
    def kill(at: Any) -> None:
        if at.step == step:
            raise _Killed

    with pytest.raises(_Killed):
        _train(chosen, data, checkpoints=folder, progress=kill)


WHOLE = _train(settings(evaluate_every=3))


@pytest.mark.parametrize("step", [1, 3, 4, 5, 8, 9])
def test_a_run_killed_after_any_step_resumes_to_the_same_bits(step: int, tmp_path: Path) -> None:
    """Whatever step the kill falls on, in the middle of an epoch or at its end, the result is the same."""
    _killed_after(step, settings(evaluate_every=3), tmp_path)
    resumed = _train(settings(evaluate_every=3), checkpoints=tmp_path, resume=True)
    assert equal(resumed.model, WHOLE.model)
    assert [(r.step, r.loss, r.score) for r in resumed.history.rows] == [
        (r.step, r.loss, r.score) for r in WHOLE.history.rows
    ]
    assert resumed.history.images == WHOLE.history.images


@pytest.mark.parametrize(
    ("every", "step", "optimizer"),
    [(2, 5, "sgd"), *((every, step, "adamw") for every, step in ((3, 5), (4, 7), (5, 9)))],
)
def test_steps_after_the_last_checkpoint_are_done_again(every: int, step: int, optimizer: str, tmp_path: Path) -> None:
    """A kill between two checkpoints loses those steps and nothing else, also where epochs end in between."""
    chosen = settings(checkpoint_every=every, optimizer=optimizer)
    whole = _train(chosen)
    _killed_after(step, chosen, tmp_path)
    resumed = _train(chosen, checkpoints=tmp_path, resume=True)
    assert equal(resumed.model, whole.model)
    assert resumed.history.steps == 10


def _loader() -> DataLoader[Any]:
    data = TensorDataset(torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3)), torch.arange(16) % 4)
    return DataLoader(data, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(11))


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_loader_with_its_own_generator_resumes(step: int, tmp_path: Path) -> None:
    """A DataLoader's generator is put back to where the epoch began."""
    chosen = settings(label_weight=0.5)
    whole = _train(chosen, _loader())
    _killed_after(step, chosen, tmp_path, _loader())
    assert equal(_train(chosen, _loader(), checkpoints=tmp_path, resume=True).model, whole.model)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_between_two_steps(number: int, tmp_path: Path) -> None:
    """SIGINT and SIGTERM finish the step, write the checkpoint and say how to go on; handlers come back."""
    before = signal.getsignal(number)

    def press(at: Any) -> None:
        if at.step == 3:
            os.kill(os.getpid(), number)

    chosen = settings(evaluate_every=3, checkpoint_every=100)
    with pytest.raises(Interrupted, match=r"interrupted after step 4 of 10; the checkpoint is in .* go on with"):
        _train(chosen, checkpoints=tmp_path, progress=press)
    assert signal.getsignal(number) is before
    assert equal(_train(chosen, checkpoints=tmp_path, resume=True).model, WHOLE.model)


def test_a_finished_run_resumes_at_its_end(tmp_path: Path) -> None:
    """Resuming what is done trains nothing and gives the same result."""
    done = _train(settings(), checkpoints=tmp_path)
    steps: list[Any] = []
    again = _train(settings(), checkpoints=tmp_path, resume=True, progress=steps.append)
    assert not steps
    assert equal(again.model, done.model)
    assert again.history == done.history


def test_the_best_weights_survive_a_kill(tmp_path: Path) -> None:
    """The best evaluation may lie before the kill; its weights are still the result."""
    wild = settings(lr_new=3.0, lr_old=3.0, warmup=0.0, clip=None, evaluate_every=2)
    whole = recover(NET, HALF, Shuffled(), evaluation=batches(1), settings=wild)
    assert whole.history.kept_step < 6

    def kill(at: Any) -> None:
        if at.step == 7:
            raise _Killed

    with pytest.raises(_Killed):
        recover(NET, HALF, Shuffled(), evaluation=batches(1), settings=wild, checkpoints=tmp_path, progress=kill)
    resumed = recover(NET, HALF, Shuffled(), evaluation=batches(1), settings=wild, checkpoints=tmp_path, resume=True)
    assert resumed.history.kept_step == whole.history.kept_step
    assert equal(resumed.model, whole.model)


def test_an_earlier_run_is_not_overwritten(tmp_path: Path) -> None:
    """A folder with a checkpoint is refused without resume, and taken with it; an empty one the other way round."""
    with pytest.raises(UnknownName, match="no checkpoint to resume from"):
        _train(settings(), checkpoints=tmp_path, resume=True)
    _train(settings(), checkpoints=tmp_path)
    with pytest.raises(OutputExists, match="holds an earlier run's checkpoint: go on with --resume"):
        _train(settings(), checkpoints=tmp_path)
    assert _train(settings(), checkpoints=tmp_path, resume=True).history.steps == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr_new": 0.5}, r"written with lr_new = 0\.002, and now it is 0\.5"),
        ({"seed": 1}, "written with seed = 0, and now it is 1"),
        ({"checkpoint_every": 7}, None),
    ],
)
def test_another_run_can_not_resume(changes: dict[str, Any], message: str | None, tmp_path: Path) -> None:
    """A setting that would change the weights is named; one that would not is free."""
    _killed_after(5, settings(), tmp_path)
    if message is None:
        assert _train(settings(**changes), checkpoints=tmp_path, resume=True).history.steps == 10
        return
    with pytest.raises(UsageError, match=message):
        _train(settings(**changes), checkpoints=tmp_path, resume=True)


def test_another_network_or_other_data_can_not_resume(tmp_path: Path) -> None:
    """The checkpoint belongs to its network and to the length of its data."""
    _killed_after(5, settings(), tmp_path)
    with pytest.raises(UsageError, match="belongs to another model, other data"):
        _train(settings(), Shuffled(size=8), checkpoints=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("key", "value", "sound"),
    [
        *(("step", value, False) for value in ("1", True, -1, 1.0)),
        *(("format", value, False) for value in (2, "1")),
        *(("loss_sum", value, False) for value in ("0.5", None)),
        *(("step", 1, True), ("format", 1, True), ("loss_sum", 0, True)),
    ],
)
def test_where_a_run_stood_is_read_strictly(key: str, value: Any, sound: bool, tmp_path: Path) -> None:
    """A text is no number in a checkpoint's header, and true is no 1; what recover wrote itself is taken."""
    run = settings(steps=1)
    net = original()
    recover(net, converted(net), batches(), settings=run, checkpoints=tmp_path, device="cpu")
    tensors, about = read_tensors(tmp_path / LAST)
    standing = json.loads(about["standing"])
    write_tensors(tmp_path / LAST, tensors, {"standing": json.dumps({**standing, key: value})})
    checkpoints = Checkpoints(tmp_path)
    if sound:
        assert checkpoints.load_last(run, standing["identity"]).standing.total_steps == 1
        return
    with pytest.raises(ModelLoadError, match="is no checkpoint of this version"):
        checkpoints.load_last(run, standing["identity"])


def test_checkpoints_are_whole_files_without_pickle(tmp_path: Path) -> None:
    """Only the two safetensors files are left, and no temporary one."""
    _train(settings(), checkpoints=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, LAST]


def test_a_checkpoint_of_other_images_is_refused() -> None:
    """The flags of unreadable files belong to as many files; those of fewer or none are another run's."""
    files = tuple((Path(f"{i}.png"), -1) for i in range(8))
    transform = Preprocessing().transform(IMAGE)
    source = ImageSource(ImageBatches(files, transform), ImageSettings(batch=4))
    for other, message in (
        (files[:7], "was trained on 7 images, and now there are 8"),
        ((), "was trained on other data"),
    ):
        state = ImageSource(ImageBatches(other, transform)).state() if other else {}
        with pytest.raises(UsageError, match=message):
            source.load_state(state)
    flags = torch.zeros(8, dtype=torch.int32)
    flags[3] = 1
    source.load_state({"unreadable": flags})
    assert source.examples_of_skipped() == ["3.png"]


@pytest.mark.parametrize("position", [0, 2, 4])
def test_looking_ahead_moves_nothing(position: int) -> None:
    """The batch that comes next is the one that was looked at, in the middle of an epoch, at its end and after it."""

    def loader(seed: int) -> DataLoader[Tensor]:
        images = list(torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(3)))
        return DataLoader(images, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]

    plain, looked = (Feed(IterableSource(loader(5)), 0, position) for _ in range(2))
    seen = looked.peek().inputs.tensors()[0]
    wanted, rolled = plain.next()
    found, also = looked.next()
    assert rolled == also == (position == 4)
    assert torch.equal(found.inputs.tensors()[0], wanted.inputs.tensors()[0])
    assert torch.equal(seen, found.inputs.tensors()[0])
    with pytest.raises(UsageError, match="the data yields no batch"):
        Feed(IterableSource([])).peek()


@pytest.mark.parametrize("foreign", [True, False])
def test_foreign_signal_handlers_do_not_end_a_run(foreign: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that Python did not install can't be put back, which is no reason to fail; others come back."""
    install, mine = signal.signal, signal.getsignal(signal.SIGTERM)

    def as_if_foreign(number: int, handler: Any) -> Any:
        before = install(number, handler)
        return None if foreign and isinstance(handler, StopRequest) else before

    monkeypatch.setattr(signal, "signal", as_if_foreign)
    try:
        with stop_requests() as request:
            assert signal.getsignal(signal.SIGTERM) is request
        assert signal.getsignal(signal.SIGTERM) is (signal.SIG_DFL if foreign else mine)
    finally:
        install(signal.SIGTERM, mine)
        install(signal.SIGINT, signal.default_int_handler)
