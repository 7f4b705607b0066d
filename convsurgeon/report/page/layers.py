"""Each convolution of a conversion as a row of its page, and the legend of the words in it."""

from __future__ import annotations

from collections.abc import Iterator

from convsurgeon.families import family_of
from convsurgeon.planning.plan import PlanLayer
from convsurgeon.planning.targets import human
from convsurgeon.report.lines import became, called, error_left, layer_latency, share
from convsurgeon.report.page.blocks import Cell, PairOfBars, Section, Table, Terms
from convsurgeon.report.record import Report

__all__ = ["layer_section", "legend"]


def layer_section(report: Report) -> Section:
    """A table with a row for every convolution; columns that would be empty are left out."""
    layers = report.plan.layers
    timed = any(layer.latency is not None for layer in layers)
    header = ["layer", "convolution", "MACs", "parameters"]
    header += ["error left"] if report.errors else []
    header += ["time"] if timed else []
    most = max((layer.before.macs for layer in layers), default=0)
    rows = tuple(tuple(_cells(report, layer, most, timed)) for layer in layers)
    table = Table(
        "Every convolution in the order of execution; bars: MACs of one forward, before (upper) and after (lower).",
        tuple(header),
        rows,
        frozenset(range(3, len(header))),
        tuple(layer.action for layer in layers),
    )
    return Section("Every convolution", (table,))


def _cells(report: Report, layer: PlanLayer, most: int, timed: bool) -> Iterator[Cell]:
    before, after = layer.before, layer.after
    changed = before != after
    yield called(layer)
    yield f"{layer.was}\n{became(layer)}"
    macs = f"{human(before.macs)} → {human(after.macs)}, {share(after.macs, before.macs)}"
    yield PairOfBars(before.macs, after.macs, most, macs if changed else human(before.macs))
    yield f"{human(before.params)} → {human(after.params)}" if changed else human(before.params)
    if report.errors:
        yield error_left(report, layer)
    if timed:
        yield layer_latency(layer.latency)


def legend(report: Report) -> Terms:
    """The words of this page's table: an example of each family that is in it, and what all rows share."""
    examples: dict[str, tuple[str, str]] = {}
    for layer in report.plan.layers:
        if layer.spec is not None and (card := family_of(layer.spec).card).family not in examples:
            examples[card.family] = (layer.spec.describe(), f"{card.idea} {card.legend}.")
    return Terms((*examples.values(), *_shared(report)))


def _shared(report: Report) -> Iterator[tuple[str, str]]:
    yield (
        "Conv2d 64→128 3×3 /2 groups 4",
        "a convolution from 64 to 128 channels with a 3×3 kernel, stride 2, in 4 groups",
    )
    yield "MACs", "multiply-accumulates of one forward on the example inputs; papers often print them as FLOPs"
    if any(layer.calls > 1 for layer in report.plan.layers):
        yield "×2", "a layer that one forward calls twice; costs are over all its calls"
    if report.errors:
        yield "error left", "‖y − ŷ‖² / ‖y − mean(y)‖² of a layer's outputs, on inputs that it was not fitted on"
    if any(layer.latency is not None for layer in report.plan.layers):
        yield "time", "of the layer alone, over all its calls in one forward, measured before the conversion"
    yield (
        "replaced, kept, refused",
        "kept: by a rule or because nothing would pay; refused: no method can take its place",
    )
    if report.plan.streams:
        yield "narrowed", "a convolution that lost channels, since a stream at one of its ends keeps only some"
        yield "stream", "channels that all their writers and readers keep or lose together; closed: none can go"
    if report.plan.blocks:
        yield "residual branch", "the f of x + f(x); dropped: a 1×1 convolution stands in for its layers"
