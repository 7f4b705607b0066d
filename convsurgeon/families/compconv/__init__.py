"""CompConv: compact convolution by divide and conquer along the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsurgeon.families.compconv.spec import C0_CHOICES, CARD, CompConvMethod, CompConvSpec, parse_method
from convsurgeon.families.family import Family

if TYPE_CHECKING:
    from convsurgeon.families.compconv.unit import CompConv
    from convsurgeon.families.forms.absorbed import Absorbed
    from convsurgeon.families.forms.form import Form
    from convsurgeon.families.regression.fitting import StagedFitting

__all__ = ["FAMILY"]


def _unit() -> type[CompConv]:
    from convsurgeon.families.compconv.unit import CompConv

    return CompConv


def _fitting() -> StagedFitting:
    from convsurgeon.families.compconv.fit import CompConvFitting

    return CompConvFitting()


def _forms(absorbed: Absorbed) -> list[Form]:
    from convsurgeon.families.compconv.forms import compconv_forms

    return compconv_forms(absorbed)


FAMILY = Family(
    card=CARD,
    spec=CompConvSpec,
    words=("compconv", f"compconv{'|'.join(map(str, C0_CHOICES))}"),
    examples=("compconv", *(f"compconv{c0}" for c0 in C0_CHOICES)),
    parse=parse_method,
    free=CompConvMethod(),
    proxy_weight=4.0,
    unit=_unit,
    fitting=_fitting,
    forms=_forms,
)
