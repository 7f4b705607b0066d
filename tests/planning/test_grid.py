"""Grids: lists of methods and targets in the words of people."""

from __future__ import annotations

import pytest

from convsurgeon.base.errors import UsageError
from convsurgeon.planning.grid import Grid, given_grid, point_name


def test_lists_may_be_typed_with_commas_or_given_as_such() -> None:
    """Numbers are shares of the MACs; doubles count once."""
    typed = given_grid(("auto,igc", "igc"), ("75, 50", "params=40%"), None)
    assert typed == given_grid(["auto", "igc"], [75, 50, "params=40%"], None)
    assert [target.text for target in typed.targets] == ["macs=75%", "macs=50%", "params=40%"]
    names = [point_name(method, target) for method in typed.methods for target in typed.targets]
    assert names[:3] == ["auto-75", "auto-50", "auto-params=40%"]


def test_what_is_not_given_is_the_default() -> None:
    """None and nothing typed leave the record's own values."""
    assert given_grid(None, (), None) == Grid()


@pytest.mark.parametrize(
    ("methods", "targets"), [("nope", None), (None, "0"), (None, "50%"), (None, "fast"), ("", None)]
)
def test_what_is_neither_is_refused(methods: str | None, targets: str | None) -> None:
    """An unknown method or target is one error."""
    with pytest.raises(UsageError):
        given_grid(methods, targets, None)
