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
from convsurgeon.families.unit import CompactConv

__all__ = ["tucker_forms"]


def tucker_forms(absorbed: Absorbed) -> list[Form]:
    """First the one with the fewest multiplications; none for a unit whose parts are not torch's own."""
    return chain_forms(
        absorbed,
        (
            ("three convolutions", _three),
            ("two convolutions, the first dense", _first_joined),
            ("two convolutions, the last dense", _last_joined),
            ("one dense convolution", _dense),
        ),
    )


def _three(unit: CompactConv) -> Sequence[Conv]:
    tucker = _tucker(unit)
    return tucker.reduce, tucker.core, tucker.expand


def _first_joined(unit: CompactConv) -> Sequence[Conv]:
    tucker = _tucker(unit)
    return convolution(tucker.core, _reading_all(tucker), None), tucker.expand


def _last_joined(unit: CompactConv) -> Sequence[Conv]:
    tucker = _tucker(unit)
    kernel = torch.einsum("oq,qp...->op...", kernel_of(tucker.expand).flatten(1), kernel_of(tucker.core))
    return tucker.reduce, convolution(tucker.core, kernel, bias_of(tucker.expand))


def _dense(unit: CompactConv) -> Sequence[Conv]:
    tucker = _tucker(unit)
    kernel = torch.einsum("oq,qc...->oc...", kernel_of(tucker.expand).flatten(1), _reading_all(tucker))
    return (dense_like(unit, kernel, bias_of(tucker.expand)),)


def _reading_all(tucker: Tucker) -> Tensor:
    """The k×k kernel [R_2, C_in, …] with the first 1×1 in it."""
    return torch.einsum("qp...,pc->qc...", kernel_of(tucker.core), kernel_of(tucker.reduce).flatten(1))


def _tucker(unit: CompactConv) -> Tucker:
    if not isinstance(unit, Tucker):
        raise TypeError(f"{type(unit).__name__} is no Tucker unit")
    return unit
