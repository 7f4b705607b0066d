"""How much memory this process may have at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["memory_at_hand"]

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
