"""What is finished of an exploration, on disk: an interrupted one goes on where it stopped."""

from __future__ import annotations

import hashlib
from pathlib import Path

from convsurgeon._version import __version__
from convsurgeon.base.cache_file import CacheFile
from convsurgeon.base.records import Record
from convsurgeon.conversion.judge import Judge
from convsurgeon.conversion.patient import Patient
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.recipe import Recipe
from convsurgeon.report.record import Fidelity, Timing
from convsurgeon.transfer.damage_file import weights_hash

__all__ = ["Finished", "FinishedFile"]


class Finished(Record):
    """One network of an exploration: its plan and how it was judged, or why it can't be had."""

    plan: Plan | None = None
    refused: str | None = None
    fidelity: Fidelity | None = None
    doubts: tuple[str, ...] = ()
    timing: Timing | None = None


class FinishedFile(CacheFile[Finished]):
    """Networks by method and target, of one model, its weights, the inputs and what else was asked for."""

    def __init__(self, directory: Path | None, patient: Patient, recipe: Recipe, refine: int, judge: Judge) -> None:
        asked = hashlib.sha256(recipe.model_dump_json(exclude={"method", "target"}).encode()).hexdigest()
        shapes = str(patient.survey.input_shapes)
        key = (__version__, patient.name, patient.survey.fingerprint(), shapes, weights_hash(patient.model))
        super().__init__(directory, "explore", (*key, judge.digest, asked, str(refine)), Finished)
