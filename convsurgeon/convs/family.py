"""What every compact convolution has in common: a spec (data), a module, a method that proposes specs, a card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from convsurgeon.cost import ConvShape, Cost

__all__ = ["Card", "CompactConv", "Method", "Refusal", "Spec", "conv_like", "conv_shape", "seeded"]

_CONV_CLASSES: Mapping[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


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
        self.padding = shape.padding
        self.dilation = shape.dilation
        self.groups = shape.groups
        self.padding_mode = shape.padding_mode

    def __getattr__(self, name: str) -> Any:
        if name in ("weight", "bias"):
            _refuse_weight(type(self).__name__, name)
        return super().__getattr__(name)

    def extra_repr(self) -> str:
        """The convolution it stands for, and its own settings."""
        return f"{self.shape.describe()}, {self.spec.describe()}"


def _refuse_weight(class_name: str, attribute: str) -> NoReturn:
    raise AttributeError(
        f"{class_name} has no single '{attribute}': it replaces a convolution by several smaller ones. "
        "Code that fuses or reads conv weights must run before the conversion, or skip this module."
    )


def conv_like(
    shape: ConvShape,
    in_channels: int,
    out_channels: int,
    *,
    groups: int = 1,
    bias: bool = False,
    kernel: tuple[int, ...] | None = None,
    strided: bool = True,
) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
    """A convolution with the shape's spatial settings and other channels.

    With ``strided=False`` it keeps the size of the map it reads: stride 1 and "same" padding in the
    shape's padding mode. A ``kernel`` of its own comes without dilation.
    """
    conv_class = _CONV_CLASSES[len(shape.kernel)]
    own_kernel = kernel if kernel is not None else shape.kernel
    dilation = shape.dilation if own_kernel == shape.kernel else (1,) * len(own_kernel)
    return conv_class(
        in_channels,
        out_channels,
        own_kernel,  # type: ignore[arg-type]
        stride=shape.stride if strided else 1,  # type: ignore[arg-type]
        padding=shape.padding if strided else "same",  # type: ignore[arg-type]
        dilation=dilation,  # type: ignore[arg-type]
        groups=groups,
        bias=bias,
        padding_mode=shape.padding_mode,
    )


def conv_shape(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> ConvShape:
    """The numbers of a convolution module."""
    padding = conv.padding if isinstance(conv.padding, str) else tuple(int(p) for p in conv.padding)
    return ConvShape(
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel=tuple(conv.kernel_size),
        stride=tuple(conv.stride),
        padding=padding,
        dilation=tuple(conv.dilation),
        groups=conv.groups,
        padding_mode=conv.padding_mode,
        bias=conv.bias is not None,
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fresh weights from ``seed``, with the caller's random state untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
