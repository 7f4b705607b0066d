"""What every family of compact convolutions has in common, as data: a card, specs, methods that propose specs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict

from convsurgeon.families.cost import ConvShape, Cost

if TYPE_CHECKING:
    from torch import nn

    from convsurgeon.families.forms.absorbed import Absorbed
    from convsurgeon.families.forms.form import Form
    from convsurgeon.families.regression.fitting import LinearFitting, StagedFitting
    from convsurgeon.families.unit import CompactConv

__all__ = ["Card", "Family", "LearnedSpec", "Method", "PlainMethod", "Refusal", "Spec"]


@dataclass(frozen=True)
class Refusal:
    """Why a convolution can't become, or should not become, what was asked."""

    reason: str


@dataclass(frozen=True)
class Card:
    """One method for people: what it is, where it comes from, when it pays and when it does not.

    ``legend`` says what the signs in its specs' descriptions mean.
    """

    family: str
    title: str
    paper: str
    methods: str
    idea: str
    good_for: str
    bad_for: str
    legend: str = ""


class Spec(BaseModel, ABC):
    """One replacement as data: enough, with the ConvShape, to price and to build it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str

    @property
    def learns(self) -> bool:
        """Whether the unit starts equal to the convolution and saves only once it has been trained."""
        return False

    @property
    @abstractmethod
    def kind(self) -> int:
        """Tells a family's kinds of unit apart (partitions, depth): of one kind, only widths differ."""

    @abstractmethod
    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """MACs over ``positions`` output positions, and parameters."""

    @abstractmethod
    def misfit(self, shape: ConvShape) -> str | None:
        """Why no module of this spec can take the convolution's place; None if one can. ``build`` relies on it."""

    @abstractmethod
    def build(self, shape: ConvShape) -> CompactConv | nn.Conv1d | nn.Conv2d | nn.Conv3d:
        """A freshly initialised module with the convolution's input and output shape."""

    def within(self, groups: int) -> Spec:
        """What each of a convolution's ``groups`` groups becomes; families that take ungrouped ones have nothing else.

        Raises:
            ValueError: several groups, for a family that splits none.
        """
        if groups != 1:
            raise ValueError(f"{self.describe()} stands for ungrouped convolutions, not for {groups} groups")
        return self

    @abstractmethod
    def describe(self) -> str:
        """One short cell of a table, e.g. ``CompConv d=2 p=11``."""


class LearnedSpec(Spec, ABC):
    """A spec whose connections may still be open: gates [K] that training closes."""

    @abstractmethod
    def gate_count(self, shape: ConvShape) -> int:
        """K, the number of gates."""

    @abstractmethod
    def closed(self, gates: int) -> Spec:
        """The spec of the deployed unit once so many gates are closed (one or more)."""


@dataclass(frozen=True)
class PlainMethod:
    """What most methods answer: nothing changes under a target, and there is nothing to say without one."""

    @property
    def untargeted_note(self) -> str | None:
        """Nothing to say."""
        return None

    def under_target(self) -> Self:
        """The same method."""
        return self


@runtime_checkable
class Method(Protocol):
    """What ``--method`` names: proposes the specs a convolution may become."""

    @property
    def name(self) -> str:
        """The word on the command line."""
        ...

    @property
    def has_choice(self) -> bool:
        """Whether the method leaves the planner a choice (so that it needs a target)."""
        ...

    @property
    def untargeted_note(self) -> str | None:
        """What to say where the method is used without a target; None for nothing."""
        ...

    def under_target(self) -> Method:
        """The method where a target has to be met by the conversion itself."""
        ...

    def specs(
        self, shape: ConvShape, output_size: tuple[int, ...], input_size: tuple[int, ...] | None = None
    ) -> tuple[Spec, ...] | Refusal:
        """The specs for a conv that writes maps of ``output_size`` (H, W), or the reason for none.

        ``input_size`` is that of the maps it reads; None where it reads several.
        """
        ...


@dataclass(frozen=True)
class Family:
    """Everything that the rest of the package asks of one family of convolutions.

    It stands at the end of the family's ``spec.py``. What needs torch is beside it and imported when asked for, so that
    plans and reports are read without: ``unit.py`` has ``UNIT``, ``fit.py`` ``FITTING``, ``forms.py`` ``forms``.

    Attributes:
        card: its description for people; ``card.family`` is the name that its specs carry.
        spec: its specs' class.
        words: the methods' names as an error lists them; ``examples`` are those compared with a misspelt one.
        parse: reads a method's name; None where the text is another family's.
        free: what ``auto`` asks for specs.
        proxy_weight: how much more than IGC it loses at equal MACs, for plans without calibration data.
    """

    card: Card
    spec: type[Spec]
    words: tuple[str, ...]
    examples: tuple[str, ...]
    parse: Callable[[str], Method | None]
    free: Method
    proxy_weight: float

    @property
    def name(self) -> str:
        """The word in a spec's ``family``."""
        return self.card.family

    def unit(self) -> type[CompactConv]:
        """The deployed module's class."""
        found: type[CompactConv] = self._beside("unit").UNIT
        return found

    def fitting(self) -> LinearFitting[Any, Any] | StagedFitting[Any, Any]:
        """How a unit gets its weights, and what a spec would lose."""
        found: LinearFitting[Any, Any] | StagedFitting[Any, Any] = self._beside("fit").FITTING
        return found

    def forms(self, absorbed: Absorbed) -> list[Form]:
        """The ways to compute a unit once nothing is trained any more; none where it is left as it is."""
        found: list[Form] = self._beside("forms").forms(absorbed)
        return found

    def _beside(self, name: str) -> ModuleType:
        return import_module(f"{self.spec.__module__.rpartition('.')[0]}.{name}")
