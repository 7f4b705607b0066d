"""Every form of every unit of a converted network beside the convolution it replaces, in turn, in one runtime.

    python -m benchmarks.latency.units resnet50 compconv128 --runtime eager --batch 4 --threads 1

One row per kind of unit and shape: how many there are, milliseconds of the plain convolution (batch norm folded), and
each form's time as a share of it, in the forms' own channel order. With one thread the process's own CPU time counts,
so that other programs on the machine disturb little. Random weights: nothing here depends on their values.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from benchmarks.latency.subject import Subject, parser_for
from convsurgeon.base.observe import Before, observed
from convsurgeon.deployment.lowering.choice import prepared, settled, stopwatch_for
from convsurgeon.deployment.lowering.forms import forms_of
from convsurgeon.deployment.lowering.layout import laid_out
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.unit import CompactConv
from convsurgeon.runtimes.registry import Runtime, find_runtime
from convsurgeon.runtimes.timer import Effort, time_in_turn

EFFORT = Effort(warm_up_s=0.01, timed_s=0.3, fewest=5, most=31, sample_s=0.002)


def unit_inputs(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What each unit reads in one forward."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Before:
        def hook(args: tuple[Tensor, ...], _kwargs: dict[str, object]) -> None:
            # Later layers may overwrite what they are given.
            seen[name] = args[0].clone()

        return hook

    units = [(module, keep(name)) for name, module in network.named_modules() if isinstance(module, CompactConv)]
    with observed(before=units):
        network(x)
    return seen


def dense_like(unit: CompactConv) -> nn.Module:
    """The convolution that the unit replaced, with a bias as it has once a batch norm is folded in."""
    shape = unit.shape
    conv = nn.Conv2d(
        shape.in_channels, shape.out_channels, shape.kernel, shape.stride, shape.padding, shape.dilation, shape.groups
    )
    return conv.eval()


def timed(
    unit: CompactConv, x: Tensor, place: Runtime, precision: str, layout: torch.memory_format
) -> tuple[float, dict[str, float]]:
    """Milliseconds of the plain convolution, and each form's share of them."""
    absorbed = Absorbed.nothing(unit).then(torch.rand(unit.out_channels) + 0.5, torch.randn(unit.out_channels))
    modules = {"convolution": dense_like(unit)}
    modules |= {form.name: form.realise(settled(absorbed, form)).eval() for form in forms_of(absorbed)}
    modules["the unit as it is"] = unit
    x = x.contiguous(memory_format=layout)
    runs = [prepared(place, laid_out(m, layout), (x,), precision) for m in modules.values()]
    times = time_in_turn(runs, EFFORT, stopwatch_for(x.device))
    base = times[0].median_ms
    return base, {name: spread.median_ms / base for name, spread in list(zip(modules, times, strict=True))[1:]}


def main() -> None:
    """Print the table."""
    parser = parser_for(__doc__)
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--channels-last", action="store_true")
    given = parser.parse_args()
    torch.set_grad_enabled(False)
    subject = Subject.of(given)
    x, network = subject.images, subject.converted()
    reads = unit_inputs(network, x)
    units = {name: module for name, module in network.named_modules() if isinstance(module, CompactConv)}
    kinds = {name: (unit.shape, unit.spec, tuple(reads[name].shape)) for name, unit in units.items()}
    count = Counter(kinds.values())
    layout = torch.channels_last if given.channels_last else torch.contiguous_format
    place = find_runtime(given.runtime)
    precision = given.precision or place.preferred(x.dtype)
    print(f"{given.runtime} {precision}", flush=True)
    for kind, names in {kind: [n for n, k in kinds.items() if k == kind] for kind in count}.items():
        base, shares = timed(units[names[0]], reads[names[0]], place, precision, layout)
        shape, spec, size = kind
        print(f"{len(names)} × {shape.describe()} on {size[2]}×{size[3]}, {spec.describe()}: {base:.2f} ms", flush=True)
        for name, share in shares.items():
            print(f"    {share:.2f}  {name}", flush=True)


if __name__ == "__main__":
    main()
