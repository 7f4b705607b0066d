"""The pages that the text detector is judged on say rightly where their words are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.real.ocr import pages
from benchmarks.real.ocr.detector import JUDGED, SEEN, _matched
from benchmarks.real.ocr.pages import HEIGHT, WIDTH, Word, _turned, draw_pages

needs_fonts = pytest.mark.skipif(
    not all((pages.FONTS / face).is_file() for face in pages.FACES), reason="fonts-dejavu-core, fonts-liberation"
)


@pytest.mark.parametrize("degrees", [-2.5, 2.5, 40.0])
def test_corners_go_where_the_picture_turns(degrees: float) -> None:
    """A block in a picture lies around its turned corners' middle."""
    picture = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    picture[100:110, 300:320] = 255
    turned = np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC), dtype=np.float64)
    rows, columns = np.indices(turned.shape)
    centre = np.array([(columns * turned).sum(), (rows * turned).sum()]) / turned.sum() + 0.5
    corners = np.array([(300, 100), (320, 100), (320, 110), (300, 110)], dtype=np.float32)
    np.testing.assert_allclose(_turned(corners, degrees).mean(0), centre, atol=0.1)


@needs_fonts
def test_pages_are_drawn_by_their_seed() -> None:
    """The same seed gives the same pages; no judged page is one to calibrate on; every word lies on its page."""
    first, again, other = draw_pages(2, SEEN[1]), draw_pages(2, SEEN[1]), draw_pages(2, JUDGED[1])
    for one, two in zip(first, again, strict=True):
        assert (one.pixels == two.pixels).all()
        assert [word.text for word in one.words] == [word.text for word in two.words]
    for one in first:
        assert all((one.pixels != two.pixels).any() for two in other)
        corners = np.stack([word.corners for word in one.words])
        assert corners.min() >= 0
        assert (corners.max((0, 1)) <= (WIDTH, HEIGHT)).all()


def _right(by: float) -> np.ndarray:
    return np.array([(by, 0), (by + 10, 0), (by + 10, 10), (by, 10)], dtype=np.float32)


def test_a_box_is_one_words() -> None:
    """A box that covers more than half of the union is a word's, the better one first; a smaller overlap is none's."""
    pytest.importorskip("shapely")
    words = [Word("a", _right(0)), Word("b", _right(100))]
    assert _matched(words, [_right(1), _right(0)]) == {0: 1}
    assert _matched(words, [_right(104), _right(0)]) == {0: 1}
    assert _matched(words, [_right(103), _right(0)]) == {0: 1, 1: 0}
