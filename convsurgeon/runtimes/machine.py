"""Where a time was taken: device, threads, versions. Times hold for one such place and no other."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.runtimes.place import Place

__all__ = ["busy", "device_name", "device_of", "dtype_name", "dtype_of", "place", "synchroniser", "threads"]

# The share of the processor in other programs' hands from which on times are doubtful, and how long to look.
BUSY = 0.2
LOOK_S = 0.3
_CPUINFO = Path("/proc/cpuinfo")
_STAT = Path("/proc/stat")


def place(runtime: str, precision: str, device: torch.device) -> Place:
    """Here and now, with the threads that torch uses."""
    return Place(
        runtime=runtime,
        precision=f"{precision} (TF32)" if precision == "float32" and _rounds_to_tf32(device) else precision,
        device=device_name(device),
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
    )


def _rounds_to_tf32(device: torch.device) -> bool:
    cudnn: Any = torch.backends.cudnn  # whose stubs lack this setting
    return (
        device.type == "cuda"
        and torch.version.hip is None
        and cudnn.conv.fp32_precision == "tf32"
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter lives; the CPU for a model without any."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def dtype_of(model: nn.Module) -> torch.dtype:
    """The first floating-point parameter's dtype; float32 for a model without any."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def dtype_name(dtype: torch.dtype) -> str:
    """E.g. ``float32``."""
    return str(dtype).removeprefix("torch.")


def device_name(device: torch.device) -> str:
    """The product's name, as far as the system tells it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type != "cpu":
        return str(device)
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def synchroniser(device: torch.device) -> Callable[[], object]:
    """What waits for the device: kernels on accelerators run behind the program's back."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None


def busy() -> str | None:
    """What to say where other programs keep the processor busy, so that times mean little; None where they do not."""
    share = _taken_by_others()
    if share <= BUSY:
        return None
    return (
        f"the machine was busy when timing began (other programs took {share:.0%} of the processor): times are long "
        "and vary; trust ratios more than milliseconds, and repeat on an idle machine"
    )


def _taken_by_others() -> float:
    """The share of all cores' time that other programs take while this one sleeps; 0 where the system does not tell."""
    try:
        (idle, total), own = _ticks(), time.process_time()
        time.sleep(LOOK_S)
        (idle_then, total_then), own_then = _ticks(), time.process_time()
    except (OSError, ValueError, IndexError):
        return 0.0
    passed = total_then - total
    taken = passed - (idle_then - idle) - (own_then - own) * os.sysconf("SC_CLK_TCK")
    return max(0.0, taken / passed) if passed else 0.0


def _ticks() -> tuple[int, int]:
    """Ticks that all cores were idle, and ticks in all, since the start (Linux, proc_stat(5))."""
    _, *fields = _STAT.read_text(encoding="utf-8").splitlines()[0].split()
    user, nice, system, idle, waiting, *rest = (int(field) for field in fields[:8])
    return idle + waiting, user + nice + system + idle + waiting + sum(rest)


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Let torch use ``count`` threads inside, and as many as before afterwards; yields the number in use.

    Raises:
        UsageError: fewer than one.
    """
    if count is not None and count < 1:
        raise UsageError(f"{count} threads can't run anything; expected 1 or more.")
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield count or before
    finally:
        torch.set_num_threads(before)
