"""What an error at a convolution does to the network's outputs, told before any unit stands there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.transfer.at_outputs import AtOutputs
from convsurgeon.transfer.calibration import Calibration, images_in
from convsurgeon.transfer.components import Components
from convsurgeon.transfer.gains import Gains, measure_gains
from tests.transfer.networks import Looped, trained
from tests.transfer.sites import feature_maps


class Residual(nn.Module):
    """A stem, x + f(x), and a convolution in front of the pooling: [N, 8, H, W] → [N, 5].

    ``constant`` zeroes the last convolution.
    """

    def __init__(self, constant: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.branch = nn.Conv2d(16, 16, 3, padding=1)
        self.last = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.head = nn.Linear(24, 5)
        if constant:
            nn.init.zeros_(self.last[0].weight)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        x = self.stem(x)
        return self.head(self.last(x + 0.3 * self.branch(x)).mean((2, 3)))


class Detector(nn.Module):
    """Gives back the positions whose first channel exceeds ``threshold``: [N, 8, H, W] → [D, 8]."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.conv, self.threshold = nn.Conv2d(8, 8, 3, padding=1), threshold

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        found = self.conv(x).movedim(1, -1).flatten(0, -2)
        return found[found[:, 0] > self.threshold]


def _network(**settings: bool) -> nn.Module:
    torch.manual_seed(0)
    return trained(Residual(**settings))


def _of_rank(maps: Tensor, rank: int) -> Tensor:
    """The nearest maps of so few channels' rank, which the best unit of that rank would write."""
    rows = maps.transpose(0, 1).flatten(1)
    mean = rows.mean(1, keepdim=True)
    axes = torch.linalg.svd(rows - mean, full_matrices=False).U[:, :rank]
    return (axes @ axes.T @ (rows - mean) + mean).view_as(maps.transpose(0, 1)).transpose(0, 1)


@pytest.mark.parametrize("name", ["stem.0", "branch", "last.0"])
@pytest.mark.parametrize("kept", [0.5, 0.25])
@torch.no_grad()
def test_what_units_of_low_rank_do_to_the_outputs_is_told(name: str, kept: float) -> None:
    """In front of a norm, an addition and a pooling: within a third and three times of what comes out, on images that
    nothing was measured on."""
    network, images = _network(), feature_maps(100, 8, seed=1)
    layer: nn.Conv2d = network.get_submodule(name)  # type: ignore[assignment]
    gains = measure_gains(network, ["last.0", "stem.0", "branch"], [feature_maps(200, 8)])
    wanted, seen = network(images), list[tuple[Tensor, Tensor]]()

    def cut(_module: nn.Module, _args: object, y: Tensor) -> Tensor:
        seen.append((y, _of_rank(y, round(kept * layer.out_channels))))
        return seen[0][1]

    layer.register_forward_hook(cut)
    found, ((y, written),) = network(images), seen
    error = float((y - written).square().sum() / (y - y.mean((0, 2, 3), keepdim=True)).square().sum())
    at_outputs = float((found - wanted).square().sum() / (wanted - wanted.mean()).square().sum())
    assert at_outputs / 3 < gains.at_outputs(name, error) < 3 * at_outputs


@pytest.mark.parametrize(("threshold", "known"), [(-1e9, True), (0.0, False)])
def test_outputs_that_change_their_shape_tell_nothing(threshold: float, known: bool) -> None:
    """Then errors count as they are, at every layer; as long as all positions come back, gains are known."""
    torch.manual_seed(0)
    gains = measure_gains(Detector(threshold).eval(), ["conv"], [feature_maps(64, 8)])
    assert gains.known == known
    assert (gains.at_outputs("conv", 0.1) == 0.1) != known


@pytest.mark.parametrize("constant", [True, False])
def test_nothing_goes_wrong_where_constants_are_written(constant: bool) -> None:
    """A layer that writes constants costs nothing; the same layer with its weights does."""
    gains = measure_gains(_network(constant=constant), ["stem.0", "last.0"], [feature_maps(64, 8)])
    assert (gains.at_outputs("last.0", 0.1) < 1e-6) == constant


def test_gains_are_measured_once(tmp_path: Path) -> None:
    """A second run for the same model and inputs measures nothing; a layer that was not asked for before is added."""
    told: list[str] = []

    def ask(*names: str) -> Gains:
        told.clear()
        return measure_gains(
            _network(),
            names,
            [feature_maps(64, 8)],
            directory=tmp_path,
            progress=lambda _stage, _done, _total, name: told.append(name),
        )

    first = ask("stem.0", "last.0")
    assert told == ["stem.0", "last.0", ""]
    assert ask("last.0", "branch").at_outputs("last.0", 0.1) == first.at_outputs("last.0", 0.1)
    assert told == ["branch", ""]
    ask("branch", "stem.0")
    assert told == []


def test_a_layer_that_runs_several_times_loses_in_all_of_its_calls() -> None:
    """Its components are those of all calls, and the original is itself again."""
    torch.manual_seed(0)
    network = Looped().eval()
    x, y = feature_maps(32, 8), feature_maps(32, 8, seed=1)
    with torch.no_grad():
        before = network(x, y)
        gains = measure_gains(network, ["again", "tall"], [(x, y)])
        assert torch.equal(network(x, y), before)
    assert gains.known


class Heads(nn.Module):
    """Two heads on one stem, the second one ``scale`` times as large, and what never changes: [N, 8, H, W]."""

    def __init__(self, scale: float, swapped: bool = False) -> None:
        super().__init__()
        self.stem, self.a, self.b = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.scale, self.swapped = scale, swapped

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """One forward pass."""
        x = self.stem(x).relu()
        a, b = self.a(x).mean((2, 3)), self.scale * self.b(x)
        return (b, a) if self.swapped else (a, b, torch.ones(len(x), 4))


def _heads(scale: float = 1.0, swapped: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return Heads(scale, swapped).eval()


@pytest.mark.parametrize("layer", ["a", "b"])
def test_each_output_counts_relative_to_itself(layer: str) -> None:
    """Scores beside pixels, a few numbers beside a map: neither is drowned, and what is constant does not count."""
    images = [feature_maps(64, 8)]
    plain, large = (measure_gains(_heads(scale), ["a", "b"], images) for scale in (1.0, 1000.0))
    assert plain.known
    assert plain.at_outputs(layer, 0.03) == pytest.approx(large.at_outputs(layer, 0.03), rel=1e-3)


def test_other_outputs_of_the_same_layers_are_measured_anew(tmp_path: Path) -> None:
    """The cache answers for what a network gives back, not for its layers alone; for the same one it does."""
    told: list[str] = []
    for network in (_heads(), _heads(), _heads(swapped=True)):
        told.append("|")
        measure_gains(
            network,
            ["a"],
            [feature_maps(64, 8)],
            directory=tmp_path,
            progress=lambda _s, _d, _t, name: told.append(name),
        )
    assert told == ["|", "a", "", "|", "|", "a", ""]


class Squeezing(nn.Module):
    """Takes no batch of one, which its squeeze leaves without a batch: [N, 8, H, W] → [N, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        return self.conv(x).mean((2, 3)).squeeze()[:, :4]


@pytest.mark.parametrize("batch", [4, 9, 63])
def test_no_batch_becomes_one_image(batch: int) -> None:
    """Whatever is left of the caller's batches once images are held out, and once there are enough."""
    gains = measure_gains(Squeezing().eval(), ["conv"], list(feature_maps(400, 8).split(batch))[:-1])
    assert gains.known


class Routed(nn.Module):
    """Images above ``least`` pixels go through one layer more: [N, 8, H, W] → [N, 8]."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.stem, self.large, self.body = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.least = least

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        x = self.stem(x).relu()
        return self.body(self.large(x).relu() if x.shape[2] > self.least else x).mean((2, 3))


@pytest.mark.parametrize("least", [11, 99])
@torch.no_grad()
def test_layers_that_some_batches_never_reach(least: int) -> None:
    """One that is asked about does not hide what later ones do there; of one that is never reached nothing is known."""
    torch.manual_seed(0)
    network = Routed(least).eval()
    batches = [feature_maps(40, 8, size) for size in (12, 10)]
    at, inputs = AtOutputs(network, map(as_inputs, batches)), list(map(as_inputs, batches))
    for name in ("stem", "large", "body"):
        assert at.with_output(name, torch.relu) == AtOutputs(network, inputs).with_output(name, torch.relu)
    gains = measure_gains(network, ["stem", "large", "body"], batches)
    assert (gains.at_outputs("large", 0.1) == pytest.approx(0.1)) == (least == 99)


class Sided(nn.Module):
    """A convolution whose output another one reads by an attribute, or by what is handed on: [N, 8, H, W] → [N, 8]."""

    def __init__(self, by_attribute: bool) -> None:
        super().__init__()
        self.side, self.last = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)), nn.Conv2d(8, 8, 3, padding=1)
        self.by_attribute, self.left = by_attribute, torch.zeros(0)
        self.side.register_forward_hook(self._leave)

    def _leave(self, _module: nn.Module, _args: object, y: Tensor) -> None:
        if self.by_attribute:
            self.left = y

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        y = self.side(x)
        return self.last((self.left if self.by_attribute else y) + y.relu()).mean((2, 3))


@pytest.mark.parametrize("by_attribute", [True, False])
@torch.no_grad()
def test_what_modules_leave_for_each_other_is_that_of_the_same_batch(by_attribute: bool) -> None:
    """Nothing is kept of a network that does so, and batches may differ in size."""
    torch.manual_seed(0)
    network = Sided(by_attribute).eval()
    inputs = [as_inputs(feature_maps(images, 8, seed=images)) for images in (6, 5, 5)]
    at = AtOutputs(network, inputs)
    for name in ("side.0", "last"):
        for _ in range(2):
            assert at.with_output(name, torch.relu) == AtOutputs(network, inputs).with_output(name, torch.relu)


class Sorted(nn.Module):
    """The positions with the largest scores, or all of them in place: [N, 8, H, W] → [N, K, 8]."""

    def __init__(self, most: int | None) -> None:
        super().__init__()
        self.conv, self.most = nn.Conv2d(8, 8, 3, padding=1), most

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        found = self.conv(x).flatten(2).mT
        if self.most is None:
            return found
        order = found[..., 0].topk(self.most).indices
        return found.gather(1, order[..., None].expand(-1, -1, 8))


@pytest.mark.parametrize("most", [30, None])
def test_outputs_that_change_places_tell_nothing(most: int | None) -> None:
    """Sorted by their scores, outputs of two networks are those of different places; in place they can be compared."""
    torch.manual_seed(0)
    assert measure_gains(Sorted(most).eval(), ["conv"], [feature_maps(64, 8)]).known == (most is None)


def test_what_is_known_does_not_depend_on_what_was_asked_before(tmp_path: Path) -> None:
    """A layer with which the outputs change their shape takes all others' gains away where it is asked for, and then
    alone."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.detector = nn.Conv2d(8, 8, 3, padding=1), Detector(0.0)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.first(x), self.detector(x)

    torch.manual_seed(0)
    network, known = Both().eval(), []
    for names in (["first"], ["first", "detector.conv"], ["first"], ["detector.conv"]):
        known.append(measure_gains(network, names, [feature_maps(64, 8)], directory=tmp_path).known)
    assert known == [True, False, True, False]


_SHARES = st.floats(1e-4, 0.9)


@given(
    points=st.lists(st.tuples(_SHARES, st.floats(0, 10)), min_size=1, max_size=4, unique_by=lambda point: point[0]),
    errors=st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)),
)
def test_a_larger_error_never_does_less(points: list[tuple[float, float]], errors: tuple[float, float]) -> None:
    """Whatever chance said at the measured points."""
    less, more = (Gains({"conv": points}).at_outputs("conv", error) for error in sorted(errors))
    assert less <= more * (1 + 1e-9)


@given(channels=st.integers(1, 6), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_the_least_components_hold_the_share_asked_for(channels: int, share: float, seed: int) -> None:
    """Taking them away takes that share of the variance, and no other choice of directions takes less of each."""
    random = torch.Generator().manual_seed(seed)
    maps = torch.randn(5, channels, 4, 3, generator=random) * torch.arange(1.0, channels + 1).view(-1, 1, 1) + 1e3
    components = Components.of([maps[:2], maps[2:]])
    assert components is not None
    away = (maps.double().transpose(0, 1).flatten(1).T - components.mean) @ components.axes
    lost = away @ components.axes.T @ components.least(share).T
    assert float(lost.square().sum() / away.square().sum()) == pytest.approx(share, abs=1e-3)
    taken = (components.axes.T @ components.least(share) @ components.axes).diagonal()
    assert bool((taken.diff() <= 1e-9).all())


def test_constants_have_nothing_to_lose() -> None:
    """What does not vary stays as it is; of nothing at all nothing is known."""
    assert Components.of([]) is None
    constant = Components.of([torch.ones(2, 3, 4, 4)])
    assert constant is not None
    assert bool((constant.least(0.2).abs() < 1e-9).all())


@torch.no_grad()
def test_another_output_stands_for_a_while() -> None:
    """What is written instead changes the outputs, what is written anyway does not, and nothing of it stays."""
    network, images = _network(), feature_maps(16, 8)
    at = AtOutputs(network, [as_inputs(images)])
    assert at.with_output("branch", lambda y: y) == 0
    assert (at.with_output("branch", torch.zeros_like) or 0) > 1e-6
    assert at.of(network) == 0


@torch.no_grad()
def test_what_is_kept_from_one_layer_to_the_next_is_what_runs_before_both() -> None:
    """Asked about one layer after the other, in the order in which they run, or each anew: the same errors."""
    network, inputs = _network(), as_inputs(feature_maps(16, 8))
    at, layers = AtOutputs(network, [inputs]), ("stem.0", "branch", "last.0")
    zeros = {name: torch.zeros_like(network.get_submodule(name).weight).flatten(1) for name in layers}
    for name in layers:
        anew = AtOutputs(network, [inputs])
        changes = {name: (zeros[name], torch.ones(len(zeros[name])))}
        assert at.with_output(name, torch.relu) == anew.with_output(name, torch.relu)
        assert at.with_weights(changes) == anew.with_weights(changes) != 0


@pytest.mark.parametrize(("size", "compared"), [(8, 64), (160, 34), (320, 16)])
@torch.no_grad()
def test_of_large_images_a_few_are_compared(size: int, compared: int) -> None:
    """As many as hold ten mebibytes, but for small and for large ones."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    calibration = Calibration.of([torch.rand(1, 3, size, size).expand(50, -1, -1, -1)] * 8)
    assert sum(map(images_in, AtOutputs.held_out(network, calibration).batches)) == compared
