"""The convolution families; this list is the only place that names them all. Reading it does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from convsurgeon.base.errors import UnknownName, did_you_mean
from convsurgeon.families.compconv import spec as compconv
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.dgconv import spec as dgconv
from convsurgeon.families.family import Card, Family, Method, PlainMethod, Refusal, Spec
from convsurgeon.families.igc import spec as igc
from convsurgeon.families.spatial import spec as spatial
from convsurgeon.families.tucker import spec as tucker

__all__ = ["CARDS", "FAMILIES", "LEARNABLE", "AnySpec", "AutoMethod", "family_of", "parse_method"]

FAMILIES: tuple[Family, ...] = (
    compconv.FAMILY,
    igc.FAMILY,
    dgconv.FAMILY,
    spatial.FAMILY,
    tucker.FAMILY,
)

# Every spec a plan may hold; the "family" field tells them apart in JSON.
AnySpec = Annotated[
    compconv.CompConvSpec | igc.IGCSpec | dgconv.DGConvSpec | spatial.SpatialSpec | tucker.TuckerSpec,
    Field(discriminator="family"),
]

CARDS: tuple[Card, ...] = (
    *(family.card for family in FAMILIES),
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

# The method whose units learn their connections.
LEARNABLE = dgconv.FAMILY.name

_BY_NAME = {family.name: family for family in FAMILIES}


def family_of(spec: Spec) -> Family:
    """The family that a spec belongs to."""
    return _BY_NAME[spec.family]


@dataclass(frozen=True)
class AutoMethod(PlainMethod):
    """``auto``: the specs of every family with a choice; nothing that has to be trained first."""

    name: str = "auto"
    has_choice: bool = True

    def specs(
        self, shape: ConvShape, output_size: tuple[int, ...], input_size: tuple[int, ...] | None = None
    ) -> tuple[Spec, ...] | Refusal:
        """All families' specs, or all their reasons."""
        answers = [family.free.specs(shape, output_size, input_size) for family in FAMILIES]
        specs = tuple(spec for answer in answers if not isinstance(answer, Refusal) for spec in answer)
        if specs:
            return specs
        return Refusal("; ".join(dict.fromkeys(a.reason for a in answers if isinstance(a, Refusal))))


def parse_method(text: str) -> Method:
    """Read a method's name.

    Raises:
        UnknownName: no method has that name; the message lists the forms and near matches.
    """
    if text == "auto":
        return AutoMethod()
    found = next((method for family in FAMILIES if (method := family.parse(text)) is not None), None)
    if found is not None:
        return found
    *words, last = ("auto", *(word for family in FAMILIES for word in family.words))
    known = ["auto", *(example for family in FAMILIES for example in family.examples)]
    raise UnknownName(
        f"unknown method '{text}'; expected {', '.join(words)} or {last}.{did_you_mean(text, known)} "
        "'convsurgeon methods' explains them."
    )
