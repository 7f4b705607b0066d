"""Recovering detectors: lists of images of varying size, compared before boxes are chosen, with or without targets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon import Conversion, Recovered, recover
from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.recovery.own_losses import own_losses
from convsurgeon.recovery.readout import Readout
from tests.recovery.detectors import DETECTORS, dense, images, targets, two_stage
from tests.recovery.lessons import equal, settings

FOUND = {
    "dense": "compared before boxes are chosen, at head, and at what they take: backbone",
    "two-stage": "compared before boxes are chosen, at rpn.head, roi_heads.box_predictor, roi_heads.mask_predictor, "
    "and at what they take: backbone, roi_heads.box_roi_pool, roi_heads.box_head, roi_heads.mask_roi_pool, "
    "roi_heads.mask_head",
}
BATCHES = [images(seed=1), images(seed=2)]


def _converted(net: nn.Module, method: str = "compconv32") -> Conversion:
    return convsurgeon.convert(
        net, ([images()[0]],), method=method, rules=convsurgeon.Rules(only=("backbone.body.*",)), random_weights=True
    )


def _losses(done: Recovered) -> list[float]:
    return [row.loss for row in done.history.rows]


@pytest.mark.parametrize("kind", sorted(DETECTORS))
def test_heads_are_found_and_replayed(kind: str) -> None:
    """What is compared are the heads by name, and a detector that is replayed computes the bits that it computed."""
    net = DETECTORS[kind]().requires_grad_(False)
    readout = Readout(net, settings())
    with torch.no_grad():
        wanted, found = readout.pair(net, as_inputs(images()))
    assert readout.describe() == FOUND[kind]
    assert wanted
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("kind", sorted(DETECTORS))
def test_a_detector_comes_closer_to_its_original(kind: str) -> None:
    """Without labels, loss and error fall; the report says where the two were compared."""
    net = DETECTORS[kind]()
    done = recover(
        net,
        _converted(net),
        BATCHES,
        evaluation=BATCHES,
        settings=settings(steps=12, evaluate_every=4, norms="frozen", lr_new=0.01),
    )
    assert _losses(done)[-1] < 0.8 * _losses(done)[0]
    before, after = done.history.before.output_error, done.history.after.output_error
    assert before is not None
    assert after is not None
    assert after < before
    assert done.history.extras == (FOUND[kind],)
    assert done.history.images == 12 * 4


def test_an_equal_detector_has_no_loss_without_evaluation() -> None:
    """Finding the heads leaves nothing behind in the first step: equal networks agree in it."""
    net = two_stage()
    done = recover(net, _converted(net, "dgconv"), BATCHES, settings=settings(steps=1, norms="frozen"))
    assert _losses(done)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", sorted(DETECTORS))
def test_own_losses_are_those_of_training_mode(kind: str) -> None:
    """Norms and modes stay as they are; the sum is that of the losses which the detector returns itself."""
    net = DETECTORS[kind]()
    before = [module.training for module in net.modules()], net.backbone.stem[1].running_mean.clone()
    torch.manual_seed(5)
    found = own_losses(net, as_inputs(images()), targets())
    assert [module.training for module in net.modules()] == before[0]
    assert torch.equal(net.backbone.stem[1].running_mean, before[1])
    net.train()
    for module in (net.transform, *net.backbone.modules()):
        module.eval()
    torch.manual_seed(5)
    assert found.item() == pytest.approx(sum(loss.item() for loss in net(images(), targets()).values()), rel=1e-5)


def test_targets_are_looked_at_only_where_they_have_a_weight() -> None:
    """At weight 0 other boxes change nothing; at a weight above they do. Tuples come from torchvision's collation."""
    net = dense()
    half = _converted(net)
    elsewhere = [{**target, "boxes": target["boxes"] + 8} for target in targets()]
    data = [[(tuple(batch), tuple(found)) for batch in BATCHES] for found in (targets(), elsewhere)]
    short = settings(steps=2, norms="frozen")
    assert equal(*(recover(net, half, one, settings=short).model for one in data))
    taught = short.model_copy(update={"label_weight": 1.0})
    assert not equal(*(recover(net, half, one, settings=taught).model for one in data))


def test_targets_that_do_not_fit_are_refused() -> None:
    """One target for each image, and targets at all, where labels have a weight; the same data is taken otherwise."""
    net = dense()
    half = _converted(net)
    with pytest.raises(UsageError, match="a batch has 4 images and 3 targets; expected as many"):
        recover(net, half, [(images(), targets(3))], settings=settings(steps=1))
    recover(net, half, [(images(), targets(4))], settings=settings(steps=1))
    with pytest.raises(UsageError, match="label_weight is set, but a batch has no labels"):
        recover(net, half, [images()], settings=settings(steps=1, label_weight=1.0))
    recover(net, half, [images()], settings=settings(steps=1))


class _Lonely(nn.Module):
    """A detector of one class: its layers are modules of its own, and its boxes are chosen in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, pictures: list[Tensor], targets: Any = None) -> list[dict[str, Tensor]]:
        y = self.head(self.body(torch.stack(pictures)).relu())
        rows = y.flatten(2).transpose(1, 2)
        return [{"boxes": found[found[:, 0] > 0], "labels": (found[:, 0] > 0).nonzero()[:, 0]} for found in rows]


def test_what_is_computed_between_modules_is_left_out() -> None:
    """A head behind a bare function can't be given the student's own features, so the layer before it is compared."""
    readout = Readout(_Lonely().eval().requires_grad_(False), settings())
    readout.decide(as_inputs([torch.rand(3, 8, 8)]))
    assert readout.describe() == "compared before boxes are chosen, at body"


def test_a_network_without_own_losses_is_refused_where_targets_count() -> None:
    """In training mode it returns detections, no losses; without a weight on them it is trained."""
    net = _Lonely().eval()
    half = convsurgeon.convert(net, ([torch.rand(3, 8, 8)],), method="compconv32", random_weights=True)
    pictures = [torch.rand(3, 8, 8) for _ in range(4)]
    with pytest.raises(
        UsageError, match="in training mode and with targets the network returns a list; expected a dict"
    ):
        recover(net, half, [(pictures, targets())], settings=settings(steps=1, label_weight=1.0))
    recover(net, half, [(pictures, targets())], settings=settings(steps=1))


class _Chosen(nn.Module):
    """Returns which value is largest; ``soft`` ones are gradients' way in."""

    def __init__(self, *, soft: bool) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.soft = soft

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.soft and torch.is_grad_enabled()):
            return self.body(x)


@pytest.mark.parametrize("soft", [True, False])
def test_heads_are_refused_where_nothing_has_gradients(soft: bool) -> None:
    """A forward that lets no gradient through has nothing to compare; the same one that does is its own head."""
    net = _Chosen(soft=soft).eval().requires_grad_(False)
    readout = Readout(net, settings(outputs="heads"))
    if soft:
        readout.decide(as_inputs(torch.rand(1, 3, 8, 8)))
        assert readout.describe() == ""
        return
    with pytest.raises(UsageError, match="nothing can be compared; expected a network whose heads"):
        readout.decide(as_inputs(torch.rand(1, 3, 8, 8)))
