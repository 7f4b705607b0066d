"""One timer for all: several things timed in turn, so that a busy moment hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import NonNegativeInt, PositiveInt

from convsurgeon.base.records import Record

__all__ = ["BENCH", "QUICK", "Effort", "Spread", "Stopwatch", "time_in_turn"]


class Spread(Record):
    """What repeated runs took, in nanoseconds: median, quartiles, the fastest, and how many samples there were."""

    median_ns: NonNegativeInt
    low_ns: NonNegativeInt
    high_ns: NonNegativeInt
    least_ns: NonNegativeInt
    samples: PositiveInt

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """From samples in nanoseconds.

        Raises:
            ValueError: no samples.
        """
        if not samples:
            raise ValueError("no samples to summarise")
        # A single sample has no quartiles but itself.
        spread = samples if len(samples) > 1 else [*samples, *samples]
        low, _, high = statistics.quantiles(spread, n=4, method="inclusive")
        return cls(
            median_ns=round(statistics.median(samples)),
            low_ns=round(low),
            high_ns=round(high),
            least_ns=round(min(samples)),
            samples=len(samples),
        )

    @property
    def median_ms(self) -> float:
        """The median in milliseconds."""
        return self.median_ns / 1e6


@dataclass(frozen=True)
class Effort:
    """How long to time one thing.

    Attributes:
        warm_up_s: seconds of runs before the first sample, at least one run.
        timed_s: seconds of samples.
        fewest: samples at least, however long one takes.
        most: samples at most.
        sample_s: a sample repeats a short run until it takes about this long, and counts its share.
    """

    warm_up_s: float
    timed_s: float
    fewest: int
    most: int
    sample_s: float


BENCH = Effort(warm_up_s=0.5, timed_s=3.0, fewest=7, most=200, sample_s=0.02)
# Dozens of candidates a layer: short, but in turn with the original, several rounds.
QUICK = Effort(warm_up_s=0.005, timed_s=0.05, fewest=7, most=15, sample_s=0.002)


@dataclass(frozen=True)
class Stopwatch:
    """A clock in nanoseconds, and what waits for the device before the clock is read."""

    clock: Callable[[], int] = time.perf_counter_ns
    wait: Callable[[], object] = lambda: None

    def of(self, run: Callable[[], object], repeats: int = 1) -> int:
        """Nanoseconds that ``repeats`` runs take together."""
        self.wait()
        start = self.clock()
        for _ in range(repeats):
            run()
        self.wait()
        return self.clock() - start


def time_in_turn(
    runs: Sequence[Callable[[], object]], effort: Effort, watch: Stopwatch | None = None
) -> tuple[Spread, ...]:
    """Time things in rounds: each round samples every one once, starting with another each time.

    The samples of a round stand side by side in time, so that a machine that gets slower does so for all. Rounds end
    once they have taken ``timed_s`` for each thing on average.
    """
    watch = watch or Stopwatch()
    repeats = [_warm_up(run, effort, watch) for run in runs]
    samples: list[list[float]] = [[] for _ in runs]
    spent = 0
    for turn in range(effort.most):
        if turn >= effort.fewest and spent >= effort.timed_s * 1e9 * len(runs):
            break
        for place in range(len(runs)):
            which = (place + turn) % len(runs)
            took = watch.of(runs[which], repeats[which])
            spent += took
            samples[which].append(took / repeats[which])
    return tuple(Spread.of(found) for found in samples)


def _warm_up(run: Callable[[], object], effort: Effort, watch: Stopwatch) -> int:
    """Run for a while; the number of runs that fill a sample, from the fastest of them."""
    spent, fastest = 0, 0
    while not spent or spent < effort.warm_up_s * 1e9:
        took = max(watch.of(run), 1)
        fastest = min(fastest or took, took)
        spent += took
    return max(1, round(effort.sample_s * 1e9 / fastest))
