"""The bar that people watch."""

from __future__ import annotations

import pytest
from rich import progress

from convsurgeon.base import progress_bar


def test_a_total_may_turn_out_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that did not know how much there is at first shows the number once it is told."""
    bars: list[progress.Progress] = []

    class Kept(progress.Progress):
        def __init__(self, *columns: progress.ProgressColumn, **settings: object) -> None:
            super().__init__(*columns, **settings)  # type: ignore[arg-type]
            bars.append(self)

    monkeypatch.setattr(progress_bar, "is_watched", lambda _: True)
    monkeypatch.setattr(progress_bar.progress, "Progress", Kept)
    with progress_bar.progress_bar() as tell:
        tell("judging", 0, 1, "")
        tell("judging", 4, 16, "")
        (task,) = bars[0].tasks
        assert (task.completed, task.total) == (4, 16)
