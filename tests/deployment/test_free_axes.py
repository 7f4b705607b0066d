"""Files whose inputs may have any batch, height and width: what can be free is, and what can't is refused at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon.base.errors import UsageError
from convsurgeon.base.free_axes import parse_axes
from convsurgeon.base.inputs import as_inputs
from convsurgeon.cli.app import run
from convsurgeon.deployment.exporting import format_for
from convsurgeon.runtimes.registry import find_runtime


class Halving(nn.Module):
    """A U-shaped network, which takes multiples of 4 and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.Conv2d(16, 16, 3, stride=2, padding=1))
        self.up = nn.ConvTranspose2d(16, 3, 4, stride=4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] → [N, 3, H, W]."""
        if image.shape[-1] % 4:
            raise ValueError("give multiples of 4")
        return self.up(self.down(image)) + image


def network(head: nn.Module) -> nn.Module:
    """A convolution, a batch norm and a head."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), head).eval()


FULLY = network(nn.Conv2d(16, 4, 1))
FLATTENED = network(nn.Sequential(nn.Flatten(), nn.Linear(16 * 8 * 8, 4)))


def _read_back(path: Path, x: torch.Tensor) -> torch.Tensor:
    return format_for(path).read(path)(as_inputs(x))[0]


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".xml"])
def test_any_height_and_width_of_a_fully_convolutional_network(suffix: str, tmp_path: Path) -> None:
    """Made from one square image, a file gives the network's outputs for several of another height and width."""
    if reason := find_runtime({".pt2": "eager", ".onnx": "onnxruntime", ".xml": "openvino"}[suffix]).available():
        pytest.skip(reason)
    model, path, x = Halving().eval(), tmp_path / f"net{suffix}", torch.rand(3, 3, 32, 52)
    done = convsurgeon.export(model, torch.rand(1, 3, 16, 16), path, lowered=False, free="width,batch,height")
    assert done.free == ("batch", "height", "width")
    torch.testing.assert_close(_read_back(path, x), model(x), rtol=1e-4, atol=1e-4)


def test_an_axis_that_is_not_named_stays(tmp_path: Path) -> None:
    """With a free height alone, batch and width are the example's."""
    import onnxruntime

    path = tmp_path / "net.onnx"
    convsurgeon.export(FULLY, torch.rand(2, 3, 8, 8), path, free=("height",), lowered=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [2, 3, "height", 8]
    fixed = convsurgeon.export(FULLY, torch.rand(2, 3, 8, 8), tmp_path / "net.pt2", free="none", lowered=False)
    assert fixed.free == ()


def test_a_lowered_conversion_takes_other_sizes_too(tmp_path: Path) -> None:
    """Compact units in their deployment form hold at every size."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)).eval()
    small = convsurgeon.convert(net, torch.rand(1, 3, 8, 8), method="igc-l4m2").model
    done = convsurgeon.export(small, torch.rand(1, 3, 8, 8), tmp_path / "net.pt2", free="height,width")
    x = torch.rand(1, 3, 11, 9)
    torch.testing.assert_close(_read_back(done.path, x), small(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", [FLATTENED, FULLY])
def test_a_network_of_one_size_is_refused(model: nn.Module, tmp_path: Path) -> None:
    """A head that flattens takes one height and width, which is said before anything is written; without it any."""
    path = tmp_path / "net.pt2"
    if model is FULLY:
        assert convsurgeon.export(model, torch.rand(1, 3, 8, 8), path, free="height,width", lowered=False).error < 1e-4
        return
    with pytest.raises(UsageError, match=r"height, width can't be free: the network runs on \[1, 3, 8, 8\] and fails"):
        convsurgeon.export(model, torch.rand(1, 3, 8, 8), path, free="height,width")
    assert list(tmp_path.iterdir()) == []
    assert convsurgeon.export(model, torch.rand(1, 3, 8, 8), path, free="batch", lowered=False).free == ("batch",)


def test_inputs_without_an_image_have_no_height(tmp_path: Path) -> None:
    """[N, C, L] has a batch axis to free, and neither height nor width."""
    net, x = nn.Conv1d(3, 4, 3).eval(), torch.rand(1, 3, 9)
    with pytest.raises(UsageError, match=r"inputs \[1, 3, 9\] hold no image"):
        convsurgeon.export(net, x, tmp_path / "net.pt2", free="height", lowered=False)
    assert convsurgeon.export(net, x, tmp_path / "net.pt2", free="batch", lowered=False).dynamic_batch


def test_words_of_axes() -> None:
    """In any order and once each; ``none`` alone is none; another word is named with the nearest one."""
    assert parse_axes("width, batch,width") == ("batch", "width")
    assert parse_axes("none") == parse_axes(()) == ()
    for wrong in ("hight", "batch,none", "", ["depth"]):
        with pytest.raises(UsageError, match="is no axis to leave free; expected some of batch, height, width"):
            parse_axes(wrong)


@pytest.mark.parametrize("opset", [13, 18])
def test_the_opset_is_the_one_asked_for(opset: int, tmp_path: Path) -> None:
    """Also one that PyTorch's default exporter can't write; a format without opsets, and an unknown one, refuse it."""
    onnx, x = pytest.importorskip("onnx"), torch.rand(1, 3, 8, 8)
    done = convsurgeon.export(FULLY, x, tmp_path / "net.onnx", opset=opset, lowered=False)
    versions = [entry.version for entry in onnx.load(done.path).opset_import if not entry.domain]
    assert versions == [opset]
    with pytest.raises(UsageError, match=f"opset {opset} belongs to ONNX"):
        convsurgeon.export(FULLY, x, tmp_path / "net.pt2", opset=opset, lowered=False)
    with pytest.raises(UsageError, match=r"opset 99 is not one that such a file can have; expected 7 to \d\d"):
        convsurgeon.export(FULLY, x, tmp_path / "other.onnx", opset=99, lowered=False)


def test_the_command_line_says_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--free and --opset reach the file, and its sizes are in the last lines and in --json."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef build(): return nn.Conv2d(3, 8, 3)\n")
    size = ["net.py:build", "--input", "1,3,8,8", "--weights", "none", "--no-lower"]
    assert run(["export", *size, "-o", "net.onnx", "--free", "batch,height,width", "--opset", "17"]) == 0
    assert "read back from the file; takes any batch size, height, width\n" in capsys.readouterr().out
    assert run(["export", *size, "-o", "net.pt2", "--free", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["free"] == []
    assert run(["export", *size, "-o", "other.pt2", "--free", "hight"]) == 2
    assert "Did you mean height?" in capsys.readouterr().err
