"""Modules that people altered as objects: hooks that compute weights, forwards on the instance."""

from __future__ import annotations

import types
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune, remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm

from convsurgeon import convert, inspect
from convsurgeon.base.errors import ModelLoadError

IMAGE = torch.randn(1, 3, 12, 12)
Change = Callable[[nn.Module], object]


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3)).eval()


@pytest.mark.parametrize(
    ("put", "take", "words"),
    [
        (
            lambda conv: prune.l1_unstructured(conv, "weight", 0.3),
            lambda conv: prune.remove(conv, "weight"),
            "prune.remove",
        ),
        (weight_norm, remove_weight_norm, "remove_weight_norm"),
        (spectral_norm, remove_spectral_norm, "remove_spectral_norm"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_that_a_hook_computes_is_refused_with_the_remedy(put: Change, take: Change, words: str) -> None:
    """A convolution whose weight a hook computes says how to be rid of it; after that it is eligible."""
    net = _net()
    put(net[1])
    net(IMAGE)  # which leaves a weight with gradient history, that nothing can copy
    with pytest.raises(ModelLoadError, match=r"can't be copied.*remove_weight_norm.*prune\.remove"):
        inspect(net, IMAGE)
    with torch.no_grad():
        net(IMAGE)
    assert words in (inspect(net, IMAGE).sites[1].obstacle or "")
    take(net[1])
    assert inspect(net, IMAGE).sites[1].obstacle is None


def _double(self: nn.Module, x: Tensor) -> Tensor:
    return nn.Sequential.forward(self, x) * 2  # type: ignore[arg-type]


def test_a_forward_that_holds_the_original_is_refused() -> None:
    """A closure over the model would call the original from each copy; bound as a method it is followed."""
    net = _net()
    plain = net.forward
    net.forward = lambda x: plain(x) * 2  # type: ignore[method-assign]
    with pytest.raises(ModelLoadError, match=r"a forward was put on the object .*types\.MethodType"):
        convert(net, IMAGE, method="compconv32")
    net.forward = types.MethodType(_double, net)  # type: ignore[method-assign]
    done = convert(net, IMAGE, method="compconv32")
    assert len(done.plan.replaced) == 1
    assert done.model(IMAGE).shape == net(IMAGE).shape
