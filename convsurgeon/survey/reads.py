"""Which convolutions' parameters a forward reads by itself, past the convolution's own call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from convsurgeon.base.observe import observe

__all__ = ["OutsideReads"]

_TOLD = frozenset(getattr(torch.Tensor, name).__get__ for name in ("dtype", "device", "requires_grad", "shape"))


class OutsideReads:
    """Notices use of ``conv.weight`` (or another parameter) where no call of that convolution is going on.

    What a unit in its place tells as well (dtype, device, shape) is no obstacle: many forwards cast by it.

    Parameters are found by ``nn.Module.__getattr__``, which is exchanged while a forward is watched, as torch.fx does:
    a subclass or a wrapper would be noticed by forwards that test types.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._watched: dict[int, str] = {}
        self._within: set[int] = set()

    def attach(self, modules: Mapping[str, nn.Module]) -> list[RemovableHandle]:
        """Start anew on these modules; the hooks' handles."""
        self.names.clear()
        self._within.clear()
        self._watched = {id(module): name for name, module in modules.items()}
        return observe(
            before=[(module, self._entering(module)) for module in modules.values()],
            after=[(module, self._leaving(module)) for module in modules.values()],
            foremost=True,
            always=True,
        )

    def _entering(self, module: nn.Module) -> Callable[..., None]:
        return lambda *_: self._within.add(id(module))

    def _leaving(self, module: nn.Module) -> Callable[..., None]:
        return lambda *_: self._within.discard(id(module))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Parameters read inside of the block are noticed."""
        plain = nn.Module.__getattr__

        def noticing(module: nn.Module, name: str) -> Any:
            known = self._watched.get(id(module))
            found = plain(module, name)
            outside = known is not None and id(module) not in self._within and name in module._parameters
            if not outside or not isinstance(found, Tensor):
                return found
            return _noticed(found, lambda: self.names.add(str(known)))

        nn.Module.__getattr__ = noticing  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__getattr__ = plain  # type: ignore[method-assign]


class _Noticed(Tensor):
    """A parameter that tells when anything is done with its values."""

    notice: Callable[[], None]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _TOLD:
            for leaf in tree_leaves((args, kwargs or {})):
                if isinstance(leaf, _Noticed):
                    leaf.notice()
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def _noticed(parameter: Tensor, notice: Callable[[], None]) -> Tensor:
    found = parameter.as_subclass(_Noticed)
    found.notice = notice
    return found
