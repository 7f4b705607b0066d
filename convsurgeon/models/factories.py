"""Models built by a user's own code: ``package.module:factory`` and ``path/file.py:factory``.

A factory is any callable without required arguments that returns an ``nn.Module``. Its attribute
``example_inputs``, where it has one, says what its model is called with (a tensor, a tuple of positional
arguments, a dict of keyword arguments or a list of images); otherwise that is one image [1, 3, 224, 224]. Its
attributes ``transform`` (PIL image → [C, H, W]) and ``categories`` (class names) serve folders of images.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.copies import in_eval_mode
from convsurgeon.base.errors import INTERRUPTIONS, ModelLoadError, UsageError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.models.from_file import load_from_file
from convsurgeon.models.input_sizes import random_inputs
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.source import ModelSource
from convsurgeon.models.user_code import at_work, find_code, names_code, quoted
from convsurgeon.models.weights import WeightedModel, WeightsRequest, random_origin

__all__ = ["SOURCE", "Factory", "find_factory"]

_DEFAULT_SHAPE = (1, 3, 224, 224)


def find_factory(spec: str) -> Factory:
    """Find the code that a name stands for. This runs it.

    Raises:
        UnknownName, ModelLoadError, UsageError: see `find_code`.
    """
    return Factory(*find_code(spec))


@dataclass(frozen=True)
class Factory:
    """A user's callable; ``folder`` is on ``sys.path`` while it runs, for imports inside it."""

    spec: str
    make: Callable[[], Any]
    folder: Path

    @property
    def states_inputs(self) -> bool:
        """Whether its author said what the model is called with."""
        return hasattr(self.make, "example_inputs")

    def build(self) -> nn.Module:
        """Call the factory; the model comes back in eval mode.

        Raises:
            ModelLoadError: it raises, or returns something other than an ``nn.Module``, or one without an eval mode, or
                on the meta device, unless that is the current default device.
        """
        try:
            with at_work(self.folder):
                model = self.make()
        except INTERRUPTIONS:
            raise
        except BaseException as error:
            raise ModelLoadError(f"the factory {self.spec} raises {quoted(error)}.") from error
        if not isinstance(model, nn.Module):
            raise ModelLoadError(
                f"the factory {self.spec} returns a {type(model).__name__}; expected a torch.nn.Module."
            )
        _require_numbers(model, self.spec)
        return in_eval_mode(model)

    def load(self, request: WeightsRequest, seed: int) -> WeightedModel:
        """Call the factory, whose own weights count as carried by the model unless ``none`` says otherwise.

        Raises:
            UsageError: pretrained weights by name, which a factory has none of.
            ModelLoadError: the factory fails, or the file does not fit its model.
        """
        if request.kind == "named":
            raise UsageError(
                f"the factory {self.spec} has no weights {request.name!r}, and no such file exists; "
                "expected auto (what the factory loads itself), none or a file."
            )
        model = self.build()
        if request.kind == "none":
            origin = random_origin(f"as asked for, whatever {self.spec} loads", seed)
        elif request.kind == "file":
            model, origin = load_from_file(model, request, self.spec)
        else:
            origin = WeightsOrigin("caller", f"as {self.spec} makes them")
        categories = getattr(self.make, "categories", None)
        return WeightedModel(
            self.spec,
            model,
            origin,
            categories=None if categories is None else tuple(categories),
            transform=getattr(self.make, "transform", None),
        )

    def inputs(self, shape: tuple[int, ...] | None, seed: int, model: nn.Module | None = None) -> Inputs:
        """The factory's ``example_inputs``, or one tensor of ``shape``, by default [1, 3, 224, 224].

        Raises:
            UsageError: ``example_inputs`` is nothing a model can be called with.
        """
        own = getattr(self.make, "example_inputs", None)
        if shape is not None or own is None:
            return random_inputs(shape or _DEFAULT_SHAPE, "any", seed)
        return as_inputs(own)


def _require_numbers(model: nn.Module, spec: str) -> None:
    """Refuse meta tensors that nobody asked for: nothing moves them elsewhere, and no file of weights fills them."""
    if torch.get_default_device().type == "meta":
        return
    tensors = itertools.chain(model.named_parameters(), model.named_buffers())
    if empty := [name for name, tensor in tensors if tensor.is_meta]:
        raise ModelLoadError(
            f"the factory {spec} builds its model on the meta device, where {len(empty)} tensors ({empty[0]}, …) hold "
            "no numbers. Build it elsewhere, e.g. on the CPU; --weights FILE (weights=) fills it."
        )


SOURCE = ModelSource(
    form="package.module:factory or file.py:factory",
    takes=names_code,
    names=list,
    find=find_factory,
    is_code=True,
)
