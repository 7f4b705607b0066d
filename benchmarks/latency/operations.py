"""Single operations beside the 1×1 convolution around which CompConv needs them, eager.

    python -m benchmarks.latency.operations --threads 1

Shares of the dense convolution's time, contiguous and channels last, on three shapes of ResNet-50's last block
convolutions at batch 8. With one thread the process's own CPU time counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

from convsurgeon.lowering.choice import stopwatch_for
from convsurgeon.lowering.forms.pieces import Gather, Rescale, Twins
from convsurgeon.timing import Effort, time_in_turn

EFFORT = Effort(warm_up_s=0.01, timed_s=0.3, fewest=5, most=31, sample_s=0.002)
SHAPES = ((64, 256, 56), (256, 1024, 14), (512, 2048, 7))


def operations(c_in: int, c_out: int) -> dict[str, tuple[nn.Module, int]]:
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
    for c_in, c_out, size in SHAPES:
        rows: dict[str, list[float]] = {}
        for layout in (torch.contiguous_format, torch.channels_last):
            runs = []
            for module, channels in operations(c_in, c_out).values():
                x = torch.randn(8, channels, size, size).contiguous(memory_format=layout)
                runs.append(_bound(module.to(memory_format=layout) if list(module.parameters()) else module, x))
            times = time_in_turn(runs, EFFORT, stopwatch_for(torch.device("cpu")))
            for name, spread in zip(operations(c_in, c_out), times, strict=True):
                rows.setdefault(name, []).append(spread.median_ns / times[0].median_ns)
        print(f"{c_in}→{c_out} on {size}×{size}: contiguous, channels last", flush=True)
        for name, (contiguous, last) in rows.items():
            print(f"    {contiguous:5.2f} {last:5.2f}  {name}", flush=True)


def _bound(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: module(x)


if __name__ == "__main__":
    main()
