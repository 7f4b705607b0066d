"""The current folder stays ours, wherever a model's code goes: relative paths mean what they meant to the caller."""

from __future__ import annotations

import os
from types import TracebackType

__all__ = ["staying_here"]


class staying_here:  # noqa: N801, it reads as contextlib's own do
    """Come back to the current folder in the end; one that was removed meanwhile is nobody's concern any more.

    Around every run of a network, timed ones too, so it costs two calls of the system and no more.
    """

    __slots__ = ("_here",)

    def __enter__(self) -> None:
        self._here = _current()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._here is not None and self._here != _current() and os.path.isdir(self._here):  # noqa: PTH112
            os.chdir(self._here)


def _current() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return None
