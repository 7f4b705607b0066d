"""IGC: interleaved group convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsurgeon.families.family import Family
from convsurgeon.families.igc.spec import CARD, IGCMethod, IGCSpec, parse_method

if TYPE_CHECKING:
    from convsurgeon.families.forms.absorbed import Absorbed
    from convsurgeon.families.forms.form import Form
    from convsurgeon.families.igc.unit import IGC
    from convsurgeon.families.regression.fitting import LinearFitting

__all__ = ["FAMILY"]


def _unit() -> type[IGC]:
    from convsurgeon.families.igc.unit import IGC

    return IGC


def _fitting() -> LinearFitting:
    from convsurgeon.families.igc.fit import IGCFitting

    return IGCFitting()


def _forms(absorbed: Absorbed) -> list[Form]:
    from convsurgeon.families.igc.forms import igc_forms

    return igc_forms(absorbed)


FAMILY = Family(
    card=CARD,
    spec=IGCSpec,
    words=("igc", "igc-bN", "igc-lLmM[-wN]"),
    examples=("igc", "igc-b16", "igc-l4m2"),
    parse=parse_method,
    free=IGCMethod(),
    proxy_weight=1.0,
    unit=_unit,
    fitting=_fitting,
    forms=_forms,
)
