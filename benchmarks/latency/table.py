"""The rows as a Markdown page of means, as tables, and as a plot of latency ratio against MACs ratio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.latency.means import means
from benchmarks.latency.networks import METHODS, NETS
from benchmarks.latency.rows import Row

__all__ = ["draw", "page", "tables"]

HEAD = """\
# Latency

Latency of converted networks as a share of their originals', median of samples taken in turn in one run, beside
Torch-Pruning (one channel ratio, by magnitude) at the same MACs. Weights are random; time does not depend on them.
Where a method can't reach the share asked for, its lowest reachable one is timed. All networks of a row got the same
lowering where the row says so. What is in no row has not been timed yet. Accuracy is not looked at here: see
[accuracy.md](accuracy.md). The rows are kept in [latency.jsonl](latency.jsonl), each with its machine and quartiles;
the site shows them as tables, under "Latency, row by row". Every machine adds its own:

<!-- not run: hours of timing, on a quiet machine -->
```sh
python -m benchmarks.latency.run                 # what this machine has not timed; --device cuda for a GPU
python -m benchmarks.latency.run --table-only    # this page and the plot, from the rows that are kept
```
"""


def page(rows: Sequence[Row], plot: str | None) -> str:
    """The means over all networks, and the plot."""
    parts = [HEAD]
    if noted := sum(bool(row.note) for row in rows):
        parts.append(
            f"{noted} of {len(rows)} rows were, or may have been, timed on a busy machine: trust their ratios more "
            "than their ms.\n"
        )
    if plot is not None:
        parts.append(f"![Latency ratio against MACs ratio; on the diagonal every MAC saved is time saved.]({plot})\n")
    if together := means(rows):
        parts.append(together)
    return "\n".join(parts)


def tables(rows: Sequence[Row]) -> str:
    """One table per network and machine. *Realised* is (1 − latency ratio) / (1 − MACs ratio)."""
    parts = []
    for net in NETS:
        of_net = [row for row in rows if row.net == net]
        for machine in sorted({_machine(row) for row in of_net}):
            found = [row for row in of_net if _machine(row) == machine]
            size = NETS[net].size
            parts.append(f"## {net}, [N, 3, {size}, {size}], on {_described(found[0])}\n\n{_table(found)}")
    return "\n".join(parts)


def _machine(row: Row) -> tuple[str, str, int, str]:
    return row.on, row.device, row.threads, row.torch


def _described(row: Row) -> str:
    return f"{row.device}, {row.threads} thread{'s' if row.threads > 1 else ''}, torch {row.torch}"


def _table(rows: Iterable[Row]) -> str:
    lines = [
        "| method | MACs | runtime | batch | original ms | converted ms | ratio | realised | "
        "Torch-Pruning: MACs | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in sorted(rows, key=_place_in_table)]
    return "\n".join(lines) + "\n"


def _place_in_table(row: Row) -> tuple[object, ...]:
    return -row.share, list(METHODS).index(row.method), row.runtime, row.precision, row.batch, not row.lowered


def _cells(row: Row) -> list[str]:
    form = " lowered" if row.lowered else ""
    rival = ("–", "–") if row.rival_ratio is None else (f"{row.rival_macs_kept:.1%}", f"{row.rival_ratio:.2f}")
    return [
        METHODS[row.method],
        f"{row.macs_kept:.1%}" + (f" (asked {row.share:.0%})" if row.macs_kept > row.share + 0.01 else ""),
        f"{row.runtime} {row.precision}{form}",
        str(row.batch),
        _spread(row.original_ms),
        _spread(row.converted_ms),
        f"**{row.ratio:.2f}**" if row.ratio < 1 else f"{row.ratio:.2f} (slower)",
        f"{(1 - row.ratio) / (1 - row.macs_kept):.0%}" if row.macs_kept < 1 else "–",
        *rival,
    ]


def _spread(times: tuple[float, float, float]) -> str:
    return f"{times[0]:.1f} ({times[1]:.1f}–{times[2]:.1f})"


def draw(rows: Sequence[Row], path: Path) -> None:
    """One panel per runtime and precision; colours are methods, shapes are networks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = sorted({(row.on, row.runtime, row.precision) for row in rows})
    figure, axes = pyplot.subplots(1, len(panels), figsize=(max(9, 4.2 * len(panels)), 4.6), squeeze=False, sharey=True)
    for axis, (on, runtime, precision) in zip(axes[0], panels, strict=True):
        _panel(axis, [row for row in rows if (row.on, row.runtime, row.precision) == (on, runtime, precision)])
        axis.set_title(f"{runtime} {precision}{'' if on == 'cpu' else ', GPU'}")
        axis.set_xlabel("MACs ratio")
    axes[0][0].set_ylabel("latency ratio")
    highest = max(ratio for row in rows for ratio in (row.ratio, row.rival_ratio or 0))
    axes[0][0].set_ylim(0, 1.05 * max(1, highest))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _panel(axis: object, rows: Sequence[Row]) -> None:
    shapes = dict(zip(NETS, "os^D", strict=True))
    colours = {"rival": "0.5"} | {method: f"C{number}" for number, method in enumerate(METHODS)}
    axis.plot([0, 1], [0, 1], "k--", linewidth=0.8, label="every MAC saved is time saved")  # type: ignore[attr-defined]
    axis.axhline(1, color="k", linewidth=0.5)  # type: ignore[attr-defined]
    for method, title in METHODS.items():
        axis.scatter([], [], c=colours[method], label=title)  # type: ignore[attr-defined]
    axis.scatter([], [], c=colours["rival"], label="Torch-Pruning")  # type: ignore[attr-defined]
    for net, shape in shapes.items():
        axis.scatter([], [], c="k", marker=shape, label=net)  # type: ignore[attr-defined]
    for row in rows:
        size = 18 if row.batch == 1 else 42
        axis.scatter(row.macs_kept, row.ratio, s=size, marker=shapes[row.net], c=colours[row.method])  # type: ignore[attr-defined]
        if row.rival_ratio is not None:
            axis.scatter(row.rival_macs_kept, row.rival_ratio, s=size, marker=shapes[row.net], c=colours["rival"])  # type: ignore[attr-defined]
    axis.set_xlim(0, 1)  # type: ignore[attr-defined]
