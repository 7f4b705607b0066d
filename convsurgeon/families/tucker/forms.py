"""Forms of a Tucker unit: its three convolutions, two where it pays to join a 1×1 with the k×k, or a dense one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.chain import chain_forms, dense_like
from convsurgeon.families.forms.convolution import convolution
from convsurgeon.families.forms.form import Form
from convsurgeon.families.forms.kernels import bias_of, kernel_of
from convsurgeon.families.torch_convs import Conv
from convsurgeon.families.tucker.unit import Tucker

__all__ = ["forms"]


def forms(absorbed: Absorbed) -> list[Form]:
    """First the one with the fewest multiplications; none for a unit whose parts are not torch's own."""
    return chain_forms(
        absorbed,
        Tucker,
        (
            ("three convolutions", _three),
            ("two convolutions, the first dense", _first_joined),
            ("two convolutions, the last dense", _last_joined),
            ("one dense convolution", _dense),
        ),
    )


def _three(unit: Tucker) -> Sequence[Conv]:
    return unit.reduce, unit.core, unit.expand


def _first_joined(unit: Tucker) -> Sequence[Conv]:
    return convolution(unit.core, _reading_all(unit), None), unit.expand


def _last_joined(unit: Tucker) -> Sequence[Conv]:
    kernel = torch.einsum("oq,qp...->op...", kernel_of(unit.expand).flatten(1), kernel_of(unit.core))
    return unit.reduce, convolution(unit.core, kernel, bias_of(unit.expand))


def _dense(unit: Tucker) -> Sequence[Conv]:
    kernel = torch.einsum("oq,qc...->oc...", kernel_of(unit.expand).flatten(1), _reading_all(unit))
    return (dense_like(unit, kernel, bias_of(unit.expand)),)


def _reading_all(unit: Tucker) -> Tensor:
    """The k×k kernel [R_2, C_in, …] with the first 1×1 in it."""
    return torch.einsum("qp...,pc->qc...", kernel_of(unit.core), kernel_of(unit.reduce).flatten(1))
