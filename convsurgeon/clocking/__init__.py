"""Plans in milliseconds: layers timed in place, kept on disk, planned with, and the planned network measured again."""

from convsurgeon.clocking.keeper import Bench, Timekeeper
from convsurgeon.clocking.known import known_latencies
from convsurgeon.clocking.rounds import Ask, plan_in_time

__all__ = ["Ask", "Bench", "Timekeeper", "known_latencies", "plan_in_time"]
