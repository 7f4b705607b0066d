"""What streams of channels may keep, and what that hurts, measured on the original's own inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.progress import Progress, silent
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.gathering import Gathering
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.problems import linears_of
from convsurgeon.families.regression.samples import HELD_EVERY, HELD_ROWS, Sampler
from convsurgeon.planning.widths import Widths
from convsurgeon.surgery.narrow import carried_parameters
from convsurgeon.survey.streams import Stream
from convsurgeon.transfer.at_outputs import AtOutputs
from convsurgeon.transfer.batch_norm import keeps_statistics
from convsurgeon.transfer.calibration import Calibration
from convsurgeon.transfer.capture import evaluating, watch_first
from convsurgeon.transfer.damage_file import data_hash, weights_hash
from convsurgeon.transfer.elimination import Elimination, ReadBlock
from convsurgeon.transfer.fit import ridge_for
from convsurgeon.transfer.layers import as_conv
from convsurgeon.transfer.stream_cache import StreamCache
from convsurgeon.transfer.traffic import FEWEST_HELD_IMAGES, count_traffic, groups_within

__all__ = ["StreamSettings", "measure_streams", "widths_for"]

# What may be kept of a stream, before rounding to multiples.
SHARES = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
# Unknowns of a linear layer for each input that it can be fitted again on.
LINEAR_UNKNOWNS = 4
# So many steps take all channels away, so that what each takes is known when the next ones are chosen.
STEPS = 32


@dataclass(frozen=True)
class StreamSettings:
    """``multiple``: what widths are rounded to; ``seed`` draws the positions; ``memory_bytes`` bounds the covariances
    held at once; ``directory`` keeps the results."""

    multiple: int = 8
    seed: int = 0
    memory_bytes: int = 1 << 30
    directory: Path | None = None


def widths_for(channels: Sequence[int], multiple: int) -> tuple[tuple[int, ...], ...]:
    """How many channels of each stream are kept at each width, all of them first."""
    rows = [tuple(_rounded(share * count, count, multiple) for count in channels) for share in SHARES]
    return tuple(dict.fromkeys(rows))


def _rounded(wanted: float, count: int, multiple: int) -> int:
    if wanted >= count:
        return count
    return min(count, max(multiple, round(wanted / multiple) * multiple))


def measure_streams(
    original: nn.Module,
    sets: Sequence[tuple[Stream, ...]],
    calibration: Iterable[Any] | Calibration,
    *,
    norms: Mapping[str, str],
    fingerprint: str = "",
    at_outputs: bool = True,
    settings: StreamSettings | None = None,
    progress: Progress | None = None,
) -> list[Widths | None]:
    """Nested widths of each set of streams that change together, and the damage of each width; None where the inputs
    are too few to tell. Unless ``at_outputs``, or where these can't be compared, damage is the error of the layers that
    read.

    ``norms`` name the norm right behind each convolution; ``fingerprint`` is the survey's. What the settings' directory
    holds for the same model, weights, data and settings is not measured again. The original is not touched.

    Raises:
        UsageError: calibration inputs of the wrong kind, or none.
        ModelRunError: the model fails on the calibration inputs.
    """
    settings, progress = settings or StreamSettings(), progress or silent
    reference, data = duplicate(original), Calibration.of(calibration)
    with evaluating(reference):
        outputs = AtOutputs.held_out(reference, data)
        told = outputs if at_outputs and outputs.comparable else None
        key = (fingerprint, weights_hash(reference), data_hash(data.fitting(reference)), told.kind if told else "")
        cache = StreamCache(settings.directory, (*key, str(settings.seed), str(settings.multiple)))
        if missing := [streams for streams in sets if cache.find(streams) is None]:
            _Measurement(reference, data, missing, norms, settings, told, cache).run(missing, progress)
    return [cache.find(streams) for streams in sets]


class _Measurement:
    """One run over the sets of streams that the cache does not hold yet."""

    def __init__(
        self,
        reference: nn.Module,
        data: Calibration,
        sets: Sequence[tuple[Stream, ...]],
        norms: Mapping[str, str],
        settings: StreamSettings,
        outputs: AtOutputs | None,
        cache: StreamCache,
    ) -> None:
        self.reference, self.data, self.norms, self.settings, self.cache = reference, data, norms, settings, cache
        self.outputs = outputs
        names = dict.fromkeys(reader.name for streams in sets for stream in streams for reader in stream.readers)
        self.traffic = count_traffic(reference, names, data.fitting(reference))
        self.convs = {name: as_conv(reference.get_submodule(name)) for name in names}

    def run(self, sets: Sequence[tuple[Stream, ...]], progress: Progress) -> None:
        """Covariances of as many sets at once as memory allows, in one pass over the data each time; sets of which the
        inputs are too few to tell anything are passed over."""
        told = [streams for streams in sets if all(self._enough(name) for name in self._readers(streams))]
        told.sort(key=lambda streams: self.traffic[self._readers(streams)[0]].rank)
        sizes = [sum(self._bytes(name) for name in self._readers(streams)) for streams in told]
        done = 0
        for group in groups_within(sizes, self.settings.memory_bytes):
            progress("measuring streams", done, len(told), told[group.start][0].name)
            gathered = self._gather([name for streams in told[group] for name in self._readers(streams)])
            for streams in told[group]:
                progress("measuring streams", done, len(told), streams[0].name)
                self.cache.add(self._widths(streams, gathered))
                done += 1
        progress("measuring streams", done, len(told), "")

    def _enough(self, name: str) -> bool:
        """Whether it can be told what a layer's loss of inputs hurts. A linear layer has one sample an image; it is
        judged at the network's outputs, so all it takes is enough samples to fit it again."""
        seen, unknowns = self.traffic[name], _unknowns(self.convs[name][1])
        if seen.positions > seen.images:
            return seen.enough
        return seen.images // HELD_EVERY >= FEWEST_HELD_IMAGES and LINEAR_UNKNOWNS * seen.images >= unknowns

    def _bytes(self, name: str) -> int:
        _, shape = self.convs[name]
        unknowns = _unknowns(shape)
        # The covariance in float64, its inverse, and what is left of it after a step, in float32.
        return 16 * unknowns**2 + 4 * HELD_ROWS * (unknowns + shape.out_channels)

    def _gather(self, names: Sequence[str]) -> dict[str, Gathering]:
        gathered: dict[str, Gathering] = {}
        samplers: dict[str, Sampler] = {}
        for name in dict.fromkeys(names):
            conv, shape = self.convs[name]
            seen = self.traffic[name]
            gathered[name] = Gathering(shape, *linears_of(conv, shape))
            samplers[name] = Sampler(seen.images, seen.positions, _unknowns(shape), self.settings.seed, held_out=True)

        def watcher(name: str) -> Any:
            def take(x: Tensor, y: Tensor) -> None:
                gathered[name].add(samplers[name].sample(x, y))

            return take

        watchers = {name: watcher(name) for name in gathered}
        for number, inputs in enumerate(self.data.fitting(self.reference) if watchers else ()):
            calls = {name: self.traffic[name].calls[number] for name in watchers}
            watch_first(self.reference, watchers, calls, inputs)
        return gathered

    @torch.no_grad()
    def _widths(self, streams: tuple[Stream, ...], gathered: Mapping[str, Gathering]) -> Widths:
        layers = [(self._site(name, gathered[name]), self._blocks(name, streams)) for name in self._readers(streams)]
        channels = [stream.channels for stream in streams]
        elimination = Elimination(channels, layers)
        kept, damages = [elimination.left()], [0.0]
        for counts in widths_for(channels, self.settings.multiple)[1:]:
            for number, count in enumerate(counts):
                elimination.to(number, count, max(1, channels[number] // STEPS))
            kept.append(elimination.left())
            # More channels never hurt more, whatever chance says of few samples.
            damages.append(max(damages[-1], self._damage(elimination, self._readers(streams))))
        return Widths(
            streams,
            tuple(kept),
            tuple(damages),
            tuple(carried_parameters(self.reference, stream) for stream in streams),
        )

    def _damage(self, elimination: Elimination, readers: list[str]) -> float:
        """The error at the network's outputs where they can be compared, else at the layers that read."""
        found = None
        if self.outputs is not None:
            found = self.outputs.with_weights(dict(zip(readers, elimination.solutions(), strict=True)))
        return elimination.damage() if found is None else found

    def _site(self, name: str, gathering: Gathering) -> LinearSite:
        (collected,) = gathering.collected()
        _, shape = self.convs[name]
        takes_up = keeps_statistics(self.reference, self.norms.get(name))
        ridge = ridge_for(collected.fitted.count, _unknowns(shape))
        return LinearSite.of(collected, ridge, centred=shape.bias or takes_up)

    def _readers(self, streams: Iterable[Stream]) -> list[str]:
        """In the order in which they run."""
        names = dict.fromkeys(reader.name for stream in streams for reader in stream.readers)
        return sorted(names, key=lambda name: self.traffic[name].rank)

    def _blocks(self, name: str, streams: tuple[Stream, ...]) -> list[ReadBlock]:
        area = self.convs[name][1].area
        return [
            ReadBlock(number, reader.offset * reader.span * area, reader.span * area)
            for number, stream in enumerate(streams)
            for reader in stream.readers
            if reader.name == name
        ]


def _unknowns(shape: ConvShape) -> int:
    return shape.in_channels * shape.area
