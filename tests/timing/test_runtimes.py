"""Conversions in memory: what a runtime computes is compared with the module, and the next exporter is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convsurgeon.errors import ModelRunError, UsageError
from convsurgeon.inputs import Inputs, as_inputs
from convsurgeon.runtimes import RUNTIMES, Runtime, find_runtime, onnx_runtime, parse_runtimes
from convsurgeon.runtimes import onnx_conversion as onnx
from convsurgeon.runtimes.agreement import disagreement
from convsurgeon.runtimes.between_layers import between_layers
from tests.nets import Residual

onnxruntime = pytest.importorskip("onnxruntime")
INPUTS = as_inputs(torch.rand(1, 3, 8, 8))


class Two(nn.Module):
    """Two tensors in, a dict of two tensors out."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        """[N, C], [N, C] → sum and difference [N, C]."""
        return {"sum": a + b, "difference": a - b}


def test_a_graph_computes_what_the_module_does_in_any_batch() -> None:
    """The default exporter's graph has a free batch axis and was compared; other batch sizes give the same too."""
    network = Residual().eval()
    graph = onnx.to_onnx(network, INPUTS)
    assert (graph.exporter, graph.dynamic_batch, graph.problems) == ("torch.export", True, ())
    assert graph.error <= 1e-4
    session = onnx.session_for(graph.content, threads=1)
    x = torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        assert disagreement([network(x)], onnx.run_onnx(session, as_inputs(x))) <= 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_that_onnx_runtime_can_t_convolve_are_named_with_the_remedy(dtype: torch.dtype) -> None:
    """The error says what the weights are and what to do; the same module in float32 is exported."""
    conv = nn.Conv2d(3, 4, 3).to(dtype)
    with pytest.raises(ModelRunError, match=rf"weights are {str(dtype)[6:]}; export the model in float32"):
        onnx.to_onnx(conv, as_inputs(INPUTS.tensors()[0].to(dtype)))
    assert onnx.to_onnx(conv.float(), INPUTS).error <= 1e-4


def test_a_session_leaves_the_processor_to_what_is_timed_beside_it() -> None:
    """Its threads stop spinning at the end of a run: else what runs next in turn shares its cores with them."""
    session = onnx.session_for(onnx.to_onnx(nn.ReLU(), INPUTS).content, threads=2)
    assert session.get_session_options().get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize(
    ("conv", "size", "poolings"), [(nn.Conv2d(3, 4, 3), (2, 3, 8, 8), 2), (nn.Conv1d(3, 4, 3), (2, 3, 8), 0)]
)
def test_a_layer_alone_computes_what_it_does_in_its_network(
    conv: nn.Module, size: tuple[int, ...], poolings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooling on either side brings the runtime's layout and changes nothing, neither output nor module."""
    x, runtime = torch.rand(size), find_runtime("onnxruntime").for_layers()
    graphs: list[nn.Module] = []
    export = onnx_runtime.to_onnx

    def kept(model: nn.Module, *given: Any, **more: Any) -> onnx.OnnxGraph:
        graphs.append(model)
        return export(model, *given, **more)

    monkeypatch.setattr(onnx_runtime, "to_onnx", kept)
    found: Any = runtime.prepare(conv.train(), as_inputs(x), precision="float32", threads=1)()
    with torch.no_grad():
        assert disagreement([conv(x)], [torch.as_tensor(found[0])]) <= 1e-4
    assert sum(isinstance(module, nn.MaxPool2d) for module in graphs[0].modules()) == poolings
    assert conv.training


def test_several_inputs_and_outputs_keep_their_order() -> None:
    """Positional or by name, tensors go in and come out in the module's order."""
    a, b = torch.rand(2, 4), torch.rand(2, 4)
    for inputs in (Inputs(args=(a, b)), Inputs(kwargs={"a": a, "b": b})):
        graph = onnx.to_onnx(Two().eval(), inputs)
        total, difference = onnx.run_onnx(onnx.session_for(graph.content, threads=1), inputs)
        assert torch.allclose(total, a + b)
        assert torch.allclose(difference, a - b)


def test_a_wrong_graph_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter whose graph computes something else is passed over for the next one, and the reason is kept."""
    wrong = onnx._EXPORT["TorchScript"]

    def other_weights(model: nn.Module, inputs: Inputs, dynamic: bool) -> bytes:
        return wrong(Residual().eval(), inputs, dynamic)

    monkeypatch.setitem(onnx._EXPORT, "torch.export", other_weights)
    graph = onnx.to_onnx(Residual().eval(), INPUTS)
    assert (graph.exporter, graph.dynamic_batch) == ("TorchScript", True)
    assert len(graph.problems) == 1
    assert graph.problems[0].startswith("torch.export with a free batch size: its outputs differ by ")


def test_a_module_that_no_exporter_takes_is_the_model_s_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every attempt fails, the error holds what each one failed with."""

    def fail(*_: Any) -> bytes:
        raise RuntimeError("no such operator.\nmore")

    monkeypatch.setitem(onnx._EXPORT, "torch.export", fail)
    monkeypatch.setitem(onnx._EXPORT, "TorchScript", fail)
    with pytest.raises(ModelRunError) as caught:
        onnx.to_onnx(Residual().eval(), INPUTS)
    words = str(caught.value)
    assert words.count("no such operator") == 4
    assert "TorchScript with a fixed batch size: no such operator" in words


def test_disagreement_is_relative_to_large_outputs() -> None:
    """|a − b| over the largest |a| or 1; other shapes or numbers of outputs never agree; NaN agrees with NaN alone."""
    a = torch.tensor([100.0, float("nan"), float("inf")])
    assert disagreement([a], [a.clone()]) == 0.0
    assert disagreement([torch.tensor([100.0])], [torch.tensor([101.0])]) == pytest.approx(0.01)
    assert disagreement([torch.tensor([0.5])], [torch.tensor([0.6])]) == pytest.approx(0.1)
    assert disagreement([torch.zeros(2)], [torch.zeros(3)]) == float("inf")
    assert disagreement([torch.zeros(2)], []) == float("inf")
    assert disagreement([torch.zeros(1)], [torch.tensor([float("nan")])]) == float("inf")


@pytest.mark.parametrize("name", ["eager", "onnxruntime", "openvino"])
def test_a_prepared_runtime_runs_the_network(name: str) -> None:
    """Every runtime that is here prepares a network once and runs it as often as asked."""
    runtime = find_runtime(name)
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    run_once = runtime.for_layers().prepare(Residual().eval(), INPUTS, precision="float32", threads=1)
    assert run_once() is not None
    assert run_once() is not None


@pytest.mark.parametrize(("name", "module"), [("onnxruntime", "onnx_runtime"), ("openvino", "openvino_runtime")])
def test_a_layer_is_timed_as_it_stands_in_a_network(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels come and go in the runtime's blocks where a layer is timed alone, and a network is run as it is."""
    runtime, conv = find_runtime(name), nn.Conv2d(3, 4, 3).eval()
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    wrapped: list[nn.Module] = []

    def wrap(model: nn.Module, inputs: Inputs) -> nn.Module:
        wrapped.append(model)
        return between_layers(model, inputs)

    monkeypatch.setattr(f"convsurgeon.runtimes.{module}.between_layers", wrap)
    for place, expected in ((runtime, []), (runtime.for_layers(), [conv])):
        assert place.prepare(conv, INPUTS, precision="float32", threads=1)() is not None
        assert wrapped == expected


def test_pooling_over_one_pixel_changes_nothing_but_the_layout() -> None:
    """A layer between poolings computes what it did; what takes anything but one [N, C, H, W] tensor stays alone."""
    conv, linear = nn.Conv2d(3, 4, 3).eval(), nn.Linear(8, 2).eval()
    alone = between_layers(conv, INPUTS)
    assert alone is not conv
    torch.testing.assert_close(alone(INPUTS.args[0]), conv(INPUTS.args[0]), rtol=0, atol=0)
    assert between_layers(linear, as_inputs(torch.rand(1, 8))) is linear


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_a_runtime_prefers_one_of_its_precisions(runtime: Runtime) -> None:
    """What it takes by itself is among those that it has; the weights' own precision comes first."""
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    for dtype, own in ((torch.float32, "float32"), (torch.float64, "float64")):
        assert runtime.precisions(dtype)[0] == own
        assert runtime.preferred(dtype) in runtime.precisions(dtype)


_SIGNALLED = """
import gc, os, signal, torch
from convsurgeon.inputs import as_inputs
from convsurgeon.runtimes import find_runtime
runtime, inputs = find_runtime("openvino"), as_inputs(torch.rand(1, 3, 8, 8))
runs = [runtime.prepare(torch.nn.ReLU(), inputs, precision="float32", threads=1) for _ in range(2)]
while runs:
    runs.pop(0)()
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: os._exit(7))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_signal_after_openvino_reaches_its_handler() -> None:
    """Ctrl-C still works when networks that were compiled for OpenVINO have come and gone, the first one first."""
    if (reason := find_runtime("openvino").available()) is not None:
        pytest.skip(reason)
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", _SIGNALLED], timeout=300).returncode == 7


_REPORTED = """
import sys, torch
from openvino_telemetry.backend.backend_ga4 import GA4Backend

reports = []
GA4Backend.send = lambda self, message: reports.append(message)  # nothing leaves this machine
x, net = torch.rand(1, 3, 8, 8), torch.nn.ReLU().eval()
if sys.argv[1] == "ours":
    from convsurgeon.inputs import as_inputs
    from convsurgeon.runtimes import find_runtime

    for _ in range(2):
        find_runtime("openvino").prepare(net, as_inputs(x), precision="float32", threads=1)()
else:
    import openvino

    openvino.convert_model(net, example_input=x)
from openvino_telemetry import Telemetry
Telemetry().sender.executor.shutdown(wait=True)
print(len(reports))
"""


@pytest.mark.parametrize("by", ["ours", "openvino itself"])
def test_openvino_reports_on_nobody(by: str, tmp_path: Path) -> None:
    """A network runs in OpenVINO without a word to its makers, and OpenVINO by itself sends some."""
    if (reason := find_runtime("openvino").available()) is not None:
        pytest.skip(reason)
    command = [sys.executable, "-W", "ignore", "-c", _REPORTED, by]
    # A home without a word on consent, and no sign of a CI job.
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        command, env=variables | {"HOME": str(tmp_path)}, timeout=300, capture_output=True, text=True, check=True
    )
    assert (int(done.stdout.split()[-1]) == 0) == (by == "ours")
    assert (tmp_path / "intel").exists() == (by != "ours")


def test_runtimes_are_named_once_each() -> None:
    """A list or a text with commas, in the given order, doubles once."""
    assert [r.name for r in parse_runtimes("openvino, eager,openvino")] == ["openvino", "eager"]
    assert [r.name for r in parse_runtimes(["eager"])] == ["eager"]
    assert [r.name for r in RUNTIMES] == ["eager", "compile", "onnxruntime", "openvino"]
    with pytest.raises(UsageError, match="no runtime named; expected one or more of eager, compile"):
        parse_runtimes("")
