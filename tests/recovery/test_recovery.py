"""Recovery: it learns, by the rates it was given, and leaves alone what is not its own."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon import Recovered, RecoverSettings, recover
from convsurgeon.recovery import ParameterGroup, QuietCallback
from convsurgeon.recovery.modes import norms_follow
from convsurgeon.recovery.optimiser import rate
from convsurgeon.recovery.sites import find_sites
from tests.recovery.lessons import batches, converted, equal, original, settings


def _losses(done: Recovered) -> list[float]:
    return [row.loss for row in done.history.rows]


@pytest.mark.parametrize(
    ("optimizer", "norms"), [("adamw", "settle"), ("sgd", "settle"), ("sgd", "batch"), ("adamw", "frozen")]
)
def test_the_loss_falls_and_the_outputs_come_closer(optimizer: str, norms: str) -> None:
    """After some steps the loss is lower, and the outputs on held-out inputs are closer to the original's."""
    net = original()
    held_out = [torch.randn(64, 3, 8, 8)]
    done = recover(
        net,
        converted(net),
        batches(),
        evaluation=held_out,
        settings=settings(steps=40, evaluate_every=10, optimizer=optimizer, norms=norms, lr_new=0.02, lr_old=0.005),
    )
    assert _losses(done)[-1] < 0.8 * _losses(done)[0]
    assert done.history.after.output_error is not None
    assert done.history.before.output_error is not None
    assert done.history.after.output_error < done.history.before.output_error
    assert done.history.original.output_error == 0


def test_each_part_of_the_loss_is_learned_alone() -> None:
    """Outputs, features and labels each give a loss that falls when it is the only one."""
    net = original()
    zero = {"output_weight": 0.0, "feature_weight": 0.0, "label_weight": 0.0}
    for part in zero:
        chosen = settings(steps=24, evaluate_every=4, lr_new=0.01, lr_old=0.01, **{**zero, part: 1.0})
        losses = _losses(recover(net, converted(net), batches(labels=True), settings=chosen))
        assert losses[-1] < losses[0], part


def test_labels_are_read_only_where_they_have_a_weight() -> None:
    """With weight 0 labels change nothing at all; with a weight they do."""
    net = original()
    half = converted(net)
    data = batches(labels=True)
    wrong = [(x, (y + 1) % 4) for x, y in data]  # type: ignore[misc]
    plain = [recover(net, half, d, settings=settings()).model for d in (data, wrong)]
    assert equal(*plain)
    taught = [recover(net, half, d, settings=settings(label_weight=1.0)).model for d in (data, wrong)]
    assert not equal(*taught)


def test_nothing_of_the_callers_changes() -> None:
    """Both networks keep every bit, their modes and hooks, and the random generators are where they were."""
    net = original()
    half = converted(net)
    net.train()
    before = copy.deepcopy(net), copy.deepcopy(half.model)
    torch.manual_seed(5)
    state, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    done = recover(net, half, batches(), evaluation=batches(labels=True), settings=settings())
    assert equal(net, before[0])
    assert equal(half.model, before[1])
    assert not equal(done.model, half.model)
    assert net.training
    assert not half.model.training
    assert all(not m._forward_hooks for model in (net, half.model, done.model) for m in model.modules())
    assert all(p.grad is None for model in (net, half.model, done.model) for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert np.random.get_state()[1].tolist() == numpy  # type: ignore[union-attr]


def test_frozen_parts_stay_bit_equal() -> None:
    """What does not require gradients keeps its bits, statistics of frozen norms included; the rest learns."""
    net = original()
    half = converted(net)
    half.model.stem.requires_grad_(False)
    half.model.bn1.requires_grad_(False)
    done = recover(net, half, batches(), settings=settings())
    for name, tensor in half.model.state_dict().items():
        if tensor.is_floating_point():
            frozen = name.startswith(("stem", "bn1"))
            assert torch.equal(tensor, done.model.state_dict()[name]) == frozen, name
    assert not done.model.stem.weight.requires_grad
    assert done.model.head.weight.requires_grad


def test_frozen_norms_keep_their_statistics_and_others_follow() -> None:
    """norms="frozen" moves no running statistics, norms="batch" does."""
    net = original()
    half = converted(net)
    for norms, kept in (("frozen", True), ("batch", False)):
        done = recover(net, half, batches(), settings=settings(norms=norms))
        assert torch.equal(done.model.bn2.running_mean, half.model.bn2.running_mean) == kept


def test_settling_norms_follow_first_and_rest_then() -> None:
    """A share of 1 is "batch", a share of 0 is "frozen", bit for bit; half way they differ from both."""
    net = original()
    half = converted(net)
    results = {
        share: recover(net, half, batches(), settings=settings(norms="settle", settle_share=share)).model
        for share in (0.0, 0.5, 1.0)
    }
    frozen, following = (recover(net, half, batches(), settings=settings(norms=n)).model for n in ("frozen", "batch"))
    assert equal(results[0.0], frozen)
    assert equal(results[1.0], following)
    assert not equal(results[0.5], frozen)
    assert not torch.equal(results[0.5].bn2.running_mean, following.bn2.running_mean)


def test_norms_settle_after_the_network_has() -> None:
    """Half of the steps that remain once callbacks have given the network its form, not half of all."""
    following = [step for step in range(100) if norms_follow(settings(), step, 100, settled=60)]
    assert following == list(range(80))
    assert sum(norms_follow(settings(), step, 100) for step in range(100)) == 50
    assert not any(norms_follow(settings(norms="frozen"), step, 100, settled=60) for step in range(100))


def test_old_parameters_rest_at_rate_zero() -> None:
    """lr_old=0 with frozen norms changes the replaced layers alone."""
    net = original()
    half = converted(net)
    done = recover(net, half, batches(), settings=settings(lr_old=0, norms="frozen"))
    changed = {n for n, t in half.model.state_dict().items() if not torch.equal(t, done.model.state_dict()[n])}
    assert changed
    assert all(name.startswith("body.") for name in changed)


def test_the_rate_rises_and_falls() -> None:
    """Warm-up ends at the full rate, the cosine comes down to almost nothing."""
    shares = [rate(step, 100, 0.1) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == shares[10] == 1
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[-1] < 0.001
    assert rate(0, 100, 0.0) == 1


def test_features_are_compared_behind_the_norm() -> None:
    """A replaced layer with a norm right behind it is matched there, one without is matched itself."""
    for norm, compared in ((True, "bn2"), (False, "body")):
        net = original(norm=norm)
        sites = find_sites(net, converted(net).model)
        assert sites.replaced == ("body",)
        assert sites.compared == (compared,)


def test_a_network_equal_to_its_original_has_no_loss() -> None:
    """Open-gated DGConvs compute the original exactly: with frozen norms outputs and features agree from the start."""
    net = original()
    done = recover(net, converted(net, "dgconv"), batches(), settings=settings(steps=1, norms="frozen"))
    assert _losses(done)[0] == pytest.approx(0, abs=1e-6)


class _Nested(nn.Module):
    """A dict with a list of maps, and an integer output, as detectors and segmenters return."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 16, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.body(self.stem(x).relu())
        return {"maps": [y, y.mean((2, 3))], "classes": y.flatten(1).argmax(1)}


def test_any_nest_of_outputs_is_distilled() -> None:
    """Outputs that are no logits are compared value by value, and come closer without any feature loss."""
    torch.manual_seed(0)
    net = _Nested().eval()
    done = recover(
        net, converted(net), batches(), settings=settings(steps=30, evaluate_every=10, feature_weight=0, lr_new=0.01)
    )
    assert _losses(done)[-1] < 0.8 * _losses(done)[0]


def test_epochs_and_steps_say_how_long() -> None:
    """Two epochs of four batches are eight steps with an evaluation after each; steps count across epochs."""
    net = original()
    half = converted(net)
    done = recover(net, half, batches(4), settings=RecoverSettings(epochs=2))
    assert done.history.steps == 8
    assert [row.step for row in done.history.rows] == [4, 8]
    assert done.history.images == 64
    assert recover(net, half, batches(4), settings=RecoverSettings(steps=6)).history.steps == 6


def test_the_best_weights_are_kept_or_the_last() -> None:
    """keep="best" gives the weights of the best evaluation, keep="last" those of the last step."""
    net = original()
    half = converted(net)
    held_out = batches(2)
    wild = settings(lr_new=3.0, lr_old=3.0, warmup=0.0, clip=None, evaluate_every=2)
    best = recover(net, half, batches(), evaluation=held_out, settings=wild)
    scores = [best.history.before, *(row.score for row in best.history.rows)]
    assert best.history.after.output_error == min(s.output_error for s in scores if s.output_error is not None)
    assert best.history.kept_step < 10
    last = recover(net, half, batches(), evaluation=held_out, settings=wild.model_copy(update={"keep": "last"}))
    assert last.history.kept_step == 10
    assert last.history.after == last.history.rows[-1].score


def test_accuracy_is_measured_where_there_are_labels() -> None:
    """Labelled held-out batches give top-1, the original's own classes give it 100 %."""
    net = original()
    x = torch.randn(32, 3, 8, 8)
    with torch.no_grad():
        own = [(x, net(x).argmax(1))]
    done = recover(net, converted(net), batches(), evaluation=own, settings=settings())
    assert done.history.original.accuracy == 1
    assert done.history.before.accuracy is not None
    assert done.history.after.agreement is None


def test_a_recovered_conversion_is_saved_with_its_history(tmp_path: Path) -> None:
    """The folder loads bit-equal, and its report tells the history; stale measurements are gone."""
    net = original()
    calibrated = convsurgeon.convert(net, torch.zeros(1, 3, 8, 8), method="compconv32", calibration=batches())
    done = recover(net, calibrated, batches(), evaluation=batches(labels=True), settings=settings())
    done.save(tmp_path / "out")
    assert equal(convsurgeon.load(tmp_path / "out", model=net), done.model)
    report = convsurgeon.Report.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert report.recovery == done.history
    assert report.fidelity is None
    assert "trained by distillation" in report.inherited
    again = recover(net, tmp_path / "out", batches(), settings=settings(steps=2))
    assert again.history.steps == 2


def test_half_precision_weights_train_in_full_and_come_back(tmp_path: Path) -> None:
    """A bfloat16 network is trained in float32 and returned in bfloat16."""
    net = original()
    half = converted(net)
    half = dataclasses.replace(half, model=half.model.bfloat16())
    done = recover(net.bfloat16(), half, batches(), settings=settings())
    assert {p.dtype for p in done.model.parameters()} == {torch.bfloat16}
    assert not equal(done.model, half.model)


def test_mixed_precision_differs_and_learns() -> None:
    """bf16 autocast gives other bits than fp32, finite ones, and float32 weights."""
    net = original()
    half = converted(net)
    full = recover(net, half, batches(), settings=settings(precision="fp32"))
    mixed = recover(net, half, batches(), settings=settings(precision="bf16"))
    assert mixed.history.precision == "bf16"
    assert not equal(full.model, mixed.model)
    assert all(bool(p.isfinite().all()) and p.dtype == torch.float32 for p in mixed.model.parameters())


class _Shrinking(QuietCallback):
    """Pulls one weight towards zero, at a rate of its own, and counts what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def attach(self, model: nn.Module) -> None:
        self.weight = model.get_submodule("head").weight

    def parameters(self) -> Sequence[ParameterGroup]:
        return (ParameterGroup("head", (self.weight,), lr=0.05),)

    def transform(self, loss: Tensor) -> Tensor:
        return loss + 10 * self.weight.square().sum()

    def after_step(self, step: int, total_steps: int) -> None:
        self.steps.append((step, total_steps))

    def settled(self) -> bool:
        return len(self.steps) > 6

    def status(self) -> str:
        return f"{len(self.steps)} told"

    def finish(self, model: nn.Module) -> nn.Module:
        with torch.no_grad():
            model.get_submodule("head").bias.zero_()
        return model


def test_an_extra_bends_the_loss_and_has_the_last_word() -> None:
    """Its term moves its parameters, it is told of every step, and only settled networks can be the best."""
    net = original()
    half = converted(net)
    extra = _Shrinking()
    done = recover(net, half, batches(), evaluation=batches(2), settings=settings(steps=10), callbacks=[extra])
    assert extra.steps == [(step, 10) for step in range(1, 11)]
    assert done.model.head.weight.norm() < 0.7 * half.model.head.weight.norm()
    assert done.model.head.bias.count_nonzero() == 0
    assert done.history.kept_step > 6
    assert done.history.extras == ("10 told",)
    assert done.history.rows[0].status == "4 told"


def test_progress_sees_every_step() -> None:
    """The callback is told of each step with its loss, score and speed."""
    net = original()
    seen: list[Any] = []
    recover(net, converted(net), batches(), evaluation=batches(1), settings=settings(), progress=seen.append)
    assert [(at.step, at.total_steps) for at in seen] == [(step, 10) for step in range(1, 11)]
    assert all(at.loss > 0 and at.images_per_second > 0 and at.seconds_left >= 0 for at in seen)
    assert seen[-1].score.output_error is not None
