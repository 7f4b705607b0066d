"""The forms of a unit: the ways to compute it, from its family, or the unit as it is."""

from __future__ import annotations

from convsurgeon.families import family_of
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.as_is import as_is
from convsurgeon.families.forms.form import Form

__all__ = ["Form", "forms_of"]


def forms_of(absorbed: Absorbed) -> list[Form]:
    """Every way to compute a unit, the one with the fewest multiplications first; or the unit as it is."""
    family = family_of(absorbed.unit.spec)
    # A subclass may compute something else.
    known = family.forms(absorbed) if type(absorbed.unit) is family.unit() else []
    return known or [as_is(absorbed)]
