"""What every compact convolution has in common: a spec (data), a module, a method that proposes specs, a card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from convsurgeon.families.cost import ConvShape, Cost
from convsurgeon.families.torch_convs import pads_by_itself

__all__ = ["Card", "CompactConv", "Method", "Refusal", "Spec"]


@dataclass(frozen=True)
class Refusal:
    """Why a convolution can't become, or should not become, what was asked."""

    reason: str


@dataclass(frozen=True)
class Card:
    """One method for people: what it is, where it comes from, when it pays and when it does not."""

    family: str
    title: str
    paper: str
    methods: str
    idea: str
    good_for: str
    bad_for: str


class Spec(BaseModel, ABC):
    """One replacement as data: enough, with the ConvShape, to price and to build it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """MACs over ``positions`` output positions, and parameters."""

    @abstractmethod
    def misfit(self, shape: ConvShape) -> str | None:
        """Why no module of this spec can take the convolution's place; None if one can. ``build`` relies on it."""

    @abstractmethod
    def build(self, shape: ConvShape) -> CompactConv | nn.Conv1d | nn.Conv2d | nn.Conv3d:
        """A freshly initialised module with the convolution's input and output shape."""

    @abstractmethod
    def describe(self) -> str:
        """One short cell of a table, e.g. ``CompConv d=2 p=11``."""


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

    def specs(self, shape: ConvShape, output_size: tuple[int, ...]) -> tuple[Spec, ...] | Refusal:
        """The specs for a conv that writes maps of ``output_size`` (H, W), or the reason for none."""
        ...


class CompactConv(nn.Module):
    """A module that takes a convolution's place: [N, C_in, H, W] → [N, C_out, H', W'], same shapes as the conv.

    It carries the attributes that surrounding code reads off a convolution (``in_channels``, ``stride``, …).
    """

    def __init__(self, shape: ConvShape, spec: Spec) -> None:
        super().__init__()
        self.shape = shape
        self.spec = spec
        self.in_channels = shape.in_channels
        self.out_channels = shape.out_channels
        self.kernel_size = shape.kernel
        self.stride = shape.stride
        # A convolution that pads by itself has none by its attribute, and so has what takes its place.
        self.padding = (0,) * len(shape.kernel) if pads_by_itself(shape) else shape.padding
        self.dilation = shape.dilation
        self.groups = shape.groups
        self.padding_mode = shape.padding_mode
        self.output_padding = shape.output_padding or (0,) * len(shape.kernel)

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            return NoWeight(self)
        if name == "bias":
            if self.shape.bias:
                _refuse_weight(type(self).__name__, name)
            return None
        return super().__getattr__(name)

    def extra_repr(self) -> str:
        """The convolution it stands for, and its own settings."""
        return f"{self.shape.describe()}, {self.spec.describe()}"


def _refuse_weight(class_name: str, attribute: str) -> NoReturn:
    raise AttributeError(
        f"{class_name} has no single '{attribute}': it replaces a convolution by several smaller ones. "
        "Code that fuses or reads conv weights (model.fuse(), reparameterize_model) must run before the conversion, "
        "or skip this module."
    )


class NoWeight:
    """In place of a weight: says dtype, device and shape (forwards ask for them), and refuses everything else."""

    def __init__(self, owner: CompactConv) -> None:
        first, shape = next(owner.parameters()), owner.shape
        self.dtype, self.device, self.requires_grad = first.dtype, first.device, first.requires_grad
        self.shape = torch.Size((shape.out_channels, shape.in_channels // shape.groups, *shape.kernel))
        self._owner = type(owner).__name__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse_weight(self._owner, "weight")

    @classmethod
    def __torch_function__(cls, _function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        owners = [value._owner for value in (*args, *(kwargs or {}).values()) if isinstance(value, NoWeight)]
        _refuse_weight(next(iter(owners), "a compact convolution"), "weight")
