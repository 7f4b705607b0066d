"""Other people's tools take every family's units: torch.fx, features, int8, torch.export, TorchScript."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torchvision.models.feature_extraction import create_feature_extractor

from convsurgeon.deployment.lowering import lower
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.family import Spec
from tests.families.plainly import shape
from tests.families.table import ROWS, SPECS

X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(1, 3, 9, 15, generator=torch.Generator().manual_seed(1))
PLACES = {
    "numbers": shape(16, 16, 3, padding=1, bias=True),
    "strided": shape(16, 16, 3, padding=1, stride=2),
    "same": shape(16, 16, 3, padding="same"),
    "unpadded": shape(16, 16, 3, padding=0),
    "uneven": shape(16, 16, 3, stride=2).model_copy(update={"padding": ((0, 1), (0, 1))}),
    "by the size": shape(16, 16, 3, stride=2).model_copy(update={"padding": "dynamic"}),
}


def _net(spec: Spec, place: ConvShape) -> nn.Module:
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 16, 3, padding="same"), nn.Conv2d(16, 8, 1)
    return nn.Sequential(first, nn.BatchNorm2d(16), nn.ReLU(), spec.build(place), nn.BatchNorm2d(16), last).eval()


def _exported(net: nn.Module) -> Callable[..., Any]:
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    return torch.export.export(net, (X,), dynamic_shapes=(free,)).module()


def _features(net: nn.Module) -> Callable[..., Any]:
    extractor = create_feature_extractor(copy.deepcopy(net), {next(reversed(net._modules)): "last"})
    return lambda x: extractor(x)["last"]


TOOLS: dict[str, Callable[[nn.Module], Callable[..., Any]]] = {
    "symbolic_trace": fx.symbolic_trace,
    "feature extractor": _features,
    "torch.export": _exported,
    "jit.trace": lambda net: torch.jit.trace(net, X),
    "jit.script of a trace": lambda net: torch.jit.script(fx.symbolic_trace(net)),
}


# Padding is a family's affair: its other units stand in the two places that are read most differently.
UNITS = [
    (spec, place)
    for row in ROWS.values()
    for number, spec in enumerate(row.specs)
    for place in (PLACES if number == 0 else ("numbers", "by the size"))
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("spec", "place"), UNITS, ids=lambda one: one if isinstance(one, str) else one.describe())
def test_tools_read_every_unit(spec: Spec, place: str) -> None:
    """What a tool makes of a network with units computes the same, in other sizes than it was read in too."""
    net = _net(spec, PLACES[place])
    for name, tool in TOOLS.items():
        found = tool(net)
        for x in (X, OTHER):
            with torch.no_grad():
                torch.testing.assert_close(found(x), net(x), rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.describe())
def test_networks_with_units_are_quantised_to_int8(spec: Spec, lowered: bool) -> None:
    """Paddings are numbers wherever both ends get the same: quantised kernels take no words."""
    net = _net(spec, PLACES["same"])
    if lowered:
        net = lower(net, X, runtime=None).model
    else:
        net[0].padding = (1, 1)
    prepared = prepare_fx(copy.deepcopy(net), get_default_qconfig_mapping("x86"), (X,))
    prepared(X)
    found: Tensor = convert_fx(prepared)(X)
    expected = net(X)
    assert float((found - expected).norm() / expected.norm()) < 0.1


def test_a_padding_that_numbers_can_t_express_stays_a_word() -> None:
    """An even kernel pads "same" by one more behind than ahead, in a lowered network too; an odd one in numbers."""
    net = nn.Sequential(nn.Conv2d(3, 4, 4, padding="same"), nn.Conv2d(4, 4, 3, padding="same")).eval()
    even, odd = lower(net, X, runtime=None).model.children()
    assert (even.padding, odd.padding) == ("same", (1, 1))
