"""Exported files: the same outputs, any batch size, no convsurgeon needed to run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon.base.errors import ModelRunError, OutputExists, UnknownName, UsageError, first_line
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.exporting import format_for
from convsurgeon.families.unit import CompactConv
from convsurgeon.runtimes.onnx_conversion import to_onnx
from convsurgeon.runtimes.registry import find_runtime
from tests.families.table import FIXED

RUN_WITHOUT_US = """
import os, sys

sys.modules["convsurgeon"] = None  # importing it would fail
import torch
from safetensors.torch import load_file, save_file


def outputs(path, x):
    if path.endswith(".pt2"):
        return torch.export.load(path).module()(x)
    if path.endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return torch.as_tensor(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    os.environ["CI"] = "true"  # or importing it would report to its makers
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return torch.as_tensor(compiled(x.numpy())[0])


file, *paths = sys.argv[1:]
x = load_file(file)["x"]
save_file({path: outputs(path, x).detach().contiguous() for path in paths}, file)
"""


@pytest.fixture(scope="module")
def converted() -> nn.Module:
    """A small network with one IGC and one CompConv unit."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).eval()
    rules = convsurgeon.Rules(layers=(convsurgeon.LayerRule(match="6", method="compconv128"),))
    done = convsurgeon.convert(net, torch.randn(1, 3, 12, 12), method="igc-l1m1-w16", rules=rules, random_weights=True)
    assert {row.spec.family for row in done.plan.replaced if row.spec} == {"igc", "compconv"}
    return done.model


def test_files_compute_the_same_without_convsurgeon(converted: nn.Module, tmp_path: Path) -> None:
    """In a process that can't import convsurgeon, files give the model's outputs for another batch size."""
    from safetensors.torch import load_file, save_file

    files = {"net.pt2": True, "lowered.onnx": True, "net.onnx": False, "net.xml": False}
    for name, lowered in files.items():
        done = convsurgeon.export(converted, torch.randn(1, 3, 12, 12), tmp_path / name, lowered=lowered)
        assert done.free == ("batch",)
        assert done.dynamic_batch
        assert bool(done.steps) is lowered
        assert done.error <= 1e-4
    x, file = torch.randn(5, 3, 12, 12), tmp_path / "x.safetensors"
    save_file({"x": x}, file)
    arguments = [str(file), *(str(tmp_path / name) for name in files)]
    run = subprocess.run([sys.executable, "-I", "-c", RUN_WITHOUT_US, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = load_file(file)
    assert len(found) == len(files)
    for y in found.values():
        torch.testing.assert_close(y, converted(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", FIXED)
@pytest.mark.parametrize("lowered", [True, False])
def test_channels_in_another_order_reach_the_next_convolution(method: str, lowered: bool, tmp_path: Path) -> None:
    """OpenVINO computes what the module does, from ONNX files too, also where a unit shuffles before a convolution."""
    for runtime in ("onnxruntime", "openvino"):
        if (reason := find_runtime(runtime).available()) is not None:
            pytest.skip(reason)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 8, 1)).eval()
    rules = convsurgeon.Rules(skip=("2",), stem=True)
    target = "macs=60%" if method == "dgconv" else None
    model = convsurgeon.convert(net, torch.randn(1, 16, 9, 9), method=method, target=target, rules=rules).model.eval()
    units = [module for module in model.modules() if isinstance(module, CompactConv)]
    for name, order in (pair for unit in units for pair in unit.named_buffers()):
        if method == "dgconv" and name.endswith("_order"):
            order.copy_(order.roll(1))  # fresh ones change nothing
    orders = [order for unit in units for order in unit.buffers() if len(order) == len(order.unique())]
    shuffles = any(bool((order[order] != torch.arange(len(order))).any()) for order in orders)
    assert shuffles == (method in ("compconv128", "igc-l4m2", "dgconv"))
    x = torch.randn(1, 16, 9, 9)
    # By way of an ONNX file, which takes long to write, only where there is an order to lose.
    for name in ("net.xml", "net.onnx")[: 1 + shuffles]:
        convsurgeon.export(model, x, tmp_path / name, lowered=lowered)
        found = format_for(Path("net.xml")).read(tmp_path / name)(as_inputs(x))[0]
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


def test_a_file_that_is_there_is_replaced_by_force_only(converted: nn.Module, tmp_path: Path) -> None:
    """An existing file stays as it is unless force is given."""
    path, x = tmp_path / "net.pt2", torch.randn(1, 3, 12, 12)
    path.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="exists already"):
        convsurgeon.export(converted, x, path, lowered=False)
    assert path.read_bytes() == b"mine"
    convsurgeon.export(converted, x, path, lowered=False, force=True)
    assert path.read_bytes() != b"mine"


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".xml"])
@pytest.mark.usefixtures("little_room")
def test_a_full_disk_leaves_nothing_behind(suffix: str, tmp_path: Path) -> None:
    """Whatever library writes, no room is one sentence; an earlier file stays as it was."""
    if (reason := format_for(Path(f"net{suffix}")).missing()) is not None:
        pytest.skip(reason)
    (tmp_path / f"net{suffix}").write_text("old")
    with pytest.raises(UsageError, match=r"no space left at .*nothing was changed"):
        convsurgeon.export(
            nn.Conv2d(3, 64, 3).eval(), torch.rand(1, 3, 8, 8), tmp_path / f"net{suffix}", lowered=False, force=True
        )
    assert [path.name for path in tmp_path.iterdir()] == [f"net{suffix}"]
    assert (tmp_path / f"net{suffix}").read_text() == "old"


class SizeBound(nn.Module):
    """Flattens by a number that holds for two images only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[2, 3, 4, 4] → [2, 48]."""
        return x.reshape(2, 48)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_fixed_batch_is_said(tmp_path: Path, suffix: str) -> None:
    """A model that holds for one batch size only is exported for that one, and the result says so."""
    done = convsurgeon.export(SizeBound(), torch.randn(2, 3, 4, 4), tmp_path / f"net{suffix}", lowered=False)
    assert done.free == ()
    assert not done.dynamic_batch
    assert done.notes


class Wrong(nn.Module):
    """Computes another thing wherever it is traced."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 4] → [N, 4]."""
        return x + 1 if torch.compiler.is_exporting() else x


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    """A file whose outputs differ never appears; the same model without the difference is written."""
    with pytest.raises(convsurgeon.ModelError, match="computes something else"):
        convsurgeon.export(Wrong(), torch.randn(1, 4), tmp_path / "net.pt2", lowered=False)
    assert list(tmp_path.iterdir()) == []
    convsurgeon.export(nn.Identity(), torch.randn(1, 4), tmp_path / "net.pt2", lowered=False)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]


@pytest.mark.parametrize("name", ["net.pt", "net", "net.xml"])
def test_an_unknown_ending_is_refused(name: str) -> None:
    """A file name that does not say its format is refused, with the endings that do; the others are taken."""
    if name == "net.xml":
        assert format_for(Path(name)).name == "openvino"
        return
    with pytest.raises(UnknownName, match=r"ends in \.pt2, \.onnx, \.xml, \.tflite"):
        format_for(Path(name))


def test_format_and_ending_must_agree() -> None:
    """A named format wants its own ending; an unknown one gets a suggestion."""
    assert format_for(Path("net.onnx"), "onnx").suffix == ".onnx"
    with pytest.raises(UnknownName, match=r"ends in \.onnx"):
        format_for(Path("net.pt2"), "onnx")
    with pytest.raises(UnknownName, match="Did you mean onnx"):
        format_for(Path("net.onnx"), "onx")


def test_a_file_beside_is_replaced_by_force_only(converted: nn.Module, tmp_path: Path) -> None:
    """OpenVINO's weights go into a .bin beside the .xml: force replaces both, but no .bin that belongs to no .xml."""
    x, beside = torch.randn(1, 3, 12, 12), tmp_path / "net.bin"
    beside.write_bytes(b"mine")
    with pytest.raises(OutputExists, match=r"net\.bin' exists already"):
        convsurgeon.export(converted, x, tmp_path / "net.xml", lowered=False)
    assert beside.read_bytes() == b"mine"
    with pytest.raises(OutputExists, match=r"belongs to no .*net\.xml', so --force does not replace it"):
        convsurgeon.export(converted, x, tmp_path / "net.xml", lowered=False, force=True)
    assert beside.read_bytes() == b"mine"
    (tmp_path / "net.xml").write_text("an earlier one")
    convsurgeon.export(converted, x, tmp_path / "net.xml", lowered=False, force=True)
    assert beside.read_bytes() != b"mine"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_file_is_compared_as_closely_as_its_precision_allows(dtype: torch.dtype, tmp_path: Path) -> None:
    """Half precision rounds at every operation: its files may differ by more than 1e-4, those of float32 may not."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 8, 3))
    model = nn.Sequential(*layers).eval().to(dtype)
    with torch.no_grad():
        model[1].running_var.uniform_(0.1, 3)
    done = convsurgeon.export(model, torch.rand(1, 3, 12, 12), tmp_path / "net.pt2")
    assert (1e-4 < done.error < 3e-2) if dtype == torch.bfloat16 else done.error < 1e-4


def test_a_folder_is_no_file_to_replace(converted: nn.Module, tmp_path: Path) -> None:
    """Nothing is written into, or in place of, a folder with the file's name; beside it there is room."""
    (tmp_path / "net.pt2").mkdir()
    x = torch.randn(1, 3, 12, 12)
    with pytest.raises(OutputExists, match=r"net\.pt2' is a folder, which no file replaces"):
        convsurgeon.export(converted, x, tmp_path / "net.pt2", lowered=False, force=True)
    assert not list((tmp_path / "net.pt2").iterdir())
    assert convsurgeon.export(converted, x, tmp_path / "other.pt2", lowered=False).path.is_file()


class Heavy(nn.Module):
    """A convolution beside weights that take no memory, as they are one number seen many times."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.many = nn.Parameter(torch.zeros(1).expand(numbers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] → [N, 4, H, W]."""
        return self.conv(x)


def test_weights_beyond_a_file_are_refused() -> None:
    """ONNX files hold less than 2 GiB: more ends as an error with a way out, not as a crash of the process."""
    inputs = as_inputs(torch.rand(1, 3, 4, 4))
    with pytest.raises(ModelRunError, match=r"the weights take 2\.0 GiB.*export to \.pt2 or \.xml"):
        to_onnx(Heavy(2**29).eval(), inputs)
    assert to_onnx(Heavy(8).eval(), inputs).error < 1e-4


def test_quoted_errors_have_no_colours() -> None:
    """Terminal colours in another library's message do not reach ours."""
    assert first_line(ValueError("\x1b[96mstep 1\x1b[0m failed.\nmore")) == "step 1 failed"
