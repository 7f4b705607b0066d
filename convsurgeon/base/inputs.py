"""Example inputs: one tensor, a tuple of positional arguments, or a dict of keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

from convsurgeon.base.errors import INTERRUPTIONS, ModelLoadError, ModelRunError, UsageError, first_line
from convsurgeon.base.machine_memory import require_room
from convsurgeon.base.observe import SeenEnough
from convsurgeon.base.working_folder import staying_here

__all__ = ["Inputs", "as_inputs", "tensors_in"]


@dataclass(frozen=True)
class Inputs:
    """What a model is called with: ``model(*args, **kwargs)``."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def call(self, model: Callable[..., Any]) -> Any:
        """Run the model on these inputs; the current folder stays what it is.

        Raises:
            ModelRunError: the model's forward raised; the message carries its words and the input shapes.
        """
        try:
            with staying_here():
                return model(*self.args, **self.kwargs)
        except (SeenEnough, *INTERRUPTIONS):
            raise
        except BaseException as error:
            # A forward that ends the program (sys.exit) would take a check's verdict with it.
            raise ModelRunError(
                f"the model fails on inputs {self.describe()}: {first_line(error)}. "
                "Pass inputs that its forward accepts (--input N,C,H,W on the command line)."
            ) from error

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Inputs:
        """Move every tensor to ``device``; cast the floating-point ones to ``dtype``.

        Raises:
            UsageError: tensors on the meta device, which nothing moves off it.
        """

        def move(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.is_meta and torch.device(device).type != "meta":
                raise UsageError("the example inputs are on the meta device and have no values; pass real tensors.")
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        return self.changed(move)

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
        """The same arguments with another tensor in each one's place, in order."""
        return Inputs(*tree_map_only(torch.Tensor, change, (self.args, dict(self.kwargs))))

    def like(self, model: nn.Module) -> Inputs:
        """Follow the device and the floating-point dtype of the model's first parameter.

        Raises:
            ModelLoadError: the model is no module.
        """
        if not isinstance(model, nn.Module):
            raise ModelLoadError(f"the model is a {type(model).__name__}; expected a torch.nn.Module.")
        first = next(model.parameters(), None)
        return self if first is None else self.to(first.device, first.dtype)

    def reshaped(self, shapes: Sequence[Sequence[int]], seed: int = 0) -> Inputs:
        """The same arguments with tensors of other shapes, filled from ``seed`` (uniform in [0, 1), or zeros).

        Itself where the shapes are the same already, or belong to another number of tensors.
        """
        wanted = [tuple(shape) for shape in shapes]
        if list(self.shapes()) == wanted or len(wanted) != len(self.tensors()):
            return self
        for shape in wanted:
            require_room(shape)
        generator = torch.Generator().manual_seed(seed)
        left = iter(wanted)

        def fill(tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_floating_point():
                return tensor.new_zeros(next(left))
            return torch.rand(next(left), generator=generator).to(tensor)

        return self.changed(fill)

    def tensors(self) -> list[torch.Tensor]:
        """Every tensor in the inputs, in order."""
        return tensors_in((self.args, dict(self.kwargs)))

    def finite(self) -> bool:
        """Whether no tensor holds NaN or infinity."""
        return all(bool(tensor.isfinite().all()) for tensor in self.tensors())

    def refuse_unfinite(self, what: str, worth: str) -> None:
        """Refuse NaN and infinity in the words ``what`` these inputs are and what they are not ``worth``.

        Raises:
            UsageError: a tensor holds one.
        """
        if not self.finite():
            raise UsageError(
                f"{what} ({self.describe()}) holds NaN or infinity, on which {worth}; leave such inputs out, or mend "
                "what prepares them."
            )

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of every tensor, in order."""
        return tuple(tuple(tensor.shape) for tensor in self.tensors())

    def describe(self) -> str:
        """The shapes as text, e.g. ``[1, 3, 224, 224]``."""
        return ", ".join(str(list(shape)) for shape in self.shapes()) or "without tensors"


def tensors_in(value: object) -> list[torch.Tensor]:
    """Every tensor in arguments, or in what a module returned, in order."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def as_inputs(example_inputs: Any) -> Inputs:
    """Read a tensor, a tuple of positional arguments or a dict of keyword arguments.

    A list is one positional argument (torchvision's detectors take a list of images).

    Raises:
        UsageError: anything else.
    """
    if isinstance(example_inputs, Inputs):
        return example_inputs
    if isinstance(example_inputs, tuple):
        return Inputs(args=example_inputs)
    if isinstance(example_inputs, Mapping):
        return Inputs(kwargs=dict(example_inputs))
    if isinstance(example_inputs, (torch.Tensor, list)):
        return Inputs(args=(example_inputs,))
    raise UsageError(
        f"example_inputs is a {type(example_inputs).__name__}; expected a tensor, "
        "a tuple of positional arguments, a dict of keyword arguments, or a list of images."
    )
