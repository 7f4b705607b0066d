"""The convolutions, one paper per file; this list is the only place that names them all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from convsurgeon.base.errors import UnknownName, did_you_mean
from convsurgeon.families.compconv import unit as compconv
from convsurgeon.families.compconv.unit import CompConv, CompConvMethod, CompConvSpec
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.dgconv import unit as dgconv
from convsurgeon.families.dgconv.unit import DGConv, DGConvMethod, DGConvSpec, HardenedDGConv, harden
from convsurgeon.families.family import Card, CompactConv, Method, Refusal, Spec
from convsurgeon.families.igc import unit as igc
from convsurgeon.families.igc.unit import IGC, IGCMethod, IGCSpec
from convsurgeon.families.memory_format import stored_as
from convsurgeon.families.torch_convs import conv_shape

__all__ = [
    "CARDS",
    "IGC",
    "AnySpec",
    "AutoMethod",
    "Card",
    "CompConv",
    "CompConvSpec",
    "CompactConv",
    "DGConv",
    "DGConvSpec",
    "HardenedDGConv",
    "IGCSpec",
    "Method",
    "Refusal",
    "Spec",
    "conv_shape",
    "harden",
    "parse_method",
    "stored_as",
]

CARDS: tuple[Card, ...] = (
    compconv.CARD,
    igc.CARD,
    dgconv.CARD,
    Card(
        family="auto",
        title="auto",
        paper="(the solver's choice)",
        methods="auto",
        idea="Every family competes at every layer; the solver takes the least damage under the target.",
        good_for="any target, when you have no reason to prefer a family",
        bad_for="reproducing a paper's network",
    ),
)

# Every spec a plan may hold; the "family" field tells them apart in JSON.
AnySpec = Annotated[CompConvSpec | IGCSpec | DGConvSpec, Field(discriminator="family")]


@dataclass(frozen=True)
class AutoMethod:
    """``auto``: the specs of every family with a choice; hardened groups only."""

    name: str = "auto"
    has_choice: bool = True

    def specs(self, shape: ConvShape, output_size: tuple[int, ...]) -> tuple[Spec, ...] | Refusal:
        """All families' specs, or all their reasons."""
        answers = [
            method.specs(shape, output_size) for method in (CompConvMethod(), IGCMethod(), DGConvMethod(hardened=True))
        ]
        specs = tuple(spec for answer in answers if not isinstance(answer, Refusal) for spec in answer)
        if specs:
            return specs
        return Refusal("; ".join(dict.fromkeys(a.reason for a in answers if isinstance(a, Refusal))))


def parse_method(text: str, *, hardened: bool = False) -> Method:
    """Read a method's name; ``hardened`` makes ``dgconv`` propose 2^z groups instead of open gates.

    Raises:
        UnknownName: no method has that name; the message lists the forms and near matches.
    """
    if text == "auto":
        return AutoMethod()
    for method in (compconv.parse_method(text), igc.parse_method(text), dgconv.parse_method(text)):
        if isinstance(method, DGConvMethod):
            return replace(method, hardened=hardened)
        if method is not None:
            return method
    known = ["auto", "compconv", *(f"compconv{c}" for c in compconv.C0_CHOICES), "igc", "igc-b16", "igc-l4m2", "dgconv"]
    raise UnknownName(
        f"unknown method '{text}'; expected auto, compconv, compconv32|64|128|256|512, igc, igc-bN, "
        f"igc-lLmM[-wN] or dgconv.{did_you_mean(text, known)} 'convsurgeon methods' explains them."
    )
