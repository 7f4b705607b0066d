"""What stands in a converted network in a convolution's place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn

from convsurgeon.families.cost import ConvShape, pads_by_itself
from convsurgeon.families.family import Spec

__all__ = ["UNITS", "CompactConv", "GatedConv"]


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


class GatedConv(nn.Conv2d):
    """A convolution that learns which inputs each output reads, equal to the plain one while its gates are open.

    ``latent_gates`` [K] are real numbers; a gate is open from 0 on. ``leak`` [] is what closed gates let through yet,
    from 1 (all of it) to 0, so that a network can be weaned off the connections that it loses.
    """

    # Weights saved before these were there mean what a new unit has in them.
    newer_buffers: ClassVar[tuple[str, ...]] = ()

    latent_gates: nn.Parameter
    leak: Tensor

    @abstractmethod
    def gates(self) -> Tensor:
        """Binary gates [K], with a straight-through gradient."""

    @abstractmethod
    def mask(self) -> Tensor:
        """What the weights are multiplied by, [C_out, C_in, 1, 1]; differentiable in the gates."""

    @abstractmethod
    def arrange(self, covariance: Tensor) -> None:
        """Order the channels so that the first gates lose least, for inputs of ``covariance`` [C_in, C_in].

        To be called while all gates are open: until one closes, the order changes nothing.
        """

    @abstractmethod
    def lost(self, closed: Collection[int], covariance: Tensor) -> float:
        """The share of the outputs' variance that the weights can't make up for once these gates are closed."""

    @abstractmethod
    def harden(self) -> nn.Module:
        """The exactly equal module in which the closed gates save their work."""


# Everything that a plan may put in a convolution's place.
UNITS = (CompactConv, GatedConv)
