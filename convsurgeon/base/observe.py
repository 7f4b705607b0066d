"""Watching calls of modules: the one place where forward hooks are put on, and taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

__all__ = ["After", "Before", "SeenEnough", "observe", "observed"]

# Called with a call's positional and keyword arguments, and what it returned.
Before = Callable[[tuple[Any, ...], dict[str, Any]], None]
After = Callable[[tuple[Any, ...], dict[str, Any], Any], None]


class SeenEnough(BaseException):
    """Raised to leave a forward pass early, caught by who raised it; no model's ``except Exception`` takes it."""


def observe(
    *,
    before: Iterable[tuple[nn.Module, Before]] = (),
    after: Iterable[tuple[nn.Module, After]] = (),
    foremost: bool = False,
    always: bool = False,
) -> list[RemovableHandle]:
    """Call back before and after every call of these modules, until the handles are removed.

    ``foremost``: before all hooks that are there. ``always``: after calls that failed, too.
    """
    ahead = [
        module.register_forward_pre_hook(_without_module(tell), with_kwargs=True, prepend=foremost)
        for module, tell in before
    ]
    behind = [
        module.register_forward_hook(_without_module(tell), with_kwargs=True, always_call=always)
        for module, tell in after
    ]
    return [*ahead, *behind]


@contextmanager
def observed(
    *, before: Iterable[tuple[nn.Module, Before]] = (), after: Iterable[tuple[nn.Module, After]] = ()
) -> Iterator[None]:
    """As `observe`, for as long as a block runs, however it ends."""
    handles = observe(before=before, after=after)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _without_module(tell: Callable[..., None]) -> Callable[..., None]:
    def hook(_module: nn.Module, *call: Any) -> None:
        # What a hook returns would take the place of the module's own arguments or output.
        tell(*call)

    return hook
