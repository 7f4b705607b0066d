"""The live display of a training run: a bar on a terminal, one line per evaluation elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn

from convsurgeon.cli.screen import PlainConsole, tell

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
    columns = (TextColumn("recovering"), BarColumn(), TextColumn("{task.fields[words]}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, words="")
        yield lambda at: bar.update(task, completed=at.step, total=at.total_steps, words=_words(at))


class _Lines:
    """One line whenever the network was judged anew."""

    def __init__(self) -> None:
        self._judged: object = None

    def __call__(self, at: Moment) -> None:
        if at.score is not self._judged or at.step == at.total_steps:
            if self._judged is not None:
                tell(_words(at))
            self._judged = at.score


def _words(at: Moment) -> str:
    """Steps, loss, held-out score, speed and time left."""
    parts = [f"step {at.step}/{at.total_steps}", f"epoch {at.epoch + 1}", f"loss {at.loss:.4f}", at.score.describe()]
    parts += [at.status, f"{at.images_per_second:,.0f} images/s", f"{_clock(at.seconds_left)} left"]
    return ", ".join(filter(None, parts))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
