"""Bounds: they hold what they promise, need as many inputs as they say, and agree with the tests they come from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from convsurgeon.base.bounds import (
    CONFIDENCE,
    fewest_for_difference,
    fewest_for_share,
    least_difference,
    least_share,
    most_ratio,
)


@given(st.integers(1, 400), st.data())
def test_a_shares_bound_is_where_the_seen_becomes_unlikely(count: int, data: st.DataObject) -> None:
    """At the bound, so many hits or more are seen in exactly one of twenty cases."""
    hits = data.draw(st.integers(1, count))
    bound = least_share(hits, count)
    assert bound < hits / count or bound == pytest.approx(hits / count)
    assert binom.sf(hits - 1, count, bound) == pytest.approx(1 - CONFIDENCE, rel=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_the_fewest_inputs_for_a_share_are_enough_and_one_less_is_not(share: float) -> None:
    """All of them hits, they show the share; with one input less they do not."""
    count = fewest_for_share(share)
    assert least_share(count, count) >= share > least_share(count - 1, count - 1)


@pytest.mark.parametrize("loss", [0.005, 0.01, 0.1])
def test_the_fewest_inputs_for_a_difference_are_enough_and_one_less_is_not(loss: float) -> None:
    """With no answer changed they show that no more is lost; with one input less they do not."""
    count = fewest_for_difference(loss)
    assert least_difference(0, 0, count) >= -loss > least_difference(0, 0, count - 1)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(60, 500))
def test_a_differences_bound_is_mcnemars_test_at_zero(gained: int, lost: int, count: int) -> None:
    """The bound is above 0 just where McNemar's one-sided test rejects that nothing was gained."""
    if gained + lost == 0:
        return
    statistic = (gained - lost) / math.sqrt(gained + lost)
    critical = float(norm.ppf(CONFIDENCE))
    if abs(statistic - critical) < 1e-6:
        return
    bound = least_difference(gained, lost, count)
    assert (bound > 0) == (statistic > critical)
    assert -1 <= bound <= (gained - lost) / count


def test_a_differences_bound_holds_in_nineteen_of_twenty_samples() -> None:
    """Drawn again and again, it lies above the true difference about once in twenty."""
    random = np.random.default_rng(0)
    draws = random.multinomial(300, [0.02, 0.03, 0.95], size=600)
    above = sum(least_difference(int(gained), int(lost), 300) > -0.01 for gained, lost, _ in draws)
    assert above / 600 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_a_ratios_bound_lies_above_it_and_closes_in() -> None:
    """More inputs of the same kind bring it nearer; fewer than two, or nothing to divide by, give none."""
    parts, wholes = [0.1, 0.3, 0.2, 0.2], [10.0, 12.0, 8.0, 10.0]
    ratio = sum(parts) / sum(wholes)
    assert ratio < most_ratio(parts * 10, wholes * 10) < most_ratio(parts, wholes)
    assert most_ratio(parts[:1], wholes[:1]) == most_ratio(parts, [0.0] * 4) == math.inf
