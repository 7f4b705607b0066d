"""Plans timed in int8: the solver sees what quantised layers take, and the plan says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon import Plan
from convsurgeon.base.errors import RecipeError, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.conversion.in_time.timekeeper import Bench
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.runtimes import registry
from convsurgeon.runtimes.eager import Eager
from convsurgeon.runtimes.timer import Effort
from tests.nets import IMAGE, Residual

X = torch.zeros(IMAGE)
ONCE = Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=0)


@dataclass(frozen=True)
class Counting(Eager):
    """Runs nothing: its clock goes on by the convolutions' weights, fourfold for groups in int8."""

    name: str = "counting"
    passed: list[int] = field(default_factory=lambda: [0], compare=False)
    prepared: list[str] = field(default_factory=list, compare=False)

    def int8_missing(self) -> str | None:
        """It can."""
        return None

    def for_layers(self) -> Counting:
        """Itself."""
        return self

    def clock(self) -> int:
        """Nanoseconds."""
        return self.passed[0]

    def prepare(self, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        """What makes its clock go on."""
        self.prepared.append(precision)
        convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
        slow = 4 if precision == "int8" else 1
        took = 1000 * sum(conv.weight.numel() * (slow if conv.groups > 1 else 1) for conv in convs)

        def run() -> None:
            self.passed[0] += took

        return run


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counting:
    """A runtime beside the others, with a clock and a cache of its own."""
    own = Counting()
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "RUNTIMES", (*registry.RUNTIMES, own))
    monkeypatch.setattr(
        "convsurgeon.conversion.planner.timekeeper",
        lambda runtime, precision: Bench(runtime, precision, ONCE, ONCE, own.clock),
    )
    return own


def _plan(network: nn.Module | None = None, **request: object) -> Plan:
    wanted = {"method": "igc", "target": "latency=80%", "runtime": "counting", **request}
    return convsurgeon.plan(network or Residual().eval(), X, **wanted)  # type: ignore[arg-type]


def _grouped(plan: Plan) -> list[bool]:
    specs = [row.spec for row in plan.replaced]
    assert all(isinstance(spec, IGCSpec) for spec in specs)
    return [spec.primary_groups > 1 or spec.secondary_groups > 1 for spec in specs]  # type: ignore[union-attr]


def test_groups_that_are_slow_in_int8_are_not_planned_there(runtime: Counting) -> None:
    """In float the fastest units have groups; where int8 makes these slow, the plan for int8 does without them."""
    assert any(_grouped(_plan()))
    plan = _plan(precision="int8")
    assert plan.replaced
    assert not any(_grouped(plan))


def test_a_plan_in_int8_is_timed_in_nothing_else(runtime: Counting) -> None:
    """Layers, network and planned network are prepared in int8, and the plan's place says so; float is apart."""
    plan = _plan(precision="int8")
    assert set(runtime.prepared) == {"int8"}
    assert plan.latency is not None
    assert plan.latency.place.precision == "int8"
    assert plan.latency.measured_after_ns == pytest.approx(plan.latency.predicted_ns, rel=1e-6)
    done = len(runtime.prepared)
    _plan()
    assert set(runtime.prepared[done:]) == {"float32"}


def test_a_precision_that_can_not_be_had_is_refused(runtime: Counting) -> None:
    """One that no runtime has, that this one lacks, that halves can't be brought to; what it has is taken."""
    with pytest.raises(RecipeError, match=r"precision: Input should be 'float32'.*found 'int7'"):
        _plan(precision="int7")
    with pytest.raises(UsageError, match="counting does not calculate in 'bfloat16' here; expected float32"):
        _plan(precision="bfloat16")
    with pytest.raises(UsageError, match="nothing can be timed in int8 in the runtime 'eager': PyTorch's eager"):
        _plan(precision="int8", runtime="eager")
    with pytest.raises(UsageError, match=r"starts from float32, and the weights are bfloat16: model\.float"):
        _plan(Residual().eval().bfloat16(), precision="int8")
    assert runtime.prepared == []
    assert _plan(precision="float32").latency


def test_a_precision_is_refused_where_nothing_is_timed_too(runtime: Counting) -> None:
    """A target in MACs heeds known times, so that a precision that the runtime lacks is no less wrong there."""
    with pytest.raises(UsageError, match="nothing can be timed in int8"):
        _plan(target="macs=80%", precision="int8", runtime="eager")
    assert _plan(target="macs=80%", precision="int8").replaced
