"""Conversions in memory: what a runtime computes is compared with the module, and the next exporter is tried."""

from __future__ import annotations

import copy
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.runtimes import onnx_conversion as onnx
from convsurgeon.runtimes.closeness import disagreement
from convsurgeon.runtimes.registry import RUNTIMES, Runtime, find_runtime, parse_runtimes
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
    assert (graph.exporter, graph.free, graph.problems) == ("torch.export", ("batch",), ())
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
    ("name", "conversion"), [("onnxruntime", "onnx_runtime.to_onnx"), ("openvino", "openvino_runtime.to_openvino")]
)
@pytest.mark.parametrize(
    ("layer", "size", "poolings"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (2, 3, 8, 8), 2),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (2, 3, 8), 0),
    ],
)
def test_a_layer_alone_computes_what_it_does_in_its_network(
    layer: nn.Module,
    size: tuple[int, ...],
    poolings: int,
    name: str,
    conversion: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pooling on either side brings the runtime's layout and changes nothing, neither output nor module."""
    if (reason := find_runtime(name).available()) is not None:
        pytest.skip(reason)
    x, layer = torch.rand(size), copy.deepcopy(layer).train()
    before = copy.deepcopy(layer)
    place, function = f"convsurgeon.runtimes.{conversion}".rsplit(".", 1)
    convert, graphs = getattr(importlib.import_module(place), function), []

    def kept(model: nn.Module, *given: Any, **more: Any) -> Any:
        graphs.append(model)
        return convert(model, *given, **more)

    monkeypatch.setattr(f"{place}.{function}", kept)
    found: Any = find_runtime(name).for_layers().prepare(layer, as_inputs(x), precision="float32", threads=1)()
    with torch.no_grad():
        assert disagreement([before.eval()(x)], [torch.as_tensor(found[0])]) <= 1e-4
    # A traced module keeps its class by name.
    kinds = [getattr(module, "original_name", type(module).__name__) for module in graphs[0].modules()]
    assert kinds.count("MaxPool2d") == poolings
    assert layer.training
    for name_, value in layer.state_dict().items():
        assert torch.equal(value, before.state_dict()[name_])


def test_several_inputs_and_outputs_keep_their_order() -> None:
    """Positional or by name, tensors go in and come out in the module's order."""
    a, b = torch.rand(2, 4), torch.rand(2, 4)
    for inputs in (Inputs(args=(a, b)), Inputs(kwargs={"a": a, "b": b})):
        graph = onnx.to_onnx(Two().eval(), inputs)
        total, difference = onnx.run_onnx(onnx.session_for(graph.content, threads=1), inputs)
        assert torch.allclose(total, a + b)
        assert torch.allclose(difference, a - b)


@pytest.mark.parametrize("first", ["torch.export", "TorchScript"])
def test_a_graph_keeps_the_names_of_arguments_and_keys(first: onnx.Exporter) -> None:
    """Inputs are called as the forward's arguments, outputs by their keys, or "output" where there is one, by both."""
    a, b = torch.rand(2, 4), torch.rand(2, 4)
    for inputs in (Inputs(args=(a, b)), Inputs(args=(a,), kwargs={"b": b})):
        graph = onnx.to_onnx(Two().eval(), inputs, first=first)
        session = onnx.session_for(graph.content, threads=1)
        assert graph.exporter == first
        assert [value.name for value in session.get_inputs()] == ["a", "b"]
        assert [value.name for value in session.get_outputs()] == ["sum", "difference"]
    alone = onnx.session_for(onnx.to_onnx(nn.ReLU(), INPUTS, first=first).content, threads=1)
    assert [value.name for value in (*alone.get_inputs(), *alone.get_outputs())] == ["input", "output"]


def test_a_wrong_graph_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter whose graph computes something else is passed over for the next one, and the reason is kept."""
    wrong = onnx._EXPORT["TorchScript"]

    def other_weights(model: nn.Module, *given: Any) -> bytes:
        return wrong(Residual().eval(), *given)

    monkeypatch.setitem(onnx._EXPORT, "torch.export", other_weights)
    graph = onnx.to_onnx(Residual().eval(), INPUTS)
    assert (graph.exporter, graph.free) == ("TorchScript", ("batch",))
    assert len(graph.problems) == 1
    assert graph.problems[0].startswith("torch.export with any batch size: its outputs differ by ")


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
    assert "TorchScript with the example's sizes only: no such operator" in words


def test_disagreement_is_relative_to_large_outputs() -> None:
    """|a − b| over the largest |a| or 1; other shapes or numbers of outputs never agree; NaN agrees with NaN alone."""
    a = torch.tensor([100.0, float("nan"), float("inf")])
    assert disagreement([a], [a.clone()]) == 0.0
    assert disagreement([torch.tensor([100.0])], [torch.tensor([101.0])]) == pytest.approx(0.01)
    assert disagreement([torch.tensor([0.5])], [torch.tensor([0.6])]) == pytest.approx(0.1)
    assert disagreement([torch.tensor([4, 2])], [torch.tensor([4, 3])]) == 0.25
    assert disagreement([torch.zeros(2)], [torch.zeros(3)]) == float("inf")
    assert disagreement([torch.zeros(2)], []) == float("inf")
    assert disagreement([torch.zeros(1)], [torch.tensor([float("nan")])]) == float("inf")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([-4.0, 1.0, 2.0], [-4.0, 1.0, 3.0], 0.25),
        ([-4.0, 1.0, 2.0], [-4.0, 1.0, 1.0], 0.25),
        ([3.0, 0.0], [-3.0, 0.0], 2.0),
        ([float("inf"), 4.0], [float("inf"), 2.0], 0.5),
        ([float("nan"), 4.0], [float("nan"), 2.0], 0.5),
        ([float("inf")], [-float("inf")], float("inf")),
        ([float("nan"), 1.0], [1.0, float("nan")], float("inf")),
        ([1.0], [float("inf")], float("inf")),
        ([], [], 0.0),
    ],
)
def test_disagreement_in_every_number_format(
    a: list[float], b: list[float], expected: float, dtype: torch.dtype
) -> None:
    """Either sign counts, what is infinite or undefined on both sides does not, on one side it never agrees."""
    assert disagreement([torch.tensor(a).to(dtype)], [torch.tensor(b).to(dtype)]) == expected


def test_disagreement_of_numbers_whose_difference_overflows() -> None:
    """3e38 and −3e38 are 6e38 apart, which float32 does not hold."""
    large = torch.tensor([3e38])
    assert disagreement([large], [-large]) == 2.0


@pytest.mark.parametrize("name", ["eager", "onnxruntime", "openvino"])
def test_a_prepared_runtime_runs_the_network(name: str) -> None:
    """Every runtime that is here prepares a network once and runs it as often as asked."""
    runtime = find_runtime(name)
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    run_once = runtime.for_layers().prepare(Residual().eval(), INPUTS, precision="float32", threads=1)
    assert run_once() is not None
    assert run_once() is not None


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_a_runtime_prefers_one_of_its_precisions(runtime: Runtime) -> None:
    """What it takes by itself is among those that it has; the weights' own precision comes first."""
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    assert runtime.precisions(torch.float32)[0] == "float32"
    assert runtime.preferred(torch.float32) in runtime.precisions(torch.float32)


@pytest.mark.parametrize(("capable", "expected"), [(["FP32", "BF16"], "bfloat16"), (["FP32"], "float32")])
def test_openvino_prefers_bfloat16_where_the_processor_has_it(
    capable: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does by itself for float32 weights; other weights keep their own."""
    core = SimpleNamespace(get_property=lambda *_: capable)
    monkeypatch.setattr("convsurgeon.runtimes.openvino_runtime.openvino_core", lambda: core)
    runtime = find_runtime("openvino")
    assert runtime.preferred(torch.float32) == expected
    assert runtime.preferred(torch.float16) == "float16"


def test_a_precision_that_openvino_lacks_is_the_model_s_error() -> None:
    """Weights in float64 are refused with what to do; float32 runs."""
    runtime = find_runtime("openvino")
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    for place in (runtime, runtime.for_layers()):
        net, x = nn.Conv2d(3, 4, 3).eval(), torch.rand(1, 3, 8, 8)
        assert place.prepare(net, as_inputs(x), precision="float32", threads=1)() is not None
        with pytest.raises(ModelRunError, match=r"does not calculate in float64 but in float32, .*model.float"):
            place.prepare(net.double(), as_inputs(x.double()), precision="float64", threads=1)


_SIGNALLED = """
import gc, os, signal, torch
from convsurgeon.base.inputs import as_inputs
from convsurgeon.runtimes.registry import find_runtime
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
import os, sys, torch
from openvino_telemetry.backend.backend_ga4 import GA4Backend

reports = []
GA4Backend.send = lambda self, message: reports.append(message)  # nothing leaves this machine
x, net = torch.rand(1, 3, 8, 8), torch.nn.ReLU().eval()

def count():
    from openvino_telemetry import Telemetry

    Telemetry().sender.executor.shutdown(wait=True)
    Telemetry().sender.__init__()
    print(len(reports))
    reports.clear()

if sys.argv[1] == "afterwards":
    import openvino

    openvino.convert_model(net, example_input=x)
    count()
from convsurgeon.base.inputs import as_inputs
from convsurgeon.runtimes.registry import find_runtime

for _ in range(2):
    find_runtime("openvino").prepare(net, as_inputs(x), precision="float32", threads=1)()
assert "CI" not in os.environ
count()
"""


@pytest.mark.parametrize("when", ["alone", "afterwards"])
def test_openvino_reports_on_nobody(when: str, tmp_path: Path) -> None:
    """A network runs in OpenVINO without a word to its makers, be it used before or not; by itself it sends some."""
    if (reason := find_runtime("openvino").available()) is not None:
        pytest.skip(reason)
    command = [sys.executable, "-W", "ignore", "-c", _REPORTED, when]
    # A home without a word on consent, and no sign of a CI job.
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        command, env=variables | {"HOME": str(tmp_path)}, timeout=300, capture_output=True, text=True, check=True
    )
    *itself, ours = (int(count) for count in done.stdout.split())
    assert ours == 0
    assert [count > 0 for count in itself] == [True] * (when == "afterwards")
    assert (tmp_path / "intel").exists() == (when == "afterwards")


def test_what_ci_is_set_to_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO sees CI=true while it converts; afterwards the variable is what it was."""
    if (reason := find_runtime("openvino").available()) is not None:
        pytest.skip(reason)
    seen: list[str | None] = []

    class Looking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(os.environ.get("CI"))
            return x.relu()

    monkeypatch.setenv("CI", "false")
    find_runtime("openvino").prepare(Looking().eval(), INPUTS, precision="float32", threads=1)
    assert "true" in seen
    assert os.environ["CI"] == "false"


def test_the_tenth_network_is_compiled_like_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of one class share a forward, and torch.compile by itself stops at eight of them without a word."""
    compiled: list[torch.Size] = []

    def counting(graph: torch.fx.GraphModule, examples: list[torch.Tensor]) -> Any:
        compiled.append(next(example.shape for example in examples if example.dim() == 4))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counting))
    sizes = [torch.Size([batch, 3, 8, 8]) for batch in range(1, 11)]
    for size in sizes:
        run = find_runtime("compile").prepare(
            nn.Sequential(nn.ReLU()), as_inputs(torch.rand(size)), precision="float32", threads=1
        )
        run()
    assert compiled == sizes


def test_runtimes_are_named_once_each() -> None:
    """A list or a text with commas, in the given order, doubles once."""
    assert [r.name for r in parse_runtimes("openvino, eager,openvino")] == ["openvino", "eager"]
    assert [r.name for r in parse_runtimes(["eager"])] == ["eager"]
    with pytest.raises(UsageError, match="no runtime named; expected one or more of eager, compile"):
        parse_runtimes("")
