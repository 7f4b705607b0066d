"""The outside witnesses see what they are there for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from compatibility.witness import digest, outputs_equal, params, ran, wide_convolutions
from tests.compatibility.networks import Chain
from tests.nets import outside_macs


def _weight(model: Chain) -> None:
    with torch.no_grad():
        model.body.weight[0, 0, 0, 0] += 1e-6


def _flag(model: Chain) -> None:
    model.body.training = not model.body.training


def _hook(model: Chain) -> None:
    model.stem.register_forward_hook(lambda *_: None)


def _frozen(model: Chain) -> None:
    model.body.weight.requires_grad_(False)


def _other_module(model: Chain) -> None:
    twin = nn.Conv2d(16, 16, 3, padding=1)
    twin.load_state_dict(model.body.state_dict())
    model.body = twin


@pytest.mark.parametrize("change", [_weight, _flag, _hook, _frozen, _other_module])
def test_a_changed_model_has_another_digest(change: Callable[[Chain], None]) -> None:
    """Any change of weights, flags, hooks or modules shows, and running a model is none."""
    model = Chain(16).eval()
    before = digest(model)
    ran(model, (torch.rand(1, 3, 8, 8),))
    assert digest(model) == before
    change(model)
    assert digest(model) != before


def test_a_fused_recurrent_layer_is_counted() -> None:
    """An LSTM, one operator in oneDNN, is counted by its products: 4·H·(C + H) for every position."""
    assert ran(nn.LSTM(12, 20).eval(), (torch.rand(3, 5, 12),)).macs == 3 * 5 * 4 * 20 * (12 + 20)


def test_counts_are_those_of_pytorch() -> None:
    """MACs and parameters are FlopCounterMode / 2 and the sum over distinct parameters."""
    model, image = Chain(16).eval(), torch.rand(1, 3, 8, 8)
    assert ran(model, (image,)).macs == outside_macs(model, image) == 64 * 9 * (3 * 16 + 16 * 16)
    assert params(nn.ModuleList([model, model])) == sum(p.numel() for p in model.parameters())


def test_bit_equal_means_every_bit() -> None:
    """NaN is equal to itself; the smallest difference is one."""
    model, image = Chain(16).eval(), torch.rand(1, 3, 8, 8)
    again = ran(model, (torch.full_like(image, torch.nan),))
    assert outputs_equal(again, ran(model, (torch.full_like(image, torch.nan),)))
    assert not outputs_equal(ran(model, (image,)), ran(model, (image + 1e-6,)))


def test_wide_is_groups_of_one_and_16_channels() -> None:
    """Convolutions count from 16 channels on both sides, of any dimension, and only with groups=1."""
    model = nn.ModuleDict(
        {
            "wide": nn.Conv2d(16, 16, 1),
            "signal": nn.Conv1d(16, 16, 1),
            "narrow": nn.Conv2d(15, 16, 1),
            "grouped": nn.Conv2d(16, 16, 1, groups=2),
        }
    )
    assert set(wide_convolutions(model)) == {"wide", "signal"}


def test_a_kernel_must_have_what_a_method_splits() -> None:
    """Spatial wants a kernel of two axes, both longer than one, Tucker one such axis; other methods take any kernel."""
    kernels = {"square": (3, 3), "long": (5, 1), "point": (1, 1)}
    model = nn.ModuleDict({name: nn.Conv2d(16, 16, kernel) for name, kernel in kernels.items()})
    model["cube"] = nn.Conv3d(16, 16, 3)
    assert set(wide_convolutions(model, "spatial")) == {"square"}
    assert set(wide_convolutions(model, "tucker")) == {"square", "long", "cube"}
    assert set(wide_convolutions(model, "igc")) == {*kernels, "cube"}
