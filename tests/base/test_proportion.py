"""Shares of few images are worth little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from convsurgeon.base.proportion import interval, no_better_than_chance


@given(count=st.integers(1, 3000), data=st.data())
def test_the_interval_is_wilsons(count: int, data: st.DataObject) -> None:
    """The closed form is the statistics library's Wilson interval."""
    right = data.draw(st.integers(0, count))
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert interval(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_a_share_near_one_in_so_many_is_chance_and_one_well_above_is_not() -> None:
    """A tenth right among ten classes is chance; a fifth, or a tenth among a thousand, is not."""
    assert no_better_than_chance(0.0905, 600, 10)
    assert not no_better_than_chance(0.2, 600, 10)
    assert not no_better_than_chance(0.0905, 600, 1000)
