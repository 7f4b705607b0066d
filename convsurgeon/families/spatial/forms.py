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

__all__ = ["forms"]


def forms(absorbed: Absorbed) -> list[Form]:
    """First the one with the fewest multiplications; none for a unit whose parts are not torch's own."""
    return chain_forms(absorbed, Spatial, (("two convolutions", _two), ("one dense convolution", _dense)))


def _two(unit: Spatial) -> Sequence[Conv]:
    return unit.first, unit.second


def _dense(unit: Spatial) -> Sequence[Conv]:
    first, second = kernel_of(unit.first), kernel_of(unit.second)
    kernel = torch.einsum("orij,rckl->ocikjl", second, first).flatten(2, 3).flatten(3)
    return (dense_like(unit, kernel, unit.second.bias),)
