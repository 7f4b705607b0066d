"""Streams and residual branches as rows: who writes and reads, and whether they can be cut."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from convsurgeon.report.stream_tables import blocks_as_data, stream_lines, stream_tables, streams_as_data
from convsurgeon.survey.streams import Block, Carrier, Producer, Reader, Stream

STREAMS = (
    Stream(
        "a", 8, tuple(map(Producer, "abc")), (Carrier("n", "norm", 4),), (Reader("b", 0, 1), Reader("b", 8, 1)), None
    ),
    Stream("fc", 10, (Producer("fc"),), (), (), "the network gives it back"),
)
BLOCKS = (
    Block("layer1.0", ("layer1.0.conv", "layer1.0.bn"), "layer1.0.bn", "a", None),
    Block("part.0", ("part.0.conv",), "part.0.conv", None, "'part.0.conv': it is frozen"),
)


def _text(streams: tuple[Stream, ...], blocks: tuple[Block, ...]) -> str:
    output = StringIO()
    console = Console(file=output, width=110)
    console.print(*stream_tables(streams, blocks))
    return output.getvalue()


def test_each_has_a_row_and_a_reason() -> None:
    """A layer that reads twice is named once; of more than two layers the first two are named."""
    lines = [line.split("│")[1:-1] for line in _text(STREAMS, BLOCKS).splitlines() if "│" in line]
    rows = [[cell.strip() for cell in line] for line in lines]
    assert rows == [
        ["a", "8", "a, b and 1 more", "b", "yes"],
        ["fc", "10", "fc", "", "no: the network gives it back"],
        ["layer1.0", "2", "a", "layer1.0.bn", "yes"],
        ["part.0", "1", "–", "part.0.conv", "no: 'part.0.conv': it is frozen"],
    ]
    assert stream_lines(STREAMS, BLOCKS) == [
        "1 of 2 streams can be narrowed",
        "1 of 2 residual branches can be left out",
    ]


def test_what_is_not_there_has_no_table() -> None:
    """A network of one convolution has neither branches nor a line about them."""
    assert _text((), ()).strip() == ""
    assert stream_lines((), ()) == []


def test_data_names_everybody() -> None:
    """Nothing is shortened there."""
    first, second = streams_as_data(STREAMS)
    assert (first["producers"], first["open"], first["reason"]) == (["a", "b", "c"], True, None)
    assert first["readers"] == [{"name": "b", "offset": 0, "span": 1}, {"name": "b", "offset": 8, "span": 1}]
    assert (second["open"], second["reason"]) == (False, "the network gives it back")
    assert blocks_as_data(BLOCKS)[0]["layers"] == ["layer1.0.conv", "layer1.0.bn"]
