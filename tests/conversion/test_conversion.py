"""The Python API from end to end: one call, the caller's model untouched, the same model in another dress."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon import Recipe, Rules, convert
from convsurgeon.base.errors import TargetError, UnknownName
from convsurgeon.conversion import damage
from convsurgeon.transfer.measured_site import MeasuredSite
from tests.nets import IMAGE, Plain, Residual, outside_macs


def test_ten_lines_of_python(tmp_path: Path) -> None:
    """convert, look at the record, save, load: the loaded network computes what the converted one does."""
    network = Plain().eval()
    done = convsurgeon.convert(network, torch.zeros(IMAGE), method="igc", target="macs=50%")
    assert isinstance(done.model, Plain)
    assert done.plan.after.macs <= done.plan.before.macs / 2
    assert done.report.after == done.plan.after
    assert done.report.weights.origin == "caller"
    done.save(tmp_path / "small")
    x = torch.randn(IMAGE)
    assert torch.equal(convsurgeon.load(tmp_path / "small", model=network)(x), done.model(x))


@pytest.mark.parametrize("random_weights", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_callers_model_is_untouched(training: bool, random_weights: bool) -> None:
    """Weights, statistics, flags, hooks and torch's generator are as they were; the result is in the same mode."""
    network = Residual().train(training)
    network.bn1.eval()
    network.register_forward_hook(lambda *_: None)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    flags = {name: module.training for name, module in network.named_modules()}
    generator = torch.get_rng_state()
    done = convert(
        network,
        torch.rand(IMAGE, generator=torch.Generator()),
        method="compconv128",
        random_weights=random_weights,
    )
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert flags == {name: module.training for name, module in network.named_modules()}
    assert torch.equal(generator, torch.get_rng_state())
    assert len(network._forward_hooks) == len(done.model._forward_hooks) == 1
    results = {name: module.training for name, module in done.model.named_modules() if name in flags}
    assert results == flags


class _Dropping(nn.Module):
    """Behaves differently in training: drops, and returns an auxiliary output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.drop(self.body(self.stem(x)))
        return (x, x.mean()) if self.training else x


def test_train_and_eval_behave_as_in_the_original() -> None:
    """Dropout and auxiliary outputs are still there in training, and still gone in eval."""
    done = convert(_Dropping().train(), torch.zeros(IMAGE), method="compconv128")
    x = torch.randn(IMAGE)
    trained, _ = done.model(x)
    assert float((trained == 0).float().mean()) > 0.3
    quiet = done.model.eval()
    assert torch.equal(quiet(x), quiet(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dtype_and_shape_follow_the_original(dtype: torch.dtype) -> None:
    """The result takes the same inputs and returns the same shape and dtype."""
    network = Residual().to(dtype).eval()
    done = convert(network, torch.zeros(IMAGE), method="compconv128", random_weights=True)
    x = torch.randn(2, 3, 20, 12, dtype=dtype)
    assert done.model(x).shape == network(x).shape
    assert done.model(x).dtype == dtype


class _TwoInputs(nn.Module):
    """Takes an image and a mask, by position or by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"out": self.body(self.stem(image)) * mask}


@pytest.mark.parametrize("keywords", [True, False])
def test_inputs_by_position_and_by_keyword(keywords: bool) -> None:
    """A tuple is positional arguments, a dict keyword arguments; both convert the same way."""
    inputs: dict[str, Tensor] = {"image": torch.zeros(IMAGE), "mask": torch.ones(1)}
    done = convert(_TwoInputs(), inputs if keywords else tuple(inputs.values()), method="compconv128")
    assert [row.name for row in done.plan.replaced] == ["body"]
    assert done.report.plan.input_shapes == (IMAGE, (1,))


def test_a_recipe_and_arguments() -> None:
    """A recipe says what to do; arguments win over it."""
    recipe = Recipe(method="compconv128", rules=Rules(only=["conv1"]), seed=5)
    x = torch.zeros(IMAGE)
    by_recipe = convert(Residual(), x, recipe=recipe, random_weights=True)
    assert [row.name for row in by_recipe.plan.replaced] == ["conv1"]
    by_argument = convert(Residual(), x, recipe=recipe, method="igc-l4m2", random_weights=True)
    assert [row.reason for row in by_argument.plan.replaced] == ["IGC L4M2 w64"]
    again = convert(Residual(), x, recipe=recipe, random_weights=True)
    first, second = (done.model.conv1.primary.weight for done in (by_recipe, again))
    assert torch.equal(first, second)


@pytest.mark.parametrize("target", ["macs=60%", ["macs=60%", "params=70%"], ("macs=60%",)])
def test_one_target_or_several(target: str | list[str]) -> None:
    """A string or several of them."""
    done = convert(Residual(), torch.zeros(IMAGE), method="compconv", target=target, random_weights=True)
    assert done.plan.after.macs <= 0.6 * done.plan.before.macs


def test_plan_and_apply_apart() -> None:
    """plan and apply are convert in two steps."""
    network, x = Residual().eval(), torch.zeros(IMAGE)
    plan = convsurgeon.plan(network, x, method="compconv128")
    apart = convsurgeon.apply(network, plan, x, random_weights=True, seed=4)
    at_once = convert(network, x, method="compconv128", random_weights=True, seed=4)
    assert apart.plan == at_once.plan
    y = torch.randn(IMAGE)
    assert torch.equal(apart.model(y), at_once.model(y))


def test_open_gates_are_lossless() -> None:
    """dgconv without a target: the same outputs bit for bit, cost unchanged, and the report says it loudly."""
    network = Residual().eval()
    done = convert(network, torch.zeros(IMAGE), method="dgconv")
    x = torch.randn(IMAGE)
    assert torch.equal(done.model(x), network(x))
    assert done.report.after.macs == done.report.before.macs
    assert any("keeps every gate open" in note for note in done.plan.notes)


def test_the_report_has_a_row_for_every_convolution() -> None:
    """Rows carry what it was, what it became or why not, and exact costs that add up to the totals."""
    network, x = Residual(), torch.zeros(IMAGE)
    report = convert(network, x, method="compconv128", random_weights=True).report
    assert [(row.name, row.action, row.was) for row in report.plan.layers] == [
        ("stem.0", "kept", "Conv2d 3→32 3×3"),
        ("conv1", "replaced", "Conv2d 32→64 3×3 /2"),
        ("conv2", "replaced", "Conv2d 64→64 3×3"),
        ("shortcut.0", "kept", "Conv2d 32→64 1×1 /2"),
        ("gate", "replaced", "Conv2d 64→64 1×1"),
    ]
    assert sum(row.before.macs for row in report.plan.layers) == report.before.macs == outside_macs(network, x)
    assert sum(row.after.macs for row in report.plan.layers) == report.after.macs


def test_a_failed_conversion_changes_nothing() -> None:
    """A request that can't be met raises, and leaves the model as it was."""
    network = Residual()
    modules = list(network.modules())
    with pytest.raises(TargetError):
        convert(network, torch.zeros(IMAGE), target="macs=1%")
    with pytest.raises(UnknownName, match=r"unknown method 'compconv129'.*Did you mean .*compconv128"):
        convert(network, torch.zeros(IMAGE), method="compconv129")
    assert list(network.modules()) == modules


def test_a_network_converted_once_offers_what_is_left() -> None:
    """A second conversion takes what the first one left, and only that."""
    x = torch.zeros(IMAGE)
    first = convert(Residual(), x, method="compconv128", rules=Rules(only=["conv1"]), random_weights=True)
    second = convert(first.model, x, method="igc-l4m2", random_weights=True)
    assert [row.name for row in second.plan.replaced] == ["conv2", "gate"]
    rows = {row.name: row.reason for row in second.plan.layers}
    assert rows["conv1"] == "converted already"
    assert second.plan.after.macs == outside_macs(second.model, x)


def test_the_result_trains() -> None:
    """Every parameter of the converted network gets a gradient."""
    done = convert(Residual().train(), torch.zeros(IMAGE), method="compconv128", random_weights=True)
    done.model(torch.randn(2, *IMAGE[1:])).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in done.model.parameters())


def test_a_model_without_values_converts_without_a_fit() -> None:
    """On the meta device there is nothing to carry over: planned, built and counted, and said so."""
    with torch.device("meta"):
        network = Residual()
    done = convert(network, torch.zeros(IMAGE), method="compconv128")
    assert done.report.weights.origin == "random"
    assert "meta device" in done.report.weights.detail
    assert done.report.after.macs == outside_macs(done.model, torch.zeros(IMAGE, device="meta"))


@pytest.mark.parametrize("once", [True, False])
def test_calibration_that_can_be_read_once_serves_the_whole_conversion(
    once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator of batches does what their list does: damage is measured on them, and the fit sees them too."""
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path))
    torch.manual_seed(0)
    batches = [torch.randn(16, *IMAGE[1:]) for _ in range(2)]
    calibration = (batch for batch in batches) if once else batches
    done = convert(Plain().eval(), torch.zeros(IMAGE), method="igc", target="macs=50%", calibration=calibration)
    assert done.report.plan.objective.startswith("measured")
    assert done.report.inherited == "fitted in closed form on calibration inputs"


@pytest.mark.parametrize("target", ["macs=60%", "params=35%"])
def test_what_is_ruled_out_changes_no_plan(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan is the same whether every candidate was fitted or only those that could win."""
    torch.manual_seed(0)
    convs = [nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 16), (16, 32), (32, 32))]
    net = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2], nn.AdaptiveAvgPool2d(1)).eval()
    images = torch.randn(60, 3, 10, 10)
    fitted: list[set[object]] = []
    by_stages = MeasuredSite.by_stages
    monkeypatch.setattr(
        MeasuredSite, "by_stages", lambda self, specs, *more: (fitted.append(specs), by_stages(self, specs, *more))[1]
    )
    pruned = convsurgeon.plan(net, images[:1], target=target, calibration=[images])
    few = sum(len(specs) for specs in fitted)
    monkeypatch.setattr(damage, "_costs", lambda patient, problems: None)
    monkeypatch.setattr(damage, "cache_directory", lambda: tmp_path)
    assert convsurgeon.plan(net, images[:1], target=target, calibration=[images]) == pruned
    assert sum(len(specs) for specs in fitted) > 2 * few
