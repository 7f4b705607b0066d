"""The engine: every replaced site in turn, inputs from the converted prefix, targets from the original model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.families.regression.problems import unknowns_of
from convsurgeon.families.regression.samples import Sample, Sampler, Samples
from convsurgeon.planning.plan import Plan
from convsurgeon.survey.roles import norms_behind
from convsurgeon.survey.sources import plainly
from convsurgeon.transfer.agreement import Comparison, agreement, noise_note
from convsurgeon.transfer.batch_norm import fold, keeps_statistics
from convsurgeon.transfer.calibration import Calibration, in_portions
from convsurgeon.transfer.capture import evaluating, watch
from convsurgeon.transfer.fit import FitResult, fit_samples
from convsurgeon.transfer.inherited import Inherited, InheritSettings, SiteFit
from convsurgeon.transfer.memory import memory_named
from convsurgeon.transfer.refine import refine
from convsurgeon.transfer.refit import refit
from convsurgeon.transfer.restore import restore
from convsurgeon.transfer.settled import Settled
from convsurgeon.transfer.stand_in import stand_down, stand_in
from convsurgeon.transfer.subjects import Subject, subjects
from convsurgeon.transfer.traffic import Traffic, count_traffic, groups_within, joined, sample_targets
from convsurgeon.transfer.variety import Variety

__all__ = ["inherit"]


def inherit(
    original: nn.Module,
    converted: nn.Module,
    plan: Plan,
    calibration: Iterable[Any] | Calibration | None,
    *,
    base: nn.Module | None = None,
    judging: Callable[[], Iterable[Any]] | None = None,
    norms: Mapping[str, str] | None = None,
    settings: InheritSettings | None = None,
    progress: Progress | None = None,
) -> Inherited:
    """Fit every replaced convolution of ``converted`` (in place) to what ``original`` computes there.

    Front to back: a site's inputs come from the converted network as fitted so far, its targets from the original, so
    that later sites undo earlier errors. ``base`` is the original without the channels that the plan takes away: what
    reads narrowed streams is fitted anew, too. Without calibration inputs the fits see the weights alone. ``judging``
    gives inputs to judge the result on besides those held back. ``norms`` are the survey's, read from the graph where
    they are not given; ``progress`` is told of every site. The original is not touched.

    Raises:
        UsageError: calibration inputs of the wrong kind, or none, or not finite, or without anything to tell apart.
        ModelRunError: a model fails on the calibration inputs.
    """
    settings = settings or InheritSettings()
    reference, progress = duplicate(original), progress or silent
    narrow = reference if base is None else duplicate(base)
    if calibration is None:
        return _blind(narrow, converted, [row.name for row in plan.replaced], settings, progress)
    run = _Run(reference, converted, subjects(plan, narrow, converted), Calibration.of(calibration), settings)
    with evaluating(reference, converted), run.unfitted_as_original():
        run.fit_all(norms_behind(reference) if norms is None else norms, progress)
        progress("judging", 0, 1, "the converted network")
        judged = run.judged([] if judging is None else judging())
        progress("judging", 1, 1, "")
        return judged


def _blind(
    reference: nn.Module, converted: nn.Module, names: list[str], settings: InheritSettings, progress: Progress
) -> Inherited:
    """Fits to the weights alone; the order does not matter."""
    fits = []
    for done, name in enumerate(names):
        progress("fitting", done, len(names), name)
        module, conv = converted.get_submodule(name), plainly(reference.get_submodule(name))
        with memory_named(name):
            result = fit_samples(module, conv, None, seed=settings.seed, norm_behind=False)
        fits.append(SiteFit(name, result))
    progress("fitting", len(names), len(names), "")
    return Inherited(tuple(fits), (), None)


class _Run:
    """One calibration: the two models, what is fitted already, and what the norms took up."""

    def __init__(
        self,
        reference: nn.Module,
        converted: nn.Module,
        subjects: tuple[Subject, ...],
        calibration: Calibration,
        settings: InheritSettings,
    ) -> None:
        self.reference = reference
        self.converted = converted
        self.subjects = subjects
        self.calibration = calibration
        self.settings = settings
        self.variety = Variety()
        self.settled = Settled(settings.settled_bytes)
        self.results: dict[str, FitResult] = {}
        self.folded: dict[str, str] = {}
        self.images = 0

    @contextmanager
    def unfitted_as_original(self) -> Iterator[None]:
        """Units not fitted yet compute their convolution; on leaving, every unit is itself again."""
        swapped = [subject for subject in self.subjects if subject.swapped]
        try:
            for subject in swapped:
                stand_in(subject.module, subject.conv)
            yield
        finally:
            for subject in swapped:
                stand_down(subject.module)

    def fit_all(self, known: Mapping[str, str], progress: Progress) -> None:
        """Fit every site in execution order; targets are sampled for as many sites at once as memory allows.

        ``known`` names the norm right behind each convolution of the model.
        """
        norms = self._norms(known)
        watched = [*(subject.name for subject in self.subjects), *norms.values()]
        inputs = self.variety.watch(self.calibration.fitting(self.reference))
        traffic = count_traffic(self.reference, watched, inputs)
        self.variety.refuse_none()
        self.subjects = tuple(sorted(self.subjects, key=lambda subject: traffic[subject.name].rank))
        self.images = max((traffic[subject.name].images for subject in self.subjects), default=0)
        sizes = [traffic[subject.name].sampled_bytes(unknowns_of(subject.shape)) for subject in self.subjects]
        done = 0
        for group in groups_within(sizes, self.settings.memory_bytes):
            samplers = {subject.name: self._sampler(subject, traffic[subject.name]) for subject in self.subjects[group]}
            targets = sample_targets(self.reference, samplers, self.calibration.fitting(self.reference))
            for subject in self.subjects[group]:
                progress("fitting", done, len(self.subjects), subject.name)
                norm = norms.get(subject.name)
                if norm is not None and traffic[norm].calls != traffic[subject.name].calls:
                    norm = None
                self._fit(subject, targets.pop(subject.name, []), norm)
                done += 1
        progress("fitting", done, len(self.subjects), "")

    def _norms(self, known: Mapping[str, str]) -> dict[str, str]:
        """Batch norms right behind fitted sites; one that stands behind several sites takes up nothing."""
        norms = {subject.name: known[subject.name] for subject in self.subjects if subject.name in known}
        behind = Counter(known.values())
        return {
            name: norm for name, norm in norms.items() if behind[norm] == 1 and keeps_statistics(self.reference, norm)
        }

    def _sampler(self, subject: Subject, traffic: Traffic) -> Sampler:
        unknowns, seed = unknowns_of(subject.shape), self.settings.seed
        return Sampler(traffic.images, traffic.positions, unknowns, seed, held_out=subject.reads_less)

    def _fit(self, subject: Subject, targets: list[list[Sample]], norm: str | None) -> None:
        reached = any(len(sample.chosen) for calls in targets for sample in calls)
        samples = Samples(lambda: self._samples(subject, targets)) if reached else None
        if samples is not None:
            samples = (samples if subject.outputs is None else samples.only(subject.outputs)).within(
                self.settings.memory_bytes
            )
        with memory_named(subject.name):
            result = self._fitted(subject, samples, norm_behind=norm is not None)
        if subject.swapped:
            stand_down(subject.module)
        if norm is not None and result.shift is not None:
            fold(self.converted.get_submodule(norm), result.scale, result.shift)
            self.folded[subject.name] = norm
        self.results[subject.name] = result

    def _fitted(self, subject: Subject, samples: Samples | None, *, norm_behind: bool) -> FitResult:
        result = None
        if subject.restores and samples is not None:
            result = restore(subject.module, samples)
        if subject.reads_less and samples is not None:
            result = refit(subject, samples, norm_behind=norm_behind)
        if subject.swapped:
            conv, seed = plainly(subject.conv), self.settings.seed
            result = fit_samples(subject.module, conv, samples, seed=seed, norm_behind=norm_behind)
            if samples is not None and self.settings.refine_steps:
                result = refine(subject.module, samples, result, steps=self.settings.refine_steps)
        return result or FitResult(None, 0, unknowns_of(subject.shape), None)

    def _samples(self, subject: Subject, targets: list[list[Sample]]) -> Iterator[Sample]:
        """The site's inputs in the converted prefix, joined with the sampled targets."""
        batches = self.calibration.fitting(self.converted)
        return joined(self.converted, subject.name, subject.shape, batches, targets, self.settled)

    def judged(self, others: Iterable[Any]) -> Inherited:
        """Errors left and agreement, on images held back from the fits and ``others``; on the fitted ones if there are
        none."""
        unseen = in_portions(self._to_judge_on(others))
        others = list(islice(unseen, 1))
        held = list(islice(self.calibration.held_back(self.reference), 1))
        apart = bool(held or others)
        source = (self.calibration.held_back if apart else self.calibration.fitting)(self.reference)
        seen = chain(source, others, unseen)
        errors = self._errors_left() if held else {}
        noise = noise_note(self.reference, islice(self.calibration.fitting(self.reference), 1))
        return Inherited(
            sites=tuple(SiteFit(s.name, self.results[s.name], errors.get(s.name)) for s in self.subjects),
            recalibrated=tuple(self.folded.values()),
            agreement=agreement(self.reference, self.converted, seen, held_back=apart),
            images=self.images,
            notes=tuple(note for note in (self.calibration.note, self.variety.note(), noise) if note),
        )

    def _to_judge_on(self, elements: Iterable[Any]) -> Iterator[Inputs]:
        for number, element in enumerate(elements, 1):
            inputs = as_inputs(element)
            inputs.refuse_unfinite(f"batch {number} to judge on", "nothing can be judged")
            yield inputs.like(self.reference)

    def _errors_left(self) -> dict[str, float]:
        comparisons = {s.name: Comparison(self._taken_up(s.name), s.outputs) for s in self.subjects}
        for inputs in self.calibration.held_back(self.reference):
            watch(self.reference, {name: c.want for name, c in comparisons.items()}, inputs)
            watch(self.converted, {name: c.find for name, c in comparisons.items()}, inputs)
            for comparison in comparisons.values():
                comparison.settle()
        return {name: c.error for name, c in comparisons.items() if c.error is not None}

    def _taken_up(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        result = self.results[name]
        return (result.scale, result.shift) if name in self.folded else (None, None)
