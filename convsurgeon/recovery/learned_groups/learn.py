"""Learned groups: gates trained beside the weights, until the network meets its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import UsageError
from convsurgeon.families.unit import GatedConv
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.targets import Target
from convsurgeon.recovery.callback import ParameterGroup, QuietCallback, State
from convsurgeon.recovery.learned_groups.budget import GroupBudget, Weighting
from convsurgeon.recovery.learned_groups.complexity import regulariser
from convsurgeon.recovery.learned_groups.gates import Gates
from convsurgeon.recovery.learned_groups.harden import hardened, replanned
from convsurgeon.recovery.learned_groups.input_energy import InputEnergy
from convsurgeon.recovery.learned_groups.projection import project

__all__ = ["GroupSettings", "LearnedGroups"]

# In very short runs: a gate that starts at 1 shall not close at one noisy gradient.
_LONGEST_STEP = 0.5


@dataclass(frozen=True)
class GroupSettings:
    """How gates learn.

    Attributes:
        learn_share: the share of all steps in which gates learn; the remaining steps tune the weights alone.
        freeze_from: the share of the learning steps after which gates begin to freeze, the most decided first.
        travel: how far a gate with the network's typical gradient moves while gates learn (they start at 1 and
            close below 0), which is their own learning rate.
        exponent: a of the published factor [o/ζ]^a.
        offset: added to the loss before it is multiplied, because distillation starts at a loss of 0, where a factor
            alone pulls at nothing; 0 gives the published product.
        weighting: what ζ counts; see ``Weighting``.
    """

    learn_share: float = 0.5
    freeze_from: float = 0.5
    travel: float = 8.0
    exponent: float = -0.02
    offset: float = 1.0
    weighting: Weighting = "cost"

    def __post_init__(self) -> None:
        for name in ("learn_share", "freeze_from"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise UsageError(f"{name} is {value}; expected a share above 0 and at most 1.")
        if self.travel <= 0 or self.exponent > 0 or self.offset < 0:
            raise UsageError(
                f"travel is {self.travel}, exponent {self.exponent} and offset {self.offset}; expected travel above 0, "
                "offset not below 0, and exponent not above 0, so that cost over the budget raises the loss."
            )


class LearnedGroups(QuietCallback):
    """Gates under a network-wide budget, as in Zhang et al., ICCV 2019, arXiv 1908.05867; a ``Callback``.

    The loss is multiplied by [o/ζ]^a. Gates have straight-through gradients and a learning rate of their own. They
    freeze one by one; a last projection closes what the target still needs, never over it and at the least loss of
    activation-weighted energy. ``finish`` hardens every layer, exactly equal.

    Raises:
        UsageError, TargetError: see ``GroupBudget.of``.
    """

    def __init__(self, plan: Plan, targets: Sequence[Target], settings: GroupSettings | None = None) -> None:
        self.settings = settings or GroupSettings()
        self.budget = GroupBudget.of(plan, targets, self.settings.weighting)
        self._modules: dict[str, GatedConv] = {}
        self._energy = InputEnergy()
        self._projected = False

    def attach(self, model: nn.Module) -> None:
        """Find the gated layers in the network to be trained.

        Raises:
            UsageError: a layer of the plan has no gates there.
        """
        for layer in self.budget.layers:
            module = model.get_submodule(layer.name)
            if not isinstance(module, GatedConv):
                raise UsageError(
                    f"'{layer.name}' should have open gates and is a {type(module).__name__}: "
                    "pass the plan that this network was made by."
                )
            self._modules[layer.name] = module
        self._gates = Gates({name: module.latent_gates for name, module in self._modules.items()})
        self._energy.watch(self._modules)

    def parameters(self) -> Sequence[ParameterGroup]:
        """All gates, with learning rate 0: they take their own steps, whose size no optimiser's choice changes."""
        return (ParameterGroup("gates", tuple(module.latent_gates for module in self._modules.values()), lr=0.0),)

    def transform(self, loss: Tensor) -> Tensor:
        """(loss + offset) · [o/ζ]^a − offset while gates learn, the loss itself afterwards."""
        if self._projected:
            return loss
        zeta = self.budget.zeta({name: module.gates() for name, module in self._modules.items()})
        factor = regulariser(zeta, self.budget.wanted, self.settings.exponent).to(loss.dtype)
        return (loss + self.settings.offset) * factor - self.settings.offset

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the gates, freeze those due, and project once all are."""
        if self._projected:
            return
        self._energy.follow()
        learning = max(1, round(self.settings.learn_share * total_steps))
        rate = min(self.settings.travel / learning, _LONGEST_STEP)
        descent = max(self.settings.freeze_from * learning, 1.0)
        self._gates.step(rate, self._prices(), partial(self._may_close, min(step / descent, 1.0)))
        self._gates.freeze((step - descent) / max(learning - descent, 1.0))
        if step >= learning:
            self._project()

    def settled(self) -> bool:
        """Once the projection has met the target."""
        return self._projected

    def group_numbers(self) -> dict[str, int]:
        """Groups per layer as they are now."""
        return {name: 2 ** len(closed) for name, closed in self._gates.closed().items()}

    def status(self) -> str:
        """What is kept, of what was asked, and the layers' group numbers in execution order.

        E.g. ``macs 61.2%, asked macs=50%, groups 1 1 2 4×3 (40% frozen)``.
        """
        words = " ".join(_run(number, len(list(run))) for number, run in groupby(self.group_numbers().values()))
        share = self.budget.share(self._closed_counts())
        state = "settled" if self._projected else f"{self._gates.frozen_share():.0%} frozen"
        first = self.budget.targets[0]
        return f"{first.metric} {share:.1%}, asked {first.text}, groups {words} ({state})"

    def state_dict(self) -> State:
        """Which gates are frozen, the input energies seen, and what was asked for."""
        return {"projected": self._projected, "asked": self._asked(), **self._gates.state(), **self._energy.state()}

    def load_state_dict(self, state: State) -> None:
        """Go on where a run was interrupted.

        Raises:
            UsageError: the run had another target or other settings.
        """
        if state["asked"] != self._asked():
            raise UsageError(
                f"the checkpoint learned groups with {state['asked']}; this run asks for {self._asked()}. "
                "Resume with the same target and settings, or start anew."
            )
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        self._projected = bool(state["projected"])
        self._gates.load(tensors)
        self._energy.load(tensors)
        if self._projected:
            self._energy.close()

    def finish(self, model: nn.Module) -> nn.Module:
        """The network with every gated layer hardened: permute → grouped convolution → permute, exactly equal."""
        if not self._projected:
            self._project()
        return hardened(model, self.budget.layers)

    def replanned(self, plan: Plan) -> Plan:
        """The plan with the learned group numbers and the targets they meet."""
        return replanned(plan, self._closed_counts(), self.budget)

    def _asked(self) -> str:
        return f"{', '.join(target.text for target in self.budget.targets)} and {self.settings}"

    def _closed_counts(self) -> dict[str, int]:
        return {name: len(closed) for name, closed in self._gates.closed().items()}

    def _may_close(self, progress: float, closed: Mapping[str, int]) -> bool:
        """Whether the network would still cost more than it may now: the way down to the target is a straight line.

        Closings that would meet the target are left to the projection, which chooses the best of them.
        """
        cost, dense = self.budget.cost(closed), self.budget.cost(dict.fromkeys(closed, 0))
        return any(
            t.of(cost) > t.of(dense) + progress * (t.limit(self.budget.original) - t.of(dense))
            for t in self.budget.targets
        )

    def _prices(self) -> dict[str, Tensor]:
        """dζ/dg of every gate [K]: what it saves to close it, or costs to open it."""
        gates = {name: module.gates().detach().double().requires_grad_() for name, module in self._modules.items()}
        found = torch.autograd.grad(self.budget.zeta(gates), list(gates.values()))
        return {name: price.cpu() for name, price in zip(gates, found, strict=True)}

    def _energies(self) -> dict[str, Tensor]:
        return {name: self._energy.of(name, module.weight) for name, module in self._modules.items()}

    def _project(self) -> None:
        self._gates.set_closed(project(self.budget, self._energies(), self._gates.closed()))
        self._energy.close()
        self._projected = True


def _run(number: int, length: int) -> str:
    """Neighbours with equal group numbers: ``4×3`` for three of them, ``4 4`` for two."""
    return f"{number}×{length}" if length > 2 else " ".join([str(number)] * length)
