"""Int8 files: smaller, like the float file, with what loses most kept in float where that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convsurgeon
from convsurgeon.base.errors import TargetError, UsageError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.exporting import format_for, int8_file
from convsurgeon.deployment.quantising.record import lines
from convsurgeon.runtimes.int8_processor import no_int8_instructions
from convsurgeon.runtimes.timer import Effort

pytestmark = pytest.mark.skipif(no_int8_instructions() is not None, reason="no int8 instructions")

FILES = ["net.onnx", "net.xml", "net.pt2", "net.tflite"]


@pytest.fixture(autouse=True)
def _hardly_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing depends on how long something takes."""
    monkeypatch.setattr(int8_file, "_TIMING", Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=0))


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


class Functional(Delicate):
    """The same, where the first layer is no module and so has no name to be kept by."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(self.first.weight.detach())
        del self.first

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 4, 4] → [N, 10]."""
        return self.head(torch.relu(self.second(torch.relu(F.conv2d(x, self.weight)))).mean((2, 3)))


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    """Two batches to measure ranges on, and one to judge on."""
    torch.manual_seed(1)
    return list(torch.split(torch.randn(168, 3, 4, 4) * torch.tensor([1e4, 1.0, 1.0]).view(3, 1, 1), 56))


def _export(model: nn.Module, images: list[Tensor], path: Path, at_least: str) -> convsurgeon.Exported:
    if (reason := format_for(path).missing() or format_for(path).int8_missing()) is not None:
        pytest.skip(reason)
    wanted = convsurgeon.Int8(images[:2], judging=images[2:], original=model, at_least=at_least)
    return convsurgeon.export(model, images[0][:1], path, int8=wanted)


@pytest.mark.parametrize("name", FILES)
def test_the_layer_that_loses_most_stays_in_float(images: list[Tensor], tmp_path: Path, name: str) -> None:
    """Just the layer that int8 ruins stays in float, by its name; the file is smaller, alike, and all is told."""
    net = Delicate().eval()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    report = _export(net, images, tmp_path / name, "agreement=95%").int8
    assert report is not None
    assert report.in_float == ("first",)
    assert report.losses[0].layer == "first"
    assert report.int8_bytes < report.float_bytes
    assert (report.calibrated_on, report.float_file.inputs, report.float_file.held_back) == (98, 70, True)
    assert report.float_file.agreement is not None
    assert report.float_file.agreement >= 0.95
    assert report.original is not None
    assert report.original.output_error == pytest.approx(report.float_file.output_error, rel=1e-2)
    with torch.no_grad():
        wanted = net(images[2])
    found = format_for(Path(name)).read_int8(tmp_path / name)(as_inputs(images[2]))[0]
    assert float((found - wanted).square().sum() / (wanted - wanted.mean()).square().sum()) < 0.01
    said = "\n".join(lines(report))
    assert all(words in said for words in ("like the float file", "like the original", "kept in float: first"))
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())


def test_a_floor_that_is_not_reached_writes_nothing(images: list[Tensor], tmp_path: Path) -> None:
    """The best that was reached is told, and no file appears; a floor that holds writes it."""
    with pytest.raises(TargetError, match=r"agreement=95% is not reached in int8: the best was [\d.]+ % of 70 inputs"):
        _export(Functional().eval(), images, tmp_path / "net.onnx", "agreement=95%")
    assert list(tmp_path.iterdir()) == []
    _export(Functional().eval(), images, tmp_path / "net.onnx", "agreement=1%")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_refusals_come_before_any_work(images: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is not lowered, a floor that can't be read, no instructions: each is refused with its reason."""
    net, x, path = Delicate().eval(), images[0][:1], tmp_path / "net.onnx"
    with pytest.raises(UsageError, match="starts from the lowered network"):
        convsurgeon.export(net, x, path, int8=convsurgeon.Int8(images), lowered=False)
    with pytest.raises(TargetError, match="can't be read"):
        convsurgeon.export(net, x, path, int8=convsurgeon.Int8(images, at_least="top1=-1"))
    monkeypatch.setattr(int8_file, "no_int8_instructions", lambda: "this processor has no instructions for int8.")
    with pytest.raises(UsageError, match="no instructions for int8"):
        convsurgeon.export(net, x, path, int8=convsurgeon.Int8(images))
    assert list(tmp_path.iterdir()) == []
