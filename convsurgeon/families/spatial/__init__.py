"""Spatial: a k×1 convolution, then a 1×k one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsurgeon.families.family import Family
from convsurgeon.families.spatial.spec import CARD, SpatialMethod, SpatialSpec, parse_method

if TYPE_CHECKING:
    from convsurgeon.families.forms.absorbed import Absorbed
    from convsurgeon.families.forms.form import Form
    from convsurgeon.families.regression.fitting import LinearFitting
    from convsurgeon.families.spatial.unit import Spatial

__all__ = ["FAMILY"]


def _unit() -> type[Spatial]:
    from convsurgeon.families.spatial.unit import Spatial

    return Spatial


def _fitting() -> LinearFitting:
    from convsurgeon.families.spatial.fit import SpatialFitting

    return SpatialFitting()


def _forms(absorbed: Absorbed) -> list[Form]:
    from convsurgeon.families.spatial.forms import spatial_forms

    return spatial_forms(absorbed)


FAMILY = Family(
    card=CARD,
    spec=SpatialSpec,
    words=("spatial", "spatial-rN"),
    examples=("spatial", "spatial-r64"),
    parse=parse_method,
    free=SpatialMethod(),
    proxy_weight=0.5,
    unit=_unit,
    fitting=_fitting,
    forms=_forms,
)
