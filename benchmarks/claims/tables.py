"""Tables, and what they say of each claim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import ttest_rel

from benchmarks.accuracy.tables import spread
from benchmarks.claims.rows import Row

__all__ = ["COMPARED", "Gain", "table"]

# For each claim, what is said to be better, and than what, at equal MACs.
COMPARED: dict[str, tuple[tuple[str, str], ...]] = {
    "igc": tuple(("L25M2", rival) for rival in ("plain", "L42M1", "L16M3", "L6M6", "L2M11")),
    "compconv": tuple(
        (f"compconv {c0}", f"{rival} {c0}") for c0 in (4, 16) for rival in ("ghost", "narrow ghost", "narrow", "groups")
    )
    + tuple(("compconv 64", f"{rival} 64") for rival in ("narrow", "groups")),
    "groupnet": (("learned", "constant"), ("learned", "drawn"), ("drawn", "constant")),
}


@dataclass(frozen=True)
class Gain:
    """Points of top-1 more, one number a seed, and what they say of the mean by Student's t for pairs, at 95 %."""

    each: tuple[float, ...]
    low: float
    high: float

    @classmethod
    def of(cls, better: Sequence[float], worse: Sequence[float]) -> Gain:
        """From the top-1 of two nets with the same seeds, two seeds at least."""
        low, high = ttest_rel(better, worse).confidence_interval(0.95)
        return cls(tuple(a - b for a, b in zip(better, worse, strict=True)), float(low), float(high))

    @property
    def verdict(self) -> str:
        """Whether it is better indeed; what has no spread at all tells nothing."""
        if self.low > 0:
            return "holds here"
        return "doesn't hold here" if self.high < 0 else "can't be told"


def table(claim: str, rows: Sequence[Row]) -> str:
    """Markdown: every variant with its costs, then the comparisons with their verdicts."""
    of = _by_variant(claim, rows)
    lines = ["| net | MACs, at most | parameters | seeds | top-1, % |", "|---|---|---|---|---|"]
    for name, found in of.items():
        macs, params = (max(getattr(row, what) for row in found.values()) for what in ("macs", "params"))
        accuracy = spread([row.top1 for row in found.values()])
        lines.append(f"| {name} | {macs:,} | {params:,} | {len(found)} | {accuracy} |")
    return "\n".join([*lines, "", *_verdicts(claim, of)])


def _verdicts(claim: str, of: dict[str, dict[int, Row]]) -> Iterator[str]:
    yield "| better than | points of top-1 more, each seed | their mean, 95 % | verdict |\n|---|---|---|---|"
    for better, worse in COMPARED[claim]:
        seeds = sorted(of.get(better, {}).keys() & of.get(worse, {}).keys())
        if len(seeds) > 1:
            gain = Gain.of(*([of[name][seed].top1 for seed in seeds] for name in (better, worse)))
            each = ", ".join(map(_signed, gain.each))
            mean = f"{_signed(gain.low)} to {_signed(gain.high)}"
            yield f"| {better} than {worse} | {each} | {mean} | {gain.verdict} |"


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", "−")


def _by_variant(claim: str, rows: Sequence[Row]) -> dict[str, dict[int, Row]]:
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        if row.claim == claim:
            found[row.variant][row.seed] = row
    return found
