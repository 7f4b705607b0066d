"""Which layers go with which residual branch, and at which widths a branch may go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.planning.widths import Labels, Widths

__all__ = ["Branches"]


class Branches:
    """Residual branches that may be dropped, and the widths of all streams."""

    def __init__(self, rows: Iterable[PlanBlock], widths: Iterable[Widths]) -> None:
        self._rows: dict[str, tuple[PlanBlock, ...]] = {}
        for row in rows:
            self._rows[row.label] = (*self._rows.get(row.label, ()), row)
        self._labels = {name: label for label, alike in self._rows.items() for name in alike[0].block.modules}
        self._widths = {stream.name: one for one in widths for stream in one.streams}

    def all(self) -> Iterator[tuple[PlanBlock, ...]]:
        """Each branch's rows, one for each stand-in."""
        yield from self._rows.values()

    def of(self, layer: str) -> tuple[PlanBlock, ...]:
        """The rows of the branch that a layer is part of; none for a layer outside of all branches."""
        return self._rows.get(self._labels.get(layer, ""), ())

    def widths(self, row: PlanBlock) -> Iterator[tuple[Labels, Mapping[str, int]]]:
        """Every width of the stream that a branch is added to, and how many channels each stream then loses."""
        widths = self._widths.get(row.block.stream or "")
        if widths is None:
            yield (), {}
            return
        for number in range(len(widths.kept)):
            gone = {stream.name: lost for stream, lost in zip(widths.streams, widths.gone(number), strict=True)}
            yield ((widths.name, number),), gone

    def outside(self, row: PlanBlock, everywhere: Iterable[Labels]) -> Iterator[Labels]:
        """Of these combinations of widths, those at which only the stream that the branch is added to may be narrowed.

        The streams inside of the branch keep all channels: their widths do not matter once the branch is gone.
        """
        own = self._widths.get(row.block.stream or "")
        for labels in everywhere:
            if all(number == 0 or (own is not None and name == own.name) for name, number in labels):
                yield labels
