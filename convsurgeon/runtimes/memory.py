"""The most memory that running something takes on top of what was there before."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ["peak_bytes"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def peak_bytes(run: Callable[[], object], device: torch.device) -> int | None:
    """Bytes above the start while ``run`` runs; None where the system does not tell.

    On CUDA the allocator's own peak; elsewhere the process's high-water mark of resident memory (Linux), which counts
    every library's memory, in pages.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - start)
    before = _fresh_mark()
    if before is None:
        return None
    run()
    after = _resident("VmHWM")
    return None if after is None else max(0, after - before)


def _fresh_mark() -> int | None:
    """Resident bytes now, with freed memory given back and the high-water mark reset; None where that can't be."""
    gc.collect()
    try:
        # What the allocator keeps for later would hide what the run needs.
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return None
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return None
    return _resident("VmRSS")


def _resident(line: str) -> int | None:
    try:
        match = re.search(rf"^{line}:\s*(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None
