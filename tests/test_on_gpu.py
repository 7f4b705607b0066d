"""What must also hold on a GPU: tensors of one network on one device, equal outputs, the caller's data wherever it is.

pytest tests/test_on_gpu.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

import convsurgeon
from convsurgeon import Conversion, RecoverSettings
from convsurgeon.cli.app import run
from tests.families.table import ROWS
from tests.nets import Plain

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

IMAGE = (2, 3, 32, 32)
FAMILIES = ["compconv128", *ROWS, "auto"]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A network with weights of its own, on the GPU."""
    torch.manual_seed(0)
    return Plain().eval().cuda()


def _images(count: int = 2, size: int = 16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(size, *IMAGE[1:], generator=generator) for _ in range(count)]


def _converted(net: nn.Module, method: str, *, calibrated: bool = True) -> Conversion:
    target = None if method == "compconv128" else "macs=60%"
    calibration = _images() if calibrated else None
    return convsurgeon.convert(net, torch.rand(IMAGE), method=method, target=target, calibration=calibration)


def _devices(model: nn.Module) -> set[str]:
    return {tensor.device.type for tensor in model.state_dict().values()}


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("method", FAMILIES)
def test_a_conversion_stays_on_the_gpu_and_fits_as_well_as_on_the_cpu(
    net: nn.Module, method: str, calibrated: bool
) -> None:
    """With inputs and images in host memory: the same plan, all tensors on the GPU, an error like the CPU's."""
    there = _converted(net, method, calibrated=calibrated)
    here = _converted(copy.deepcopy(net).cpu(), method, calibrated=calibrated)
    assert _devices(there.model) == {"cuda"}
    assert _devices(net) == {"cuda"}
    assert [row.name for row in there.plan.replaced] == [row.name for row in here.plan.replaced]
    x = _images()[0]
    wanted = net(x.cuda()).cpu()
    errors = [float((wanted - y).norm() / wanted.norm()) for y in (there.model(x.cuda()).cpu(), here.model(x))]
    assert errors[0] <= 1.1 * errors[1] + 1e-3


def test_open_gates_are_the_original(net: nn.Module) -> None:
    """DGConv without a target changes no output, in TF32 too."""
    x = torch.rand(IMAGE).cuda()
    assert torch.equal(convsurgeon.convert(net, x, method="dgconv").model(x), net(x))


@pytest.mark.parametrize("allow_tf32", [False, True])
@pytest.mark.parametrize("method", FAMILIES)
def test_lowered_outputs_are_equal_whatever_the_gpu_computes_in(
    net: nn.Module, method: str, allow_tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is in float32 even where convolutions run in TF32, and the setting is as before."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allow_tf32)
    done = convsurgeon.lower(_converted(net, method).model, torch.rand(IMAGE))
    assert [step.what for step in done.steps if step.pass_name == "trace"] == []
    assert done.error <= 1e-5
    assert _devices(done.model) == {"cuda"}
    assert torch.backends.cudnn.allow_tf32 is allow_tf32


def test_layers_are_timed_where_the_model_lives(net: nn.Module) -> None:
    """A plan by time works on the GPU."""
    done = convsurgeon.convert(net, torch.rand(IMAGE), target="macs=60%", time_layers=True, allow_slower=True)
    assert done.plan.after.cost().macs <= 0.6 * done.plan.before.cost().macs
    assert done.plan.latency is not None
    assert done.plan.latency.place.device == torch.cuda.get_device_name()


def test_bench_says_what_it_used(net: nn.Module) -> None:
    """Rows name the GPU and TF32, and memory is the GPU's."""
    report = convsurgeon.bench(net, _converted(net, "igc").model, torch.rand(IMAGE), runtimes="eager", seconds=0.05)
    row = report.rows[0]
    assert row.place.device == torch.cuda.get_device_name()
    assert (row.original.memory or 0) > 0
    rounds = torch.cuda.get_device_capability() >= (8, 0)
    assert row.place.precision == ("float32 (TF32)" if rounds else "float32")


@pytest.mark.parametrize("to", ["cpu", "cuda"])
def test_accuracy_takes_labels_from_anywhere(net: nn.Module, to: str) -> None:
    """Labels and images may lie on either device."""
    x = _images(1)[0]
    labels = net(x.cuda()).argmax(1).to(to)
    assert convsurgeon.top1_accuracy(net, [(x.to(to), labels)]).top1 == 1.0


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
@pytest.mark.parametrize("labelled", [False, True])
def test_recovery_trains_on_the_gpu(net: nn.Module, precision: str, labelled: bool) -> None:
    """In every precision, judged on the host's batches, the result ends nearer to the original."""
    converted = _converted(net, "igc", calibrated=False)
    held: list[object] = list(_images())
    if labelled:
        held = [(x, net(x.cuda()).argmax(1).cpu()) for x in _images()]
    settings = RecoverSettings(steps=60, precision=precision, keep="last")
    done = convsurgeon.recover(net, converted, _images(4), evaluation=held, settings=settings, device="cuda")
    after = done.history.after
    assert done.history.device == "cuda"
    assert _devices(done.model) == {"cuda"}
    if labelled:
        assert (done.history.original.accuracy, after.images) == (1.0, 32)
    else:
        assert after.output_error is not None
        assert done.history.before.output_error is not None
        assert after.output_error < 0.8 * done.history.before.output_error


def test_gates_learn_on_the_gpu(net: nn.Module) -> None:
    """Learned groups meet their target and harden there."""
    converted = convsurgeon.convert(net, torch.rand(IMAGE), method="dgconv")
    settings = RecoverSettings(steps=40)
    done = convsurgeon.recover(net, converted, _images(4), settings=settings, learn_groups=True, target="macs=60%")
    x = torch.rand(IMAGE).cuda()
    assert convsurgeon.count(done.model, x).macs <= 0.6 * convsurgeon.count(net, x).macs
    assert _devices(done.model) == {"cuda"}


def test_the_gpus_random_numbers_stay_the_callers(net: nn.Module) -> None:
    """Conversion, lowering and training leave the generators as they were."""
    torch.manual_seed(3)
    wanted = torch.rand(4, device="cuda")
    torch.manual_seed(3)
    converted = _converted(net, "compconv")
    convsurgeon.lower(converted.model, torch.rand(IMAGE, generator=torch.Generator().manual_seed(0)))
    convsurgeon.recover(net, converted, _images(), settings=RecoverSettings(steps=2))
    assert torch.equal(torch.rand(4, device="cuda"), wanted)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A converted ResNet-18 in a folder, made by the command line on the GPU."""
    folder = tmp_path / "small"
    command = ["convert", "resnet18", "--weights", "none", "--input", "1,3,64,64", "--method", "compconv128"]
    assert run([*command, "--device", "cuda", "-o", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("command", [lambda d: ["lower", d, "--device", "cuda"], lambda d: ["export", d]])
def test_files_made_beside_a_gpu_run_on_both_devices(
    saved: Path, command: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program in a file holds host tensors and can be moved to the GPU."""
    monkeypatch.chdir(saved.parent)
    output = saved.parent / "net.pt2"
    assert run([*command(str(saved)), "-o", str(output)]) == 0
    program = torch.export.load(output).module()
    assert _devices(program) == {"cpu"}
    x = torch.rand(1, 3, 64, 64)
    wanted = convsurgeon.load(saved, model=resnet18())(x)
    for device in ("cpu", "cuda"):
        y = program.to(device)(x.to(device)).cpu()
        assert float((y - wanted).abs().max() / wanted.abs().max()) < 5e-3
