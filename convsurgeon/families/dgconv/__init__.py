"""DGConv: dynamic grouping convolution, its groups learned or chosen in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsurgeon.families.dgconv.spec import CARD, DGConvMethod, DGConvSpec, parse_method
from convsurgeon.families.family import Family

if TYPE_CHECKING:
    from convsurgeon.families.dgconv.unit import HardenedDGConv
    from convsurgeon.families.forms.absorbed import Absorbed
    from convsurgeon.families.forms.form import Form
    from convsurgeon.families.regression.fitting import LinearFitting

__all__ = ["FAMILY"]


def _unit() -> type[HardenedDGConv]:
    from convsurgeon.families.dgconv.unit import HardenedDGConv

    return HardenedDGConv


def _fitting() -> LinearFitting:
    from convsurgeon.families.dgconv.fit import DGConvFitting

    return DGConvFitting()


def _forms(absorbed: Absorbed) -> list[Form]:
    from convsurgeon.families.dgconv.forms import dgconv_forms

    return dgconv_forms(absorbed)


FAMILY = Family(
    card=CARD,
    spec=DGConvSpec,
    words=("dgconv",),
    examples=("dgconv",),
    parse=parse_method,
    free=DGConvMethod(hardened=True),
    proxy_weight=8.0,
    unit=_unit,
    fitting=_fitting,
    forms=_forms,
)
