"""What layers take in milliseconds, as planning sees it: measured times, the veto on slower swaps, corrections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from convsurgeon.families.family import Spec
from convsurgeon.planning.options import Candidate, Choices
from convsurgeon.planning.plan import LayerLatency
from convsurgeon.planning.targets import human_ms
from convsurgeon.runtimes.place import Place
from convsurgeon.survey.sites import Site

__all__ = ["PAYS", "Latencies", "only_paying", "worth_timing"]

# A swap pays if it takes less than this share of its convolution's time: below the noise of one timing it does not.
PAYS = 0.98
# Enough widths of one kind of unit to land close to any target once layers are combined.
PER_KIND = 8


@dataclass(frozen=True)
class Latencies:
    """Measured times in nanoseconds.

    Attributes:
        place: where they were taken.
        batch: the batch size.
        of: a layer's time over all its calls, for a spec or (None) the convolution itself; None: not timed.
        total_ns: the whole original network; None where only layers are known.
        realised: the share of the layers' saving that shows in the whole network, from measuring an earlier plan.
    """

    place: Place
    batch: int
    of: Callable[[Site, Spec | None], int | None]
    total_ns: int | None = None
    realised: float = 1.0

    def predicted(self, saved_ns: int) -> int | None:
        """The whole network's latency once its layers save ``saved_ns`` in sum."""
        return None if self.total_ns is None else self.total_ns - int(self.realised * saved_ns)

    def needed(self, limit_ns: int) -> int:
        """What the layers must save in sum for the network to stay within ``limit_ns``; rounded up."""
        gap = (self.total_ns or 0) - limit_ns
        return gap if gap <= 0 else -int(-gap / self.realised // 1)

    def layer(
        self, site: Site, spec: Spec | None, now: Site | None = None, *, share: float | None = None
    ) -> LayerLatency | None:
        """Times of one layer before and after; ``now`` is the narrowed layer. None where either is not known.

        Where it is dropped, what stands in for it takes a ``share`` of its time.
        """
        before, after = self.of(site, None), self.of(now or site, spec)
        if before is not None and share is not None:
            after = round(share * before)
        return None if before is None or after is None else LayerLatency(before_ns=before, after_ns=after)


def only_paying(
    choices: Iterable[Choices], latencies: Latencies, *, allow_slower: bool
) -> tuple[tuple[Choices, ...], int]:
    """Options whose time is known and, unless ``allow_slower``, that pay in time; and how many were vetoed.

    A site that loses its last option to the veto says why.
    """
    kept, vetoed = [], 0
    for choice in choices:
        timed = [
            (candidate, took) for candidate in choice.options if (took := latencies.of(choice.site, candidate.spec))
        ]
        limit = (latencies.of(choice.site, None) or 0) * PAYS
        paying = tuple(candidate for candidate, took in timed if allow_slower or took < limit)
        vetoed += len(timed) - len(paying)
        if paying or not timed:
            kept.append(replace(choice, options=paying))
            continue
        kept.append(Choices(choice.site, (), _slower(choice.site, timed, latencies), refused=True))
    return tuple(kept), vetoed


def _slower(site: Site, timed: list[tuple[Candidate, int]], latencies: Latencies) -> str:
    candidate, took = min(timed, key=lambda pair: pair[1])
    before = latencies.of(site, None) or 1
    fastest = "" if len(timed) == 1 else f", the fastest of {len(timed)},"
    return (
        f"not faster: {candidate.spec.describe()}{fastest} takes {human_ms(took)}, {took / before:.2f} of the "
        f"convolution's {human_ms(before)} ({latencies.place.runtime_in_words()}, batch {latencies.batch})"
    )


def worth_timing(choices: Iterable[Choices]) -> tuple[Choices, ...]:
    """Fewer options, since each has to be timed: none that another of its family beats in everything a plan counts.

    A unit is beaten by one with no more MACs, parameters, damage and partitions (partitions never make a convolution
    faster). What is left of each kind of unit is thinned out evenly along its MACs.
    """
    return tuple(replace(choice, options=_thinned(_unbeaten(choice.options))) for choice in choices)


def _unbeaten(options: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    merits = [_merits(candidate) for candidate in options]

    def beaten(i: int) -> bool:
        return any(
            merits[j][0] == merits[i][0]
            and all(a <= b for a, b in zip(merits[j][1], merits[i][1], strict=True))
            and (merits[j][1] != merits[i][1] or j < i)
            for j in range(len(options))
            if j != i
        )

    return tuple(candidate for i, candidate in enumerate(options) if not beaten(i))


def _merits(candidate: Candidate) -> tuple[str, tuple[float, ...]]:
    spec, cost = candidate.spec, candidate.cost
    return spec.family, (cost.macs, cost.params, candidate.damage, spec.kind)


def _thinned(options: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    kinds: dict[tuple[str, int], list[Candidate]] = defaultdict(list)
    for candidate in options:
        kinds[candidate.spec.family, candidate.spec.kind].append(candidate)
    kept = {id(candidate) for kind in kinds.values() for candidate in _spread_out(kind)}
    return tuple(candidate for candidate in options if id(candidate) in kept)


def _spread_out(kind: list[Candidate]) -> list[Candidate]:
    """At most PER_KIND candidates, evenly spread over their MACs, with the cheapest and the dearest."""
    ordered = sorted(kind, key=lambda candidate: candidate.cost.macs)
    if len(ordered) <= PER_KIND:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (PER_KIND - 1))] for i in range(PER_KIND)]
