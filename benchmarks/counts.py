"""The counts behind ``convsurgeon check`` on all of torchvision's registered models, beside their witnesses.

    python -m benchmarks.counts [--fvcore] [NAME ...] > benchmarks/counts.md

Takes some minutes. Witnesses: ``FlopCounterMode`` / 2 on the model as torchvision's own ``get_model`` builds it (eval,
meta device; detectors on real numbers); the closed form of every convolution, module by module; ``_ops`` (GMACs) and
``num_params`` as torchvision publishes them, for the inputs it publishes them for; with ``--fvcore`` its counter's
conv, linear and matmul. MACs of one forward with batch 1. MACs that depend on the data are listed apart.
torchvision publishes RAFT's figures for larger frames, and some R-CNNs' for the proposals of trained weights.
Exits with 1 if the counter or the closed form disagrees; a difference to published figures is only shown.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as zoo

from convsurgeon.base.errors import ModelError
from convsurgeon.base.inputs import Inputs
from convsurgeon.budgets import Measured, measure
from convsurgeon.models.loading import build_model, default_inputs
from convsurgeon.survey.sites import survey

MOST_PARAMS_FOR_FVCORE = 100_000_000
HEADER = (
    "model",
    "MACs",
    "data-dependent MACs",
    "FlopCounterMode / 2",
    "convolutions by closed form",
    "fvcore",
    "`_ops`",
    "params",
    "`num_params`",
    "agree",
    "s",
)


@dataclass(frozen=True)
class Row:
    """One model's figures."""

    name: str
    found: Measured
    witness: int
    convolutions_agree: bool
    fvcore: int | None
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether the counter and the closed form say the same."""
        return self.found.macs + self.found.varying_macs == self.witness and self.convolutions_agree

    def cells(self) -> list[str]:
        """The row of the table."""
        meta = zoo.get_model_weights(self.name).DEFAULT.meta
        published, params = meta.get("_ops"), meta.get("num_params")
        return [
            self.name,
            f"{self.found.macs:,}",
            f"{self.found.varying_macs:,}" if self.found.varying_macs else "",
            "same" if self.found.macs + self.found.varying_macs == self.witness else f"{self.witness:,}",
            "same" if self.convolutions_agree else "**differ**",
            "" if self.fvcore is None else "same" if self.fvcore == self.witness else f"{self.fvcore:,}",
            "" if published is None else self._beside(published),
            f"{self.found.params:,}",
            "same" if params == self.found.params else f"{params:,}",
            "yes" if self.agrees else "**no**",
            f"{self.seconds:.1f}",
        ]

    def _beside(self, published: float) -> str:
        if _giga(self.found.macs) == f"{published:.3f}":
            return "same"
        if _giga(self.found.macs + self.found.varying_macs) == f"{published:.3f}":
            return "same with the data-dependent ones"
        return f"{published:.3f} G, ours {_giga(self.found.macs)} G"


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.3f}"


def row(name: str, with_fvcore: bool) -> Row:
    """Measure one model as the check does, and then by other means."""
    start = time.perf_counter()
    inputs = default_inputs(name)
    try:
        network = build_model(name, device="meta")
        found = measure(network, inputs)
    except (ModelError, NotImplementedError):
        network = build_model(name)
        found = measure(network, inputs)
    seconds = time.perf_counter() - start
    if found.counted_on == "meta":
        inputs = inputs.to("meta")
        network = network.to("meta")
    return Row(
        name,
        found,
        witness(_own(name) if found.counted_on == "meta" else network, inputs),
        convolutions_agree(network, inputs, found),
        by_fvcore(name) if with_fvcore else None,
        seconds,
    )


def _own(name: str) -> nn.Module:
    """The network without any of convsurgeon's code, as its pretrained weights need it."""
    options: dict[str, Any] = {"image_size": default_inputs(name).shapes()[0][-1]} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3", "quantized_googlenet", "quantized_inception_v3"):
        options = {"init_weights": False}
    accepted = inspect.signature(zoo.get_model_builder(name)).parameters
    options |= {key: value for key, value in (("weights_backbone", None), ("aux_loss", True)) if key in accepted}
    try:
        with torch.device("meta"):
            return zoo.get_model(name, **options).eval()
    except (RuntimeError, NotImplementedError):
        return zoo.get_model(name, **options).eval().to("meta")


def witness(network: nn.Module, inputs: Inputs) -> int:
    """FlopCounterMode / 2."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(*inputs.args)
    return counter.get_total_flops() // 2


def convolutions_agree(network: nn.Module, inputs: Inputs, found: Measured) -> bool:
    """Whether each convolution's layer count is its closed form: positions · C_out · C_in / groups · kernel area."""
    layers = {layer.name: layer.macs + layer.varying_macs for layer in found.layers}
    return all(layers.get(site.name, 0) == site.cost.macs for site in survey(network, inputs).sites)


def by_fvcore(name: str) -> int | None:
    """fvcore's conv, linear and matmul, on real numbers; None for what it can't trace, and for the largest models."""
    from fvcore.nn import FlopCountAnalysis

    meta = zoo.get_model_weights(name).DEFAULT.meta
    if name not in zoo.list_models(module=zoo) or meta["num_params"] > MOST_PARAMS_FOR_FVCORE:
        return None
    analysis = FlopCountAnalysis(build_model(name), default_inputs(name).args)
    analysis = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    try:
        operators = analysis.by_operator()
    except Exception as error:
        # tracing runs any code, so anything may come out of it
        warnings.warn(f"fvcore: {type(error).__name__}", stacklevel=1)
        return None
    return int(sum(operators[kind] for kind in ("conv", "linear", "matmul", "addmm", "bmm", "einsum")))


def main() -> int:
    """Print the table; 1 if a witness disagrees."""
    parser = argparse.ArgumentParser(description="Counts of torchvision's models beside their witnesses.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models (default: all)")
    parser.add_argument("--fvcore", action="store_true", help="also count with fvcore")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    rows = []
    for name in options.names or zoo.list_models():
        rows.append(row(name, options.fvcore))
        print("| " + " | ".join(rows[-1].cells()) + " |", flush=True)
    wrong = [one.name for one in rows if not one.agrees]
    print(f"\n{len(rows) - len(wrong)} of {len(rows)} models agree{': not ' + ', '.join(wrong) if wrong else ''}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
