"""docs/matrix.md and the summary, from rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from compatibility.records import Cell, NetworkRow

__all__ = ["page", "summary"]

_HOW = """Written by `scripts/matrix`, which runs every network in a process of its own, with random weights, offline.
For each method and a target of `macs=50%` it asks:

- **convert**: a conversion, or a refused target with the reachable range; then everything below is asked of a
  conversion to just that range, which shows that the range is true. Or nothing to convert, which counts only where no
  convolution with groups=1 and at least 16 channels on both sides exists (for spatial and tucker: none of 3×3, say).
- **unchanged**: weights, buffers, flags, classes and hooks of the caller's model are as before.
- **forward**: outputs of the same types and shapes (a detector's boxes vary: the same number of axes).
- **counts**: plan, `convsurgeon.count` and PyTorch's `FlopCounterMode` / 2 say the same MACs and parameters.
- **target**: never more than asked for. **reload**: saved and loaded, state and outputs are bit-equal.
- **export**: the ONNX graph gives the same outputs in ONNX Runtime (one method; on the smallest inputs that run where a
  forward takes over 2 GMACs; torchvision's networks by PyTorch's default exporter, the others by its TorchScript one
  first, which takes a tenth of the time).
- **calibrated** (`igc-l4m2` where it fits, on the smallest inputs that run): weights and batch norms shaken away from
  their initialisation, eight random inputs; outputs are finite, and at most 2 % further from the original's than after
  a fit to the weights alone (squared distances, relative to each output's own size, summed over the outputs).
- **planned** (likewise shaken, on the smallest inputs that run): what a conversion does by itself, `auto` on 24 random
  inputs to 85 % of the MACs, swaps, widths and streams by measured damage; MACs, parameters and outputs as above. Left
  out where so few inputs, or the network, do not get there.
- **narrowed** (likewise shaken, on the smallest inputs that run): every open stream keeps a random half of its
  channels, by a plan that was edited. Only cut, in float64, outputs are those of the network whose readers have zeros
  for the channels that are gone; fitted again on eight random inputs, they are no further from the original's than only
  cut.
- **backward**: one step in train mode; the parameters of a swapped or narrowed layer get gradients where the original's
  weight did.

The column **narrow** asks the same of that plan, instead of a target: `convert` cuts every open stream in half,
whatever share of the MACs that leaves; nothing to convert means that every stream is closed, each with its reason.

Inputs are of batch 1 and of the library's own size, smaller where a forward would take over 20 GMACs
(samvit_base_patch16, which takes one size only, is built for 512×512: at its own 1024×1024 a training step takes
22 GiB)."""

_NETWORKS = """\
[matrix.jsonl](matrix.jsonl) has a line for each network: its input (`reduced` where that is smaller than the
library's own), MACs, convolutions, every check and, for each method, the share of the MACs that is kept, or the least
that can be reached where the target was refused. The site shows them as tables, under "Networks, one by one"."""


def summary(rows: Iterable[NetworkRow]) -> str:
    """One table: what holds, by library."""
    lines = ["| library | networks | handled | converted | refused, with the range | nothing to convert | failed |"]
    lines.append("|---|---|---|---|---|---|---|")
    everything = list(rows)
    for library in dict.fromkeys(row.library for row in everything):
        lines.append(_counts(library, [row for row in everything if row.library == library]))
    if len(lines) > 3:
        lines.append(_counts("all", everything))
    return "\n".join(lines)


def _counts(label: str, rows: Sequence[NetworkRow]) -> str:
    kinds, failed = _outcomes([cell for row in rows for cell in row.cells])
    failed += sum(not row.cells for row in rows)
    handled = sum(row.green for row in rows)
    return f"| {label} | {len(rows)} | {handled} | {kinds} | {failed} |"


def _outcomes(cells: Sequence[Cell]) -> tuple[str, int]:
    """How many are converted, refused and nothing, and how many failed."""
    green = [cell.outcome for cell in cells if cell.green]
    kinds = " | ".join(str(green.count(kind)) for kind in ("converted", "refused", "nothing"))
    return kinds, len(cells) - len(green)


def _by_method(rows: Sequence[NetworkRow]) -> str:
    lines = ["| method | networks | converted | refused, with the range | nothing to convert | failed |"]
    lines.append("|---|---|---|---|---|---|")
    for method in dict.fromkeys(cell.method for row in rows for cell in row.cells):
        cells = [cell for row in rows for cell in row.cells if cell.method == method]
        kinds, failed = _outcomes(cells)
        lines.append(f"| {method} | {len(cells)} | {kinds} | {failed} |")
    return "\n".join(lines)


def page(rows: Iterable[NetworkRow]) -> str:
    """The page: the summary, failures with their reasons, checks, and where the networks' own lines are."""
    everything = sorted(rows, key=lambda row: (row.library, row.name))
    parts = ["# Compatibility", _HOW, _setting(everything)]
    parts += ["Networks are counted in the first columns, conversions (networks × methods) in the others.", ""]
    parts[-1] = summary(everything)
    parts += ["Conversions by method, as far as it was asked for:", _by_method(everything)]
    parts += ["## Failures", _failures(everything), "## Checks", _checks(everything), "## Networks", _NETWORKS]
    return "\n\n".join(parts) + "\n"


def _setting(rows: Sequence[NetworkRow]) -> str:
    versions = {name: value for row in rows for name, value in row.versions.items()}
    minutes = sum(row.seconds for row in rows) / 60
    named = ", ".join(f"{name} {value}" for name, value in versions.items())
    return f"{named}. {minutes:.0f} minutes of one CPU core."


def _failures(rows: Sequence[NetworkRow]) -> str:
    lines = [
        f"- `{row.name}` ({row.library}): {_plain(reason)}" for row in rows if not row.green for reason in _reasons(row)
    ]
    return "\n".join(lines) or "None."


def _reasons(row: NetworkRow) -> list[str]:
    return row.failures() or ["no method was run"]


def _checks(rows: Sequence[NetworkRow]) -> str:
    """How often each check passed, failed, or was left out and why."""
    found: dict[str, dict[str, int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    for checks in [row.checks for row in rows] + [cell.checks for row in rows for cell in row.cells]:
        for stage, check in checks.items():
            stage_counts = found.setdefault(stage, {"ok": 0, "failed": 0, "left out": 0})
            stage_counts[check.state] += 1
            if check.state == "left out":
                reason = check.why.partition(":")[0]
                reasons.setdefault(stage, {})[reason] = reasons.get(stage, {}).get(reason, 0) + 1
    lines = ["| check | passed | failed | left out | why left out |", "|---|---|---|---|---|"]
    for stage, counts in found.items():
        why = "; ".join(f"{_plain(reason)} ({times})" for reason, times in reasons.get(stage, {}).items())
        lines.append(f"| {stage} | {counts['ok']} | {counts['failed']} | {counts['left out']} | {why} |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """One line of a table; of a path only its last part, which says the same on every machine."""
    text = re.sub(r"(?<![\w.])(?:/[^/\s<>|]+)+/", "", text)
    return text.replace("|", "\\|").replace("\n", " ")
