"""What there is to measure of accuracy, what was, and the Markdown tables of it."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CELLS = (("vgg", 0), ("vgg", 1), ("vgg", 2), ("resnet18", 0))
SHARES = (0.50, 0.25)
METHODS = {
    "random": "IGC, fresh weights",
    "igc-weights-only": "IGC, fitted to the weights alone",
    "spatial-weights-only": "Spatial, fitted to the weights alone",
    "spatial-svd": "spatial SVD of the weights",
    "torch-pruning": "Torch-Pruning, Taylor importance",
    "igc": "IGC, measured damage, fitted",
    "compconv": "CompConv, measured damage, fitted",
    "compconv-refined": "CompConv, the same, then 100 gradient steps a layer",
    "dgconv": "DGConv (hardened), measured damage, fitted",
    "spatial": "Spatial, measured damage, fitted",
    "tucker": "Tucker, measured damage, fitted",
    "auto": "auto, measured damage, fitted",
    "auto-narrow": "narrowing alone, measured damage, fitted",
    "auto-moves": "auto and narrowing, measured damage, fitted",
    "igc-proxy": "IGC, data-free proxy, fitted",
    "igc-uniform": "IGC, one share for all layers, fitted",
}


@dataclass(frozen=True)
class Result:
    """One cell; top-1 in percent, ``share`` of the MACs really kept, seconds of the whole conversion.

    ``same`` is the percent of test images that get the original's class, ``output_error`` the relative error of the
    outputs in percent (see ``Agreement``): both need no labels and scatter less than top-1.
    """

    net: str
    seed: int
    method: str
    target: float
    share: float
    before: float
    after: float
    same: float
    output_error: float
    seconds: float
    threads: int
    plan: str = ""


def results(cache: Path, pattern: str = "*") -> Iterator[Result]:
    """What is there already."""
    for path in sorted((cache / "results").glob(f"{pattern}.json")):
        yield Result(**json.loads(path.read_text()))


def table(cache: Path) -> str:
    """The Markdown tables, one for each network and share, over whatever results there are."""
    groups: dict[tuple[str, float, str], list[Result]] = defaultdict(list)
    for result in results(cache):
        groups[result.net, result.target, result.method].append(result)
    lines = []
    for net in dict.fromkeys(net for net, _ in CELLS):
        known = {r.seed: r.before for (name, _, _), rs in groups.items() if name == net for r in rs}
        for share in SHARES if known else ():
            seeds = ", ".join(map(str, sorted(known)))
            lines.append(f"\n## {net} at {share:.0%} of the MACs")
            lines.append(f"\nOriginal: top-1 {spread(list(known.values()))} %, seeds {seeds}\n")
            lines.append("| method | seeds | top-1, % | points lost | same class, % | output error, % | s |")
            lines.append("|---|---|---|---|---|---|---|")
            lines += [f"| {title} | {_row(groups[net, share, method], share)} |" for method, title in METHODS.items()]
    return "\n".join(lines)


def _row(results: list[Result], target: float) -> str:
    if not results:
        return "– | – | – | – | – | –"
    kept = statistics.mean(r.share for r in results)
    note = f" (at {kept:.1%})" if abs(kept - target) > 0.01 else ""
    columns = [
        ", ".join(str(seed) for seed in sorted(r.seed for r in results)),
        spread([r.after for r in results]) + note,
        spread([r.before - r.after for r in results]),
        spread([r.same for r in results]),
        spread([r.output_error for r in results]),
        f"{statistics.median(r.seconds for r in results):.0f}",
    ]
    return " | ".join(columns)


def spread(values: list[float]) -> str:
    """Mean, and half of the range where there is more than one value."""
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {(max(values) - min(values)) / 2:.2f}"
