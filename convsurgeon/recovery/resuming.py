"""Everything that a resumed run needs, gathered for a checkpoint and put back from one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from convsurgeon.recovery.checkpoint import Saved, Standing, model_state, restore_model
from convsurgeon.recovery.feed import Feed
from convsurgeon.recovery.lesson import Lesson
from convsurgeon.recovery.optimiser import load_optimiser, optimiser_state
from convsurgeon.recovery.tally import Tally

__all__ = ["gathered", "put_back"]


def gathered(lesson: Lesson, tally: Tally, feed: Feed, optimizer: Optimizer, total_steps: int) -> Saved:
    """A run as it stands after a whole step."""
    return Saved(_standing(lesson, tally, feed, total_steps), _tensors(lesson, optimizer))


def put_back(saved: Saved, lesson: Lesson, optimizer: Optimizer) -> None:
    """The tensors and states of all parts; the counts are in ``saved.standing``.

    Raises:
        ModelLoadError: weights that do not fit the network.
        UsageError: images or callbacks of another run.
    """
    restore_model(lesson.student, saved.room("model"))
    load_optimiser(optimizer, saved.room("optimiser"))
    lesson.source.load_state(saved.room("source"))
    lesson.engine.load_state(saved.standing.engine)
    for i, callback in enumerate(lesson.callbacks):
        callback.load_state_dict({**saved.standing.extras[i], **saved.room(f"extra{i}")})


def _standing(lesson: Lesson, tally: Tally, feed: Feed, total_steps: int) -> Standing:
    return Standing(
        settings=lesson.settings,
        identity=lesson.identity(),
        total_steps=total_steps,
        step=tally.step,
        epoch=feed.epoch,
        position=feed.position,
        images=tally.images,
        loss_sum=tally.loss_sum,
        loss_count=tally.loss_count,
        original=tally.original,
        before=tally.before,
        best=tally.best,
        kept_step=tally.kept_step,
        rows=tuple(tally.rows),
        engine=lesson.engine.state(),
        extras=tuple(
            {k: v for k, v in callback.state_dict().items() if not isinstance(v, Tensor)}
            for callback in lesson.callbacks
        ),
    )


def _tensors(lesson: Lesson, optimizer: Optimizer) -> dict[str, Tensor]:
    rooms: dict[str, Mapping[str, Any]] = {
        "model": model_state(lesson.student),
        "optimiser": optimiser_state(optimizer),
        "source": lesson.source.state(),
        **{f"extra{i}": callback.state_dict() for i, callback in enumerate(lesson.callbacks)},
    }
    return {f"{room}/{k}": t for room, tensors in rooms.items() for k, t in tensors.items() if isinstance(t, Tensor)}
