"""What a run is made of: two networks, data, a judge, settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.recovery.batches import Source
from convsurgeon.recovery.callback import Callback
from convsurgeon.recovery.checkpoint import Checkpoints
from convsurgeon.recovery.engine import Engine
from convsurgeon.recovery.judge import Judge
from convsurgeon.recovery.readout import Readout
from convsurgeon.recovery.settings import RecoverSettings
from convsurgeon.recovery.sites import Sites

__all__ = ["Lesson"]


@dataclass(frozen=True)
class Lesson:
    """Everything a run is made of; ``teacher`` and ``student`` are copies on the engine's device."""

    teacher: nn.Module
    student: nn.Module
    sites: Sites
    source: Source
    readout: Readout
    judge: Judge
    engine: Engine
    settings: RecoverSettings
    callbacks: tuple[Callback, ...] = ()
    checkpoints: Checkpoints | None = None

    @property
    def writes_to(self) -> Checkpoints | None:
        """The checkpoints, where this process is the one that writes them."""
        return self.checkpoints if self.engine.rank == 0 else None

    def total_steps(self) -> int:
        """The run's length.

        Raises:
            UsageError: epochs of data without a length.
        """
        if self.settings.steps is not None:
            return self.settings.steps
        steps = self.source.steps()
        if steps is None:
            raise UsageError("the data has no length, so epochs can't be planned; set steps instead.")
        return self.settings.epochs * steps

    def identity(self) -> str:
        """A hash of the network's names and shapes, what is replaced, and the length of the data."""
        tensors = [f"{name} {list(t.shape)} {t.dtype}" for name, t in self.student.state_dict().items()]
        parts = [*tensors, *self.sites.replaced, str(self.source.steps()), str(len(self.callbacks))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def groups(self) -> dict[str, int]:
        """Groups per layer, where callbacks learn them."""
        return {name: groups for callback in self.callbacks for name, groups in callback.group_numbers().items()}

    def settled(self) -> int:
        """The number of steps after which all callbacks have given the network its final form."""
        return max((callback.settles_after(self.total_steps()) for callback in self.callbacks), default=0)

    def status(self) -> str:
        """What the callbacks have to say, for the live display."""
        return ", ".join(words for callback in self.callbacks if (words := callback.status()))
