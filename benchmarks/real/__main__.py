"""What conversions keep of networks that others trained; resumable, a row of rows.jsonl for each network.

pip install -r benchmarks/real/requirements.txt
python -m benchmarks.real                                # all rows that are missing, then the tables of docs/real.md
python -m benchmarks.real --subject craft --method auto --share 0.25
python -m benchmarks.real --times                        # times of the converted networks, on an idle machine
python -m benchmarks.real --table-only                   # the tables alone
"""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmarks.real.cells import Bench
from benchmarks.real.methods import METHODS, trains
from benchmarks.real.page import filled
from benchmarks.real.row import ORIGINAL, Row, merged
from benchmarks.real.subjects import SUBJECTS
from benchmarks.real.times import timed
from benchmarks.rows import read_rows, write_rows

LOG = Console(stderr=True)
HERE = Path(__file__).parent


def fill(name: str, method: str | None, share: float | None, file: Path, cache: Path) -> None:
    """Add the rows of a subject that the file lacks."""
    known = {row.cell for row in read_rows(Row, file)}
    methods = [one for one in METHODS if method in (None, one) and (SUBJECTS[name].trains or not trains(METHODS[one]))]
    shares = [one for one in SUBJECTS[name].shares if share in (None, one)]
    missing = [(one, kept) for one in methods for kept in shares if (name, one, kept) not in known]
    if not missing and (name, ORIGINAL, 1.0) in known:
        return
    subject = SUBJECTS[name]
    bench = Bench(name, subject.source(), subject.build(), cache)
    if (name, ORIGINAL, 1.0) not in known:
        keep(bench.original(), file)
    for one, kept in missing:
        of_subject = [row for row in read_rows(Row, file) if row.subject == name]
        keep(bench.row(one, METHODS[one], kept, of_subject), file)


def keep(row: Row, file: Path) -> None:
    """Put a row into the file, which others may have written to meanwhile."""
    write_rows(merged(read_rows(Row, file), row), file)
    LOG.print(f"{row.cell}: {row.failed or row.measures} at {row.macs / 1e9:.3f} G, {row.seconds:.0f} s", markup=False)


@click.command()
@click.option("--subject", type=click.Choice(list(SUBJECTS)))
@click.option("--method", type=click.Choice(list(METHODS)))
@click.option("--share", type=float, help="Of the MACs, one of the subject's.")
@click.option("--times", is_flag=True, help="Time the converted networks that are in the cache, and make nothing.")
@click.option("--table-only", is_flag=True, help="Make nothing: the tables of what is there.")
@click.option("--rows", "file", type=click.Path(path_type=Path), default=HERE / "rows.jsonl")
@click.option("--page", type=click.Path(path_type=Path), default=HERE.parents[1] / "docs" / "real.md")
@click.option("--cache", type=click.Path(path_type=Path), default=HERE.parent / ".cache" / "real")
def main(
    subject: str | None,
    method: str | None,
    share: float | None,
    times: bool,
    table_only: bool,
    file: Path,
    page: Path,
    cache: Path,
) -> None:
    """Fill the missing rows, then the page's tables."""
    for name in [] if table_only else [one for one in SUBJECTS if subject in (None, one)]:
        if times:
            for row in timed(name, method, read_rows(Row, file), cache):
                keep(row, file)
        else:
            fill(name, method, share, file, cache)
    page.write_text(filled(page.read_text(encoding="utf-8"), read_rows(Row, file), SUBJECTS), encoding="utf-8")


if __name__ == "__main__":
    main()
