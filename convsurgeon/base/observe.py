"""Hooks on modules that are there for as long as a block runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle

__all__ = ["removed_after"]


@contextmanager
def removed_after(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Remove the hooks when the block ends, however it ends."""
    known = tuple(handles)
    try:
        yield
    finally:
        for handle in known:
            handle.remove()
