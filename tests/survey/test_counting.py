"""MACs and parameters against outside witnesses: PyTorch's counter, torchvision's own figures, the closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as zoo

from convsurgeon import ConvShape, Cost, Rules, UsageError, convert, count, inspect
from convsurgeon.base.errors import ModelRunError
from convsurgeon.families.cost import conv_cost
from convsurgeon.models.loading import build_model, default_inputs
from tests.nets import IMAGE, Plain, Residual, Shared, outside_macs

# Classifiers are counted by both counters at once in tests/budgets/test_measure.py.
SMALL_ZOO = ("resnet18", "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50")


@pytest.mark.parametrize("name", SMALL_ZOO)
def test_the_zoo_before_surgery(name: str) -> None:
    """Our count is FlopCounterMode / 2 on the meta device, and torchvision's own figure to three decimals."""
    network, inputs = build_model(name, device="meta"), default_inputs(name, device="meta")
    ours = count(network, inputs)
    assert ours.macs == outside_macs(network, *inputs.args)
    published = zoo.get_model_weights(name).DEFAULT.meta
    assert round(ours.macs / 1e9, 3) == pytest.approx(published["_ops"], abs=1e-9)
    assert ours.params == published["num_params"]


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("resnet18", "compconv"),
        ("mobilenet_v3_small", "igc"),
        ("squeezenet1_1", "compconv32"),
        ("swin_t", "compconv32"),
        ("fcn_resnet50", "compconv128"),
        ("deeplabv3_mobilenet_v3_large", "igc-l4m2"),
    ],
)
def test_the_zoo_after_surgery(name: str, method: str) -> None:
    """The planned total is what FlopCounterMode / 2 counts in the converted network."""
    network, inputs = build_model(name, device="meta"), default_inputs(name, device="meta")
    rules = {"stem": True} if name == "swin_t" else {}
    target = "macs=80%" if method in ("igc", "compconv") else None
    done = convert(network, inputs, method=method, target=target, rules=Rules(**rules), random_weights=True)
    assert done.plan.replaced
    assert done.plan.after.macs == outside_macs(done.model, *inputs.args)
    assert done.plan.after.params == sum(parameter.numel() for parameter in done.model.parameters())


def test_resnet50_is_counted_to_the_last_mac() -> None:
    """resnet50 at 224×224: 4,089,184,256 MACs and 25,557,032 parameters."""
    assert count(build_model("resnet50", device="meta"), torch.empty(1, 3, 224, 224)) == Cost(4_089_184_256, 25_557_032)


@pytest.mark.parametrize("network", [Plain(), Residual(), Shared()], ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("batch", [1, 3])
def test_sites_and_the_rest_make_the_total(network: nn.Module, batch: int) -> None:
    """The sites' closed forms, over all calls and the whole batch, and the linear layers add up to the total."""
    x = torch.zeros(batch, *IMAGE[1:])
    found = inspect(network, x)
    linear = sum(batch * m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear))
    assert sum(site.cost.macs for site in found.sites) + linear == found.total.macs == outside_macs(network, x)


def test_conv_cost_is_the_closed_form() -> None:
    """positions · C_out · C_in / groups · S MACs; as many parameters per position, and C_out for a bias."""
    assert conv_cost(64, 128, 9, groups=4, bias=True, positions=10) == Cost(10 * 128 * 16 * 9, 128 * 16 * 9 + 128)
    assert conv_cost(64, 128, 9, positions=1) == Cost(64 * 128 * 9, 64 * 128 * 9)


def test_costs_add_up() -> None:
    """Costs add, subtract and sum field by field."""
    assert Cost(1, 2) + Cost(3, 4) - Cost(1, 1) == Cost(3, 5) == Cost.total([Cost(1, 2), Cost(2, 3)])
    assert Cost.total([]) == Cost(0, 0)


def test_a_conv_shape_describes_itself_in_one_line() -> None:
    """Channels and kernel always; stride, dilation and groups where they are not 1."""
    plain = ConvShape(in_channels=3, out_channels=8, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1))
    assert plain.describe() == "3→8 3×3"
    odd = plain.model_copy(update={"stride": (2, 1), "dilation": (2, 2), "groups": 3, "kernel": (1, 5)})
    assert odd.describe() == "3→8 1×5 /2×1 dilation 2 groups 3"


class _Attention(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.mix = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            return nn.functional.scaled_dot_product_attention(x, x, x)
        return self.mix(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize(("fused", "macs"), [(True, 2 * 9 * 9 * 16), (False, 2 * 9 * 9 * 16 + 4 * 9 * 16 * 16)])
def test_fused_attention_is_counted(fused: bool, macs: int) -> None:
    """Attention counts its two matrix products, and multi-head attention its projections too."""
    assert count(_Attention(fused), torch.zeros(1, 9, 16)).macs == macs


class _Recurrent(nn.Module):
    """``looks`` at its numbers, so that it can only be counted where there are some."""

    def __init__(self, layer: nn.Module, looks: bool) -> None:
        super().__init__()
        self.layer = layer
        self.looks = looks

    def forward(self, x: Tensor) -> Tensor:
        if self.looks and bool(x.isnan().any()):
            return x
        output: Tensor = self.layer(x)[0]
        return output


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_are_counted_everywhere(kind: type[nn.Module], gates: int, bias: bool, looks: bool) -> None:
    """gates·H·(C + H) for every position and direction, on real tensors as on weightless ones."""
    layer = kind(12, 20, bias=bias, bidirectional=True, batch_first=True)
    assert count(_Recurrent(layer, looks), torch.zeros(5, 7, 12)).macs == 5 * 7 * 2 * gates * 20 * (12 + 20)


class _Keywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, *, image: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"out": self.conv(image) * scale}


def test_inputs_may_be_positional_or_keywords() -> None:
    """A tensor, a tuple and a dict of keywords are all understood; anything else is refused."""
    image = torch.zeros(IMAGE)
    expected = 14 * 14 * 4 * 27
    assert count(_Keywords(), {"image": image, "scale": torch.ones(1)}).macs == expected
    assert count(nn.Conv2d(3, 4, 3), image).macs == count(nn.Conv2d(3, 4, 3), (image,)).macs == expected
    with pytest.raises(UsageError, match="example_inputs is a str; expected a tensor, a tuple"):
        count(nn.Conv2d(3, 4, 3), "image")


def test_inputs_follow_the_models_dtype() -> None:
    """Floating-point inputs are cast to the model's dtype, so that a bf16 model takes an ordinary image."""
    assert count(nn.Conv2d(3, 4, 3).bfloat16(), torch.zeros(IMAGE)).macs == 14 * 14 * 4 * 27


def test_a_failing_forward_is_named_with_its_inputs() -> None:
    """A model that fails says on which shapes and why; with three channels it runs."""
    with pytest.raises(ModelRunError, match=r"fails on inputs \[1, 5, 16, 16\]: .*expected input.* to have 3 channels"):
        count(Plain(), torch.zeros(1, 5, 16, 16))
    assert count(Plain(), torch.zeros(IMAGE)).macs > 0


class _Random(nn.Module):
    """Needs real numbers to branch on, and draws random ones in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if float(torch.rand(())) < 2 else x


@pytest.mark.parametrize("network", [Plain(), _Random()], ids=lambda n: type(n).__name__)
def test_counting_leaves_the_callers_model_and_generator_alone(network: nn.Module) -> None:
    """Train flags, batch-norm statistics, hooks, gradients and torch's generator are as they were."""
    network.train()
    next(network.children()).eval()
    parameter = next(network.parameters())
    parameter.grad = torch.ones_like(parameter)
    network.register_forward_hook(lambda *_: None)
    flags = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.get_rng_state()
    count(network, torch.rand(IMAGE, generator=torch.Generator().manual_seed(1)))
    assert flags == [module.training for module in network.modules()]
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert len(network._forward_hooks) == 1
    assert torch.equal(parameter.grad, torch.ones_like(parameter))
