"""Ctrl-C and a scheduler's SIGTERM end a run between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "StopRequest", "stop_requests"]


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and did; the message says where it stands and how to go on."""


class StopRequest:
    """``asked`` turns true at the first signal; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listen for SIGINT and SIGTERM; outside the main thread, where Python allows no handlers, for nothing."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not installed from Python, which can't be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
