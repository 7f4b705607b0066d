"""Batches without end, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator

from convsurgeon.base.errors import UsageError
from convsurgeon.recovery.batches import Batch, Source

__all__ = ["Feed"]

_NO_BATCH = "the data yields no batch; pass at least one with as many inputs as processes."


class Feed:
    """The next batch of a source, from ``position`` in ``epoch`` on; whoever has used one moves ``position``."""

    def __init__(self, source: Source, epoch: int = 0, position: int = 0) -> None:
        self.source, self.epoch, self.position = source, epoch, position
        self._batches: Iterator[Batch] | None = None

    def next(self) -> tuple[Batch, bool]:
        """The next batch, and whether it is the first one after a whole epoch.

        Raises:
            UsageError: the data yields nothing, or only once.
        """
        rolled = False
        if self._batches is None:
            self._batches = self.source.epoch(self.epoch, self.position)
        batch = next(self._batches, None)
        if batch is None:
            if self.position == 0:
                raise UsageError(_NO_BATCH)
            rolled, self.epoch, self.position = True, self.epoch + 1, 0
            self._batches = self.source.epoch(self.epoch, 0)
            batch = next(self._batches, None)
        if batch is None:
            raise UsageError("the data could be read only once; pass a list, a DataLoader or another re-readable one.")
        return batch, rolled

    def peek(self) -> Batch:
        """The batch that comes next, before the first one is taken; the source starts again afterwards.

        Raises:
            UsageError: the data yields nothing.
        """
        batch = next(self.source.epoch(self.epoch, self.position), None)
        # The run itself starts from the same random states.
        start = self.source.state()
        if batch is None:
            # A checkpoint may be of the last step of an epoch.
            batch = next(self.source.epoch(self.epoch + 1, 0), None)
        self.source.load_state(start)
        if batch is None:
            raise UsageError(_NO_BATCH)
        return batch

    def close(self) -> None:
        """Let go of worker processes."""
        self._batches = None
