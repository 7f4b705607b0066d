"""The clock: how long things take on this machine, timed in turn; budgets, plans and ``bench`` all use this one."""

from convsurgeon.timing.timer import BENCH, QUICK, Effort, Spread, Stopwatch, time_in_turn

__all__ = ["BENCH", "QUICK", "Effort", "Spread", "Stopwatch", "time_in_turn"]
