"""Which convolutions' parameters a forward reads by itself, past the convolution's own call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from convsurgeon.base.observe import observe

__all__ = ["OutsideReads"]


class OutsideReads:
    """Notices ``conv.weight`` (or another parameter) where no call of that convolution is going on.

    Parameters are found by ``nn.Module.__getattr__``, which is exchanged while a forward is watched, as torch.fx does:
    a subclass or a wrapper would be noticed by forwards that test types.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._watched: dict[int, str] = {}
        self._within: set[int] = set()

    def attach(self, modules: Mapping[str, nn.Module]) -> None:
        """Start anew on these modules."""
        self.names.clear()
        self._within.clear()
        self._watched = {id(module): name for name, module in modules.items()}
        observe(
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
            if known is not None and id(module) not in self._within and name in module._parameters:
                self.names.add(known)
            return plain(module, name)

        nn.Module.__getattr__ = noticing  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__getattr__ = plain  # type: ignore[method-assign]
