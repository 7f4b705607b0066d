"""What each step of the preparation for int8 does: output error and agreement with the float network.

python -m benchmarks.int8.preparation vgg --cache DIR --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.deployment.exporting.format import Format, ToQuantise, Wanted
from convsurgeon.deployment.exporting.formats import format_for
from convsurgeon.deployment.lowering import lower
from convsurgeon.deployment.quantising.biases import bias_shifts, shifted
from convsurgeon.deployment.quantising.equalise import equalised
from convsurgeon.deployment.quantising.rounding import RoundedNetwork

CALIBRATION, BATCH = 512, 64
METHODS = ("igc", "tucker", "spatial", "auto")
TARGETS = [f"{method}@macs={kept}" for kept in ("50%", "25%") for method in METHODS]


@dataclass(frozen=True)
class Images:
    """Batches to fit and measure ranges on, and labelled ones [N, 1, 28, 28] to judge on."""

    calibration: tuple[Tensor, ...]
    test: tuple[Tensor, ...]
    labels: Tensor

    @classmethod
    def of(cls, folder: Path, judged: int) -> Images:
        """The first images of Fashion-MNIST's two parts."""
        train, test = load_train(folder), load_test(folder)
        return cls(
            torch.split(train.images[:CALIBRATION], BATCH), torch.split(test.images[:judged], 250), test.labels[:judged]
        )


def networks(net: str, seed: int, cache: Path, images: Images, targets: list[str]) -> Iterator[tuple[str, nn.Module]]:
    """The original, and one conversion for each ``METHOD@TARGET``."""
    original = load_trained(net, seed, cache)
    yield "original", original
    for word in targets:
        method, _, target = word.partition("@")
        done = convsurgeon.convert(
            original,
            images.calibration[0][:1],
            method=method,
            moves="swap",
            target=target,
            calibration=list(images.calibration),
        )
        yield word, done.model


def prepared(network: nn.Module, batches: Sequence[Inputs]) -> dict[str, nn.Module]:
    """The network as it is, with one of the steps, and with both."""
    even = equalised(network, batches)
    return {
        "as it is": network,
        "equalised": even,
        "biases": shifted(network, bias_shifts(RoundedNetwork(network, batches), batches)),
        "both": shifted(even, bias_shifts(RoundedNetwork(even, batches), batches)),
    }


def outputs_in_int8(kind: Format, network: nn.Module, batches: Sequence[Inputs], images: Images, file: Path) -> Tensor:
    """[N, classes] of the network's int8 file."""
    kind.write_int8(ToQuantise(network, as_inputs(images.calibration[0][:1]), Wanted(), batches), file)
    reader = kind.read_int8(file)
    return torch.cat([reader(as_inputs(batch))[0] for batch in images.test])


def top1(outputs: Tensor, labels: Tensor) -> float:
    """Percent of images whose largest output is the label's."""
    return 100 * float((outputs.argmax(1) == labels).float().mean())


def main() -> None:
    """Print a row for each network, format and preparation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--images", type=int, default=2_000, help="to judge on (default %(default)s)")
    parser.add_argument("--targets", nargs="*", default=TARGETS)
    parser.add_argument("--files", nargs="*", default=["net.onnx", "net.xml"], help="names that say the formats")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/.cache/int8"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    images = Images.of(given.data, given.images)
    batches = [as_inputs(batch) for batch in images.calibration]
    print("| network | top-1 | format | preparation | output error | agreement | top-1 in int8 |")
    print("|---|---|---|---|---|---|---|")
    for name, model in networks(given.net, given.seed, given.cache, images, given.targets):
        network = lower(model, images.calibration[0][:1], runtime=None).model
        with torch.no_grad():
            wanted = torch.cat([network(batch) for batch in images.test])
        for step, made in prepared(network, batches).items():
            for file in given.files:
                kind = format_for(Path(file))
                found = outputs_in_int8(kind, made, batches, images, given.folder / file)
                error = float((found - wanted).square().sum() / (wanted - wanted.mean()).square().sum())
                same = 100 * float((found.argmax(1) == wanted.argmax(1)).float().mean())
                row = (name, f"{top1(wanted, images.labels):.2f} %", kind.name, step, f"{100 * error:.3f} %")
                print(f"| {' | '.join(row)} | {same:.2f} % | {top1(found, images.labels):.2f} % |", flush=True)


if __name__ == "__main__":
    main()
