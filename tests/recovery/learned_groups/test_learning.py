"""Gates that learn: from exactly the original, under the budget, to a hardened network that is exactly equal."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon import Conversion, DGConv, HardenedDGConv
from convsurgeon.base.errors import UsageError
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.planning.plan import LayerLatency, PlanLatency
from convsurgeon.recovery.learned_groups import LearnedGroups
from convsurgeon.report.record import Report
from convsurgeon.runtimes.place import Place
from tests.nets import Residual64
from tests.recovery.learned_groups.training import IMAGE, learner, opened, train

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(7))


def _gates(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: m.latent_gates.detach().clone() for n, m in model.named_modules() if isinstance(m, DGConv)}


def _finished(done: Conversion, groups: LearnedGroups) -> tuple[nn.Module, convsurgeon.Plan]:
    return groups.finish(done.model), groups.replanned(done.plan)


def test_training_starts_exactly_at_the_original() -> None:
    """With open gates the network computes the original's outputs bit for bit, also with the gates attached."""
    net, done = opened()
    learner(done)
    assert torch.equal(done.model(IMAGES), net(IMAGES))


def test_gates_learn_until_the_budget_is_met() -> None:
    """Gates wait for a look at the inputs, move on from the choice they begin at, and rest once all have settled."""
    net, done = opened()
    groups = learner(done, learn_share=0.5, travel=1.0)
    seen: list[dict[str, torch.Tensor]] = [_gates(done.model)]
    statuses: list[str] = []

    def look(_step: int) -> None:
        seen.append(_gates(done.model))
        statuses.append(groups.status())

    train(done.model, net, groups, 40, look=look)
    assert all(torch.equal(seen[0][name], seen[7][name]) for name in seen[0])
    assert any(bool((gates < 0).any()) for gates in seen[8].values())
    assert all(not torch.equal(seen[8][name], seen[12][name]) for name in seen[0])
    assert all(torch.equal(seen[20][name], seen[40][name]) for name in seen[0])
    assert statuses[18] != statuses[19]
    assert statuses[19] == statuses[39]
    assert groups.settled()
    assert groups.settles_after(40) == 20


def test_the_network_is_weaned_off_what_it_loses() -> None:
    """Closed gates let through everything at first, ever less while gates learn, and nothing in the end."""
    net, done = opened()
    groups = learner(done, learn_share=0.5)
    leaks: list[float] = []
    train(done.model, net, groups, 40, look=lambda _: leaks.append(float(done.model.get_submodule("last").leak)))
    assert leaks[7] == 1
    assert leaks[7:20] == sorted(leaks[7:20], reverse=True)
    assert 0 < leaks[18] < 0.1
    assert set(leaks[19:]) == {0.0}


def test_the_settled_network_meets_the_target_as_counted() -> None:
    """The hardened network's counted MACs and parameters are the plan's, and at most the target."""
    net, done = opened()
    groups = learner(done)
    train(done.model, net, groups, 6)
    model, plan = _finished(done, groups)
    counted = convsurgeon.count(model, IMAGE)
    assert counted == plan.after.cost()
    assert counted.macs <= plan.before.macs // 2
    assert plan.target == ("macs=50%",)


def test_the_hardened_network_is_exactly_equal() -> None:
    """Permute → grouped convolution → permute computes what the trained masked network computed, to 1e-5."""
    net, done = opened()
    groups = learner(done)
    train(done.model, net, groups, 6)
    before = done.model(IMAGES)
    model, _ = _finished(done, groups)
    assert any(isinstance(module, HardenedDGConv) for module in model.modules())
    assert not any(isinstance(module, DGConv) for module in model.modules())
    torch.testing.assert_close(model(IMAGES), before, rtol=1e-5, atol=1e-5)


def test_a_layer_whose_gates_stay_open_becomes_a_plain_convolution() -> None:
    """A target of 100 % closes nothing: plain convolutions come back, and the plan says that they were kept."""
    net, done = opened()
    groups = learner(done, "macs=100%")
    train(done.model, net, groups, 4)
    before = done.model(IMAGES)
    model, plan = _finished(done, groups)
    assert {type(model.get_submodule(name)) for name in ("body.0", "last")} == {nn.Conv2d}
    assert plan.replaced == ()
    assert torch.equal(model(IMAGES), before)
    assert convsurgeon.count(model, IMAGE) == plan.after.cost() == plan.before.cost()


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_the_hardened_network_keeps_its_memory_format(memory_format: torch.memory_format) -> None:
    """Convolutions that were stored channels last are so after hardening; the usual order stays the usual order."""
    net, done = opened()
    done.model.to(memory_format=memory_format)  # type: ignore[call-overload]
    groups = learner(done)
    train(done.model, net, groups, 6)
    hard, _ = _finished(done, groups)
    weights = [module.grouped.weight for module in hard.modules() if isinstance(module, HardenedDGConv)]
    assert any(weight.shape[1] > 1 and weight.shape[2] > 1 for weight in weights)
    assert all(weight.is_contiguous(memory_format=memory_format) for weight in weights)


@pytest.mark.parametrize("target", ["macs=50%", "macs=100%"])
def test_the_saved_result_loads(tmp_path: Path, target: str) -> None:
    """The plan says what the hardened layers are, so that load returns a bit-equal network."""
    net, done = opened()
    groups = learner(done, target)
    train(done.model, net, groups, 4)
    model, plan = _finished(done, groups)
    report = Report(plan=plan, weights=WeightsOrigin("caller", "toy"), inherited="trained")
    Conversion(model, plan, report).save(tmp_path / "out")
    assert torch.equal(convsurgeon.load(tmp_path / "out", model=net)(IMAGES), model.eval()(IMAGES))


@pytest.mark.parametrize("until", [5, 10])
def test_an_interrupted_run_goes_on_to_the_same_result(until: int) -> None:
    """State saved before or after gates begin, taken up by a fresh start, ends with the same gates and weights."""
    net, whole = opened()
    groups = learner(whole, learn_share=1.0, travel=1.0)
    train(whole.model, net, groups, 12)
    _, half = opened()
    stopped = learner(half, learn_share=1.0, travel=1.0)
    train(half.model, net, stopped, 12, until=until)
    _, other = opened()
    other.model.load_state_dict(half.model.state_dict())
    resumed = learner(other, learn_share=1.0, travel=1.0)
    resumed.load_state_dict(stopped.state_dict())
    train(other.model, net, resumed, 12, first=until + 1)
    ours, theirs = other.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed.group_numbers() == groups.group_numbers()


def test_a_checkpoint_of_another_target_is_refused() -> None:
    """State is taken up under the same target only."""
    net, done = opened()
    groups = learner(done)
    train(done.model, net, groups, 12, until=5)
    state = groups.state_dict()
    learner(opened()[1]).load_state_dict(state)
    with pytest.raises(UsageError, match=r"the checkpoint learned groups with macs=50% .* asks for macs=60%"):
        learner(opened()[1], "macs=60%").load_state_dict(state)


def test_the_budget_pulls_from_a_loss_of_zero() -> None:
    """Distillation starts at a loss of 0: with the offset every gate is pulled down there, without it none."""
    for offset, pulled in ((1.0, True), (0.0, False)):
        _, done = opened()
        groups = learner(done, offset=offset)
        groups.transform(torch.zeros((), requires_grad=True)).backward()
        assert all(bool((p.grad > 0).all()) is pulled for g in groups.parameters() for p in g.parameters)


def test_the_loss_is_itself_once_settled() -> None:
    """After the projection the remaining steps tune the weights on the plain loss."""
    net, done = opened()
    groups = learner(done)
    loss = torch.tensor(2.0)
    assert float(groups.transform(loss).detach()) > 2
    train(done.model, net, groups, 4)
    assert groups.transform(loss) is loss


def test_gates_stay_out_of_the_optimiser() -> None:
    """The gates are one parameter group of rate 0, and hold every latent gate: their steps are their own."""
    _, done = opened()
    (group,) = learner(done).parameters()
    assert group.lr == 0
    assert len(group.parameters) == len(_gates(done.model)) == 2


def test_another_network_is_refused() -> None:
    """Attaching to the original, which has plain convolutions, is refused; to the converted network it is not."""
    net, done = opened()
    groups = learner(done)
    with pytest.raises(UsageError, match=r"'body\.0' should have open gates and is a Conv2d"):
        groups.attach(net)


def test_a_shared_layer_is_hardened_under_all_its_names() -> None:
    """One module at two paths stays one module after hardening."""
    body = Residual64()
    net = nn.ModuleDict({"a": body, "b": body}).eval()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = net
            self.stem = nn.Conv2d(3, 64, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.parts["b"](self.parts["a"](self.stem(x)))

    done = convsurgeon.convert(Twice().eval(), IMAGE, method="dgconv")
    groups = learner(done, "macs=60%")
    before = groups._project() or done.model(IMAGES)
    model, plan = _finished(done, groups)
    assert model.get_submodule("parts.a.conv1") is model.get_submodule("parts.b.conv1")
    assert convsurgeon.count(model, IMAGE) == plan.after.cost()
    torch.testing.assert_close(model(IMAGES), before, rtol=1e-4, atol=1e-5)


def test_times_of_the_open_gates_do_not_outlive_them() -> None:
    """What was timed with open gates is not the hardened network's, in the rows that changed and as a whole."""
    net, done = opened()
    groups = learner(done, "macs=45%")
    train(done.model, net, groups, 4)
    took = LayerLatency(before_ns=10, after_ns=20)
    place = Place(runtime="eager", precision="float32", device="a table", threads=1, torch="0.0")
    timed = done.plan.model_copy(
        update={
            "layers": tuple(row.model_copy(update={"latency": took}) for row in done.plan.layers),
            "latency": PlanLatency(place=place, batch=1, before_ns=100, predicted_ns=110),
        }
    )
    plan = groups.replanned(timed)
    assert plan.latency is None
    gated = {layer.name for layer in groups.budget.layers}
    assert {row.name for row in plan.layers if row.latency is None} == gated
