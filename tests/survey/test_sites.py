"""Every convolution is found, with its calls, its cost and the reason why it may not be touched."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsurgeon import Rules, Site, convert, inspect
from convsurgeon.models.loading import build_model, default_inputs
from tests.nets import IMAGE, Opaque, Plain, Residual, Shared, Untraceable, outside_macs


def _sites(network: nn.Module, shape: tuple[int, ...] = IMAGE) -> dict[str, Site]:
    return {site.name: site for site in inspect(network, torch.zeros(shape)).sites}


def test_every_convolution_is_listed_in_execution_order() -> None:
    """One site per Conv module, in the order they run, with shapes, maps and costs."""
    found = inspect(Residual(), torch.zeros(IMAGE)).sites
    assert [site.name for site in found] == ["stem.0", "conv1", "conv2", "shortcut.0", "gate"]
    conv1 = found[1]
    assert (conv1.calls, conv1.input_size, conv1.output_size, conv1.positions) == (1, (16, 16), (8, 8), 64)
    assert (conv1.cost.macs, conv1.cost.params) == (64 * 64 * 32 * 9, 64 * 32 * 9)
    assert (conv1.norm, conv1.activation) == ("bn1", None)
    assert (found[0].norm, found[0].activation) == ("stem.1", "stem.2")


def test_a_shared_module_is_one_site_with_all_its_calls() -> None:
    """One module at two paths, called three times on two map sizes: one site, an alias, the summed cost."""
    network = Shared()
    sites = _sites(network)
    near = sites["near"]
    assert list(sites) == ["stem", "near"]
    assert (near.aliases, near.calls, near.positions) == (("far.again",), 3, 2 * 256 + 64)
    assert near.cost.macs == (2 * 256 + 64) * 64 * 64 * 9
    assert near.cost.params == 64 * 64 * 9 + 64


def test_a_shared_module_is_replaced_at_all_its_paths() -> None:
    """The replacement stands at every path, as one module, and its cost counts every call."""
    x = torch.zeros(IMAGE)
    done = convert(Shared(), x, method="compconv128", random_weights=True)
    assert done.model.near is done.model.far["again"]
    assert type(done.model.near).__name__ == "CompConv"
    assert done.plan.after.macs == outside_macs(done.model, x)


class _Head(nn.Module):
    """A trunk, and a head that runs in training only; one weight used without calling its module."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 32, 3)
        self.auxiliary = nn.Conv2d(32, 32, 3)
        self.bare = nn.Conv2d(32, 32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(self.trunk(x), self.bare.weight)
        return self.auxiliary(x) if self.training else x


def test_convolutions_that_never_run_are_listed_and_left_alone() -> None:
    """Never called in eval, or read without a call: no calls, no MACs, and the reason; last in the list."""
    sites = _sites(_Head())
    assert list(sites) == ["trunk", "auxiliary", "bare"]
    for name in ("auxiliary", "bare"):
        assert (sites[name].calls, sites[name].cost.macs) == (0, 0)
        assert sites[name].obstacle == "never called as a module in this forward (eval mode)"
    assert sites["trunk"].obstacle is None


class _Own(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


class _Padding(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 1, 1, 1)))


class _Named(nn.Conv2d):
    """A subclass that computes nothing of its own."""


def _pair(conv: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 64, 3), conv)


def _hooked() -> nn.Module:
    conv = nn.Conv2d(64, 64, 3)
    conv.register_forward_hook(lambda *_: None)
    return conv


def _parametrised() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(64, 64, 3))


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (_Own(64, 64, 3), "_Own computes more than a convolution in its own forward, which a replacement would lose"),
        (_hooked(), "carries hooks, which a replacement would lose"),
        (_Padding(64, 64, 3), None),
        (_parametrised(), None),
        (nn.Conv2d(64, 64, 3, groups=64), "depthwise: one input channel per group already"),
        (_Named(64, 64, 3), None),
        (nn.Conv2d(64, 64, 3), None),
        (nn.Conv2d(64, 64, 3, groups=4), None),
    ],
    ids=["own forward", "hooks", "own padding", "parametrised", "depthwise", "plain subclass", "plain", "grouped"],
)
def test_what_stands_in_the_way_is_said(conv: nn.Module, reason: str | None) -> None:
    """A convolution that a replacement would break carries the reason; its plain twin carries none."""
    obstacle = _sites(_pair(conv))["1"].obstacle
    assert obstacle is None if reason is None else obstacle.startswith(reason)


@pytest.mark.parametrize("tied", [True, False])
def test_a_weight_shared_with_another_module_is_an_obstacle(tied: bool) -> None:
    """Two modules that own one weight are left alone; with weights of their own they are not."""
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 64, 3))
    if tied:
        network[2].weight = network[1].weight
    obstacles = {site.obstacle for site in inspect(network, torch.zeros(IMAGE)).sites[1:]}
    assert obstacles == ({"its weight is shared with another module"} if tied else {None})


@pytest.mark.parametrize(
    ("conv", "shape", "kind"),
    [
        (nn.Conv1d(8, 8, 3), (1, 8, 9), "Conv1d"),
        (nn.Conv3d(8, 8, 3), (1, 8, 5, 5, 5), "Conv3d"),
        (nn.ConvTranspose1d(8, 4, 3, stride=2), (1, 8, 9), "ConvTranspose1d"),
        (nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, groups=2), (2, 8, 5, 5), "ConvTranspose2d"),
        (nn.ConvTranspose3d(8, 4, 2, stride=2), (1, 8, 3, 3, 3), "ConvTranspose3d"),
    ],
)
def test_every_kind_is_listed_at_its_price(conv: nn.Module, shape: tuple[int, ...], kind: str) -> None:
    """Convolutions over any axes and transposed ones are rows, whose MACs are those that PyTorch counts."""
    network = nn.Sequential(conv)
    (site,) = inspect(network, torch.zeros(shape)).sites
    assert (site.kind, site.obstacle) == (kind, None)
    assert site.cost.macs == outside_macs(network, torch.zeros(shape))


def test_a_converted_network_can_be_inspected_again() -> None:
    """Compact convolutions are sites as a whole, priced as such, and not converted twice."""
    x = torch.zeros(IMAGE)
    network = convert(Residual(), x, method="compconv128", random_weights=True).model
    sites = _sites(network)
    assert sites["conv2"].kind == "CompConv"
    assert sites["conv2"].obstacle == "converted already"
    assert sites["shortcut.0"].shortcut
    assert sites["stem.0"].stem
    assert sum(site.cost.macs for site in sites.values()) == outside_macs(network, x)


def test_the_survey_knows_what_a_model_returns() -> None:
    """Inputs, outputs and totals of the forward are recorded; counting needs no real numbers here."""
    found = inspect(Plain(), torch.zeros(2, 3, 16, 16))
    assert found.input_shapes == ((2, 3, 16, 16),)
    assert found.outputs == ("float32 [2, 10]",)
    assert found.counted_on == "meta"


def test_fingerprints_tell_architectures_apart() -> None:
    """Equal names and shapes give equal fingerprints, whatever the weights and inputs; another width does not."""
    one, same = (inspect(Plain(), torch.zeros(1, 3, side, side)).fingerprint() for side in (16, 20))
    assert one == same
    assert one != inspect(Plain(width=32), torch.zeros(IMAGE)).fingerprint()


def test_a_bare_convolution_is_a_model_too() -> None:
    """A model that is nothing but one convolution is inspected and converted like any other."""
    x = torch.zeros(1, 64, 8, 8)
    done = convert(nn.Conv2d(64, 64, 3), x, method="compconv128", rules=Rules(stem=True), random_weights=True)
    assert type(done.model).__name__ == "CompConv"
    assert done.plan.after.macs == outside_macs(done.model, x)


@pytest.mark.parametrize(
    ("network", "traced_by", "counted_on"),
    [(Plain(), {"fx"}, "meta"), (Untraceable(), {"parts", "hooks"}, "device"), (Opaque(), {"hooks"}, "device")],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_untraceable_models_convert_by_parts_and_by_hooks(
    network: nn.Module, traced_by: set[str], counted_on: str
) -> None:
    """What fx can't trace as a whole is read by parts, then by hooks; it converts all the same."""
    x = torch.rand(IMAGE)
    found = inspect(network, x)
    assert {site.traced_by for site in found.sites} == traced_by
    assert found.counted_on == counted_on
    assert [site.name for site in found.sites if site.stem] == [found.sites[0].name]
    done = convert(network, x, method="compconv128", random_weights=True)
    assert done.plan.replaced
    assert done.plan.after.macs == outside_macs(done.model, x)


def test_a_call_count_is_not_a_module_count() -> None:
    """A convolution that a loop runs twice costs twice."""
    second = {site.name: site for site in inspect(Opaque(), torch.rand(IMAGE)).sites}["second"]
    assert (second.calls, second.cost.macs) == (2, 2 * 256 * 64 * 64 * 9)


def test_a_detector_is_surveyed_on_real_numbers() -> None:
    """A detection network converts: its backbone by parts, its head with five calls, its cost data-dependent."""
    name = "ssdlite320_mobilenet_v3_large"
    network, inputs = build_model(name), default_inputs(name, input_shape=(1, 3, 96, 96))
    found = inspect(network, inputs)
    assert found.counted_on == "device"
    assert sum(site.cost.macs for site in found.sites) == found.total.macs
    done = convert(network, inputs, method="compconv128", random_weights=True)
    assert done.plan.replaced
    assert type(done.model) is type(network)


class _Shrinking(nn.Module):
    """One reflecting convolution, called on smaller and smaller maps."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.stem, self.calls = nn.Conv2d(3, 64, 3, padding=1), calls
        self.down = nn.Conv2d(64, 64, 7, stride=2, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(self.calls):
            x = self.down(x)
        return x


@pytest.mark.parametrize(("calls", "action"), [(2, "replaced"), (3, "refused")])
def test_the_smallest_map_of_all_calls_counts(calls: int, action: str) -> None:
    """A replacement must fit every call: the map that the last call writes is too small to reflect three pixels."""
    rules = Rules(stem=True)
    done = convert(_Shrinking(calls), torch.rand(IMAGE), method="compconv128", rules=rules, random_weights=True)
    down = next(row for row in done.plan.layers if row.name == "down")
    assert down.action == action
    assert (down.reason == "reflect padding of 3 needs a map larger than 2") == (action == "refused")


@pytest.mark.parametrize(
    ("network", "x", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3)), torch.zeros(3, 9, 9), "called on inputs without a batch axis"),
        (nn.Sequential(nn.Conv2d(3, 8, 3, dtype=torch.complex64)), torch.zeros(1, 3, 9, 9), "complex weights"),
        (nn.Sequential(nn.Conv2d(3, 8, 3)), torch.zeros(1, 3, 9, 9), None),
    ],
)
def test_inputs_and_weights_that_no_method_takes(network: nn.Module, x: Tensor, reason: str | None) -> None:
    """Images without a batch axis and complex weights are left alone, with the reason; their twin is not."""
    (site,) = inspect(network, x).sites
    assert site.obstacle == reason


def test_an_empty_batch_costs_nothing_and_breaks_nothing() -> None:
    """A batch of no images is priced at no MACs; open gates are planned all the same."""
    plan = convert(Plain(), torch.zeros(0, 3, 8, 8), method="dgconv", random_weights=True).plan
    assert plan.after.macs == plan.before.macs == 0
    assert plan.replaced


class _StoredCall(nn.Module):
    """Calls its second convolution through a ``__call__`` that was stored, or by its name."""

    def __init__(self, stored: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
        self.call = self.second.__call__ if stored else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] → [N, 16, H - 4, W - 4]."""
        y = self.first(x)
        return self.second(y) if self.call is None else self.call(y)


def test_a_stored_call_is_counted_as_the_modules_own() -> None:
    """A trace calls it for real, with nothing that could be counted; it ran once, in the forward."""
    named, stored = (inspect(_StoredCall(kind).eval(), torch.zeros(1, 3, 8, 8)).sites for kind in (False, True))
    assert [(site.name, site.calls, site.cost) for site in stored] == [(s.name, s.calls, s.cost) for s in named]
