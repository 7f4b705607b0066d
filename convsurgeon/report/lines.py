"""The sentences that stand under the table, the same in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from convsurgeon.base.proportion import interval
from convsurgeon.planning.floor_search import FloorSearch, Probe
from convsurgeon.planning.plan import CostRecord, LayerLatency, PlanLatency, PlanLayer, PlanStream
from convsurgeon.planning.targets import human, human_ms, parse_targets
from convsurgeon.report.record import Fidelity, Report, Timing

__all__ = [
    "BLOCK_TITLES",
    "STREAM_TITLES",
    "became",
    "block_lines",
    "called",
    "error_left",
    "floor_lines",
    "goal_lines",
    "layer_latency",
    "note_lines",
    "origin_lines",
    "result_line",
    "share",
    "stream_lines",
    "summary_lines",
    "target_lines",
]

# In shares of the original: a search that ends as near as this to a network that misses has closed in.
_NEAR = 0.05

STREAM_TITLES = ("stream", "kept", "became / why not", "written by", "read by, error left")
BLOCK_TITLES = ("residual branch", "layers", "became / why not", "error left")
# A ratio nearer to 1 than this is noise.
_AS_FAST = 0.97
_UNTIMED = "not timed: fewer MACs may take as long; see 'convsurgeon bench', or plan with --target latency=60%"


def share(after: int, before: int) -> str:
    """What is kept, e.g. ``42.1 %``."""
    return f"{after / before:.1%}".replace("%", " %") if before else "–"


def result_line(report: Report) -> str:
    """What happened, in one sentence."""
    plan = report.plan
    line = f"{plan.model} with {plan.method}: {len(plan.replaced)} of {len(plan.layers)} convolutions replaced"
    line += f", {len(plan.narrowed)} of {len(plan.streams)} streams narrowed" if plan.streams else ""
    return f"{line}, {len(plan.dropped)} of {len(plan.blocks)} residual branches dropped" if plan.blocks else line


def stream_lines(report: Report) -> list[tuple[str, str, str, str, str]]:
    """Rows (stream, channels, what became of it, written by, read by with the error left) for the plan's streams."""
    return [_stream_line(report, row) for row in report.plan.streams]


def _stream_line(report: Report, row: PlanStream) -> tuple[str, str, str, str, str]:
    became = row.reason if row.action == "narrowed" else f"{row.action}: {row.reason}"
    readers = dict.fromkeys(reader.name for reader in row.stream.readers)
    errors = [f"{name} {report.errors[name]:.2%}" if name in report.errors else name for name in readers]
    writers = ", ".join(producer.name for producer in row.stream.producers)
    kept = f"{len(row.channels)} of {row.stream.channels}"
    return row.stream.name, kept, became, writers, ", ".join(errors)


def block_lines(report: Report) -> list[tuple[str, str, str, str]]:
    """Rows (branch, layers, what became of it, error left of what it gave) for the plan's residual branches."""
    return [
        (
            row.block.name,
            str(len(row.block.modules)),
            f"{row.action}: {row.reason}",
            f"{report.errors[row.block.parts[-1]]:.2%}"
            if row.action == "dropped" and row.block.parts[-1] in report.errors
            else "",
        )
        for row in report.plan.blocks
    ]


def summary_lines(before: CostRecord, after: CostRecord) -> list[tuple[str, str, str, str]]:
    """Rows (metric, before, after, kept) for MACs, FLOPs and parameters."""
    rows = (
        ("MACs", before.macs, after.macs),
        ("FLOPs (2 × MACs)", 2 * before.macs, 2 * after.macs),
        ("params", before.params, after.params),
    )
    return [(name, human(old), human(new), share(new, old)) for name, old, new in rows]


def target_lines(report: Report) -> list[str]:
    """How each target was met, the weights' origin, and the notes."""
    return [*goal_lines(report), *origin_lines(report), *note_lines(report)]


def goal_lines(report: Report) -> list[str]:
    """How each target was met, and what is known of time."""
    lines = []
    for target in parse_targets(report.plan.target):
        if target.metric == "latency":
            lines.append(f"target {target.text}: {_latency_kept(report.plan.latency)} by {report.plan.solver}")
            continue
        limit = target.limit(report.before.cost())
        value = getattr(report.after, target.metric)
        lines.append(
            f"target {target.text}: {human(value)} {target.metric} of at most {human(limit)} "
            f"({share(value, getattr(report.before, target.metric))} kept) by {report.plan.solver}"
        )
    if report.plan.floor is not None:
        lines.extend(floor_lines(report.plan.floor))
        if report.recovery is not None:
            lines.append("the floor was judged before the recovery, which changed the weights")
    if report.plan.latency is not None:
        lines.append(_latency_line(report.plan.latency))
    if report.timing is not None:
        lines.append(_timing_line(report.timing))
    return lines if report.plan.latency or report.timing else [*lines, _UNTIMED]


def origin_lines(report: Report) -> list[str]:
    """Where the weights came from, what was fitted and judged on, and what was counted."""
    lines = [f"weights ({report.weights.origin}): {report.weights.detail.removeprefix('random: ')}"]
    lines.append(f"new layers: {report.inherited}")
    if report.fidelity is not None:
        lines.extend(_fidelity_lines(report.fidelity))
    if report.preparation is not None and report.preparation.source != "guessed":
        lines.append(report.preparation.describe())
    if report.recovery is not None:
        lines.append(f"recovery: {report.recovery.describe()}")
    shapes = ", ".join(str(list(shape)) for shape in report.plan.input_shapes)
    lines.append(f"counted for one forward on inputs {shapes}; one MAC = one multiply-accumulate")
    return lines


def note_lines(report: Report) -> list[str]:
    """What else is worth knowing."""
    return [f"note: {note}" for note in (*report.weights.notes, *report.plan.notes, *report.notes)]


def floor_lines(search: FloorSearch) -> list[str]:
    """What is kept, how sure that is, and each network that was tried."""
    if search.best is None:
        return []
    sure = f"; one-sided {search.confidence:.0%} bound, on inputs that nothing was fitted on"
    lines = [f"floor {verdict.describe()}{'' if verdict.bound is None else sure}" for verdict in search.best.verdicts]
    tried = (
        f"{probe.reached:.1%} {'keeps' if probe.kept else 'misses'} it"
        for probe in sorted(search.probes, key=lambda probe: probe.reached)
    )
    lines.append(f"smallest {search.minimised} of {len(search.probes)} networks tried: {', '.join(tried)}")
    return [*lines, *_left_open(search.probes, search.best)]


def _left_open(probes: Sequence[Probe], best: Probe) -> list[str]:
    """Where a smaller network might be: below the best, down to the largest that missed, if that is far."""
    missed = max((probe.reached for probe in probes if probe.reached < best.reached), default=None)
    if missed is None:
        return ["nothing smaller was tried"]
    near = best.reached - missed <= _NEAR
    return [] if near else [f"nothing between {missed:.1%} and {best.reached:.1%} was tried"]


def called(layer: PlanLayer) -> str:
    """Its name, and how often one forward calls it where that is more than once: ``conv ×2``."""
    return layer.name + (f" ×{layer.calls}" if layer.calls > 1 else "")


def became(layer: PlanLayer) -> str:
    """What a layer was replaced by, or what else was done with it and why."""
    return layer.reason if layer.action == "replaced" else f"{layer.action}: {layer.reason}"


def layer_latency(latency: LayerLatency | None) -> str:
    """A layer's measured time before and after, e.g. ``1.204 ms → 0.611 ms``; empty where it was not timed."""
    if latency is None:
        return ""
    return f"{human_ms(latency.before_ns)} → {human_ms(latency.after_ns)}"


def error_left(report: Report, layer: PlanLayer) -> str:
    """The error left in a layer's output, e.g. ``0.41%``; empty where none was measured."""
    error = report.errors.get(layer.name)
    return "" if error is None else f"{error:.2%}"


def _latency_kept(latency: PlanLatency | None) -> str:
    if latency is None:
        return "not known, since the plan was edited by hand,"
    if latency.measured_after_ns is None or latency.measured_before_ns is None:
        return f"{human_ms(latency.predicted_ns)} predicted ({share(latency.predicted_ns, latency.before_ns)} kept)"
    kept = share(latency.measured_after_ns, latency.measured_before_ns)
    return f"{human_ms(latency.measured_after_ns)} measured ({kept} kept)"


def _latency_line(latency: PlanLatency) -> str:
    """Predicted and measured side by side, and where."""
    words = f"{human_ms(latency.before_ns)} before, {human_ms(latency.predicted_ns)} predicted"
    words += f" ({share(latency.predicted_ns, latency.before_ns)})"
    if latency.measured_after_ns is not None and latency.measured_before_ns is not None:
        words += (
            f"; in turn, {human_ms(latency.measured_before_ns)} and {human_ms(latency.measured_after_ns)} "
            f"({share(latency.measured_after_ns, latency.measured_before_ns)}) measured"
        )
    plans = f", plan {latency.rounds} of those tried" if latency.rounds > 1 else ""
    return f"latency of one forward: {words}{plans} ({latency.place.describe()}, batch {latency.batch})"


def _timing_line(timing: Timing) -> str:
    """What the conversion brought in time, and a plain word where that is nothing."""
    before, after = timing.original.median_ns, timing.converted.median_ns
    verdict = "measured" if timing.ratio < _AS_FAST else "measured, NOT FASTER"
    if timing.busy:
        verdict = "measured on a BUSY machine"
    words = f"{verdict}: one forward takes {human_ms(after)} of {human_ms(before)} ({share(after, before)}; "
    words += f"{timing.place.describe()}, batch {timing.batch})"
    if timing.busy:
        return f"{words}: such a ratio means little; 'convsurgeon bench' again when it is idle"
    return words if timing.ratio < _AS_FAST else f"{words}; 'convsurgeon lower' or --target latency=60% may help"


def _fidelity_lines(fidelity: Fidelity) -> list[str]:
    """Agreement with the original, and accuracy where labels were given."""
    lines = []
    parts = []
    if fidelity.output_error is not None:
        parts.append(f"output error {fidelity.output_error:.2%}")
    if fidelity.top1_agreement is not None:
        same = _share_seen(fidelity.top1_agreement, fidelity.inputs, 1)
        parts.append(f"the same top-1 class as the original for {same}")
    if fidelity.inputs:
        kind = "held-back" if fidelity.held_back else "fitted-on (too few to hold any back)"
        fitted = f"fitted on {fidelity.fitted} inputs; " if fidelity.fitted else ""
        said = ", ".join(parts) or "NOT COMPARED, as the model returns no floating-point tensors that vary"
        lines.append(f"{fitted}on {fidelity.inputs} {kind} inputs: {said}")
    if fidelity.accuracy_before is not None and fidelity.accuracy_after is not None:
        lines.append(
            f"top-1 accuracy on {fidelity.evaluated} labelled images: "
            f"{_share_seen(fidelity.accuracy_before, fidelity.evaluated, 2)} before, "
            f"{_share_seen(fidelity.accuracy_after, fidelity.evaluated, 2)} after"
        )
    return lines


def _share_seen(share: float, count: int, decimals: int) -> str:
    """A share with its 95 % interval: 100 % of eight images may be 68 % of all."""
    low, high = interval(share, count)
    return f"{100 * share:.{decimals}f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
