"""What a network computes ahead of the site that is being fitted, kept from one site to the next.

Sites are fitted in the order in which they run. Whatever modules returned before the next one runs is final, so that
running it again for every site would make the time grow with the square of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from convsurgeon.base.inputs import tensors_in

__all__ = ["Settled"]

# The number of the batch, and then which call of a module within the call around it, from the outside in: modules that
# are called in several places have several.
Key = tuple[int, ...]
_MODULES_OWN = frozenset((*vars(nn.Module()), "forward"))
_PLAIN = (Tensor, int, float, bool, str, type(None))


@dataclass
class _Call:
    """A call that is under way, and how many it has made so far."""

    key: Key
    made: int = 0

    def next(self) -> Key:
        key = (*self.key, self.made)
        self.made += 1
        return key


@dataclass(frozen=True)
class _Kept:
    """An output, and what tells whether it still is what the call returned."""

    output: Any
    versions: list[int]


@dataclass
class Settled:
    """Outputs of the largest modules that ended before a site ran, up to ``budget`` bytes."""

    budget: int
    _kept: dict[Key, _Kept] = field(default_factory=dict)

    @contextmanager
    def ahead_of(self, site: nn.Module, network: nn.Module, batch: int) -> Iterator[None]:
        """While the network runs on one batch, what is settled is not computed again, and what ends before the site
        runs is settled from then on."""
        calls, reached, ended = [_Call((batch,))], [False], [False]

        def instead(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                key = calls[-1].next()
                if (settled := self._whole(key)) is not None:
                    return settled.output
                reached[0] |= module is site
                given = tensors_in((args, kwargs))
                before = _versions(given)
                calls.append(_Call(key))
                try:
                    output = forward(*args, **kwargs)
                finally:
                    calls.pop()
                ended[0] |= module is network
                if not reached[0] and _versions(given) == before and _is_new(output, given):
                    self._keep(key, output)
                return output

            return run

        left = _left_by(network)
        modules = [module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule)]
        own = [vars(module).get("forward") for module in modules]
        for module in modules:
            vars(module)["forward"] = instead(module, module.forward)
        try:
            yield
        finally:
            if ended[0] and not reached[0]:
                # What ended before a site that this batch does not reach is everything, the whole network too.
                self._kept = {key: kept for key, kept in self._kept.items() if key[0] != batch}
            for module, forward in zip(modules, own, strict=True):
                if forward is None:
                    del vars(module)["forward"]
                else:
                    vars(module)["forward"] = forward
            if any(a is not b for a, b in zip_longest(left, _left_by(network))):
                # What one module leaves for another, or for its next call, is more than it returns.
                self.budget, self._kept = 0, {}

    def _whole(self, key: Key) -> _Kept | None:
        """What was kept of a call, unless something that runs behind it wrote into it."""
        kept = self._kept.get(key)
        if kept is not None and kept.versions != _versions(tensors_in(kept.output)):
            del self._kept[key]
            return None
        return kept

    def _keep(self, key: Key, output: Any) -> None:
        """Keep a call's output; what the call was made of is needed no longer."""
        self._kept = {other: kept for other, kept in self._kept.items() if other[: len(key)] != key}
        tensors = tensors_in(output)
        held = sum(tensor.nbytes for kept in self._kept.values() for tensor in tensors_in(kept.output))
        # Inference tensors can be written into within inference mode, and nothing would tell.
        fits = held + sum(tensor.nbytes for tensor in tensors) <= self.budget
        if fits and not any(tensor.is_inference() for tensor in tensors):
            self._kept[key] = _Kept(output, _versions(tensors))


def _left_by(network: nn.Module) -> list[object]:
    """Tensors that modules hold, beside parameters and buffers."""
    own = ((key, value) for module in network.modules() for key, value in vars(module).items())
    return [
        leaf for key, value in own if key not in _MODULES_OWN for leaf in tree_leaves(value) if isinstance(leaf, Tensor)
    ]


def _is_new(output: Any, given: list[Tensor]) -> bool:
    """Whether the output is made of tensors and numbers, none of them a part of what was given."""
    memory = {tensor.untyped_storage().data_ptr() for tensor in given}
    leaves = tree_leaves(output)
    shared = any(leaf.untyped_storage().data_ptr() in memory for leaf in leaves if isinstance(leaf, Tensor))
    return not shared and all(isinstance(leaf, _PLAIN) for leaf in leaves)


def _versions(given: list[Tensor]) -> list[int]:
    """What tells whether they were written into, where anything does."""
    return [tensor._version for tensor in given if not tensor.is_inference()]
