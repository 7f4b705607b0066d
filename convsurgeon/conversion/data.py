"""The inputs that a conversion may see: to fit on, to judge on, with labels or without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convsurgeon.models.preprocessing import Preparation
from convsurgeon.transfer.calibration import refuse_single

__all__ = ["NO_DATA", "Data"]


@dataclass(frozen=True)
class Data:
    """Batches, each read as often as needed.

    Attributes:
        calibration: inputs to measure damage and to fit on, of which every eighth is held back.
        judging: gives further inputs, to judge on only.
        evaluation: labelled batches (inputs [N, …], labels [N]) to judge on.
        preparation: how images became inputs; None where they came as tensors.
    """

    calibration: Iterable[Any] | None = None
    judging: Callable[[], Iterable[Any]] | None = None
    evaluation: Iterable[tuple[Tensor, Tensor]] | None = None
    preparation: Preparation | None = None

    @classmethod
    def of(
        cls,
        calibration: Iterable[Any] | None,
        judging: Iterable[Any] | None,
        evaluation: Iterable[tuple[Tensor, Tensor]] | None,
    ) -> Data:
        """Data from what a caller has; what can be read only once is kept in memory.

        Raises:
            UsageError: a single tensor to judge on.
        """
        refuse_single(judging, "judging")
        others = _again(judging)
        return cls(_again(calibration), None if others is None else lambda: others, _again(evaluation))


NO_DATA = Data()


def _again(source: Iterable[Any] | None) -> Iterable[Any] | None:
    """An iterator as a list: measuring would otherwise leave nothing of it to fit on."""
    return list(source) if isinstance(source, Iterator) else source
