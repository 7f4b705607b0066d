"""The search for the fewest layers in float."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convsurgeon.deployment.quantising.fewest import fewest


@given(st.integers(1, 64), st.integers(1, 80))
def test_it_finds_the_least_number_that_holds(most: int, least: int) -> None:
    """The least number is found where there is one, None otherwise, and no number is tried twice."""
    tried: list[int] = []

    def holds(count: int) -> bool:
        tried.append(count)
        return count >= least

    assert fewest(most, holds) == (least if least <= most else None)
    assert len(tried) == len(set(tried)) <= 20
    assert all(1 <= count <= most for count in tried)
