"""Which streams of channels may be narrowed, which of them change together, and what each width hurts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from torch import nn

from convsurgeon.base.cache_file import cache_directory
from convsurgeon.base.progress import Progress
from convsurgeon.planning.fit_memory import memory_limit, over_memory
from convsurgeon.planning.options import PROXY
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.rules import why_stream_kept
from convsurgeon.planning.widths import Widths
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.surgery.narrow import carried_parameters
from convsurgeon.survey.streams import Stream
from convsurgeon.transfer import Calibration
from convsurgeon.transfer.stream_damage import StreamSettings, measure_streams, widths_for

__all__ = ["fully_narrowed", "with_streams"]

_NO_INPUTS = "narrowing needs calibration inputs (--calibrate DIR)"
_TOO_FEW = "the calibration inputs are too few to tell what its loss would hurt"
_NO_WIDTH = "no fewer channels are a multiple of {multiple} (--width-multiple)"
_MEASURED = "measured: relative error that each width leaves, summed"
_NOT_ASKED = {False: "narrowing is not among the moves", True: "narrowing joined streams is not among the moves"}


def with_streams(model: nn.Module, problem: Problem, data: Calibration | None, progress: Progress) -> Problem:
    """The problem with the widths that its streams may have, where that is asked for, and why the others stay."""
    recipe = problem.recipe
    sets, closed = _sets(problem)
    if data is None or not problem.comparable:
        reason = _NO_INPUTS if data is None else _TOO_FEW
        return problem.narrowing((), [*closed, *(replace(s, closed=reason) for one in sets for s in one)])
    settings = StreamSettings(multiple=_multiple(problem), seed=recipe.seed, directory=cache_directory())
    found = measure_streams(
        model,
        sets,
        data,
        norms=problem.survey.norms(),
        fingerprint=problem.survey.fingerprint(),
        at_outputs=problem.judged_at_outputs,
        settings=settings,
        progress=progress,
    )
    measured = _with_widths(problem, sets, closed, found)
    return measured.named(_MEASURED) if measured.widths and problem.damage is PROXY else measured


def _with_widths(
    problem: Problem, sets: Sequence[tuple[Stream, ...]], closed: Sequence[Stream], found: Sequence[Widths | None]
) -> Problem:
    more = []
    for streams, widths in zip(sets, found, strict=True):
        if widths is None or len(widths.kept) == 1:
            reason = _TOO_FEW if widths is None else _NO_WIDTH.format(multiple=_multiple(problem))
            more += [replace(stream, closed=reason) for stream in streams]
    usable = [widths for widths in found if widths is not None and len(widths.kept) > 1]
    return problem.narrowing(usable, [*closed, *more])


def fully_narrowed(model: nn.Module, problem: Problem) -> Problem:
    """The problem with all or the fewest channels for each open stream, as if that hurt nothing: to tell what is in
    reach before anything is measured."""
    sets, closed = _sets(problem)
    return _with_widths(problem, sets, closed, [_either(model, streams, _multiple(problem)) for streams in sets])


def _either(model: nn.Module, streams: tuple[Stream, ...], multiple: int) -> Widths:
    counts = widths_for([stream.channels for stream in streams], multiple)
    kept = tuple(tuple(tuple(range(count)) for count in row) for row in dict.fromkeys((counts[0], counts[-1])))
    return Widths(streams, kept, (0.0,) * len(kept), tuple(carried_parameters(model, stream) for stream in streams))


def _multiple(problem: Problem) -> int:
    return problem.recipe.width_multiple or find_runtime(problem.recipe.runtime).width_multiple


def _sets(problem: Problem) -> tuple[list[tuple[Stream, ...]], list[Stream]]:
    """The streams that may be narrowed, by what changes together, and those that may not."""
    fits = _Fits(problem)
    streams = [fits.checked(stream) for stream in _asked(problem)] if problem.recipe.narrows else []
    closed = [stream for stream in streams if stream.closed is not None]
    return _together(stream for stream in streams if stream.closed is None), closed


def _asked(problem: Problem) -> Iterator[Stream]:
    """The streams of the model, closed where moves or rules leave them."""
    moves, rules = problem.moves, problem.recipe.rules
    sites = {site.name: site for site in problem.survey.sites}
    for stream in problem.survey.streams:
        asked = ("streams" if stream.joined else "narrow") in moves
        reason = why_stream_kept(stream, sites, rules) if asked else _NOT_ASKED[stream.joined]
        yield stream if stream.closed is not None else replace(stream, closed=reason)


class _Fits:
    """Whether what reads a stream can be fitted again once it has lost inputs."""

    def __init__(self, problem: Problem) -> None:
        sites = {site.name: site.shape for site in problem.survey.sites}
        self._shapes = sites | {linear.name: linear.shape for linear in problem.survey.linears}
        self._limit = memory_limit(problem.recipe.fit_memory)

    def checked(self, stream: Stream) -> Stream:
        """The stream, closed where one of its readers can't be fitted again."""
        if stream.closed is not None:
            return stream
        reasons = (self._why_not(reader.name) for reader in stream.readers)
        return replace(stream, closed=next((reason for reason in reasons if reason is not None), None))

    def _why_not(self, name: str) -> str | None:
        shape = self._shapes.get(name)
        if shape is None:
            return f"'{name}' reads it, a layer of its own kind that can't be fitted again"
        if shape.transposed:
            return f"'{name}' reads it, a transposed convolution, which is not fitted again"
        reason = over_memory(shape, self._limit)
        return None if reason is None else f"'{name}' reads it, and {reason}"


def _together(streams: Iterable[Stream]) -> list[tuple[Stream, ...]]:
    """Streams that one layer reads side by side (a concatenation) change by the same share, in one set."""
    sets: list[list[Stream]] = []
    for stream in streams:
        readers = {reader.name for reader in stream.readers}
        touching = [one for one in sets if any(reader.name in readers for other in one for reader in other.readers)]
        sets = [one for one in sets if one not in touching]
        sets.append([*(other for one in touching for other in one), stream])
    return [tuple(one) for one in sets]
