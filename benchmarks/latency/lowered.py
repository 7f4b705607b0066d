r"""A network, its conversion, and both lowered, in turn within one run.

    python -m benchmarks.latency.lowered resnet50 compconv128 --runtime onnxruntime --batch 4 --threads 1
    python -m benchmarks.latency.lowered vgg16_bn igc --wide 4 --share 0.25 --runtime eager --batch 2 --threads 1
    python -m benchmarks.latency.lowered vgg16_bn igc-b16 --target macs=25% --runtime compile --choose eager \
        --batch 128 --device cuda --dtype float16 --pruned --lowered-only

``--wide L`` makes every 3×3 convolution but the first a wide IGC unit with M = 1 and L partitions (or C/8 with
``--wide 0``) at ``--share`` of its MACs; ``--block 16`` keeps each partition to multiples of 16 channels. ``--pruned``
adds Torch-Pruning's network of as many MACs.

Ratios are against the lowered original: both have their batch norms folded, both are timed in the memory format that
suits them. With one thread the process's own CPU time counts. Random weights: nothing here depends on their values,
except that a fit gives every CompConv unit a channel order of its own (see docs/speed.md).
"""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

import convsurgeon
from benchmarks.latency.networks import NETS, macs, pruned
from benchmarks.latency.subject import Subject, parser_for
from convsurgeon import IGCSpec
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.lowering.choice import stopwatch_for
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import Effort, time_in_turn

EFFORT = Effort(warm_up_s=0.1, timed_s=4, fewest=5, most=15, sample_s=0.01)


def wide_igc(model: nn.Module, partitions: int, share: float, block: int | None) -> nn.Module:
    """Every 3×3 convolution but the first as IGC with M = 1, at about ``share`` of its MACs."""
    new = copy.deepcopy(model)
    for name, conv in list(new.named_modules()):
        if type(conv) is nn.Conv2d and conv.kernel_size == (3, 3) and conv.in_channels > 3:
            shape = conv_shape(conv)
            groups = partitions or shape.in_channels // 8
            per_width = shape.in_channels * 9 / groups + shape.out_channels
            step = groups * block if block else math.lcm(groups, 8)
            width = max(1, round(share * shape.in_channels * shape.out_channels * 9 / per_width / step)) * step
            spec = IGCSpec(primary_groups=groups, secondary_groups=1, mid_channels=width)
            new.set_submodule(name, spec.build(shape))
    return new


def main() -> None:
    """Print one line per network and precision."""
    parser = parser_for(__doc__)
    parser.add_argument("--wide", type=int, metavar="L")
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--block", type=int, metavar="N")
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--choose", help="where forms are timed, or 'none'  [default: as --runtime]")
    parser.add_argument("--lowered-only", action="store_true", help="leave the two networks out as they are")
    parser.add_argument("--pruned", action="store_true", help="add channel pruning to the same MACs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the weights")
    given = parser.parse_args()
    if given.pruned and given.model not in NETS:
        parser.error(f"--pruned knows {', '.join(NETS)}")
    subject = Subject.of(given)
    original, x = subject.original, subject.images
    if given.wide is not None:
        converted = wide_igc(original, given.wide, given.share, given.block).eval()
    else:
        converted = subject.converted()
    kept = convsurgeon.count(converted, x[:1]).macs / convsurgeon.count(original, x[:1]).macs
    print(f"MACs kept: {kept:.3f}", flush=True)
    networks = {"original": original, "converted": converted}
    if given.pruned:
        networks["pruned"] = pruned(original, NETS[given.model], macs(converted, NETS[given.model]))
    dtype = getattr(torch, given.dtype)
    networks = {name: network.to(given.device, dtype) for name, network in networks.items()}
    x = x.to(given.device, dtype)
    place = find_runtime(given.runtime)
    precision = given.precision or place.preferred(dtype)
    choose = given.choose or given.runtime
    for name in list(networks):
        lowered = convsurgeon.lower(
            networks[name],
            x,
            runtime=None if choose == "none" else choose,
            # Another runtime may not have that arithmetic.
            precision=precision if choose == given.runtime else None,
        )
        networks[f"{name}, lowered"] = lowered.model
        print(f"{name}: {'; '.join(lowered.summary())}; relative error {lowered.error:.1e}")
        for what in dict.fromkeys(
            step.what for step in lowered.steps if step.pass_name.startswith(("units", "memory"))
        ):
            print(f"    {what}", flush=True)
    if given.lowered_only:
        networks = {name: network for name, network in networks.items() if "lowered" in name}
    runs = [place.prepare(m, Inputs((x,)), precision=precision, threads=given.threads) for m in networks.values()]
    times = dict(zip(networks, time_in_turn(runs, EFFORT, stopwatch_for(x.device)), strict=True))
    base = times["original, lowered"].median_ms
    for name, spread in times.items():
        print(f"{given.runtime} {precision}: {spread.median_ms:8.1f} ms  {spread.median_ms / base:.3f}  {name}")


if __name__ == "__main__":
    main()
