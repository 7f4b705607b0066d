"""How close a converted network is to its original, and what makes the figures doubtful."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from convsurgeon.base.progress import Progress
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.report.record import Fidelity
from convsurgeon.transfer import Inherited
from convsurgeon.transfer.accuracy import CHANCE, top1_accuracy

__all__ = ["judged"]


def judged(
    original: nn.Module,
    converted: nn.Module,
    carried: Inherited,
    weights: WeightsOrigin,
    evaluation: Iterable[tuple[Tensor, Tensor]] | None,
    progress: Progress,
) -> tuple[Fidelity | None, list[str]]:
    """How close both networks are, and what makes these figures doubtful."""
    agreement = carried.agreement
    if agreement is None and evaluation is None:
        return None, []
    fidelity = Fidelity()
    if agreement is not None:
        fidelity = Fidelity(
            fitted=carried.images,
            inputs=agreement.images,
            held_back=agreement.held_back,
            output_error=agreement.output_error,
            top1_agreement=agreement.top1,
        )
    if evaluation is None:
        return fidelity, []
    progress("evaluating", 0, 2, "the original")
    before = top1_accuracy(original, evaluation)
    progress("evaluating", 1, 2, "the converted network")
    after = top1_accuracy(converted, evaluation)
    progress("evaluating", 2, 2, "")
    fidelity = fidelity.model_copy(
        update={"evaluated": after.images, "accuracy_before": before.top1, "accuracy_after": after.top1}
    )
    doubtful = weights.origin != "random" and before.is_chance
    return fidelity, [CHANCE.format(classes=before.classes)] if doubtful else []
