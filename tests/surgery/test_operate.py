"""Surgery: modules are swapped in a copy, everything else stays as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convsurgeon import CompConv, DGConv, DGConvSpec, IGCSpec, Plan, Recipe, inspect
from convsurgeon.base.errors import ModelLoadError, UnknownName
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.problem import pose
from convsurgeon.surgery.operate import operate, replacement
from tests.nets import IMAGE, Plain, Residual, Shared, outside_macs


def _plan(network: nn.Module, method: str = "compconv128", target: str | None = None) -> Plan:
    return make_plan(pose(inspect(network, torch.zeros(IMAGE)), Recipe(method=method, target=target)))


def test_the_callers_model_is_untouched() -> None:
    """Weights, modules, flags, statistics, gradients and torch's generator are as they were."""
    network = Residual().train()
    network.stem.eval()
    plan = _plan(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modules, flags = dict(network.named_modules()), [m.training for m in network.modules()]
    generator = torch.get_rng_state()
    operate(network, plan)
    assert dict(network.named_modules()) == modules
    assert flags == [m.training for m in network.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_only_planned_modules_change() -> None:
    """The result is of the caller's own class; every module that the plan does not name is of the same type."""
    network = Residual()
    plan = _plan(network)
    result = operate(network, plan)
    assert type(result) is Residual
    replaced = {row.name for row in plan.replaced}
    for name, module in network.named_modules():
        assert (type(result.get_submodule(name)) is type(module)) == (name not in replaced)
    for name in replaced:
        assert isinstance(result.get_submodule(name), CompConv)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_flags_and_dtype_follow_the_convolution(training: bool, trainable: bool, dtype: torch.dtype) -> None:
    """Train flag, requires_grad and dtype of the new parameters are the convolution's."""
    conv = nn.Conv2d(64, 64, 3).to(dtype).train(training).requires_grad_(trainable)
    for spec in _plan(nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3)), "auto", "macs=60%").replaced:
        assert spec.spec is not None
        new = replacement(conv, spec.spec)
        assert {module.training for module in new.modules()} == {training}
        assert {(p.dtype, p.requires_grad) for p in new.parameters()} == {(dtype, trainable)}


def test_a_meta_convolution_gets_a_meta_replacement() -> None:
    """The device is the convolution's, also where there are no weights at all."""
    with torch.device("meta"):
        network = Plain()
    result = operate(network, _plan(network))
    assert {tensor.device.type for tensor in result.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format_follows_the_convolution(channels_last: bool) -> None:
    """Channels-last weights are replaced by channels-last weights, contiguous ones by contiguous ones."""
    network = Plain()
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    unit = operate(network, _plan(network)).last
    assert unit.primary.weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert unit.primary.weight.is_contiguous() != channels_last


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_a_pointwise_unit_does_not_turn_the_network(memory_format: torch.memory_format) -> None:
    """A 1×1 weight is contiguous in either order: its replacement gives maps in the order that it is stored in."""
    conv = nn.Conv2d(64, 64, 1).to(memory_format=memory_format)  # type: ignore[call-overload]
    unit = replacement(conv, IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=16))
    maps = torch.rand(1, 64, 8, 8)
    assert unit(maps).is_contiguous(memory_format=memory_format) == conv(maps).is_contiguous(
        memory_format=memory_format
    )
    assert unit(maps).is_contiguous() == conv(maps).is_contiguous()


def test_the_seed_decides_the_new_weights() -> None:
    """Equal seeds give equal networks, whatever torch's generator is at; another seed another network."""
    network = Plain()
    plan = _plan(network)
    first = operate(network, plan, seed=1).state_dict()
    torch.manual_seed(99)
    again, other = operate(network, plan, seed=1).state_dict(), operate(network, plan, seed=2).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_open_gates_take_the_weights_over() -> None:
    """A DGConv with open gates computes what its convolution computes, bit for bit."""
    network = Residual().eval()
    result = operate(network, _plan(network, "dgconv")).eval()
    assert isinstance(result.conv1, DGConv)
    x = torch.randn(IMAGE)
    assert torch.equal(result(x), network(x))
    assert DGConvSpec().build(conv_shape(network.conv1)).latent_gates.shape == (5,)


def test_aliases_stay_aliases() -> None:
    """A module at two paths is one module at two paths afterwards."""
    result = operate(Shared(), _plan(Shared()))
    assert result.near is result.far["again"]
    assert isinstance(result.near, CompConv)


def test_a_plan_for_something_else_is_refused() -> None:
    """A name that is not there, is no convolution, or has another shape is refused with what was found."""
    plan = _plan(Residual())
    gone, no_conv, other = Residual(), Residual(), Residual()
    del gone.conv2
    no_conv.conv2 = nn.Identity()
    other.conv2 = nn.Conv2d(64, 64, 5, padding=2)
    with pytest.raises(UnknownName, match="replaces 'conv2', where this model has nothing; expected Conv2d"):
        operate(gone, plan)
    with pytest.raises(UnknownName, match="replaces 'conv2', where this model has a Identity"):
        operate(no_conv, plan)
    with pytest.raises(UnknownName, match="'conv2' as 64→64 3×3, this model has 64→64 5×5 there"):
        operate(other, plan)
    assert operate(Residual(), plan)


def test_a_converted_model_is_not_operated_on_twice() -> None:
    """Where a compact convolution stands already, the plan is refused."""
    plan = _plan(Residual())
    with pytest.raises(UnknownName, match="where this model has a CompConv"):
        operate(operate(Residual(), plan), plan)


def test_a_model_that_can_not_be_copied_is_refused() -> None:
    """A tensor with gradient history makes a model uncopyable; the message names its holder."""
    network = Residual()
    plan = _plan(network)
    network.bn1.scale = torch.ones(1, requires_grad=True) * 2
    with pytest.raises(ModelLoadError, match=r"can't be copied: .*\(bn1 hold tensors with gradient history\)"):
        operate(network, plan)
    network.bn1.scale = network.bn1.scale.detach()
    assert operate(network, plan)


class _Holds(nn.Module):
    """Calls its convolutions through a plain list and through a bound method."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(c, 64, 3, padding=1) for c in (3, 64, 64))
        self.listed = [self.second]
        self.call = {"third": self.third}

    def forward(self, x: Tensor) -> Tensor:
        return self.call["third"](self.listed[0](self.first(x)))


def test_plain_references_follow() -> None:
    """A convolution that a list or a dict refers to is replaced there too, in the copy and not in the original."""
    network = _Holds()
    result = operate(network, _plan(network))
    assert result.listed[0] is result.second
    assert result.call["third"] is result.third
    assert isinstance(result.second, CompConv)
    assert network.listed[0] is network.second
    assert outside_macs(result, torch.zeros(IMAGE)) == _plan(network).after.macs


class _Wired(nn.Module):
    """Reads on each layer which earlier output it takes, as ultralytics' networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        for number, layer in enumerate(self.layers):
            layer.f, layer.table = number, torch.zeros(2)  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 16, H, W] → the same shape."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[layer.f]))  # type: ignore[index]
        return outputs[-1]


def test_what_was_written_on_a_layer_is_on_its_replacement() -> None:
    """Plain values, by which a forward finds its way; what could be the caller's own, as a tensor, is not shared."""
    network, x = _Wired().eval(), torch.zeros(1, 16, 8, 8)
    new = operate(network, make_plan(pose(inspect(network, x), Recipe(method="igc-l4m2"))))
    assert type(new.layers[1]) is not nn.Conv2d  # type: ignore[index]
    assert (new.layers[1].f, hasattr(new.layers[1], "table")) == (1, False)  # type: ignore[index]
    assert new(x).shape == x.shape
