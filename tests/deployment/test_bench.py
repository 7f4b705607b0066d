"""``bench``: two networks in turn, every figure by hand from a stubbed clock, absent runtimes told or refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsurgeon
from convsurgeon import BenchReport, bench
from convsurgeon.base.errors import ModelRunError, UnknownName, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.cli.app import run
from convsurgeon.deployment.benching.cells import lines
from convsurgeon.deployment.benching.record import realised_share
from convsurgeon.deployment.lowering import Lowered
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import Effort, Spread
from tests.conversion.time_table import exactly
from tests.nets import IMAGE, Residual

X = torch.zeros(IMAGE)
MS = 1_000_000

FACTORY = """\
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))


build.example_inputs = torch.zeros(1, 3, 12, 12)
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original takes 8 ms (quartiles 7 and 9), every other network a millisecond less; memory is 3 MiB, then 2."""

    def stubbed(runs: Sequence[Callable[[], object]], effort: Effort, watch: object = None) -> tuple[Spread, ...]:
        for call in runs:
            call()
        return tuple(
            Spread(median_ns=(8 - i) * MS, low_ns=(7 - i) * MS, high_ns=(9 - i) * MS, least_ns=6 * MS, samples=7)
            for i in range(len(runs))
        )

    def peaks() -> Iterator[int]:
        while True:
            yield from (3 * 2**20, 2 * 2**20)

    left = peaks()
    home = "convsurgeon.deployment.benching.networks"
    monkeypatch.setattr(f"{home}.time_in_turn", stubbed)
    monkeypatch.setattr(f"{home}.peak_bytes", lambda run, device: next(left))
    monkeypatch.setattr(f"{home}.busy", lambda: None)
    monkeypatch.setattr(f"{home}.place", _place)


def _place(runtime: str, precision: str, device: torch.device) -> Place:
    return Place(runtime=runtime, precision=precision, device="a test's clock", threads=1, torch="0.0")


@given(st.floats(0.01, 2), st.floats(0.01, 0.99))
def test_the_realised_share_is_saved_time_over_saved_macs(latency: float, macs: float) -> None:
    """(1 − latency ratio) / (1 − MACs ratio): 1 on the diagonal, 0 where nothing is gained, negative where slower."""
    share = realised_share(latency, macs)
    assert share is not None
    assert share * (1 - macs) == pytest.approx(1 - latency)
    assert (share > 0) == (latency < 1)
    assert realised_share(macs, macs) == pytest.approx(1)


def test_nothing_saved_has_no_realised_share() -> None:
    """With all of the MACs kept there is nothing to realise."""
    assert realised_share(0.5, 1.0) is None
    assert realised_share(0.5, 0.5) == 1.0


@pytest.mark.usefixtures("clock")
def test_both_networks_get_a_row_per_batch() -> None:
    """Median and quartiles, images a second, memory, ratio and realised share, for each batch size once."""
    network = Residual().eval()
    small = convsurgeon.convert(network, X, method="compconv128", random_weights=True).model
    report = bench(network, small, X, batches=(1, 4, 4), runtimes="eager")
    assert [(row.batch, row.place.runtime, row.place.precision) for row in report.rows] == [
        (1, "eager", "float32"),
        (4, "eager", "float32"),
    ]
    one, four = report.rows
    assert one.converted is not None
    assert (one.original.throughput, four.original.throughput) == (125.0, 500.0)
    assert (one.original.memory, one.converted.memory) == (3 * 2**20, 2 * 2**20)
    assert one.ratio == 7 / 8
    assert report.macs_ratio == convsurgeon.count(small, X).macs / convsurgeon.count(network, X).macs
    assert one.realised == pytest.approx((1 - 7 / 8) / (1 - report.macs_ratio))
    assert BenchReport.model_validate_json(report.to_json()) == report


@pytest.mark.usefixtures("clock")
def test_a_network_alone_has_no_ratio() -> None:
    """Without a converted twin there are figures and no comparison."""
    (row,) = bench(Residual().eval(), None, X, runtimes=["eager"]).rows
    assert (row.converted, row.ratio, row.realised) == (None, None, None)
    assert row.original.latency.median_ns == 8 * MS


@pytest.mark.usefixtures("clock")
def test_the_models_are_untouched() -> None:
    """A model in train mode stays so, with its statistics, and gains no hook."""
    network = Residual().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    bench(network, network, X, runtimes="eager", layers=True, seconds=0.01)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.usefixtures("clock")
def test_layers_are_timed_inside_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution that ran has a row in execution order, with what it became; a shared one sums its calls."""
    network = Residual().eval()
    small = convsurgeon.convert(network, X, method="compconv128", random_weights=True).model
    ticks = iter(range(10**9))
    monkeypatch.setattr("convsurgeon.runtimes.timer.Stopwatch.clock", lambda self=None: next(ticks), raising=False)
    report = bench(network, small, X, runtimes="eager", layers=True, seconds=0.001)
    assert [row.name for row in report.layers] == ["stem.0", "conv1", "conv2", "shortcut.0", "gate"]
    became = {row.name: row.became for row in report.layers}
    assert became["conv1"] == "CompConv d=1 p=32"
    assert became["stem.0"] is None
    assert all(row.ratio is not None for row in report.layers)


def _without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name in packages else find(name, *rest))


@pytest.mark.usefixtures("clock")
def test_an_absent_runtime_is_told_and_refused_only_where_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name it is listed with the extra that brings it; by name it is an error; the one beside it runs."""
    _without(monkeypatch, "onnxruntime", "openvino")
    monkeypatch.setattr("convsurgeon.runtimes.compiled.shutil.which", lambda command: None)
    report = bench(Residual().eval(), None, X)
    assert [row.place.runtime for row in report.rows] == ["eager"]
    assert report.absent == {
        "compile": "torch.compile needs a C++ compiler and found none of g++, clang++, c++; install one, or set CXX.",
        "onnxruntime": "onnxruntime is not installed; pip install convsurgeon[onnx].",
        "openvino": "openvino is not installed; pip install convsurgeon[openvino].",
    }
    with pytest.raises(UsageError, match=r"'openvino' can't be used: openvino is not installed; pip install"):
        bench(Residual().eval(), None, X, runtimes="eager,openvino")
    assert bench(Residual().eval(), None, X, runtimes="eager").rows


@pytest.mark.usefixtures("clock")
def test_a_runtime_that_fails_is_told_and_raised_only_where_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that can't be brought into a runtime nobody named leaves a reason.

    Where that is named, or no other runs it either, it is the model's error.
    """

    def fail(*_: Any, **__: Any) -> None:
        raise ModelRunError("it can't")

    from convsurgeon.runtimes.eager import Eager
    from convsurgeon.runtimes.registry import RUNTIMES

    class Other(Eager):
        """A runtime beside it."""

    monkeypatch.setattr("convsurgeon.deployment.benching.networks.RUNTIMES", (*RUNTIMES[:1], Other("other")))
    monkeypatch.setattr(Other, "prepare", fail)
    report = bench(Residual().eval(), None, X, seconds=0.01)
    assert ([row.place.runtime for row in report.rows], report.failed) == (["eager"], {"other": "it can't"})
    monkeypatch.setattr(Eager, "prepare", fail)
    with pytest.raises(ModelRunError, match=r"nothing was timed, as every runtime failed \(eager, other\)\. eager: it"):
        bench(Residual().eval(), None, X)
    with pytest.raises(ModelRunError, match=r"^it can't"):
        bench(Residual().eval(), None, X, runtimes="eager")


def test_unknown_runtimes_and_bad_numbers_are_refused() -> None:
    """A runtime nobody knows, none at all, no threads, no images."""
    network = Residual().eval()
    with pytest.raises(UnknownName, match="unknown runtime 'onnx'"):
        bench(network, None, X, runtimes="onnx")
    with pytest.raises(UsageError, match="no runtime named"):
        bench(network, None, X, runtimes=" , ")
    with pytest.raises(UsageError, match="0 threads"):
        bench(network, None, X, runtimes="eager", threads_used=0)
    with pytest.raises(UsageError, match="a batch of 0"):
        bench(network, None, X, runtimes="eager", batches=[0])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A factory, and its saved conversion in ``small``."""
    (tmp_path / "mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    assert run(["convert", "mine.py:build", "--method", "compconv128", "--weights", "none", "-o", "small"]) == 0
    return tmp_path


@pytest.mark.usefixtures("clock", "folder")
def test_the_command_prints_the_whole_comparison(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row per batch size, then what was timed where and how, in words."""
    monkeypatch.setattr("convsurgeon.runtimes.runtime.importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("convsurgeon.runtimes.compiled.shutil.which", lambda command: command)
    capsys.readouterr()
    assert run(["bench", "small", "--batch", "1,8", "--runtime", "eager", "--trust-factory"]) == 0
    out, err = capsys.readouterr()
    expected = (Path(__file__).parents[1] / "cli" / "expected" / "bench.txt").read_text(encoding="utf-8")
    assert "".join(f"{line.rstrip()}\n" for line in out.splitlines()) == expected
    assert err == ""


@pytest.mark.usefixtures("clock", "folder")
def test_the_command_prints_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """--json is the record and nothing else."""
    capsys.readouterr()
    assert run(["bench", "mine.py:build", "--runtime", "eager", "--json", "--batch", "2"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema_version"], data["model"], data["converted"]) == (1, "mine.py:build", None)
    assert [(row["batch"], row["original"]["throughput"]) for row in data["rows"]] == [(2, 250.0)]


@pytest.mark.usefixtures("clock", "folder")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["small", "--runtime", "eager"], 2, "is built by the factory 'mine.py:build', which is code"),
        (["small", "--runtime", "eagr", "--trust-factory"], 2, "unknown runtime 'eagr'"),
        (["small", "--runtime", "openvino", "--trust-factory"], 2, "pip install convsurgeon[openvino]"),
        (["small", "--batch", "1;8", "--trust-factory"], 2, "--batch '1;8' can't be read; expected whole numbers"),
        (["small", "--batch", "0", "--trust-factory"], 2, "--batch '0' can't be read"),
        (["mine.py:build", "--original", "resnet18"], 2, "--original belongs to a saved conversion"),
        (["nowhere"], 2, "torchvision has no model 'nowhere'"),
        (["small", "--runtime", "eager", "--original", "mine.py:build", "--input", "1,5,9,9"], 3, "fails on inputs"),
    ],
)
def test_mistakes_end_with_their_code(
    arguments: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake is one message and its exit code; the same command without it is fine."""
    _without(monkeypatch, "openvino")
    capsys.readouterr()
    assert run(["bench", *arguments]) == code
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert run(["bench", "small", "--runtime", "eager", "--original", "mine.py:build"]) == 0


def test_slower_networks_stand_out() -> None:
    """A ratio above 1 is a negative realised share, and its row is coloured."""
    from convsurgeon.deployment.benching.record import BenchFigure, BenchRow
    from convsurgeon.deployment.benching.terminal import _style

    fast, slow = (
        BenchRow(
            place=_place("eager", "float32", torch.device("cpu")),
            batch=1,
            batch_norm="as in the model",
            original=BenchFigure(latency=exactly(MS), throughput=1.0, memory=None),
            ratio=ratio,
        )
        for ratio in (0.9, 1.1)
    )
    assert (_style(fast), _style(slow)) == ("", "yellow")


def test_both_networks_are_lowered_for_the_runtime_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """--lowered hands original and twin to the same lowering, with the row's inputs, runtime and precision."""
    asked: list[tuple[tuple[int, ...], str, str]] = []

    def lower(model: nn.Module, inputs: Inputs, *, runtime: str, precision: str) -> Lowered:
        asked.append((inputs.shapes()[0], runtime, precision))
        return Lowered(model, (), 0.0, runtime, precision)

    monkeypatch.setattr("convsurgeon.deployment.benching.networks.lower", lower)
    network = Residual().eval()
    report = bench(network, network, X, batches=[2], runtimes="eager", lowered=True, seconds=0.001)
    assert asked == [((2, 3, 16, 16), "eager", "float32")] * 2
    assert report.lowered
    assert report.rows[0].batch_norm == "folded by lowering"
    with pytest.raises(UsageError, match="ask for --layers or for --lowered"):
        bench(network, network, X, runtimes="eager", lowered=True, layers=True)


@pytest.mark.usefixtures("clock")
def test_int8_gets_a_row_where_the_runtime_has_it_and_a_reason_where_not() -> None:
    """Networks are also timed lowered and quantised; a runtime without int8 says so."""
    if (reason := find_runtime("onnxruntime").int8_missing()) is not None:
        pytest.skip(reason)
    report = bench(Residual().eval(), None, X, runtimes="eager,onnxruntime", int8=True)
    timed = [(row.place.runtime, row.place.precision) for row in report.rows]
    assert timed == [("eager", "float32"), ("onnxruntime", "float32"), ("onnxruntime", "int8")]
    assert report.rows[-1].batch_norm == "folded by lowering"
    assert "onnxruntime: folded by the runtime; onnxruntime int8: folded by lowering" in "\n".join(lines(report))
    assert "eager int8" in report.absent
    assert "eager int8" not in bench(Residual().eval(), None, X, runtimes="eager").absent
