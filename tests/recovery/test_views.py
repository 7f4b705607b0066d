"""Boxes go where their pixels go."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convsurgeon.recovery.views import View

SIDE = 24


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    """The start and the end of something on an axis, two pixels long or more."""
    start = draw(st.integers(0, SIDE - 2))
    return start, draw(st.integers(start + 2, SIDE))


@given(rows=spans(), columns=spans(), down=spans(), across=spans(), mirrored=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_box_surrounds_its_object_in_every_view(
    rows: tuple[int, int], columns: tuple[int, int], down: tuple[int, int], across: tuple[int, int], mirrored: bool
) -> None:
    """Of an object that is painted white, the box in a view holds exactly what is white there, if it holds enough."""
    image = torch.zeros(1, SIDE, SIDE)
    image[:, rows[0] : rows[1], columns[0] : columns[1]] = 1
    box = torch.tensor([[columns[0], rows[0], columns[1], rows[1]]], dtype=torch.float32)
    view = View(down[0], across[0], down[1] - down[0], across[1] - across[0], mirrored)
    found = view.target({"boxes": box, "labels": torch.tensor([3])})
    white = view.of(image)[0].nonzero()
    share = len(white) / float(image.sum())
    assert found["labels"].tolist() == [3] * len(found["boxes"])
    assert len(found["boxes"]) == (share >= 0.3)
    if share >= 0.3:
        (top, left), (bottom, right) = white.amin(0).tolist(), (white.amax(0) + 1).tolist()
        assert found["boxes"][0].tolist() == [left, top, right, bottom]
