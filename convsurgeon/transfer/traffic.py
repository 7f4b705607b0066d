"""What the original model gives at each site: counted in one pass, sampled in another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.families.regression.samples import HELD_ROWS, Sample, Sampler, sample_cap
from convsurgeon.transfer.capture import watch

__all__ = ["Traffic", "count_traffic", "groups_within", "sample_targets"]


@dataclass
class Traffic:
    """How much of one pass over the data reaches a module: its calls in each batch, images and output positions.

    ``input_bytes`` is what all of its input maps would take.
    """

    calls: list[int] = field(default_factory=list)
    images: int = 0
    positions: int = 0
    outputs: int = 0
    input_bytes: int = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count one call."""
        self.input_bytes += x.nbytes
        self.calls[-1] += 1
        self.images += len(y)
        self.positions += y.numel() // max(1, y.shape[1])
        self.outputs = y.shape[1]

    def sampled_bytes(self, unknowns: int) -> int:
        """About what the sampled outputs of this site take."""
        return 4 * self.outputs * min(self.positions, sample_cap(unknowns) + HELD_ROWS)


def count_traffic(model: nn.Module, names: Iterable[str], batches: Iterable[Inputs]) -> dict[str, Traffic]:
    """One pass that only counts. Sites that never run stay at zero."""
    traffic = {name: Traffic() for name in names}
    for inputs in batches:
        for seen in traffic.values():
            seen.calls.append(0)
        watch(model, {name: seen.add for name, seen in traffic.items()}, inputs)
    return traffic


def sample_targets(
    model: nn.Module, samplers: dict[str, Sampler], batches: Iterable[Inputs]
) -> dict[str, list[list[Sample]]]:
    """For each site and batch its calls' samples; in place of the input map, ``x`` has the output's shape only."""
    found: dict[str, list[list[Sample]]] = defaultdict(list)
    for inputs in batches:
        for name in samplers:
            found[name].append([])
        watch(model, {name: _sampling(samplers[name], found[name][-1]) for name in samplers}, inputs)
    return found


def _sampling(sampler: Sampler, into: list[Sample]) -> Callable[[Tensor, Tensor], None]:
    def read(_x: Tensor, y: Tensor) -> None:
        into.append(sampler.sample(y.new_empty(y.shape, device="meta"), y))

    return read


def groups_within(sizes: Sequence[int], budget: int) -> list[slice]:
    """Consecutive runs whose sizes sum to at most ``budget`` (a single larger one stands alone)."""
    groups: list[slice] = []
    start = used = 0
    for i, size in enumerate(sizes):
        if i > start and used + size > budget:
            groups.append(slice(start, i))
            start, used = i, 0
        used += size
    return [*groups, slice(start, len(sizes))] if sizes else []
