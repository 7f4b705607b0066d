"""Plans in milliseconds: layers timed in place, kept on disk, planned with, and the planned network measured again."""

from convsurgeon.conversion.in_time.corrected_plan import (
    TimedPlanning,
    measured_latencies,
    measured_plan,
    plan_in_time,
)
from convsurgeon.conversion.in_time.known import known_latencies
from convsurgeon.conversion.in_time.timekeeper import Bench, Timekeeper

__all__ = [
    "Bench",
    "TimedPlanning",
    "Timekeeper",
    "known_latencies",
    "measured_latencies",
    "measured_plan",
    "plan_in_time",
]
