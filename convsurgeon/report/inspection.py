"""The list of a model's convolutions, streams and residual blocks, as data and as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convsurgeon.planning.rules import Rules, why_kept
from convsurgeon.planning.targets import human
from convsurgeon.report.lines import share
from convsurgeon.report.stream_tables import blocks_as_data, stream_lines, stream_tables, streams_as_data
from convsurgeon.report.terminal import Fitting
from convsurgeon.survey.sites import Site, Survey

__all__ = ["as_data", "render"]


def as_data(name: str, found: Survey) -> dict[str, Any]:
    """Exact integers; MACs of one forward on the example inputs, over all calls."""
    return {
        "schema_version": 1,
        "model": name,
        "input_shapes": [list(shape) for shape in found.input_shapes],
        "counted_on": found.counted_on,
        "total": {"macs": found.total.macs, "params": found.total.params},
        "layers": [
            {
                "name": site.name,
                "aliases": list(site.aliases),
                "kind": site.kind,
                "shape": site.shape.model_dump(mode="json"),
                "calls": site.calls,
                "output_size": list(site.output_size),
                "macs": site.cost.macs,
                "params": site.cost.params,
                "eligible": _why_not(site) is None,
                "reason": _why_not(site),
            }
            for site in found.sites
        ],
        "streams": streams_as_data(found.streams),
        "blocks": blocks_as_data(found.blocks),
    }


def _why_not(site: Site) -> str | None:
    return site.obstacle or why_kept(site, Rules())


def render(name: str, found: Survey) -> RenderableType:
    """One row per convolution, stream and residual block, then the totals."""
    eligible = [site for site in found.sites if _why_not(site) is None]
    covered = share(sum(site.cost.macs for site in eligible), found.total.macs)
    shapes = ", ".join(str(list(shape)) for shape in found.input_shapes)
    lines = [
        f"{human(found.total.macs)} MACs ({human(2 * found.total.macs)} FLOPs at 2 per MAC), "
        f"{human(found.total.params)} params, on inputs {shapes}",
        f"{len(eligible)} of {len(found.sites)} convolutions are eligible by default: {covered} of the MACs",
    ]
    if found.counted_on == "device":
        lines.append("counted on real numbers: the cost may depend on the data")
    convolutions = Fitting(_wide(name, found), _narrow(name, found))
    lines += stream_lines(found.streams, found.blocks)
    return Group(convolutions, *stream_tables(found.streams, found.blocks), *(Text(line) for line in lines))


def _wide(name: str, found: Survey) -> Table:
    table = Table(title=name, title_justify="left", header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("convolution", no_wrap=True)
    for title in ("map", "MACs", "share", "params"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("eligible", overflow="fold", min_width=24)
    for site in found.sites:
        table.add_row(
            _name(site),
            f"{site.kind} {site.shape.describe()}",
            "×".join(map(str, site.output_size)),
            f"{site.cost.macs:,}",
            share(site.cost.macs, found.total.macs),
            f"{site.cost.params:,}",
            _eligible(site),
            style="dim" if _why_not(site) else "",
        )
    return table


def _narrow(name: str, found: Survey) -> Table:
    """Two lines a cell, numbers rounded to three decimals."""
    table = Table(title=name, title_justify="left", header_style="bold", show_lines=True)
    table.add_column("layer\nconvolution", overflow="fold")
    table.add_column("eligible", overflow="fold")
    table.add_column("map", justify="right", no_wrap=True)
    table.add_column("MACs\nshare", justify="right", no_wrap=True)
    table.add_column("params", justify="right", no_wrap=True)
    for site in found.sites:
        table.add_row(
            f"{_name(site)}\n{site.kind} {site.shape.describe()}",
            _eligible(site),
            "×".join(map(str, site.output_size)),
            f"{human(site.cost.macs)}\n{share(site.cost.macs, found.total.macs)}",
            human(site.cost.params),
            style="dim" if _why_not(site) else "",
        )
    return table


def _name(site: Site) -> str:
    return site.name + (f" ×{site.calls}" if site.calls > 1 else "")


def _eligible(site: Site) -> str:
    reason = _why_not(site)
    return "yes" if reason is None else f"no: {reason}"
