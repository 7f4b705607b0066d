"""Forms of a Spatial unit: its two convolutions, or a dense one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.chain import chain_forms, dense_like
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import kernel_of
from convsurgeon.families.spatial.unit import Spatial
from convsurgeon.families.torch_convs import Conv
from convsurgeon.families.unit import CompactConv

__all__ = ["spatial_forms"]


def spatial_forms(absorbed: Absorbed) -> list[Form]:
    """First the one with the fewest multiplications; none for a unit whose parts are not torch's own."""
    return chain_forms(absorbed, (("two convolutions", _two), ("one dense convolution", _dense)))


def _two(unit: CompactConv) -> Sequence[Conv]:
    spatial = _spatial(unit)
    return spatial.first, spatial.second


def _dense(unit: CompactConv) -> Sequence[Conv]:
    spatial = _spatial(unit)
    first, second = kernel_of(spatial.first), kernel_of(spatial.second)
    kernel = torch.einsum("orij,rckl->ocikjl", second, first).flatten(2, 3).flatten(3)
    return (dense_like(unit, kernel, spatial.second.bias),)


def _spatial(unit: CompactConv) -> Spatial:
    if not isinstance(unit, Spatial):
        raise TypeError(f"{type(unit).__name__} is no Spatial unit")
    return unit
