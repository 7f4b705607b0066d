"""Int8 files of networks that others trained, judged by their own tasks; resumable, a row of tasks.jsonl for each.

python -m benchmarks.real --subject craft --method auto              # once: the networks, with its packages
python -m benchmarks.int8.tasks --subject craft                      # in ONNX Runtime and OpenVINO, then the table
python -m benchmarks.int8.tasks --table-only
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from torch import nn

import convsurgeon
from benchmarks.int8.files import RUNTIMES, format_of
from benchmarks.places import filled
from benchmarks.real.__main__ import HERE as REAL
from benchmarks.real.cells import network_folder
from benchmarks.real.methods import METHODS
from benchmarks.real.row import ORIGINAL
from benchmarks.real.row import Row as RealRow
from benchmarks.real.subject import Case
from benchmarks.real.subjects import SUBJECTS
from benchmarks.rows import read_rows, write_rows
from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.records import Record

__all__ = ["Row", "judged", "networks", "table"]

ROWS = Path(__file__).with_name("tasks.jsonl")
PAGE = Path(__file__).parents[2] / "docs" / "int8.md"
FORMATS = ("onnx", "openvino")
LOG = Console(stderr=True)


class Row(Record):
    """A network in one format: its file in float32 and the one in int8.

    ``target``: the share of the MACs that it was planned for; ``bytes`` of the two files; ``ms`` of one forward on the
    example inputs in each, in turn; measures of the task, of the network in PyTorch and of the int8 file.
    """

    subject: str
    method: str
    target: float
    format: str
    bytes: tuple[int, int]
    ms: tuple[float, float]
    in_float: dict[str, float]
    in_int8: dict[str, float]

    @property
    def cell(self) -> tuple[str, str, str, float]:
        """Where it stands: originals first."""
        return self.subject, self.format, "" if self.method == ORIGINAL else self.method, -self.target


@dataclass(frozen=True)
class Network:
    """What `judged` needs of one: its name, its share of the MACs, and itself in eval mode."""

    method: str
    target: float
    model: nn.Module


def networks(subject: str, case: Case, rows: Sequence[RealRow], cache: Path) -> Iterator[Network]:
    """The original, and those of a subject's conversions whose networks are in the cache of benchmarks.real."""
    yield Network(ORIGINAL, 1.0, case.model)
    for row in rows:
        folder = network_folder(cache, subject, row.plan)
        if row.subject == subject and row.plan and folder.is_dir():
            yield Network(row.method, row.target, convsurgeon.load(folder, model=case.model))


def judged(subject: str, case: Case, network: Network, name: str, folder: Path) -> Row:
    """The row of one network in one format; its files are written into ``folder``."""
    kind = format_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{network.method}-{100 * network.target:g}{kind.suffix}"
    settings = convsurgeon.Int8(list(case.calibration))
    done = convsurgeon.export(network.model, case.example_inputs, path, force=True, int8=settings).int8
    if done is None:
        raise RuntimeError(f"{path} is no int8 file")
    reader = kind.read_int8(path)
    return Row(
        subject=subject,
        method=network.method,
        target=network.target,
        format=name,
        bytes=(done.float_bytes, done.int8_bytes),
        ms=(done.float_ms, done.int8_ms),
        in_float=case.measures([as_inputs(batch).call(network.model) for batch in case.judging]),
        in_int8=case.measures([tuple(reader(as_inputs(batch))) for batch in case.judging]),
    )


def table(rows: Sequence[Row], measures: Mapping[str, str]) -> str:
    """A line for each network and runtime; times in percent of the original's in float32 in the same runtime."""
    pairs = ("MB", "time, %", *measures.values())
    heads = ["network", "runtime", *(head for name in pairs for head in (name, "in int8"))]
    lines = [heads, ["---"] * len(heads)]
    for row in sorted(rows, key=lambda row: row.cell):
        whole = next((one.ms[0] for one in rows if (one.method, one.format) == (ORIGINAL, row.format)), None)
        cells = [f"{size / 1e6:.1f}" for size in row.bytes]
        cells += ["–" if whole is None else f"{100 * ms / whole:.0f}" for ms in row.ms]
        cells += [f"{found[name]:.3f}" for name in measures for found in (row.in_float, row.in_int8)]
        lines.append([_name(row), RUNTIMES[row.format], *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _name(row: Row) -> str:
    return ORIGINAL if row.method == ORIGINAL else f"{METHODS[row.method].title} {100 * row.target:g} %"


@click.command(help=__doc__)
@click.option("--subject", type=click.Choice(list(SUBJECTS)), default="craft", show_default=True)
@click.option("--format", "formats", multiple=True, default=FORMATS, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=REAL.parent / ".cache" / "real", show_default=True)
@click.option("--rows", "file", type=click.Path(path_type=Path), default=ROWS, show_default=True)
@click.option("--page", type=click.Path(path_type=Path), default=PAGE, show_default=True)
@click.option("--table-only", is_flag=True, help="Make nothing: the table of what is there.")
def main(subject: str, formats: Sequence[str], cache: Path, file: Path, page: Path, table_only: bool) -> None:
    """Write and judge the files whose rows are missing, then the table."""
    if not table_only:
        case = SUBJECTS[subject].build()
        for network in networks(subject, case, read_rows(RealRow, REAL / "rows.jsonl"), cache):
            known = {(row.subject, row.method, row.target, row.format) for row in read_rows(Row, file)}
            for name in formats:
                if (subject, network.method, network.target, name) not in known:
                    row = judged(subject, case, network, name, cache / "int8" / subject)
                    write_rows(sorted([*read_rows(Row, file), row], key=lambda row: row.cell), file)
                    LOG.print(f"{row.cell}: {row.in_int8} {row.ms}", markup=False)
    rows = [row for row in read_rows(Row, file) if row.subject == subject]
    text = filled(page.read_text(encoding="utf-8"), {f"task-{subject}": table(rows, SUBJECTS[subject].measures)})
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
