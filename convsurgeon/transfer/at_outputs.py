"""What changes inside of a network do to what comes out of it.

Errors of one size at two layers are not one damage: some directions of a layer's output are hardly read, others turn
classes over. So choices of different kinds are compared by the error that they leave in the network's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.transfer.agreement import outputs_of
from convsurgeon.transfer.calibration import Calibration, first_images, held_out, images_in
from convsurgeon.transfer.settled import Settled

__all__ = ["AtOutputs", "instead_of"]

# Inputs on which outputs are compared: as many as hold so many bytes, within these bounds.
IMAGES, FEWEST_IMAGES, BYTES = 64, 16, 10 << 20
# Of what runs ahead of a convolution that is looked at.
SETTLED_BYTES = 1 << 30
# Of an output's energy: what varies less is rounding.
_STEADY = 1e-12

# By a layer's name: the weight [C_out, D] that it has for a while, and what its output shifts by [C_out].
Changes = Mapping[str, tuple[Tensor, Tensor]]


class AtOutputs:
    """The original's outputs on a few inputs, and how far changed copies are from them.

    Changes are asked about in the order in which their layers run: what ran before them is not computed again.
    """

    def __init__(self, reference: nn.Module, batches: Iterable[Inputs]) -> None:
        self._work = duplicate(reference).eval()
        self._settled = Settled(SETTLED_BYTES)
        self.batches = list(batches)
        self._wanted = [_dense(inputs.call(self._work)) for inputs in self.batches]
        self._spreads = _spreads(self._wanted)

    @classmethod
    def held_out(cls, reference: nn.Module, data: Calibration) -> AtOutputs:
        """On a few of the inputs that are held out where something is fitted to see what comes of it."""
        return cls(reference, _a_few(held_out(data.part(reference, held_back=False))))

    @property
    def comparable(self) -> bool:
        """Whether there are outputs of a floating type, as many for each batch, and they vary."""
        return any(self._spreads) and all(map(math.isfinite, self._spreads))

    @property
    def kind(self) -> str:
        """What comes out, roughly, for the keys of caches: other outputs of the same layers are another network's."""
        return " ".join(
            f"{list(y.shape)}:{spread:.2g}" for y, spread in zip(*self._wanted[:1], self._spreads, strict=False)
        )

    def with_weights(self, changes: Changes) -> float | None:
        """Relative error of the outputs with other weights in some layers, the first one to run first; None where their
        shapes change, too."""
        with instead_of(self._work, changes):
            return self._of(self._work, self._work.get_submodule(next(iter(changes))))

    def with_output(self, name: str, changed: Callable[[Tensor], Tensor]) -> float | None:
        """Relative error of the outputs with another output of one layer; None where their shapes change, too."""
        layer = self._work.get_submodule(name)
        handle = layer.register_forward_hook(lambda _module, _args, y: changed(y))
        try:
            return self._of(self._work, layer)
        finally:
            handle.remove()

    def of(self, network: nn.Module) -> float | None:
        """Relative error of the outputs of a network in eval mode, the mean of those that vary; None where they have
        other shapes."""
        return self._of(network, None)

    def _of(self, network: nn.Module, changed: nn.Module | None) -> float | None:
        """As `of`; what runs before the ``changed`` layer of our own copy is kept for the next one."""
        totals = [0.0] * len(self._spreads)
        for number, (inputs, wanted) in enumerate(zip(self.batches, self._wanted, strict=True)):
            with nullcontext() if changed is None else self._settled.ahead_of(changed, network, number):
                found = _dense(inputs.call(network))
            if [leaf.shape for leaf in found] != [leaf.shape for leaf in wanted]:
                return None
            for place, (a, b) in enumerate(zip(found, wanted, strict=True)):
                totals[place] += float((a - b).double().square().sum())
        errors = [total / spread for total, spread in zip(totals, self._spreads, strict=True) if spread]
        error = sum(errors) / len(errors) if errors else math.nan
        return error if math.isfinite(error) else None


@contextmanager
def instead_of(model: nn.Module, changes: Changes) -> Iterator[None]:
    """Within, the layers have these weights, and their outputs are shifted."""
    handles, before = [], {}
    for name, (weight, shift) in changes.items():
        module: Any = model.get_submodule(name)
        before[name] = module.weight.data
        module.weight.data = weight.to(module.weight).view_as(module.weight)
        handles.append(module.register_forward_hook(_shifting(shift)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name, weight in before.items():
            model.get_submodule(name).weight.data = weight


def _a_few(batches: Iterable[Inputs]) -> Iterator[Inputs]:
    """A network runs on them for every layer and width, which takes long where they are large."""
    rest = iter(batches)
    for first in islice(rest, 1):
        each = sum(tensor.nbytes for tensor in first.tensors()) / max(1, images_in(first))
        yield from first_images(chain([first], rest), max(FEWEST_IMAGES, min(IMAGES, int(BYTES / max(1, each)))))


def _dense(returned: object) -> list[Tensor]:
    return [tensor for tensor in outputs_of(returned) if tensor.layout == torch.strided]


def _spreads(batches: Sequence[Sequence[Tensor]]) -> list[float]:
    """Of each of the outputs in all batches, around its mean; 0 where it is constant. Empty where batches differ in the
    number of their outputs."""
    if len({len(outputs) for outputs in batches}) != 1:
        return []
    return [_spread(torch.cat([leaf.double().flatten() for leaf in leaves])) for leaves in zip(*batches, strict=True)]


def _spread(values: Tensor) -> float:
    spread = float((values - values.mean()).square().sum()) if len(values) else 0.0
    return 0.0 if spread <= _STEADY * float(values.square().sum()) else spread


def _shifting(shift: Tensor) -> Any:
    def add(module: nn.Module, _args: Any, y: Tensor) -> Tensor:
        behind = 0 if isinstance(module, nn.Linear) else y.dim() - 2
        return y + shift.to(y).view(-1, *(1,) * behind)

    return add
