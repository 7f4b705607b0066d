"""What a page is made of, as frozen records; ``draw`` makes HTML of it, and escapes every text in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Block", "Cell", "Chart", "Code", "Figure", "Page", "PairOfBars", "Section", "Sentences", "Table", "Terms"]


@dataclass(frozen=True)
class Figure:
    """A headline number: what it is, the number in a few signs, and what stands behind it."""

    title: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class PairOfBars:
    """A cell with two bars as long as ``before`` and ``after`` of ``most``, over the numbers in words."""

    before: float
    after: float
    most: float
    text: str
    kind: ClassVar[str] = "bars"


# A text may have line breaks, which are kept.
Cell = str | PairOfBars


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first cell of each row names it. ``numbers`` are the columns written flush right.

    Each row may bear a mark: the word that its style goes by, such as an action.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[int] = frozenset()
    marks: tuple[str, ...] = ()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Chart:
    """A drawing of ``report.chart`` or ``report.plot``, and what it shows in a sentence."""

    svg: str
    caption: str = ""
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Sentences:
    """A list of sentences."""

    lines: tuple[str, ...]
    kind: ClassVar[str] = "sentences"


@dataclass(frozen=True)
class Terms:
    """Words, and what they mean."""

    pairs: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True)
class Code:
    """A command, as it is typed."""

    text: str
    kind: ClassVar[str] = "code"


Block = Table | Chart | Sentences | Terms | Code


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A title, the verdict in a sentence, headline numbers, and sections; ``made_by`` goes to the foot."""

    title: str
    verdict: str
    figures: tuple[Figure, ...]
    sections: tuple[Section, ...]
    made_by: str
