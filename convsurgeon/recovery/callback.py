"""The hook for what learns beside the weights (gates under a budget, say): it bends the loss and follows the steps."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from convsurgeon.planning.plan import Plan

__all__ = ["Callback", "ParameterGroup", "QuietCallback", "State"]

# What a state may hold: tensors go into safetensors, everything else into JSON.
State = Mapping[str, "Tensor | bool | int | float | str | None"]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn by rules of their own: ``lr`` is the peak learning rate, which follows the schedule."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr: float
    weight_decay: float = 0.0


class Callback(Protocol):
    """Something that learns along, called by the training loop in the order of the methods below.

    With several processes every process has its own Callback and calls it alike: it must be deterministic, and must
    neither print nor write. Do not switch ``requires_grad`` while the loop runs, which distributed wrappers can't
    follow; to freeze a parameter, put its value back in ``after_step``.
    """

    def attach(self, model: nn.Module) -> None:
        """Receive the copy of the converted network that is trained, once, before the optimiser is built.

        It is the plain module even where a distributed wrapper goes around it later. Modules may be changed here,
        but not their names.
        """
        ...

    def parameters(self) -> Sequence[ParameterGroup]:
        """Parameters of the model that it gives a learning rate of their own; the others stay as they are."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Take up what ``state_dict`` gave; called after ``attach`` when a run is resumed."""
        ...

    def transform(self, loss: Tensor) -> Tensor:
        """The scalar loss to minimise, from the scalar loss of the batch: times a factor, plus a penalty, or as it is.

        Called once a step, with gradients on and mixed precision off (float32).
        """
        ...

    def after_step(self, step: int, total_steps: int) -> None:
        """Called after each optimiser step, while its gradients are still there; ``step``: 1 to ``total_steps``."""
        ...

    def settled(self) -> bool:
        """Whether the network has its final form: only then can a checkpoint be the best one."""
        ...

    def settles_after(self, total_steps: int) -> int:
        """The number of steps after which it has: batch norms that settle rest only some time later."""
        ...

    def status(self) -> str:
        """A few words for the live display, e.g. ``41.2 % of the MACs``; empty for none."""
        ...

    def group_numbers(self) -> Mapping[str, int]:
        """Groups per layer as they are now, for the history; empty where none are learned."""
        ...

    def state_dict(self) -> State:
        """What a resumed run needs beyond the model's own parameters and buffers; flat, without pickle."""
        ...

    def finish(self, model: nn.Module) -> nn.Module:
        """The final network: the trained one (in eval mode, best weights loaded), changed in place or anew."""
        ...

    def replanned(self, plan: Plan) -> Plan:
        """The plan of the final network, with its specs and costs, so that saving and loading fit it."""
        ...


class QuietCallback(ABC):  # noqa: B024 (all methods have an answer)
    """A callback that does nothing: inherit from it and override what is needed."""

    def attach(self, model: nn.Module) -> None:
        """Nothing to remember."""
        return

    def parameters(self) -> Sequence[ParameterGroup]:
        """No parameter is special."""
        return ()

    def load_state_dict(self, state: State) -> None:
        """Nothing to take up."""
        return

    def transform(self, loss: Tensor) -> Tensor:
        """The loss as it is."""
        return loss

    def after_step(self, step: int, total_steps: int) -> None:
        """Nothing to follow."""
        return

    def settled(self) -> bool:
        """From the start."""
        return True

    def settles_after(self, total_steps: int) -> int:
        """At once."""
        return 0

    def status(self) -> str:
        """Nothing to show."""
        return ""

    def group_numbers(self) -> Mapping[str, int]:
        """None are learned."""
        return {}

    def state_dict(self) -> State:
        """Nothing to keep."""
        return {}

    def finish(self, model: nn.Module) -> nn.Module:
        """The network as it was trained."""
        return model

    def replanned(self, plan: Plan) -> Plan:
        """The plan as it was."""
        return plan
