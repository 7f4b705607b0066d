"""The live display of a training run: a bar on a terminal, one line per evaluation elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convsurgeon.base.console import PlainConsole
from convsurgeon.cli.screen import tell
from convsurgeon.recovery.training_bar import training_bar

if TYPE_CHECKING:
    from convsurgeon.recovery.moment import Moment, MomentCallback

__all__ = ["training_display"]


@contextmanager
def training_display() -> Iterator[MomentCallback]:
    """On standard error; yields the callback that is told of every step."""
    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    with training_bar() as bar:
        yield bar


class _Lines:
    """One line whenever the network was judged anew."""

    def __init__(self) -> None:
        self._judged: object = None

    def __call__(self, at: Moment) -> None:
        if at.score is not self._judged or at.step == at.total_steps:
            if self._judged is not None:
                tell(at.describe())
            self._judged = at.score
