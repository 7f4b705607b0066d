"""A fit that asks for more memory than there is, in words that name the layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from convsurgeon.base.errors import UsageError

__all__ = ["memory_named"]


@contextmanager
def memory_named(layer: str) -> Iterator[None]:
    """Plans leave out layers that don't fit into memory; this is for plans made elsewhere, and full machines.

    Raises:
        UsageError: there is not enough memory for what runs inside.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            raise UsageError(
                f"there is not enough memory to fit '{layer}'; leave it out (--skip {layer}), plan with a lower "
                "--fit-memory GIB, or use a machine with more memory."
            ) from error
        raise
