from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.dgconv.spec import DGConvSpec
from convsurgeon.families.family import Spec
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.surgery.operate import operate
from convsurgeon.transfer import Inherited, InheritSettings, inherit
from tests.transfer.networks import Chain, Looped, plan_for, trained
from tests.transfer.sites import feature_maps

FULL = IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=16)
FULL8 = IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=8)
THIN = IGCSpec(primary_groups=2, secondary_groups=1, mid_channels=8)


def state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(before: dict[str, Tensor], model: nn.Module) -> bool:
    """Whether all these are still in the model, bit for bit."""
    return all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())


def error(model: nn.Module, other: nn.Module, *inputs: Tensor) -> float:
    """Relative distance of the outputs."""
    with torch.no_grad():
        wanted, found = model(*inputs), other(*inputs)
    return float((wanted - found).norm() / wanted.norm())


def converted(
    model: nn.Module, specs: dict[str, Spec], batches: list[object] | None, example: tuple[Tensor, ...], **settings: int
) -> tuple[nn.Module, Inherited]:
    """A converted copy with these specs, calibrated."""
    plan = plan_for(model, specs, *example)
    network = operate(model, plan)
    return network, inherit(model, network, plan, batches, settings=InheritSettings(**settings))


@pytest.mark.parametrize("memory", [1 << 30, 1])
def test_full_capacity_keeps_the_network(memory: int) -> None:
    """With full-rank units everywhere the converted network is the original, however little memory it may use."""
    model, x = trained(Chain()), feature_maps(32, 8)
    network, result = converted(
        model, {"first": FULL, "second": FULL, "third": FULL}, [*x.split(8)], (x[:1],), memory_bytes=memory
    )
    assert error(model, network, x) < 1e-4
    assert [site.name for site in result.sites] == ["first", "second", "third"]
    assert all(site.held_back_error is not None and site.held_back_error < 1e-8 for site in result.sites)


def test_data_beats_the_weights_alone_on_new_images() -> None:
    """At low cost, fitted on data is far nearer to the original than fitted on the weights, on images not seen."""
    model, x = trained(Chain()), feature_maps(64, 8)
    specs: dict[str, Spec] = {"first": THIN, "second": THIN, "third": THIN}
    seeing, result = converted(model, specs, [*x[:48].split(16)], (x[:1],))
    blind, said = converted(model, specs, None, (x[:1],))
    assert error(model, seeing, x[48:]) < 0.2 * error(model, blind, x[48:])
    assert said.agreement is None
    assert result.agreement is not None
    assert result.agreement.held_back
    assert result.agreement.images == 6
    assert result.agreement.top1 is not None


def test_later_sites_undo_earlier_errors() -> None:
    """A site behind a damaged one gets the damaged inputs, so that it ends nearer than one fitted on clean inputs."""
    model, x = trained(Chain()), feature_maps(64, 8)
    both, _ = converted(model, {"first": THIN, "second": FULL}, [x], (x[:1],))
    clean, _ = converted(model, {"second": FULL}, [x], (x[:1],))
    mixed = copy.deepcopy(both)
    mixed.second = clean.second
    assert error(model, both, x) < error(model, mixed, x)


def test_the_original_and_all_flags_stay() -> None:
    """The original's state and both models' train flags are as before; only fitted units and norms behind them move."""
    model, x = trained(Chain()), feature_maps(16, 8)
    model.train()
    model.norm.eval()
    before, flags = state(model), [module.training for module in model.modules()]
    plan = plan_for(model, {"first": THIN}, x[:1])
    network = operate(model, plan)
    own_flags = [module.training for module in network.modules()]
    result = inherit(model, network, plan, [x])
    assert same(before, model)
    assert [module.training for module in model.modules()] == flags
    assert [module.training for module in network.modules()] == own_flags
    assert result.recalibrated == ("norm",)
    kept = {name: tensor for name, tensor in before.items() if not name.startswith(("first.", "norm."))}
    assert same(kept, network)
    assert not torch.equal(network.norm.running_mean, model.norm.running_mean)


@pytest.mark.parametrize(
    "spec", [FULL8, DGConvSpec(groups=2), CompConvSpec(depth=1, primary_channels=4, tail_kernel=(3, 3))]
)
def test_shared_modules_and_several_calls_are_fitted_on_all_calls(spec: Spec) -> None:
    """A convolution at two names, called three times on its own output, becomes one unit fitted on all of its calls."""
    model = Looped().eval()
    x, y = feature_maps(24, 8), feature_maps(24, 8, seed=1)
    network, result = converted(model, {"again": spec, "tall": FULL8}, [(x[:12], y[:12]), (x[12:], y[12:])], (x, y))
    assert network.again is network.alias
    assert result.sites[0].fit.samples == 3 * 21 * 100
    assert error(model, network, x, y) < (1e-4 if spec == FULL8 else 0.3)


def test_half_precision_models_are_fitted() -> None:
    """A bfloat16 network is calibrated in bfloat16 and stays so; float32 inputs are cast."""
    model, x = trained(Chain()).bfloat16(), feature_maps(32, 8)
    network, _ = converted(model, {"first": FULL, "second": FULL, "third": FULL}, [x], (x[:1].bfloat16(),))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    assert error(model, network, x.bfloat16()) < 0.05


def test_a_generator_of_inputs_will_do() -> None:
    """Inputs that can be read only once give the same network as a list of them."""
    model, x = trained(Chain()), feature_maps(16, 8)
    plan = plan_for(model, {"first": THIN}, x[:1])
    networks = [operate(model, plan) for _ in range(2)]
    inherit(model, networks[0], plan, [*x.split(4)])
    inherit(model, networks[1], plan, (part for part in x.split(4)))
    assert same(state(networks[0]), networks[1])


@pytest.mark.parametrize("calibrated", [True, False])
def test_progress_is_told(calibrated: bool) -> None:
    """Progress counts the sites and names the next one, with data and without; at the end all are done."""
    model, x = trained(Chain()), feature_maps(16, 8)
    plan = plan_for(model, {"first": THIN, "third": THIN}, x[:1])
    told: list[tuple[str, int, int, str]] = []
    batches = [x] if calibrated else None
    inherit(model, operate(model, plan), plan, batches, progress=lambda *step: told.append(step))
    judging = [("judging", 0, 1, "the converted network"), ("judging", 1, 1, "")] if calibrated else []
    assert told == [("fitting", 0, 2, "first"), ("fitting", 1, 2, "third"), ("fitting", 2, 2, ""), *judging]


def test_sites_that_the_inputs_never_reach_are_fitted_on_their_weights() -> None:
    """A site that no calibration input reaches falls back to its weights, and the network stays whole."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.unused(x) if x.shape[0] == 2 else self.used(x)

    model, x = Gated().eval(), feature_maps(16, 8)
    plan = plan_for(model, {"used": FULL8}, x)
    other = plan_for(model, {"unused": FULL8}, x[:2])
    plan = plan.model_copy(update={"layers": (*plan.replaced, *other.replaced)})
    network = operate(model, plan)
    result = inherit(model, network, plan, [x])
    assert [site.fit.error is None for site in result.sites] == [False, True]
    assert error(model, network, x[:2]) < 1e-4


def test_a_failing_calibration_leaves_a_whole_network() -> None:
    """Inputs that the model fails on are an error of the model's run, and every compact unit is in its place."""
    model, x = trained(Chain()), feature_maps(8, 8)
    plan = plan_for(model, {"first": THIN}, x[:1])
    network = operate(model, plan)
    unit = network.first
    with pytest.raises(ModelRunError, match=r"fails on inputs \[7, 3, 10, 10\]"):
        inherit(model, network, plan, [x[:, :3]])
    assert network.first is unit
    inherit(model, network, plan, [x])


@pytest.mark.parametrize(("wrong", "match"), [(torch.ones(4, 8, 10, 10), "calibration is a Tensor"), ([], "no inputs")])
def test_wrong_calibration_is_refused(wrong: object, match: str) -> None:
    """A bare tensor and an empty list are refused; a list of one batch is not."""
    model, x = trained(Chain()), feature_maps(4, 8)
    plan = plan_for(model, {"first": THIN}, x[:1])
    with pytest.raises(UsageError, match=match):
        inherit(model, operate(model, plan), plan, wrong)  # type: ignore[arg-type]
    inherit(model, operate(model, plan), plan, [x])


class _Pyramid(nn.Module):
    """Lateral convolutions that are called through a plain list, or by their names."""

    def __init__(self, through_list: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)
        self.laterals = [self.first, self.second] if through_list else []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.laterals or (self.first, self.second):
            x = conv(x).relu()
        return self.third(x)


@pytest.mark.parametrize("refine", [0, 3])
def test_convolutions_called_through_a_plain_list_are_fitted_on_their_inputs(refine: int) -> None:
    """What the network calls by no name is fitted to the bit like what it calls by name, stages and steps included."""
    torch.manual_seed(0)
    named, listed = _Pyramid(False).eval(), _Pyramid(True).eval()
    listed.load_state_dict(named.state_dict())
    x = feature_maps(40, 8)
    staged = CompConvSpec(depth=1, primary_channels=8, tail_kernel=(3, 3))
    done = []
    for model in (named, listed):
        plan = plan_for(model, {"first": staged, "second": THIN, "third": staged}, x[:1])
        network = operate(model, plan)
        found = inherit(model, network, plan, [*x.split(10)], settings=InheritSettings(refine_steps=refine))
        done.append((network, [site.fit.samples for site in found.sites]))
    assert done[0][1] == done[1][1]
    assert all(samples > 0 for samples in done[1][1])
    assert same(state(done[0][0]), done[1][0])
    with torch.no_grad():
        assert torch.equal(done[0][0](x), done[1][0](x))
