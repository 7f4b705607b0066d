"""How much memory this process may have at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

from convsurgeon.base.errors import UsageError

__all__ = ["memory_at_hand", "require_room"]

_CONTAINER = Path("/sys/fs/cgroup/memory.max")
# Where the system tells nothing.
_UNKNOWN = 8 << 30


def memory_at_hand() -> int:
    """Bytes of memory of the machine, or of the container that it lends."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        machine = _UNKNOWN
    try:
        return min(machine, int(_CONTAINER.read_text(encoding="ascii")))
    except (OSError, ValueError):
        # No container, or one without a limit.
        return machine


def require_room(shape: Sequence[int]) -> None:
    """Refuse a float32 tensor that would never fit, in words that are not the allocator's.

    Raises:
        UsageError: it takes more than the memory at hand.
    """
    size, room = 4 * prod(shape), memory_at_hand()
    if size > room:
        raise UsageError(
            f"an input of {','.join(map(str, shape))} takes {size / 2**30:,.0f} GiB, and {room / 2**30:,.1f} GiB are "
            "at hand; pass a smaller shape or batch."
        )
