"""Counts of every torchvision classification and segmentation model, before and after surgery, beside two witnesses.

    python -m benchmarks.counts_zoo [--method compconv128] [NAME ...] > counts.md

Each row: what ``convsurgeon.inspect`` counts, what ``FlopCounterMode`` / 2 counts on the meta device, what
torchvision publishes (``_ops``, in GMACs, three decimals), then the planned and the counted MACs after every
eligible convolution (stems and shortcuts included) was replaced. Inputs have the size of the DEFAULT weights.
All figures are MACs of one forward in eval mode with batch 1. Exits with 1 if any pair disagrees.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as zoo

from convsurgeon import Recipe, Rules, Survey, inspect
from convsurgeon.base.copies import shadow
from convsurgeon.base.errors import ModelLoadError, NothingToConvert
from convsurgeon.base.inputs import Inputs
from convsurgeon.models.loading import build_model, default_inputs
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.problem import pose
from convsurgeon.surgery.operate import operate


@dataclass(frozen=True)
class Row:
    """One model; ``after`` and ``after_witness`` are None where nothing was eligible."""

    name: str
    ours: int
    witness: int
    published: float | None
    params_agree: bool
    replaced: int
    after: int | None
    after_witness: int | None

    @property
    def agrees(self) -> bool:
        """Whether every pair of figures is equal, the published one to three decimals."""
        published = self.published is None or f"{self.ours / 1e9:.3f}" == f"{self.published:.3f}"
        return self.ours == self.witness and self.after == self.after_witness and self.params_agree and published


def names() -> list[str]:
    """Every classification and segmentation model that torchvision registers."""
    return [*zoo.list_models(module=zoo), *zoo.list_models(module=zoo.segmentation)]


def witness(network: nn.Module, inputs: Inputs) -> int:
    """FlopCounterMode / 2 of one forward in eval mode on the meta device."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        inputs.call(shadow(network))
    return counter.get_total_flops() // 2


def measure(name: str, method: str) -> Row:
    """Count one model before and after surgery."""
    try:
        network = build_model(name, device="meta")
    except ModelLoadError:  # RegNets are built on real numbers
        network = shadow(build_model(name))
    inputs = default_inputs(name, device="meta")
    found = inspect(network, inputs)
    replaced, after, after_witness, params = _after(network, found, inputs, method)
    return Row(
        name,
        found.total.macs,
        witness(network, inputs),
        zoo.get_model_weights(name).DEFAULT.meta.get("_ops"),
        params,
        replaced,
        after,
        after_witness,
    )


def _after(network: nn.Module, found: Survey, inputs: Inputs, method: str) -> tuple[int, int | None, int | None, bool]:
    """Convolutions replaced, planned MACs, counted MACs, and whether the parameters are as planned."""
    try:
        plan = make_plan(pose(found, Recipe(method=method, rules=Rules(stem=True, shortcuts=True))))
    except NothingToConvert:
        return 0, None, None, True
    converted = operate(network, plan)
    params = sum(parameter.numel() for parameter in converted.parameters())
    return len(plan.replaced), plan.after.macs, witness(converted, inputs), params == plan.after.params


def line(row: Row) -> str:
    """One row of the Markdown table."""
    published = "–" if row.published is None else f"{row.published:.3f} G"
    after = "–" if row.after is None else f"{row.after:,}"
    after_witness = "–" if row.after_witness is None else f"{row.after_witness:,}"
    return (
        f"| {row.name} | {row.ours:,} | {row.witness:,} | {published} | {row.replaced} | {after} | {after_witness} | "
        f"{'yes' if row.agrees else '**no**'} |"
    )


def main() -> int:
    """Print the table; 1 if anything disagrees."""
    parser = argparse.ArgumentParser(description="MACs of torchvision's models, before and after surgery.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models (default: all)")
    parser.add_argument("--method", default="compconv128", help="a fixed method (default: compconv128)")
    options = parser.parse_args()
    rows = []
    print("| model | MACs | FlopCounterMode / 2 | `_ops` | replaced | planned after | counted after | agree |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.names or names():
        rows.append(measure(name, options.method))
        print(line(rows[-1]), flush=True)
    wrong = [row.name for row in rows if not row.agrees]
    print(f"\n{len(rows) - len(wrong)} of {len(rows)} models agree{': not ' + ', '.join(wrong) if wrong else ''}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
