"""What is said of time."""

from __future__ import annotations

import pytest

from convsurgeon.report.lines import goal_lines
from tests.report.reports import layer, report, timing


@pytest.mark.parametrize(
    ("after", "words"), [(6, "measured: one forward takes 6.000 ms of 8.000 ms (75.0 %"), (8, "measured, NOT FASTER: ")]
)
def test_time_is_told_plainly(after: int, words: str) -> None:
    """A faster network is said to be, one that is not is said to be not; without a measurement, neither."""
    assert any(line.startswith(words) for line in goal_lines(report((layer("a"),), timing=timing(8, after))))
    assert any(line.startswith("not timed") for line in goal_lines(report((layer("a"),))))
