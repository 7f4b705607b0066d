"""The subjects by name; a new one is a module of its own and a line here."""

from __future__ import annotations

from benchmarks.real.ocr.detector import DETECTOR
from benchmarks.real.ocr.recogniser import RECOGNISER
from benchmarks.real.subject import Subject

__all__ = ["SUBJECTS"]

SUBJECTS: dict[str, Subject] = {"craft": DETECTOR, "english-g2": RECOGNISER}
