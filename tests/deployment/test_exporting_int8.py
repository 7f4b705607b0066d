"""Int8 files: smaller, like the float file, with what loses most kept in float where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.errors import TargetError, UsageError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.exporting import FORMATS, format_for, formats, int8_file
from convsurgeon.deployment.exporting.format import ToQuantise, Wanted
from convsurgeon.deployment.quantising.record import lines
from convsurgeon.runtimes.int8_processor import no_int8_instructions
from convsurgeon.runtimes.timer import Effort
from tests.deployment.imitated_format import ImitatedFormat

pytestmark = pytest.mark.skipif(no_int8_instructions() is not None, reason="no int8 instructions")


class Delicate(nn.Module):
    """The first layer ignores its first channel, which is so large that int8 leaves the others nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 64, 1, bias=False)
        self.second = nn.Conv2d(64, 64, 3, bias=False)
        self.head = nn.Linear(64, 10)
        with torch.no_grad():
            self.first.weight[:, 0] = 0

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 4, 4] → [N, 10]."""
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    """Two batches to measure ranges on, and one to judge on."""
    torch.manual_seed(1)
    return list(torch.split(torch.randn(168, 3, 4, 4) * torch.tensor([1e4, 1.0, 1.0]).view(3, 1, 1), 56))


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> ImitatedFormat:
    """A format that takes no time, found by its suffix; nothing depends on how long something takes."""
    own = ImitatedFormat()
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, own))
    monkeypatch.setattr(int8_file, "_TIMING", Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=0))
    return own


def _error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).square().sum() / (wanted - wanted.mean()).square().sum())


@pytest.mark.parametrize("name", ["net.onnx", "net.xml", "net.pt2", "net.tflite", "net.pte"])
def test_a_named_layer_stays_in_float(images: list[Tensor], tmp_path: Path, name: str) -> None:
    """Each format knows layers by their modules' names: the file computes nearly the same with this one in float."""
    file, net, path = format_for(Path(name)), Delicate().eval(), tmp_path / name
    if (reason := file.missing() or file.int8_missing()) is not None:
        pytest.skip(reason)
    batches = [as_inputs(batch) for batch in images[:2]]
    written = file.write_int8(ToQuantise(net, as_inputs(images[0]), Wanted(), batches, ("first",)), path)
    assert written.free == (() if name == "net.pte" else ("batch",))
    with torch.no_grad():
        assert _error(file.read_int8(path)(as_inputs(images[2]))[0], net(images[2])) < 0.01
    assert path.stat().st_size > 0


def test_the_layer_that_loses_most_stays_in_float(images: list[Tensor], tmp_path: Path, kind: ImitatedFormat) -> None:
    """Just the layer that int8 ruins stays in float; the file is smaller, alike, and told of; the model is whole."""
    net = Delicate().eval()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    wanted = convsurgeon.Int8(images[:2], judging=images[2:], original=net, at_least="agreement=95%")
    report = convsurgeon.export(net, images[0][:1], tmp_path / "net.imitated", int8=wanted).int8
    assert report is not None
    assert report.in_float == ("first",)
    assert kind.written_with == [(), ("first",)]
    assert report.losses[0].layer == "first"
    assert report.int8_bytes < report.float_bytes
    assert (report.calibrated_on, report.float_file.inputs, report.float_file.held_back) == (98, 70, True)
    assert report.float_file.agreement is not None
    assert report.float_file.agreement >= 0.95
    assert report.original is not None
    assert report.original.output_error == pytest.approx(report.float_file.output_error, rel=1e-2)
    said = "\n".join(lines(report))
    assert all(words in said for words in ("like the float file", "like the original", "kept in float: first"))
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())


def test_without_a_floor_everything_is_int8(images: list[Tensor], tmp_path: Path, kind: ImitatedFormat) -> None:
    """The same network without a floor is written once, as bad as it gets; with too few inputs they are judged on."""
    done = convsurgeon.export(
        Delicate().eval(), images[0][:1], tmp_path / "net.imitated", int8=convsurgeon.Int8([images[0][:7]])
    )
    assert done.int8 is not None
    assert (done.int8.in_float, done.int8.original, kind.written_with) == ((), None, [()])
    assert (done.int8.calibrated_on, done.int8.float_file.inputs, done.int8.float_file.held_back) == (7, 7, False)
    assert "too few to hold any back" in "\n".join(lines(done.int8))


def test_a_floor_that_is_not_reached_writes_nothing(
    images: list[Tensor], tmp_path: Path, kind: ImitatedFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best that was reached is told, and no file appears; a floor that holds writes it."""
    net, path = Delicate().eval(), tmp_path / "net.imitated"
    whole = ImitatedFormat.write_int8
    # A library that keeps nothing in float, whatever it is told.
    monkeypatch.setattr(
        ImitatedFormat, "write_int8", lambda self, source, path: whole(self, replace(source, in_float=()), path)
    )
    wanted = convsurgeon.Int8(images[:2], judging=images[2:], at_least="agreement=95%")
    with pytest.raises(TargetError, match=r"agreement=95% is not reached in int8: the best was [\d.]+ % of 70 inputs"):
        convsurgeon.export(net, images[0][:1], path, int8=wanted)
    assert list(tmp_path.iterdir()) == []
    wanted = convsurgeon.Int8(images[:2], judging=images[2:], at_least="agreement=1%")
    convsurgeon.export(net, images[0][:1], path, int8=wanted)
    assert path.is_file()


def test_a_file_of_one_batch_size_is_given_batches_of_that(
    images: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ImitatedFormat
) -> None:
    """Where the batch size is fixed, ranges and agreement come from batches of that size; too few are refused."""
    monkeypatch.setattr(formats, "FORMATS", (replace(kind, free=()),))
    seen: set[int] = set()

    class Counting(Delicate):
        def forward(self, x: Tensor) -> Tensor:
            """[N, 3, 4, 4] → [N, 10]."""
            seen.add(int(x.shape[0]))
            return super().forward(x)

    net, path = Counting().eval(), tmp_path / "net.imitated"
    done = convsurgeon.export(net, images[0][:16], path, int8=convsurgeon.Int8(images, original=net))
    assert done.int8 is not None
    assert done.int8.calibrated_on % 16 == 0
    assert seen <= {16}
    with pytest.raises(UsageError, match="takes 200 inputs at once"):
        convsurgeon.export(net, torch.randn(200, 3, 4, 4), path, int8=convsurgeon.Int8(images), force=True)


def test_lists_of_images_are_cut_to_what_the_file_takes(
    images: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ImitatedFormat
) -> None:
    """A network that takes a list, as detectors do, is measured on the images of lists of any length, one at a time."""
    monkeypatch.setattr(formats, "FORMATS", (replace(kind, free=()),))

    class Listed(Delicate):
        def forward(self, x: list[Tensor]) -> list[dict[str, Tensor]]:  # type: ignore[override]
            """[3, 4, 4] each → what is on it, each."""
            return [{"boxes": super(Listed, self).forward(image[None])} for image in x]

    path = tmp_path / "net.imitated"
    wanted = convsurgeon.Int8([list(images[0]), list(images[1][:8])])
    done = convsurgeon.export(Listed().eval(), [images[0][0]], path, int8=wanted)
    assert done.int8 is not None
    assert (done.int8.calibrated_on, done.int8.float_file.inputs) == (56, 8)


def test_inputs_of_another_size_are_refused(images: list[Tensor], tmp_path: Path, kind: ImitatedFormat) -> None:
    """Inputs of another height end in one sentence with both sizes; another batch size does not matter."""
    net, path = Delicate().eval(), tmp_path / "net.imitated"
    with pytest.raises(UsageError, match=r"inputs are \[7, 3, 5, 4\], and the file takes \[1, 3, 4, 4\]"):
        convsurgeon.export(net, images[0][:1], path, int8=convsurgeon.Int8([torch.randn(8, 3, 5, 4)]))
    assert list(tmp_path.iterdir()) == []
    convsurgeon.export(net, images[0][:1], path, int8=convsurgeon.Int8([torch.randn(8, 3, 4, 4)]))
    assert kind.written_with == [()]


def test_inputs_of_any_size_that_is_free_are_taken(
    images: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ImitatedFormat
) -> None:
    """Ranges may be measured on images of another height where the file takes any; another width is refused still."""
    monkeypatch.setattr(formats, "FORMATS", (replace(kind, free=("batch", "height")),))
    net, x, path = Delicate().eval(), images[0][:1], tmp_path / "net.imitated"
    with pytest.raises(UsageError, match=r"inputs are \[7, 3, 4, 5\], and the file takes \[1, 3, 4, 4\], with any"):
        convsurgeon.export(net, x, path, int8=convsurgeon.Int8([torch.rand(8, 3, 4, 5)]))
    convsurgeon.export(net, x, path, int8=convsurgeon.Int8([torch.rand(8, 3, 5, 4)]))


@pytest.mark.parametrize(
    ("judging", "words"),
    [
        ([torch.full((4, 3, 4, 4), float("nan"))], r"judging batch 1 .* NaN"),
        (torch.rand(4, 3, 4, 4), "judging is a Tensor; expected an iterable"),
    ],
)
@pytest.mark.usefixtures("kind")
def test_inputs_to_judge_on_are_looked_at(images: list[Tensor], tmp_path: Path, judging: Any, words: str) -> None:
    """What can't be judged on is refused under its name, as inputs to measure on are; batches of numbers are taken."""
    net, path = Delicate().eval(), tmp_path / "net.imitated"
    with pytest.raises(UsageError, match=words):
        convsurgeon.export(net, images[0][:1], path, int8=convsurgeon.Int8(images, judging=judging))
    assert list(tmp_path.iterdir()) == []
    convsurgeon.export(net, images[0][:1], path, int8=convsurgeon.Int8(images, judging=[torch.rand(4, 3, 4, 4)]))


def test_agreement_needs_classes(images: list[Tensor], tmp_path: Path, kind: ImitatedFormat) -> None:
    """A floor for a network that gives maps is refused before anything is quantised; without one it is written."""
    net, path = Delicate().eval().first, tmp_path / "net.imitated"
    with pytest.raises(TargetError, match=r"no classes.*leave out"):
        convsurgeon.export(net, images[0][:1], path, int8=convsurgeon.Int8(images, at_least="agreement=99%"))
    assert (kind.written_with, list(tmp_path.iterdir())) == ([], [])
    convsurgeon.export(net, images[0][:1], path, int8=convsurgeon.Int8(images))
    assert path.is_file()


def test_an_opset_without_scales_for_channels_is_refused(images: list[Tensor], tmp_path: Path) -> None:
    """ONNX has them from 13 on: what is older, and fine in float, is refused with the range before any work."""
    kind = format_for(Path("net.onnx"))
    if (reason := kind.missing()) is not None:
        pytest.skip(reason)
    with pytest.raises(UsageError, match=r"opset 12 .* expected 13 to"):
        convsurgeon.export(
            Delicate().eval(), images[0][:1], tmp_path / "net.onnx", opset=12, int8=convsurgeon.Int8(images)
        )
    assert 12 in kind.opsets()
    assert 13 in kind.int8_opsets()


def test_refusals_come_before_any_work(images: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is not lowered, a floor that can't be read, no instructions: each is refused with its reason."""
    monkeypatch.setattr(formats, "FORMATS", (ImitatedFormat(),))
    net, x, path = Delicate().eval(), images[0][:1], tmp_path / "net.imitated"
    with pytest.raises(UsageError, match="starts from the lowered network"):
        convsurgeon.export(net, x, path, int8=convsurgeon.Int8(images), lowered=False)
    with pytest.raises(UsageError, match=r"int8 is a bool; expected convsurgeon\.Int8"):
        convsurgeon.export(net, x, path, int8=True)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="expected agreement=99%"):
        convsurgeon.export(net, x, path, int8=convsurgeon.Int8(images, at_least="top1=-1"))
    monkeypatch.setattr(int8_file, "no_int8_instructions", lambda: "this processor has no instructions for int8.")
    with pytest.raises(UsageError, match="no instructions for int8"):
        convsurgeon.export(net, x, path, int8=convsurgeon.Int8(images))
    assert list(tmp_path.iterdir()) == []
