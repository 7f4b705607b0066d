"""Do the papers' claims hold in small nets, trained from scratch on Fashion-MNIST?

    python -m benchmarks.claims                    # what is not there yet, then the tables
    python -m benchmarks.claims --claim igc
    python -m benchmarks.claims --table-only

Each result is a line of rows.jsonl, written as soon as it is there.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from benchmarks.accuracy.data import DEFAULT_DIR
from benchmarks.claims import train
from benchmarks.claims.cells import CLAIMS, SEEDS
from benchmarks.claims.pictures import pictures
from benchmarks.claims.rows import ROWS, Row
from benchmarks.claims.tables import table
from benchmarks.rows import read_rows, write_rows

NAMES = tuple(CLAIMS)


@click.command(help=__doc__)
@click.option("--claim", type=click.Choice(NAMES), multiple=True, default=NAMES)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
@click.option("--rows", type=click.Path(path_type=Path), default=ROWS, show_default=True)
@click.option("--table-only", is_flag=True, help="Train nothing.")
@click.option("--plots", type=click.Path(path_type=Path), help="The folder to draw the pictures in, e.g. docs.")
def main(claim: tuple[str, ...], data: Path, rows: Path, table_only: bool, plots: Path | None) -> None:
    """Fill in the missing rows, then print the tables."""
    torch.set_num_threads(1)
    if not table_only:
        fill(claim, data, rows)
    found = read_rows(Row, rows)
    for name in claim:
        click.echo(f"\n## {name}\n\n{table(name, found)}")
    for path in pictures(found, plots) if plots else ():
        click.echo(f"wrote {path}", err=True)


def fill(claims: tuple[str, ...], data: Path, path: Path) -> None:
    """Train what is not there yet, each seed for all variants before the next."""
    images = train.Images.of(data)
    for seed in SEEDS:
        for claim in claims:
            for variant in CLAIMS[claim]():
                rows = read_rows(Row, path)
                if not any((row.claim, row.variant, row.seed) == (claim, variant.name, seed) for row in rows):
                    row = train.run(claim, variant, seed, images)
                    write_rows([*rows, row], path)
                    click.echo(f"{claim} {variant.name}, seed {seed}: {row.top1:.2f} %, {row.macs:,} MACs", err=True)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.claims")
