"""The page of one conversion: what it is worth, then what was done, the training, each layer, how to make it again."""

from __future__ import annotations

import shlex

from convsurgeon.base.proportion import interval
from convsurgeon.planning.targets import human, human_ms
from convsurgeon.report.groups import grouped, macs_words
from convsurgeon.report.lines import goal_lines, note_lines, origin_lines, share
from convsurgeon.report.page import draw
from convsurgeon.report.page.blocks import Code, Figure, Page, PairOfBars, Section, Sentences, Table
from convsurgeon.report.page.layers import layer_section, legend
from convsurgeon.report.page.streams import block_sections, stream_sections
from convsurgeon.report.page.training import training_section
from convsurgeon.report.record import Report

__all__ = ["page_of", "summary_html", "to_html"]


def to_html(report: Report) -> str:
    """One self-contained file."""
    return draw.to_html(page_of(report))


def summary_html(report: Report) -> str:
    """Headline numbers and groups, for a notebook's cell."""
    page = page_of(report)
    return draw.fragment(Page(page.title, page.verdict, page.figures, page.sections[:1], page.made_by))


def page_of(report: Report) -> Page:
    """The page as blocks."""
    plan = report.plan
    training = () if report.recovery is None else (training_section(report.recovery),)
    return Page(
        title=f"{plan.model} with {plan.method}",
        verdict=_verdict(report),
        figures=tuple(_figures(report)),
        sections=(
            Section("What became of the convolutions", (_groups(report),)),
            *_told(report),
            *training,
            layer_section(report),
            *stream_sections(report),
            *block_sections(report),
            Section("What the words mean", (legend(report),)),
            Section("Make it again", (Code(_command(report)),)),
        ),
        made_by=f"convsurgeon {report.convsurgeon}. One MAC is one multiply-accumulate of one forward.",
    )


def _verdict(report: Report) -> str:
    before, after, plan = report.before, report.after, report.plan
    return (
        f"{share(after.macs, before.macs)} of the MACs and {share(after.params, before.params)} of the parameters are "
        f"kept; {len(plan.replaced)} of {len(plan.layers)} convolutions are replaced"
        + (f", {len(plan.narrowed)} of {len(plan.streams)} streams of channels narrowed" if plan.streams else "")
        + (f", {len(plan.dropped)} of {len(plan.blocks)} residual branches dropped." if plan.blocks else ".")
    )


def _figures(report: Report) -> list[Figure]:
    before, after = report.before, report.after
    return [
        Figure("MACs kept", share(after.macs, before.macs), f"{human(before.macs)} → {human(after.macs)}"),
        Figure(
            "Parameters kept", share(after.params, before.params), f"{human(before.params)} → {human(after.params)}"
        ),
        *_time(report),
        *_quality(report),
    ]


def _time(report: Report) -> list[Figure]:
    """The measured share of the original's time; what was only predicted is no headline."""
    if report.timing is not None:
        old, new, place = report.timing.original.median_ns, report.timing.converted.median_ns, report.timing.place
    elif report.plan.latency is not None and report.plan.latency.measured_after_ns is not None:
        latency = report.plan.latency
        old, new, place = latency.measured_before_ns or latency.before_ns, latency.measured_after_ns or 0, latency.place
    else:
        return [Figure("Time", "not measured", "'convsurgeon bench' measures it")]
    title = "Time kept" if new < old else "Time: not faster"
    if report.timing is not None and report.timing.busy:
        title = "Time, on a busy machine"
    return [Figure(title, share(new, old), f"{human_ms(old)} → {human_ms(new)}, {place.runtime_in_words()}")]


def _quality(report: Report) -> list[Figure]:
    """How close the network is to its original, as far as it was judged; after a recovery, what that says."""
    if report.recovery is not None:
        before, after = report.recovery.before, report.recovery.after
        if after.accuracy is not None and before.accuracy is not None:
            then = f"{100 * before.accuracy:.2f} % before, {after.held_out()}"
            return [Figure("Top-1 after recovery", f"{100 * after.accuracy:.2f} %", then)]
        said = after.describe()
        return [Figure("After recovery", said, f"{before.describe()} before, {after.held_out()}")] if said else []
    found = report.fidelity
    if found is None:
        return []
    figures = []
    if found.accuracy_after is not None and found.accuracy_before is not None:
        old, seen = f"{100 * found.accuracy_before:.2f} % before", _seen(found.accuracy_after, found.evaluated)
        figures.append(Figure("Top-1 accuracy", f"{100 * found.accuracy_after:.2f} %", f"{old}; {seen} images"))
    if found.top1_agreement is not None:
        seen = _seen(found.top1_agreement, found.inputs)
        figures.append(Figure("The original's class", f"{100 * found.top1_agreement:.1f} %", f"{seen} inputs"))
    if found.output_error is not None:
        figures.append(Figure("Output error", f"{100 * found.output_error:.2f} %", f"on {found.inputs} inputs"))
    return figures


def _seen(share: float, count: int) -> str:
    low, high = interval(share, count)
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f} %, {count}"


def _groups(report: Report) -> Table:
    groups = grouped(report.plan.layers)
    most = max((group.before.macs for group in groups), default=0)
    rows = tuple(
        (
            group.action,
            group.what,
            str(len(group.layers)),
            PairOfBars(group.before.macs, group.after.macs, most, macs_words(group)),
        )
        for group in groups
    )
    header = ("outcome", "by what, or why not", "layers", "MACs before and after")
    return Table("What was replaced, what was not, and why.", header, rows, frozenset({2}))


def _told(report: Report) -> list[Section]:
    sections = [
        ("Targets and time", goal_lines(report)),
        ("Weights and inputs", origin_lines(report)),
        ("Worth knowing", [line.removeprefix("note: ") for line in note_lines(report)]),
    ]
    return [Section(title, (Sentences(tuple(lines)),)) for title, lines in sections if lines]


def _command(report: Report) -> str:
    """The command as it was typed; the Python call where a caller's own model was converted."""
    if report.command is not None:
        return report.command
    plan = report.plan
    if report.weights.origin == "caller":
        target = f", target={list(plan.target)!r}" if plan.target else ""
        return f"convsurgeon.convert(model, example_inputs, method={plan.method!r}{target})"
    targets = [word for target in plan.target for word in ("--target", target)]
    return shlex.join(["convsurgeon", "convert", plan.model, "--method", plan.method, *targets])
