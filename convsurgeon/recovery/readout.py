"""What is read out of a network to compare it by, decided on its first inputs."""

from __future__ import annotations

from torch import Tensor, nn

from convsurgeon.base.batch_axis import image_list
from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.recovery.replay import WHOLE, Course, Parts, find_parts, recorded, replayed
from convsurgeon.recovery.settings import RecoverSettings

__all__ = ["Readout"]


class Readout:
    """The outputs of the original, or of a detector what it computes before it chooses boxes.

    ``teacher`` is the original: in eval mode, without gradients.
    """

    def __init__(self, teacher: nn.Module, settings: RecoverSettings) -> None:
        self._teacher = teacher
        self._outputs = settings.outputs
        self._parts: Parts | None = None

    def decide(self, inputs: Inputs) -> None:
        """Choose, once, by running the original.

        Raises:
            ModelRunError: it fails on these inputs.
            UsageError: nothing in it can be compared.
        """
        if self._parts is None:
            self._parts = self._found(inputs)

    def original(self, inputs: Inputs) -> Course:
        """What the original computes, after ``decide``.

        Raises:
            ModelRunError: it fails on these inputs.
        """
        return recorded(self._teacher, self._parts or WHOLE, inputs)

    def pair(self, model: nn.Module, inputs: Inputs) -> tuple[list[Tensor], list[Tensor]]:
        """What the original returns at its ends, and what another network does."""
        self.decide(inputs)
        course = self.original(inputs)
        return self.ends(course, course.results), self.ends(course, replayed(model, course))

    def ends(self, course: Course, results: tuple[list[Tensor], ...] | list[list[Tensor]]) -> list[Tensor]:
        """The floating-point tensors of the outputs, or of the heads."""
        return self._of(course, results, ends=True)

    def between(self, course: Course, results: tuple[list[Tensor], ...] | list[list[Tensor]]) -> list[Tensor]:
        """Those that the heads are computed from; none in an ordinary network."""
        return self._of(course, results, ends=False)

    @property
    def at_heads(self) -> bool:
        """Whether heads are compared in place of outputs."""
        return self._parts is not None and self._parts != WHOLE

    def describe(self) -> str:
        """Where a detector is compared; empty for an ordinary network."""
        if self._parts is None or not self.at_heads:
            return ""
        ends = [name for name in self._parts.names if name in self._parts.ends]
        before = [name for name in self._parts.names if name not in self._parts.ends]
        behind = f", and at what they take: {', '.join(before)}" if before else ""
        return f"compared before boxes are chosen, at {', '.join(ends)}{behind}"

    def _found(self, inputs: Inputs) -> Parts:
        if self._outputs != "heads" and (self._outputs != "auto" or image_list(inputs) is None):
            return WHOLE
        parts = find_parts(self._teacher, inputs)
        if not parts.names:
            raise UsageError(
                "the original returns what no gradient flows through, and so does every module in it, so that nothing "
                "can be compared; expected a network whose heads are modules that return their numbers. "
                "Pass one, or set outputs to 'values'."
            )
        return parts

    def _of(
        self, course: Course, results: tuple[list[Tensor], ...] | list[list[Tensor]], *, ends: bool
    ) -> list[Tensor]:
        chosen = (self._parts or WHOLE).ends
        return [
            tensor.float()
            for (name, _), found in zip(course.calls, results, strict=True)
            if (name in chosen) == ends
            for tensor in found
            if tensor.is_floating_point()
        ]
