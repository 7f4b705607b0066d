"""Forms: the ways to compute a compact unit, one file per family. This list is the only place that names them all."""

from __future__ import annotations

from collections.abc import Callable

from convsurgeon.families import IGC, CompactConv, CompConv, HardenedDGConv
from convsurgeon.families.compconv.forms import compconv_forms
from convsurgeon.families.dgconv.forms import dgconv_forms
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.as_is import as_is
from convsurgeon.families.forms.form import Form
from convsurgeon.families.igc.forms import igc_forms

__all__ = ["Form", "forms_of"]

_FORMS: dict[type[CompactConv], Callable[[Absorbed], list[Form]]] = {
    CompConv: compconv_forms,
    IGC: igc_forms,
    HardenedDGConv: dgconv_forms,
}


def forms_of(absorbed: Absorbed) -> list[Form]:
    """Every way to compute a unit, the one with the fewest multiplications first; or the unit as it is."""
    known = _FORMS.get(type(absorbed.unit))
    return (known(absorbed) if known else []) or [as_is(absorbed)]
