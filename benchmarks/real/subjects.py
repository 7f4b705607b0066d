"""The subjects by name; a new one is a module beside this one and a line here."""

from __future__ import annotations

from benchmarks.real.subject import Subject

__all__ = ["SUBJECTS"]

SUBJECTS: dict[str, Subject] = {}
