"""Single operations beside the dense convolution that they replace a part of, eager.

    python -m benchmarks.latency.operations --threads 1

Shares of the dense convolution's time, contiguous and channels last, at batch 8: what CompConv needs around a 1×1
convolution, on three shapes of ResNet-50's last block convolutions, and grouped 3×3 convolutions as IGC has them, whose
groups do and do not fill vector registers of 16 channels, on four shapes of VGG-16. With one thread the process's own
CPU time counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from convsurgeon.deployment.lowering.choice import stopwatch_for
from convsurgeon.families.forms.pieces import Gather, Rescale, Twins
from convsurgeon.runtimes.timer import Effort, time_in_turn

EFFORT = Effort(warm_up_s=0.01, timed_s=0.3, fewest=5, most=31, sample_s=0.002)
POINTWISE = ((64, 256, 56), (256, 1024, 14), (512, 2048, 7))
GROUPED = ((64, 224, (48, 64)), (128, 112, (88, 128)), (256, 56, (136, 192)), (512, 28, (272, 320)))
GROUPS = 4

Operations = dict[str, tuple[nn.Module, int]]


def tables() -> Iterator[tuple[str, int, Operations]]:
    """A title, the side of the map, and what is timed on it; the dense convolution comes first."""
    for c_in, c_out, size in POINTWISE:
        yield f"{c_in}→{c_out} 1×1", size, pointwise(c_in, c_out)
    for channels, size, widths in GROUPED:
        yield f"{channels}→{channels} 3×3", size, grouped(channels, widths)


def grouped(channels: int, widths: tuple[int, ...]) -> Operations:
    """Modules and the channels that they read."""
    found: Operations = {"dense 3×3 convolution": (nn.Conv2d(channels, channels, 3, padding=1), channels)}
    for width in widths:
        name = f"3×3 convolution in {GROUPS} groups of {width // GROUPS} output channels"
        found[name] = nn.Conv2d(channels, width, 3, padding=1, groups=GROUPS), channels
    return found


def pointwise(c_in: int, c_out: int) -> Operations:
    """Modules and the channels that they read."""
    half, like = c_out // 2, torch.empty(())
    ones = torch.ones(c_out)
    return {
        "dense 1×1 convolution": (nn.Conv2d(c_in, c_out, 1), c_in),
        "1×1 convolution to half of the channels": (nn.Conv2d(c_in, half, 1), c_in),
        "1×1 depthwise convolution of half": (nn.Conv2d(half, half, 1, groups=half), half),
        "the same with multiplier 2": (nn.Conv2d(half, c_out, 1, groups=half), half),
        "scale and shift of half": (Rescale(ones[:half], ones[:half], like, 2), half),
        "each channel twice, scaled": (Twins(ones, ones, like, 2), half),
        "channels in another order": (Gather(torch.randperm(c_out)), c_out),
        "ReLU": (nn.ReLU(), c_out),
    }


def main() -> None:
    """Print a table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.set_grad_enabled(False)
    for title, size, operations in tables():
        rows: dict[str, list[float]] = {}
        for layout in (torch.contiguous_format, torch.channels_last):
            runs = []
            for module, channels in operations.values():
                x = torch.randn(8, channels, size, size).contiguous(memory_format=layout)
                runs.append(_bound(module.to(memory_format=layout) if list(module.parameters()) else module, x))
            times = time_in_turn(runs, EFFORT, stopwatch_for(torch.device("cpu")))
            for name, spread in zip(operations, times, strict=True):
                rows.setdefault(name, []).append(spread.median_ns / times[0].median_ns)
        print(f"{title} on {size}×{size}: contiguous, channels last", flush=True)
        for name, (contiguous, last) in rows.items():
            print(f"    {contiguous:5.2f} {last:5.2f}  {name}", flush=True)


def _bound(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: module(x)


if __name__ == "__main__":
    main()
