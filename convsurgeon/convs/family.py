"""What every compact convolution has in common: a spec (data), a module, a method that proposes specs, a card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from convsurgeon.cost import ConvShape, Cost

__all__ = [
    "PAD_MODES",
    "Card",
    "CompactConv",
    "Method",
    "PaddedConv",
    "Refusal",
    "Spec",
    "conv_like",
    "conv_shape",
    "padded",
    "pads_by_itself",
    "plain_conv",
    "seeded",
]

PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


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


def pads_by_itself(shape: ConvShape) -> bool:
    """Whether the padding is none that torch's convolutions can express."""
    return shape.padding == "dynamic" or any(isinstance(pad, tuple) for pad in shape.padding)


def padded(x: Tensor, shape: ConvShape) -> Tensor:
    """``x`` [N, C, H, W] with the shape's padding around it, in its mode; itself where there is none."""
    pads = [pad for ends in reversed(shape.pads(x.shape[2:])) for pad in ends]
    return F.pad(x, pads, mode=PAD_MODES[shape.padding_mode]) if any(pads) else x


class PaddedConv(_ConvNd):
    """A convolution whose padding is uneven or follows the input's size, which torch's own classes can't express."""

    shape: ConvShape

    def forward(self, input: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        x = padded(input, self.shape)
        return self._conv_forward(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As torch's, with the padding."""
        return f"{super().extra_repr()}, ahead={self.shape.padding}"  # type: ignore[no-untyped-call]


class PaddedConv1d(PaddedConv, nn.Conv1d):
    """Over [N, C, L]."""


class PaddedConv2d(PaddedConv, nn.Conv2d):
    """Over [N, C, H, W]."""


class PaddedConv3d(PaddedConv, nn.Conv3d):
    """Over [N, C, D, H, W]."""


_CONV_CLASSES: Mapping[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
_PADDED_CLASSES: Mapping[int, type[PaddedConv1d] | type[PaddedConv2d] | type[PaddedConv3d]] = {
    1: PaddedConv1d,
    2: PaddedConv2d,
    3: PaddedConv3d,
}
_TRANSPOSED_CLASSES: Mapping[int, type[nn.ConvTranspose1d] | type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def plain_conv(shape: ConvShape) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
    """A freshly initialised convolution of this shape; a `PaddedConv` where torch's classes can't pad so."""
    if shape.output_padding is not None:
        return _transposed(shape)
    ours = pads_by_itself(shape)
    conv_class = (_PADDED_CLASSES if ours else _CONV_CLASSES)[len(shape.kernel)]
    conv = conv_class(
        shape.in_channels,
        shape.out_channels,
        shape.kernel,  # type: ignore[arg-type]
        stride=shape.stride,  # type: ignore[arg-type]
        padding=0 if ours else shape.padding,  # type: ignore[arg-type]
        dilation=shape.dilation,  # type: ignore[arg-type]
        groups=shape.groups,
        bias=shape.bias,
        padding_mode="zeros" if ours else shape.padding_mode,
    )
    if isinstance(conv, PaddedConv):
        conv.shape = shape
    return conv


def _transposed(shape: ConvShape) -> Any:
    """A transposed convolution of this shape."""
    return _TRANSPOSED_CLASSES[len(shape.kernel)](
        shape.in_channels,
        shape.out_channels,
        shape.kernel,  # type: ignore[arg-type]
        stride=shape.stride,  # type: ignore[arg-type]
        padding=shape.padding,  # type: ignore[arg-type]
        output_padding=shape.output_padding,  # type: ignore[arg-type]
        groups=shape.groups,
        bias=shape.bias,
        dilation=shape.dilation,  # type: ignore[arg-type]
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
    own_kernel = kernel if kernel is not None else shape.kernel
    channels = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups, "bias": bias}
    spatial: dict[str, Any] = {"kernel": own_kernel}
    if own_kernel != shape.kernel:
        spatial["dilation"] = (1,) * len(own_kernel)
    if not strided:
        spatial |= {"stride": (1,) * len(own_kernel), "padding": "same"}
    return plain_conv(shape.model_copy(update=channels | spatial))


def conv_shape(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> ConvShape:
    """The numbers of a convolution module, as its attributes have them."""
    if isinstance(conv, PaddedConv):
        return conv.shape
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
        output_padding=tuple(conv.output_padding) if isinstance(conv, _ConvTransposeNd) else None,
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fresh weights from ``seed``, with the caller's random state untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
