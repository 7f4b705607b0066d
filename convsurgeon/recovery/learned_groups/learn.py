"""Learned groups: gates trained beside the weights, until the network meets its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import UsageError
from convsurgeon.families.unit import GatedConv
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.targets import Target
from convsurgeon.recovery.callback import ParameterGroup, QuietCallback, State
from convsurgeon.recovery.learned_groups.budget import GroupBudget
from convsurgeon.recovery.learned_groups.complexity import regulariser
from convsurgeon.recovery.learned_groups.gates import Gates
from convsurgeon.recovery.learned_groups.group_settings import GroupSettings
from convsurgeon.recovery.learned_groups.harden import hardened, replanned
from convsurgeon.recovery.learned_groups.input_covariance import InputCovariance
from convsurgeon.recovery.learned_groups.projection import Lost, project

__all__ = ["LearnedGroups"]

# In very short runs: a gate shall not close at one noisy gradient.
_LONGEST_STEP = 0.5
# Steps in which all gates stay open, to see what the layers read.
_LOOK = 8


class LearnedGroups(QuietCallback):
    """Gates under a network-wide budget, as in Zhang et al., ICCV 2019, arXiv 1908.05867; a ``Callback``.

    The first steps look at what the layers read. Then channels are ordered, the gates begin at a choice in closed form,
    and what closed gates let through goes to zero, so that the network is weaned off it. The loss is multiplied by
    [o/ζ]^a; gates have straight-through gradients and a learning rate of their own, and freeze one by one. A last
    projection closes what the target still needs. ``finish`` hardens every layer, exactly equal.

    Raises:
        UsageError, TargetError: see ``GroupBudget.of``.
    """

    def __init__(self, plan: Plan, targets: Sequence[Target], settings: GroupSettings | None = None) -> None:
        self.settings = settings or GroupSettings()
        self.budget = GroupBudget.of(plan, targets, self.settings.weighting)
        self._modules: dict[str, GatedConv] = {}
        self._inputs = InputCovariance()
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
        self._inputs.watch(self._modules)

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
        """Look at what the layers read, then move the gates, freeze those due, and project once all are."""
        if self._projected:
            return
        self._inputs.follow()
        learning = self.settles_after(total_steps)
        look = min(_LOOK, learning)
        if step == look:
            self._begin()
        if step > look:
            done = (step - look) / (learning - look)
            rate = min(self.settings.travel / (learning - look), _LONGEST_STEP)
            self._gates.step(rate, self._prices(), self._too_dear)
            self._gates.freeze((done - self.settings.freeze_from) / max(1 - self.settings.freeze_from, 1e-9))
            self._let_through(1 - done)
        if step == learning:
            self._project()

    def settled(self) -> bool:
        """Once the projection has met the target."""
        return self._projected

    def group_numbers(self) -> dict[str, int]:
        """Groups per layer as they are now."""
        return {name: 2 ** len(closed) for name, closed in self._gates.closed().items()}

    def settles_after(self, total_steps: int) -> int:
        """The steps in which gates learn."""
        return max(1, round(self.settings.learn_share * total_steps))

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
        """Which gates are frozen, the inputs' covariances seen, and what was asked for."""
        return {"projected": self._projected, "asked": self._asked(), **self._gates.state(), **self._inputs.state()}

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
        self._inputs.load(tensors)
        if self._projected:
            self._inputs.close()

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

    def _too_dear(self, closed: Mapping[str, int]) -> bool:
        """Whether the network costs more than a target allows."""
        cost = self.budget.cost(closed)
        return any(t.of(cost) > t.limit(self.budget.original) for t in self.budget.targets)

    def _let_through(self, share: float) -> None:
        for module in self._modules.values():
            module.leak.fill_(share)

    def _prices(self) -> dict[str, Tensor]:
        """dζ/dg of every gate [K]: what it saves to close it, or costs to open it."""
        gates = {name: module.gates().detach().double().requires_grad_() for name, module in self._modules.items()}
        found = torch.autograd.grad(self.budget.zeta(gates), list(gates.values()))
        return {name: price.cpu() for name, price in zip(gates, found, strict=True)}

    def _begin(self) -> None:
        """Order the channels, which is free while all gates are open, and begin at the least loss in closed form."""
        for name, module in self._modules.items():
            module.arrange(self._covariance(name))
        self._gates.begin(project(self.budget, self._losses(), self._gates.closed()))
        self._let_through(1)

    def _losses(self) -> dict[str, Lost]:
        return {name: partial(module.lost, covariance=self._covariance(name)) for name, module in self._modules.items()}

    def _covariance(self, name: str) -> Tensor:
        return self._inputs.of(name, self._modules[name].in_channels)

    def _project(self) -> None:
        self._gates.set_closed(project(self.budget, self._losses(), self._gates.closed()))
        self._let_through(0)
        self._inputs.close()
        self._projected = True


def _run(number: int, length: int) -> str:
    """Neighbours with equal group numbers: ``4×3`` for three of them, ``4 4`` for two."""
    return f"{number}×{length}" if length > 2 else " ".join([str(number)] * length)
