"""One run of ``convert`` or ``apply``: what may be written, the steps, saving, and the outcome."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convsurgeon.cli.admission import admit, load
from convsurgeon.cli.conversion_screen import show_report, tell_next, with_outcome
from convsurgeon.cli.data import DataRequest
from convsurgeon.cli.screen import answer, progress_bar, say
from convsurgeon.planning.plan_fits import check_fits
from convsurgeon.planning.recipe import Recipe

if TYPE_CHECKING:
    from convsurgeon.cli.given_images import GivenImages
    from convsurgeon.conversion.converted import Conversion
    from convsurgeon.conversion.patient import Patient
    from convsurgeon.planning.plan import Plan
    from convsurgeon.report.record import Report

__all__ = ["ConvertRun", "planned_report"]


@dataclass(frozen=True)
class ConvertRun:
    """What was asked for, on what, and where it goes."""

    recipe: Recipe
    images: DataRequest
    device: str
    folder: Path
    force: bool
    dry_run: bool
    as_json: bool

    def refuse_existing(self) -> None:
        """Refuse to replace what is there, before any work is done."""
        if not self.dry_run:
            from convsurgeon.base.files import refuse_existing
            from convsurgeon.report.folder import SAVED_FILES

            refuse_existing(self.folder, self.force, SAVED_FILES)

    def convert(self) -> None:
        """Plan as the recipe says, carry the plan out, save, tell."""
        loaded = load(self.recipe, self.device)
        patient = admit(loaded)
        given = self.images.read(loaded, patient.survey, self.recipe)
        from convsurgeon.conversion.requests import conversion_of, plan_of

        if self.dry_run:
            with progress_bar() as progress:
                plan = plan_of(patient, self.recipe, given.data, progress=progress)
            given.warn_of_skipped()
            self._tell_plan(plan, patient)
            return
        refine = self.images.refine
        with progress_bar() as progress:
            done = conversion_of(patient, self.recipe, given.data, refine=refine, progress=progress)
        self._save(done, patient, given)

    def apply(self, plan: Plan) -> None:
        """Carry out a plan that was made before, save, tell."""
        loaded = load(self.recipe, self.device)
        if self.recipe.input is None:
            inputs = loaded.example_inputs.reshaped(plan.input_shapes, self.recipe.seed)
            loaded = dataclasses.replace(loaded, example_inputs=inputs)
        patient = admit(loaded)
        check_fits(plan, patient.survey)
        given = self.images.read(loaded, patient.survey, self.recipe)
        if self.dry_run:
            from convsurgeon.conversion.oddities import oddities

            odd = [note for note in oddities(patient, given.data) if note not in plan.notes]
            given.warn_of_skipped()
            self._tell_plan(plan.model_copy(update={"notes": (*plan.notes, *odd)}), patient)
            return
        from convsurgeon.conversion.steps import carry_out

        seed, refine = self.recipe.seed, self.images.refine
        with progress_bar() as progress:
            done = carry_out(patient, plan, given.data, seed=seed, refine=refine, progress=progress)
        self._save(done, patient, given)

    def _save(self, done: Conversion, patient: Patient, given: GivenImages) -> None:
        given.warn_of_skipped()
        done = with_outcome(done, patient)
        done.save(self.folder, force=self.force)
        if self.as_json:
            answer(done.report.to_json())
            return
        show_report(done.report)
        from convsurgeon.models.loading import is_code

        trust = ", trust_factory=True" if done.rebuild and is_code(done.rebuild) else ""
        say(f'saved to {self.folder}; load it with: convsurgeon.load("{self.folder}"{trust})')
        tell_next(self.folder, done.report)

    def _tell_plan(self, plan: Plan, patient: Patient) -> None:
        report = planned_report(plan, patient)
        if self.as_json:
            answer(report.to_json())
            return
        show_report(report)
        say("dry run: nothing was written")


def planned_report(plan: Plan, patient: Patient) -> Report:
    """The report of a plan that was not carried out."""
    from convsurgeon.report.record import Report

    return Report(plan=plan, weights=patient.weights, inherited="planned only, no weight was changed")
