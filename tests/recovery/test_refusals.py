"""What recovery refuses, each beside a twin that it accepts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convsurgeon import ImageSettings, RecoverSettings, recover
from convsurgeon.base.errors import ModelLoadError, ModelRunError, TrainingFailed, UnknownName, UsageError
from convsurgeon.models.images import ImageBatches, calibration_images
from convsurgeon.models.preprocessing import Preprocessing
from convsurgeon.recovery.images import ImageSource, split_files
from tests.recovery.lessons import IMAGE, converted, equal, original, settings

NET = original()
HALF = converted(NET)
X, Y = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])


def _run(data: Any, **changes: Any) -> Any:
    return recover(NET, HALF, data, settings=settings(**{"steps": 2, **changes}))


@pytest.mark.parametrize(
    ("data", "changes", "kind", "message"),
    [
        ([(X, Y)], {"label_weight": 1.0}, None, ""),
        ([(X, Y + 1)], {"label_weight": 1.0}, UsageError, r"has label 4; the network has 4 outputs.* from 0 to 3"),
        ([(X, Y - 2)], {"label_weight": 1.0}, UsageError, r"has label -2"),
        ([(X, Y - 1)], {"label_weight": 1.0}, None, ""),
        ([(X, Y[:3])], {}, UsageError, "4 inputs and 3 labels"),
        ([X], {"label_weight": 1.0}, UsageError, "label_weight is set, but a batch has no labels"),
        ([X], {}, None, ""),
        ([], {}, UsageError, "the data yields no batch"),
        (X, {}, UsageError, "data is a Tensor; expected an iterable of batches"),
        (["word"], {}, UsageError, "example_inputs is a str"),
        ([torch.randn(4, 5, 8, 8)], {}, ModelRunError, r"fails on inputs \[4, 5, 8, 8\]"),
        ([torch.randn(4, 3, 6, 6)], {}, None, ""),
        ([X], {"outputs": "logits"}, None, ""),
    ],
)
def test_data_of_the_wrong_kind(data: Any, changes: dict[str, Any], kind: type[Exception] | None, message: str) -> None:
    """Labels out of range, missing or of another number, empty data and inputs of the wrong size get one message."""
    if kind is None:
        assert _run(data, **changes).history.steps == 2
        return
    with pytest.raises(kind, match=message):
        _run(data, **changes)


def test_data_without_a_length_needs_steps() -> None:
    """Epochs of a stream can't be planned, steps can; an iterator is kept and read again."""

    class Stream:
        def __iter__(self) -> Any:
            return iter([X, X])

    assert recover(NET, HALF, Stream(), settings=settings(steps=5)).history.steps == 5
    with pytest.raises(UsageError, match="the data has no length, so epochs can't be planned; set steps"):
        recover(NET, HALF, Stream(), settings=RecoverSettings(epochs=1))
    assert recover(NET, HALF, iter([X, X]), settings=settings(steps=5)).history.steps == 5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(bad: float, tmp_path: Path) -> None:
    """NaN or infinity in a batch ends the run with the step; the checkpoint before it is whole and finite."""
    poisoned = [X, X, X, torch.full_like(X, bad), X]
    with pytest.raises(
        TrainingFailed, match=r"the loss became (nan|inf) at step 4 of 10\. The last good checkpoint is"
    ):
        recover(NET, HALF, poisoned, settings=settings(norms="frozen"), checkpoints=tmp_path)
    whole = recover(NET, HALF, [X] * 5, settings=settings(norms="frozen"))
    healed = recover(NET, HALF, [X] * 5, settings=settings(norms="frozen"), checkpoints=tmp_path, resume=True)
    assert equal(healed.model, whole.model)


class _Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class DistributedDataParallel(_Wrapper):
    """By its name, as surgery knows it."""


class OptimizedModule(_Wrapper):
    """What torch.compile returns, by its name: compiling takes many seconds."""


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda m: m, None),
        (DistributedDataParallel, "wrapped in DistributedDataParallel.*Surgery comes before wrapping"),
        (OptimizedModule, "is compiled.*Surgery comes before wrapping"),
    ],
)
@pytest.mark.parametrize("which", ["original", "converted"])
def test_a_wrapped_network_is_refused(wrap: Callable[[nn.Module], nn.Module], message: str | None, which: str) -> None:
    """DDP and compiled networks are refused on either side, with the remedy; plain ones train."""
    pair = {"original": NET, "converted": HALF.model}
    pair[which] = wrap(pair[which])
    if message is None:
        assert recover(pair["original"], pair["converted"], [X], settings=settings(steps=1)).history.steps == 1
        return
    with pytest.raises(ModelLoadError, match=message):
        recover(pair["original"], pair["converted"], [X], settings=settings(steps=1))


def test_networks_that_do_not_belong_together_are_refused() -> None:
    """Another class, or nothing left to train, is said; a copy trains but can't be saved with a plan."""
    with pytest.raises(UsageError, match="the converted network is a Linear and the original a Net"):
        recover(NET, nn.Linear(2, 2), [X], settings=settings())
    frozen = copy.deepcopy(HALF.model).requires_grad_(False)
    with pytest.raises(UsageError, match="nothing to train: every parameter of the converted network is frozen"):
        recover(NET, frozen, [X], settings=settings())
    assert recover(NET, HALF.model, [X], settings=settings(steps=1)).conversion is not None
    done = recover(NET, copy.deepcopy(HALF.model), [X], settings=settings(steps=1))
    with pytest.raises(UsageError, match="only a Conversion can be saved"):
        done.save("nowhere")


def test_settings_out_of_bounds_are_refused() -> None:
    """The record checks its numbers and takes no unknown name."""
    RecoverSettings(lr_new=0.1)
    for wrong in ({"lr_new": 0}, {"epochs": 0}, {"warmup": 1}, {"precision": "fp8"}, {"lr": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RecoverSettings.model_validate(wrong)
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        recover(NET, HALF, [X], settings=settings(precision="fp16"), device="cpu")


@pytest.mark.parametrize(
    "name",
    ["lr_new", "lr_old", "weight_decay", "clip", "temperature", "output_weight", "feature_weight", "label_weight"],
)
def test_numbers_that_no_optimiser_takes_are_refused(name: str) -> None:
    """NaN, infinity and what overflows float32 are no rates or weights; a merely absurd number is taken."""
    for wrong in ("inf", "nan", "1e400", "1e300", "-1"):
        with pytest.raises(ValueError, match=name):
            RecoverSettings.model_validate({name: wrong})
    assert getattr(RecoverSettings.model_validate({name: "1e18"}), name) == 1e18


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images and two files that are none."""
    generator = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(generator.integers(0, 255, (12, 10, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    (tmp_path / "text.jpg").write_text("no image")
    return tmp_path


def test_unreadable_images_are_counted_and_replaced(folder: Path) -> None:
    """Batches keep their size, the unreadable files are counted once over all epochs and named."""
    done = recover(NET, HALF, folder, settings=RecoverSettings(epochs=3), images=ImageSettings(batch=4))
    assert done.history.steps == 9
    assert done.history.images == 36
    assert done.history.skipped == 2
    assert {text.split(":")[0] for text in done.history.skipped_examples} == {"cut.png", "text.jpg"}


def test_a_folder_without_a_readable_image_is_refused(folder: Path) -> None:
    """No folder, no image file, no readable one: three messages."""
    with pytest.raises(UnknownName, match="no folder of images at"):
        recover(NET, HALF, folder / "nowhere", settings=settings())
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no image"):
        recover(NET, HALF, folder / "empty", settings=settings())
    (folder / "empty" / "a.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"none of the 1 images can be read, e\.g\. a\.png"):
        recover(NET, HALF, folder / "empty", settings=settings())
    unread = ImageBatches(((folder / "empty" / "a.png", -1),), Preprocessing().transform((1, 3, 8, 8)))
    with pytest.raises(
        UsageError, match=r"evaluation yields no batch: none of the 1 images can be read, e\.g\. a\.png"
    ):
        recover(NET, HALF, [X], evaluation=unread, settings=settings())


def _seen(source: ImageSource, epoch: int, first: int = 0) -> list[torch.Tensor]:
    return [batch.inputs.args[0] for batch in source.epoch(epoch, first)]


@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip"])
def test_images_are_the_same_however_they_are_read(augment: str, folder: Path) -> None:
    """Order and augmentation depend on seed, epoch and file: not on workers, processes or where reading starts."""
    found = calibration_images(folder, Preprocessing().transform(IMAGE), limit=99, seed=0)

    def source(rank: int = 0, processes: int = 1, workers: int = 0, seed: int = 0) -> ImageSource:
        chosen = ImageSettings(batch=4, augment=augment, workers=workers, seed=seed)  # type: ignore[arg-type]
        return ImageSource(found, chosen, rank, processes)

    whole = _seen(source(), 1)
    assert [len(batch) for batch in whole] == [4, 4, 4]
    assert _same(_seen(source(workers=2), 1), whole)
    assert _same(_seen(source(), 1, first=2), whole[2:])
    shares = [_seen(source(rank, 2), 1) for rank in range(2)]
    for batch, mine, other in zip(whole, *shares, strict=True):
        assert torch.equal(batch[0::2], mine)
        assert torch.equal(batch[1::2], other)
    assert not _same(_seen(source(), 2), whole)
    assert not _same(_seen(source(seed=1), 1), whole)


def _same(some: Iterable[torch.Tensor], others: Iterable[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_augmentation_changes_images_and_keeps_their_size(folder: Path) -> None:
    """Random parts differ from epoch to epoch and come out of the model's own preprocessing."""
    files = tuple((folder / f"{i}.png", 0) for i in range(8))
    for augment, changes in (("none", False), ("crop", True), ("crop-flip", True)):
        chosen = ImageSettings(batch=8, augment=augment)  # type: ignore[arg-type]
        source = ImageSource(ImageBatches(files, Preprocessing().transform(IMAGE)), chosen)
        (first,), (second,) = _seen(source, 0), _seen(source, 1)
        assert first.shape == (8, *IMAGE[1:])
        pictures = [sorted(batch.flatten(1).sum(1).tolist()) for batch in (first, second)]
        assert (pictures[0] != pytest.approx(pictures[1])) == changes


def test_held_out_images_are_not_trained_on(folder: Path) -> None:
    """The split is a partition of the size that was asked for, drawn by the seed."""
    files = tuple((folder / f"{i}.png", i) for i in range(10))
    train, held = split_files(files, ImageSettings(held_out=0.3))
    assert len(held) == 3
    assert sorted((*train, *held)) == sorted(files)
    assert split_files(files, ImageSettings(held_out=0.3)) == (train, held)
    assert split_files(files, ImageSettings(held_out=0.3, seed=1)) != (train, held)
    assert len(split_files(files, ImageSettings(held_out=0.3, held_out_limit=1))[1]) == 1
    assert split_files(files, ImageSettings(held_out=0.0)) == (files, ())


def test_images_of_different_sizes_are_refused(folder: Path) -> None:
    """A preprocessing that leaves sizes as they are can't make batches of them; one that sets them can."""
    Image.new("RGB", (20, 20)).save(folder / "0.png")
    files = tuple((folder / f"{i}.png", -1) for i in range(4))
    from torchvision.transforms.v2.functional import pil_to_tensor

    with pytest.raises(UsageError, match="images come out of the preprocessing in different sizes"):
        recover(
            NET, HALF, ImageBatches(files, lambda image: pil_to_tensor(image) / 255), settings=settings(),
            images=ImageSettings(augment="none"),
        )  # fmt: skip
    usable = ImageBatches(files, Preprocessing().transform(IMAGE))
    assert recover(NET, HALF, usable, settings=settings(steps=1)).history.steps == 1


def test_data_is_let_go_of_when_a_run_ends_in_an_error() -> None:
    """Whoever reads the data hears at once that it is over, not when somebody collects the failed run."""
    left: list[str] = []

    class Watched:
        def __iter__(self) -> Any:
            try:
                yield from (X, torch.full_like(X, float("nan")), X)
            finally:
                left.append("closed")

    with pytest.raises(TrainingFailed) as failed:
        recover(NET, HALF, Watched(), settings=settings())
    assert failed.tb is not None
    assert left == ["closed"]
