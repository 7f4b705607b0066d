"""Which channels should stay? Every open stream of a network alone, narrowed by five rules, its readers fitted again.

    python -m benchmarks.accuracy.train vgg --seed 0      # once
    python -m benchmarks.selection --net vgg --seed 0

Rules and fits see the same training images, without labels. What is printed is judged on test images, in percent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import click
import torch
from rich.progress import track

from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.run import Sample
from benchmarks.accuracy.tables import CELLS
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from benchmarks.selection.cases import cases
from benchmarks.selection.judge import Found, Judge
from benchmarks.selection.rules import WAYS

SHARES = (0.75, 0.5, 0.25)


@click.command(help=__doc__)
@click.option("--net", type=click.Choice(sorted({net for net, _ in CELLS})), default="vgg", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--images", type=click.IntRange(min=1), default=1000, show_default=True, help="test images")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, seed: int, images: int, cache: Path, data: Path) -> None:
    """Measure every rule, print the tables."""
    model, sample = load_trained(net, seed, cache), Sample.of(load_train(data), seed)
    judge = Judge(model, load_test(data).images[:images])
    every = cases(model, sample.batches(), seed)
    jobs = [(way, case, share) for case in every for way in WAYS for share in SHARES]
    with torch.no_grad():
        found = {(w.title, c.stream.name, s): judge.judge(c, w, s) for w, c, s in track(jobs, transient=True)}
    click.echo(table(found))


def table(found: dict[tuple[str, str, float], Found]) -> str:
    """Markdown: for each rule and share the means over streams, and at the last share each stream's output error."""
    ways = list(dict.fromkeys(way for way, _, _ in found))
    streams = list(dict.fromkeys(stream for _, stream, _ in found))
    head = " | ".join(f"{kind}, {share:.0%}" for share in SHARES for kind in ("damage", "output error", "changed"))
    lines = [f"| rule | {head} |", "|---" * (1 + 3 * len(SHARES)) + "|"]
    for way in ways:
        cells = []
        for share in SHARES:
            column = [found[way, stream, share] for stream in streams]
            cells += [_mean(one.damage for one in column), _mean(one.output_error for one in column)]
            cells.append(f"{100 * mean(one.changed for one in column):.2f}")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    lines += [
        "",
        f"| rule, output error at {SHARES[-1]:.0%} | {' | '.join(streams)} |",
        "|---" * (len(streams) + 1) + "|",
    ]
    for way in ways:
        cells = [f"{100 * found[way, stream, SHARES[-1]].output_error:.3g}" for stream in streams]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Iterator[float]) -> str:
    return f"{100 * mean(values):.3g}"


if __name__ == "__main__":
    main()
