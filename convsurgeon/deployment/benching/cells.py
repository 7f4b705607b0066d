"""What every drawn form of a bench shows: the cells of its tables, and the sentences below them."""

from __future__ import annotations

from convsurgeon.deployment.benching.record import BenchFigure, BenchLayer, BenchReport, BenchRow
from convsurgeon.planning.targets import human, human_ms
from convsurgeon.report.lines import share
from convsurgeon.runtimes.timer import Spread

__all__ = ["cells", "header", "layer_cells", "layer_header", "lines", "macs", "rate", "realised"]

_MIB = 2**20
_TWINS = ("original ms (quartiles)", "converted ms (quartiles)", "images/s", "peak MiB", "ratio", "realised share")


def header(report: BenchReport) -> tuple[str, ...]:
    """Column titles; fewer where a network was timed alone."""
    alone = ("ms (quartiles)", "images/s", "peak MiB")
    return ("runtime", "precision", "batch", *(alone if report.converted is None else _TWINS))


def layer_header(report: BenchReport) -> tuple[str, ...]:
    """Column titles of the layers' table."""
    return (
        "layer",
        "was",
        *(("became", "batch", "before", "after", "ratio") if report.converted else ("batch", "time")),
    )


def cells(row: BenchRow) -> list[str]:
    """A row of the table."""
    start = [row.place.runtime, row.place.precision, str(row.batch), _spread(row.original.latency)]
    if row.converted is None:
        return [*start, rate(row.original), _memory(row.original)]
    return [
        *start,
        _spread(row.converted.latency),
        f"{rate(row.original)} → {rate(row.converted)}",
        f"{_memory(row.original)} → {_memory(row.converted)}",
        f"{row.ratio:.3f}",
        realised(row),
    ]


def realised(row: BenchRow) -> str:
    """The realised share; a dash where no MACs are saved."""
    return "–" if row.realised is None else f"{row.realised:.0%}".replace("%", " %")


def _spread(latency: Spread) -> str:
    return f"{latency.median_ms:.2f} ({latency.low_ns / 1e6:.2f}–{latency.high_ns / 1e6:.2f})"


def rate(figure: BenchFigure) -> str:
    """Images per second."""
    return f"{figure.throughput:.1f}"


def _memory(figure: BenchFigure) -> str:
    return "?" if figure.memory is None else f"{figure.memory / _MIB:.1f}"


def layer_cells(row: BenchLayer, twins: bool) -> list[str]:
    """A row of the layers' table."""
    if not twins:
        return [row.name, row.was, str(row.batch), human_ms(row.original.median_ns)]
    after = "–" if row.converted is None else human_ms(row.converted.median_ns)
    ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
    return [row.name, row.was, row.became or "", str(row.batch), human_ms(row.original.median_ns), after, ratio]


def lines(report: BenchReport) -> list[str]:
    """Everything that needs saying below the tables."""
    told = [f"MACs of one forward on {_shapes(report)}: {macs(report)}"]
    places = dict.fromkeys((row.place.device, row.place.threads, row.place.torch) for row in report.rows)
    for device, threads, torch in places:
        told.append(f"{device}, {threads} thread{'' if threads == 1 else 's'}, torch {torch}")
    if report.rows:
        rounds = sorted({row.original.latency.samples for row in report.rows})
        span = f"{rounds[0]}–{rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
        told.append(f"medians and quartiles of {span} samples, the networks in turn after a warm-up")
        folded = "; ".join(dict.fromkeys(f"{row.place.runtime_in_words()}: {row.batch_norm}" for row in report.rows))
        told.append(f"batch norm, in both networks: {folded}")
        told.append("peak: the memory that a forward takes on top of the loaded network")
    if report.converted is not None:
        told.append("realised share = (1 − latency ratio) / (1 − MACs ratio)")
    told += [f"note: {note}" for note in report.notes]
    told += [f"not here: {name}: {reason}" for name, reason in report.absent.items()]
    return told + [f"failed: {name}: {reason}" for name, reason in report.failed.items()]


def _shapes(report: BenchReport) -> str:
    return ", ".join(str(list(shape)) for shape in report.input_shapes)


def macs(report: BenchReport) -> str:
    """MACs of one forward, and what is kept of them."""
    if report.converted is None or report.macs_ratio is None:
        return human(report.original.macs)
    kept = share(report.converted.macs, report.original.macs)
    return f"{human(report.original.macs)} → {human(report.converted.macs)} ({kept} kept)"
