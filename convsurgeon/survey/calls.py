"""What one forward calls: how often each module runs, and the shapes it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from convsurgeon.base.observe import After, observe

__all__ = ["NEVER", "Called", "Calls"]


@dataclass(frozen=True)
class Called:
    """How often a module ran; the shapes of its first argument and of its output in its first call, () for others.

    ``entries``: how many numbers all calls wrote.
    """

    times: int
    read: tuple[int, ...]
    wrote: tuple[int, ...]
    entries: int


NEVER = Called(0, (), (), 0)


class Calls:
    """Counts the calls of all modules of a copy, by qualified name, until it is told to stop.

    ``lists`` names the Sequentials that are taken for lists: their own forward does not run, be it called or not.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Called] = {}
        self.lists: set[str] = set()
        self._handles: list[Any] = []
        self._sequences: list[nn.Module] = []

    def attach(self, copy: nn.Module) -> None:
        """Start anew on this copy."""
        self.seen.clear()
        self._handles = observe(after=[(module, self._recorder(name)) for name, module in copy.named_modules()])
        sequences = {name: module for name, module in copy.named_modules() if _runs_in_sequence(module)}
        self.lists, self._sequences = set(sequences), list(sequences.values())
        for name, module in sequences.items():
            vars(module)["forward"] = self._no_list(name, module.forward)

    def detach(self) -> Mapping[str, Called]:
        """What was seen. A trace, which calls modules too, adds nothing any more."""
        for handle in self._handles:
            handle.remove()
        for module in self._sequences:
            del vars(module)["forward"]
        return self.seen

    def _no_list(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self.lists.discard(name)
            return forward(*args, **kwargs)

        return run

    def _recorder(self, name: str) -> After:
        def record(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            read, wrote = _shape(next(iter((*args, *kwargs.values())), None)), _shape(output)
            before = self.seen.get(name, Called(0, read, wrote, 0))
            entries = before.entries + (output.numel() if isinstance(output, Tensor) else 0)
            self.seen[name] = replace(before, times=before.times + 1, entries=entries)

        return record


def _runs_in_sequence(module: nn.Module) -> bool:
    """Whether the module's forward is that of a Sequential, whatever its class is called."""
    return type(module).forward is nn.Sequential.forward and "forward" not in vars(module)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
