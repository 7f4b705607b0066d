"""Verification: what a conversion promises is checked by running it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convsurgeon import Plan, Recipe, inspect
from convsurgeon.base.errors import ConvsurgeonError, ModelRunError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import CostRecord
from convsurgeon.planning.problem import pose
from convsurgeon.surgery.operate import operate
from convsurgeon.surgery.verify import verify
from tests.nets import IMAGE, Opaque, Residual

INPUTS = as_inputs(torch.rand(IMAGE))


def _operated(network: nn.Module) -> tuple[nn.Module, Plan]:
    plan = make_plan(pose(inspect(network, INPUTS), Recipe(method="compconv128")))
    return operate(network, plan), plan


def _verify(
    original: nn.Module, converted: nn.Module, plan: Plan, recalibrated: tuple[str, ...] = ()
) -> tuple[str, ...]:
    return verify(original, converted, plan, inspect(original, INPUTS), INPUTS, recalibrated)


@pytest.mark.parametrize("network", [Residual(), Opaque()], ids=lambda n: type(n).__name__)
def test_a_sound_conversion_passes_without_notes(network: nn.Module) -> None:
    """Counted cost, outputs and untouched weights agree, on the meta device and on real numbers."""
    assert _verify(network, *_operated(network)) == ()


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_a_cost_that_was_not_planned_is_a_bug(metric: str) -> None:
    """One MAC or one parameter off the plan is an error with both numbers."""
    network = Residual()
    converted, plan = _operated(network)
    wrong = plan.after.model_dump()
    wrong[metric] += 1
    with pytest.raises(ConvsurgeonError, match=f"counted {getattr(plan.after, metric):,} .* planned {wrong[metric]:,}"):
        _verify(network, converted, plan.model_copy(update={"after": CostRecord(**wrong)}))


@pytest.mark.parametrize("name", ["bn1.weight", "bn1.running_mean", "bn1.num_batches_tracked", "stem.0.weight"])
def test_an_untouched_weight_that_changed_is_a_bug(name: str) -> None:
    """One bit in a weight or a buffer that the plan does not name is noticed; recalibrated modules are exempt."""
    network = Residual()
    converted, plan = _operated(network)
    tensor = converted.state_dict()[name]
    tensor.view(-1)[0] += 1
    with pytest.raises(ConvsurgeonError, match=f"'{name}' changed, though the plan does not touch it"):
        _verify(network, converted, plan)
    assert _verify(network, converted, plan, recalibrated=(name.rpartition(".")[0],)) == ()


def test_nan_is_equal_to_itself() -> None:
    """A weight that is not a number, and stays it, is no change; negative zero for zero is one."""
    network = Residual()
    with torch.no_grad():
        network.bn1.weight[0] = float("nan")
        network.bn1.bias[0] = 0.0
    converted, plan = _operated(network)
    assert _verify(network, converted, plan) == ()
    with torch.no_grad():
        converted.bn1.bias[0] = -0.0
    with pytest.raises(ConvsurgeonError, match=r"'bn1\.bias' changed"):
        _verify(network, converted, plan)


class _Reads(nn.Module):
    """Reads a convolution's weight beside calling it, in a way that no survey notices."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.first, self.second, self.reads = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), reads

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        return x * dict(self.second.named_parameters())["weight"].mean() if self.reads else x


def test_code_that_reads_the_weight_is_named_with_the_remedy() -> None:
    """A model whose forward reads a weight runs before surgery and not after: said so, with what to do."""
    network = _Reads(True)
    with pytest.raises(ModelRunError, match=r"fails after it: .*'weight'.*--skip NAME"):
        _verify(network, *_operated(network))
    twin = _Reads(False)
    assert _verify(twin, *_operated(twin)) == ()


class _Changes(nn.Module):
    """Returns another shape once its convolution is no longer a Conv2d."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        return x if isinstance(self.second, nn.Conv2d) else x.flatten()


def test_outputs_of_another_shape_are_an_error() -> None:
    """The output's shapes and dtypes are the original's, or the difference is named."""
    network = _Changes()
    with pytest.raises(ConvsurgeonError, match=r"outputs were float32 \[1, 64, 12, 12\], now float32 \[9216\]"):
        _verify(network, *_operated(network))


class _Proposes(nn.Module):
    """Runs its head on as many rows as have a positive sum: a cost that depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
        self.head = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.second(self.first(x)).mean(1).flatten()
        return self.head(torch.outer(rows[rows > 0], torch.ones(64)))


def test_a_cost_that_depends_on_the_data_is_a_note() -> None:
    """Where proposals decide the cost, other MACs are noted, not an error; parameters still agree."""
    network = _Proposes()
    converted, plan = _operated(network)
    (note,) = _verify(network, converted, plan)
    assert note.startswith(f"the cost depends on the data: {plan.after.macs:,} MACs planned from the original's run")


class _Typed(nn.Module):
    """Calls its layers by their type, or all of them."""

    def __init__(self, *, tested: bool) -> None:
        super().__init__()
        self.tested = tested
        self.layers = nn.ModuleList([nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if not self.tested or isinstance(layer, nn.Conv2d):
                x = layer(x)
        return x


def test_a_layer_that_is_no_longer_called_is_named() -> None:
    """Where a forward tests types, a replacement that it passes over is an error with the remedy."""
    twin, network = _Typed(tested=False), _Typed(tested=True)
    assert _verify(twin, *_operated(twin)) == ()
    with pytest.raises(ModelRunError, match=r"no longer called after surgery.*: layers\.1\..*--skip layers\.1 "):
        _verify(network, *_operated(network))
