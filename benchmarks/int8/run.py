"""Size, time and top-1 of a trained network and of its conversions, in float and in int8, in each format.

    python -m benchmarks.int8.run vgg --cache DIR --data DIR

Times are of one forward of one image in the file's runtime, the float file and the int8 file in turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR
from benchmarks.accuracy.train import DEFAULT_CACHE
from benchmarks.int8.subjects import Images, networks, top1
from convsurgeon.base.inputs import as_inputs
from convsurgeon.deployment.exporting.formats import format_for

TARGETS = [f"{method}@macs={kept}" for kept in ("50%", "25%") for method in ("auto", "igc", "tucker")]
_KB = 1e3


def rows(name: str, model: nn.Module, original: nn.Module, images: Images, files: list[Path]) -> Iterator[list[str]]:
    """Two rows for each file: in float and in int8."""
    with torch.no_grad():
        in_float = top1(torch.cat([model(batch) for batch in images.test]), images.labels)
    for path in files:
        wanted = convsurgeon.Int8(list(images.calibration), judging=list(images.test), original=original)
        report = convsurgeon.export(model, images.calibration[0][:1], path, int8=wanted, force=True).int8
        assert report is not None
        assert report.original is not None
        assert report.float_to_original is not None
        kind = format_for(path)
        reader = kind.read_int8(path)
        in_int8 = top1(torch.cat([reader(as_inputs(batch))[0] for batch in images.test]), images.labels)
        for precision, size, ms, right, like in (
            ("float32", report.float_bytes, report.float_ms, in_float, report.float_to_original),
            ("int8", report.int8_bytes, report.int8_ms, in_int8, report.original),
        ):
            agreed = 100 * (like.agreement or 0)
            figures = [f"{size / _KB:.0f}", f"{ms:.2f}", f"{right:.2f} %", f"{agreed:.1f} %"]
            yield [name, kind.name, precision, *figures]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("net")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--images", type=int, default=10_000, help="to judge on (default %(default)s)")
    parser.add_argument("--targets", nargs="*", default=TARGETS)
    parser.add_argument("--files", nargs="*", default=["net.onnx", "net.xml"], help="names that say the formats")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/.cache/int8"))
    given = parser.parse_args()
    images = Images.of(given.data, given.images)
    files = [given.folder / file for file in given.files]
    print("| network | format | precision | kB | ms | top-1 | agreement with the original |")
    print("|---|---|---|---|---|---|---|")
    original: nn.Module | None = None
    for name, model in networks(given.net, given.seed, given.cache, images, given.targets):
        original = original or model
        for row in rows(name, model, original, images, files):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
