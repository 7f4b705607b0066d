"""Learned groups through the front door: recover(..., learn_groups=True, target=…)."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import convsurgeon
from convsurgeon import HardenedDGConv
from convsurgeon.base.errors import TargetError, UsageError
from convsurgeon.conversion.recover import recover
from convsurgeon.planning.targets import parse_targets
from convsurgeon.recovery import RecoverSettings
from convsurgeon.recovery.learned_groups import GroupSettings, LearnedGroups
from tests.recovery.learned_groups.training import IMAGE, opened

DATA = [torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(2)]
SHORT = RecoverSettings(steps=8, seed=0)


def test_recover_learns_groups_and_saves_them(tmp_path: Path) -> None:
    """From open gates to a hardened network under the target, whose folder loads bit-equal, with its history."""
    net, done = opened()
    seen: list[str] = []
    result = recover(
        net, done, DATA, settings=SHORT, learn_groups=True, target="macs=50%", progress=lambda m: seen.append(m.status)
    )
    assert result.conversion is not None
    plan = result.conversion.plan
    assert convsurgeon.count(result.model, IMAGE) == plan.after.cost()
    assert plan.after.macs <= plan.before.macs // 2
    assert any(isinstance(module, HardenedDGConv) for module in result.model.modules())
    assert seen[0].startswith("macs ")
    assert seen[0].endswith("frozen)")
    assert seen[-1].endswith("(settled)")
    learned = {row.name: row.spec.groups for row in plan.layers if isinstance(row.spec, convsurgeon.DGConvSpec)}
    assert {name: groups for name, groups in result.history.rows[-1].groups.items() if groups > 1} == learned
    result.save(tmp_path / "out")
    assert torch.equal(convsurgeon.load(tmp_path / "out", model=net)(DATA[0]), result.model.eval()(DATA[0]))


def test_an_interrupted_recovery_resumes_to_the_same_network(tmp_path: Path) -> None:
    """Checkpoints in the middle of the learning phase carry the gates' state; the end is the same, bit for bit."""
    net, done = opened()

    def run(folder: str, *, resume: bool = False, stop_at: int | None = None) -> torch.nn.Module:
        def look(moment: object) -> None:
            if getattr(moment, "step", 0) == stop_at:
                raise _StopHereError

        settings = RecoverSettings(steps=12, seed=0, checkpoint_every=3)
        return recover(
            net,
            done,
            DATA,
            settings=settings,
            learn_groups=GroupSettings(learn_share=1.0),
            target="macs=50%",
            checkpoints=tmp_path / folder,
            resume=resume,
            progress=look,
        ).model

    whole = run("whole")
    with pytest.raises(_StopHereError):
        run("halved", stop_at=10)
    resumed = run("halved", resume=True)
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class _StopHereError(Exception):
    """Stands for a crash."""


def test_a_target_needs_learned_groups() -> None:
    """A target alone would be ignored, so it is refused; with learned groups it is the budget."""
    net, done = opened()
    with pytest.raises(UsageError, match="a target of recover is the budget of learned groups"):
        recover(net, done, DATA, settings=SHORT, target="macs=50%")
    with pytest.raises(TargetError, match="learning groups needs a target"):
        recover(net, done, DATA, settings=SHORT, learn_groups=True)


def test_a_bare_module_has_no_plan_to_learn_by() -> None:
    """Learning groups needs the conversion with its plan, not its model alone."""
    net, done = opened()
    with pytest.raises(UsageError, match="needs the plan, and a bare module has none"):
        recover(net, copy.deepcopy(done.model), DATA, settings=SHORT, learn_groups=True, target="macs=50%")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_hardened_layers_come_back_as_the_network_was_given(dtype: torch.dtype) -> None:
    """Layers that hardening built anew have the dtype, the mode and the frozen flag of what they stand for."""
    net, done = opened()
    done.model.to(dtype).train()
    done.model.last.eval().requires_grad_(False)  # type: ignore[union-attr]
    model = recover(net, done, DATA, settings=SHORT, learn_groups=True, target="macs=25%").model
    hardened = {name: m for name, m in model.named_modules() if isinstance(m, HardenedDGConv)}
    assert hardened.keys() == {"body.0", "last"}
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert {name: m.input_order.dtype for name, m in hardened.items()} == dict.fromkeys(hardened, torch.int64)
    modes = {name: {part.training for part in m.modules()} for name, m in hardened.items()}
    assert modes == {"body.0": {True}, "last": {False}}
    flags = {name: {p.requires_grad for p in m.parameters()} for name, m in hardened.items()}
    assert flags == {"body.0": {True}, "last": {False}}
    assert model(DATA[0].to(dtype)).dtype == dtype


def test_inputs_are_seen_while_a_recovery_trains() -> None:
    """The projection knows the inputs' covariance, although a network that is distilled trains in eval mode."""
    net, done = opened()
    groups = LearnedGroups(done.plan, parse_targets("macs=50%"), GroupSettings(learn_share=1.0))
    still = SHORT.model_copy(update={"norms": "frozen", "lr_old": 0.0, "evaluate_every": 2})
    # Of the batches that trained; the one that judges is a thousand times as large.
    recover(net, done, DATA[:1], evaluation=[1000 * DATA[0]], settings=still, callbacks=[groups])
    assert {name for name in groups.state_dict() if name.startswith("inputs.")} == {"inputs.body.0", "inputs.last"}
    with torch.no_grad():
        brought = net.stem(DATA[0]).transpose(0, 1).flatten(1)  # type: ignore[operator]
    expected = torch.cov(brought.double(), correction=0)
    torch.testing.assert_close(groups._covariance("body.0"), expected, rtol=1e-4, atol=1e-6)


def test_a_latency_is_no_budget_of_groups() -> None:
    """Gates save MACs and parameters, whose values are known; a latency target is refused before any step."""
    net, done = opened()
    with pytest.raises(TargetError, match="target 'latency=50%' is no budget for learned groups"):
        recover(net, done, DATA, settings=SHORT, learn_groups=True, target="latency=50%")
    assert recover(net, done, DATA, settings=SHORT, learn_groups=True, target="params=50%").conversion is not None
