"""Whether a network keeps a floor, and with how much to spare."""

from __future__ import annotations

import math

from torch import nn

from convsurgeon.base.bounds import least_difference, least_share, most_ratio
from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import INTERRUPTIONS, TargetError, UsageError, named_first_line
from convsurgeon.conversion.judge import Judgement
from convsurgeon.planning.floor_search import Verdict
from convsurgeon.planning.floors import Floor

__all__ = ["Court"]


class Court:
    """Judges networks by floors; how far a score may fall is measured from the original's own."""

    def __init__(self, floors: tuple[Floor, ...], original: Judgement, model: nn.Module) -> None:
        """Refuse what no network could be shown to keep, before anything is measured.

        Raises:
            TargetError: too few inputs, a floor that the original itself does not keep, or one of another kind of
                output.
            UsageError: a score that fails.
        """
        self.floors, self._original = floors, original
        self._start = {floor.text: _scored(floor, model) for floor in floors if floor.measure == "score"}
        for floor in floors:
            self._refuse_unjudgeable(floor)

    def verdicts(self, judgement: Judgement, network: nn.Module) -> tuple[Verdict, ...]:
        """One for each floor."""
        return tuple(self._verdict(floor, judgement, network) for floor in self.floors)

    def _refuse_unjudgeable(self, floor: Floor) -> None:
        original = self._original
        if floor.measure == "score":
            if self._start[floor.text] <= floor.limit:
                raise TargetError(
                    f"floor {floor.text} leaves no room: the original itself scores {self._start[floor.text]:g}."
                )
            return
        if original.inputs and (original.output_error if floor.measure == "output-error" else original.agreed) is None:
            raise TargetError(f"floor {floor.text} can't be judged: {_UNJUDGEABLE[floor.measure]}.")
        count = original.labelled if floor.labelled else original.inputs
        if count < floor.fewest:
            raise TargetError(_too_few(floor, count))
        if floor.measure == "top1" and least_share(original.right[0], count) < floor.limit:
            raise TargetError(
                f"floor {floor.text} is not kept by the original itself: {original.right[0]:,} of {count:,} labelled "
                f"images are right, which shows at least {100 * least_share(original.right[0], count):.2f} %. Ask for "
                "less, or for points against the original (top1=-0.5)."
            )

    def _verdict(self, floor: Floor, judgement: Judgement, network: nn.Module) -> Verdict:
        if floor.measure == "score":
            seen, start = _scored(floor, network), self._start[floor.text]
            return _made(floor, seen, None, judgement.inputs, (start - seen) / (start - floor.limit))
        if floor.measure == "output-error":
            bound = most_ratio(judgement.errors.tolist(), judgement.spreads.tolist())
            return _made(floor, judgement.output_error or 0.0, bound, judgement.inputs, bound / floor.limit)
        if floor.measure == "agreement":
            agreed, count = judgement.agreed or 0, judgement.inputs
            bound, best = least_share(agreed, count), least_share(count, count)
            return _made(floor, agreed / count, bound, count, _used(best, bound, floor.limit))
        (before, after), count = judgement.right, judgement.labelled
        if floor.measure == "top1":
            bound, best = least_share(after, count), least_share(self._original.right[0], count)
            return _made(floor, after / count, bound, count, _used(best, bound, floor.limit))
        bound, best = least_difference(judgement.gained, judgement.lost, count), least_difference(0, 0, count)
        return _made(floor, (after - before) / count, bound, count, _used(best, bound, floor.limit))


_UNJUDGEABLE = {
    **dict.fromkeys(
        ("agreement", "difference", "top1"),
        "the model is no classifier with one output [N, classes]; ask for output-error=1% or a score",
    ),
    "output-error": "its outputs do not vary, or can't be told apart by input; ask for a score",
}


def _used(best: float, bound: float, limit: float) -> float:
    """The share of what a floor allows that is used up: 0 where the bound is the unchanged network's, 1 at the limit.

    The unchanged network's own bound is no damage: it is what so few inputs can show.
    """
    room = best - limit
    if room <= 0:
        return 0.0 if bound >= limit else 2.0
    return (best - bound) / room


def _made(floor: Floor, seen: float, bound: float | None, inputs: int, strain: float) -> Verdict:
    return Verdict(
        floor=floor.text, measure=floor.measure, seen=seen, bound=bound, inputs=inputs, strain=max(0.0, strain)
    )


def _scored(floor: Floor, network: nn.Module) -> float:
    """The caller's own figure, of a copy in eval mode: code of other people may leave its marks."""
    assert floor.score is not None
    try:
        score = float(floor.score(duplicate(network).eval()))
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        raise UsageError(
            f"the score of floor {floor.text} fails: {named_first_line(error)}. Expected a function that is called "
            "with a network and returns a number."
        ) from error
    if not math.isfinite(score):
        raise UsageError(f"the score of floor {floor.text} is {score}; expected a finite number.")
    return score


def _too_few(floor: Floor, count: int) -> str:
    if floor.labelled and not count:
        return (
            f"floor {floor.text} is judged on labelled images that nothing is fitted on, and there are none; pass "
            "--evaluate DIR (evaluation= in Python)."
        )
    what, more = ("labelled images", "--evaluate") if floor.labelled else ("inputs", "--calibrate or --evaluate")
    return (
        f"floor {floor.text} can't be shown on {count:,} {what} that nothing is fitted on: even if all of them came "
        f"out like the original's, {floor.fewest:,} would be needed (one-sided 95 % bound), and several times as many "
        f"to come near the smallest network. Put more into the folder of {more} (judging= or evaluation= in "
        "Python), calibrate on fewer (--images), or ask for less."
    )
