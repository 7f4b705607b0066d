"""Tucker: a 1×1 convolution, a thin k×k one, a 1×1 again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsurgeon.families.family import Family
from convsurgeon.families.tucker.spec import CARD, TuckerMethod, TuckerSpec, parse_method

if TYPE_CHECKING:
    from convsurgeon.families.forms.absorbed import Absorbed
    from convsurgeon.families.forms.form import Form
    from convsurgeon.families.regression.fitting import LinearFitting
    from convsurgeon.families.tucker.unit import Tucker

__all__ = ["FAMILY"]


def _unit() -> type[Tucker]:
    from convsurgeon.families.tucker.unit import Tucker

    return Tucker


def _fitting() -> LinearFitting:
    from convsurgeon.families.tucker.fit import TuckerFitting

    return TuckerFitting()


def _forms(absorbed: Absorbed) -> list[Form]:
    from convsurgeon.families.tucker.forms import tucker_forms

    return tucker_forms(absorbed)


FAMILY = Family(
    card=CARD,
    spec=TuckerSpec,
    words=("tucker", "tucker-rNxN"),
    examples=("tucker", "tucker-r64x64"),
    parse=parse_method,
    free=TuckerMethod(),
    proxy_weight=1.0,
    unit=_unit,
    fitting=_fitting,
    forms=_forms,
)
