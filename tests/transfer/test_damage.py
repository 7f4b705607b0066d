from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.families import parse_method
from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.dgconv.spec import DGConvSpec
from convsurgeon.families.family import Refusal, Spec
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.transfer import Calibration, DamageSettings, Estimate, fit, measure_damage
from convsurgeon.transfer.measured_site import MeasuredSite
from convsurgeon.transfer.measurement import Measurement
from tests.transfer.networks import Chain, trained
from tests.transfer.sites import distance, feature_maps, site_data

WIDTHS = [IGCSpec(primary_groups=L, secondary_groups=1, mid_channels=w) for L in (1, 2, 4) for w in (4, 8, 12, 16)]
OTHERS: list[Spec] = [
    IGCSpec(primary_groups=2, secondary_groups=2, mid_channels=16),
    DGConvSpec(groups=2),
    DGConvSpec(groups=4),
    CompConvSpec(depth=1, primary_channels=8, tail_kernel=(3, 3)),
]


def method_specs(method: str, shape: ConvShape) -> Sequence[Spec]:
    """All that a method offers under a target, on maps of 6×6."""
    specs = parse_method(method).under_target().specs(shape, (6, 6), (8, 8))
    assert not isinstance(specs, Refusal)
    return specs


class One(nn.Module):
    """One convolution: [N, 16, H, W] → [N, 16, H', W']."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One forward pass."""
        return self.conv(x)


def test_damage_is_the_error_of_a_fit_on_new_images() -> None:
    """For every kind of spec the estimate is near the error that a fitted unit has on images it never saw."""
    model, x = One(), feature_maps(120, 16, size=14)
    table = measure_damage(model, {"conv": [*WIDTHS, *OTHERS]}, [*x[:100].split(25)])
    for spec in (*WIDTHS, *OTHERS):
        unit = spec.build(conv_shape(model.conv))
        fit(unit, model.conv, site_data(model.conv, x[:100]))
        assert table.trusted("conv", spec) == pytest.approx(distance(unit, model.conv, x[100:]), rel=0.15), spec


def test_damage_falls_with_the_width() -> None:
    """Of two units that differ in the mid width alone, the wider one does less damage; at full rank none is left."""
    model, x = One(), feature_maps(60, 16)
    table = measure_damage(model, {"conv": WIDTHS}, [x])
    for start in (0, 4, 8):
        errors = [table.trusted("conv", spec) or 0.0 for spec in WIDTHS[start : start + 4]]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 0.01
    assert table.trusted("conv", WIDTHS[3]) == pytest.approx(0.0, abs=1e-8)


def test_open_gates_do_no_damage() -> None:
    """A DGConv with open gates is the convolution."""
    table = measure_damage(One(), {"conv": [DGConvSpec(), DGConvSpec(groups=2)]}, [feature_maps(60, 16)])
    assert table.trusted("conv", DGConvSpec()) == 0.0
    assert (table.trusted("conv", DGConvSpec(groups=2)) or 0.0) > 0.0


def test_every_site_of_a_network_is_measured_whatever_the_memory() -> None:
    """Several sites at once or one by one give the same estimates, and the model stays as it is."""
    model, x = trained(Chain()).train(), feature_maps(40, 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    requests = {
        "first": [CompConvSpec.of(conv_shape(model.first), 1)],
        "second": [*WIDTHS[:1], OTHERS[3]],
        "third": [WIDTHS[1], OTHERS[3]],
    }
    tables = [
        measure_damage(model, requests, [*x.split(16)], settings=DamageSettings(memory_bytes=memory))
        for memory in (1 << 30, 900_000, 1)
    ]
    assert tables[0] == tables[1] == tables[2]
    assert [len(tables[0].estimates[name]) for name in requests] == [1, 2, 2]
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    assert model.training


def test_too_little_data_is_neither_measured_nor_trusted(tmp_path: Path) -> None:
    """Of four images an estimate is there, but not measured, trusted or kept in the file; of forty it is all of it."""
    model, spec, settings = One(), WIDTHS[0], DamageSettings(directory=tmp_path)
    few = measure_damage(model, {"conv": [spec]}, [feature_maps(4, 16)], settings=settings)
    assert few.trusted("conv", spec) is None
    assert few.find("conv", spec) == Estimate(1.0, samples=100, held=0, reliable=False)
    assert not list(tmp_path.iterdir())
    enough = measure_damage(model, {"conv": [spec]}, [feature_maps(60, 16)], settings=settings)
    assert enough.trusted("conv", spec) is not None
    assert enough.trusted("conv", WIDTHS[1]) is None
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("cut", [60, 7, 1])
def test_the_inputs_needed_are_the_fewest_that_are_enough(cut: int) -> None:
    """What the counting pass says is needed is enough and one input less is not, however the inputs are batched."""
    model, supplies = One(), []

    def enough(images: int) -> bool:
        x = feature_maps(images, 16, size=6)
        measure_damage(model, {"conv": WIDTHS[:1]}, list(x.split(cut)), counted=supplies.append)
        return supplies[-1].enough("conv")

    assert not enough(12)
    # Nine positions an input: 15 inputs held out to be judged on, of five times as many, of which each eighth is over.
    needed = supplies[-1].needed("conv")
    assert needed == 75 + 10
    assert enough(needed)
    assert not enough(needed - 1)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[set[Spec]]:
    """The specs that were fitted by stages, site by site."""
    seen: list[set[Spec]] = []
    by_stages = MeasuredSite.by_stages
    monkeypatch.setattr(
        MeasuredSite,
        "by_stages",
        lambda self, specs, *given: (seen.append(set(specs)), by_stages(self, specs, *given))[1],
    )
    return seen


@pytest.mark.parametrize("norm_behind", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_what_is_not_fitted_is_beaten_when_fitted(kernel: int, norm_behind: bool, fitted: list[set[Spec]]) -> None:
    """With costs, a unit is left out only where, fitted, another one that costs no more would lose less."""
    torch.manual_seed(0)
    model = trained(nn.Sequential(nn.Conv2d(16, 48, kernel), nn.BatchNorm2d(48) if norm_behind else nn.ReLU()))
    shape, x = conv_shape(model[0]), [*feature_maps(80, 16).split(30)]
    specs = [spec for method in ("compconv", "igc") for spec in method_specs(method, shape)]
    costs = {spec: (spec.cost(shape, 36).macs, spec.cost(shape, 36).params) for spec in specs}
    pruned = measure_damage(model, {"0": specs}, x, costs={"0": costs})
    kept = {spec for one in fitted for spec in one}
    full = measure_damage(model, {"0": specs}, x)
    out = [spec for spec in specs if spec.family == "compconv" and spec not in kept]
    assert bool(out) == (kernel == 3)
    for spec in specs:
        damage, least = full.trusted("0", spec), pruned.find("0", spec)
        assert damage is not None
        assert least is not None
        if spec in out:
            assert pruned.trusted("0", spec) is None
            assert least.error <= damage
            assert any(costs[o] <= costs[spec] and (full.trusted("0", o) or 0.0) < damage for o in specs if o != spec)
        else:
            assert least.error == damage


def test_who_counts_no_cost_has_everything_fitted(tmp_path: Path, fitted: list[set[Spec]]) -> None:
    """A bound in the file serves only where its rivals are asked for, too: by itself or without costs it is fitted."""
    torch.manual_seed(0)
    model, x = trained(nn.Sequential(nn.Conv2d(16, 48, 1), nn.BatchNorm2d(48))), [feature_maps(80, 16)]
    shape, settings = conv_shape(model[0]), DamageSettings(directory=tmp_path)
    deep = CompConvSpec.of(shape, 2)
    specs = [deep, *(IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=width) for width in (1, 12))]
    costs = {"0": dict.fromkeys(specs, (9, 9))}
    for _ in range(2):
        assert measure_damage(model, {"0": specs}, x, costs=costs, settings=settings).trusted("0", deep) is None
    assert not fitted
    alone = measure_damage(model, {"0": [deep]}, x, costs={"0": {deep: (9, 9)}}, settings=settings)
    assert fitted == [{deep}]
    assert measure_damage(model, {"0": specs}, x, settings=settings).trusted("0", deep) == alone.trusted("0", deep)


@pytest.mark.parametrize("change", ["nothing", "weights", "data", "seed", "specs"])
def test_estimates_are_kept_for_the_same_question_only(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model, weights, data and seed are measured once; any change of one of them measures again."""
    model, x, requests = One(), feature_maps(40, 16), {"conv": [WIDTHS[0]]}
    first = measure_damage(model, requests, [x], settings=DamageSettings(directory=tmp_path))
    runs: list[str] = []
    original = Measurement.run
    monkeypatch.setattr(Measurement, "run", lambda self, *given: (runs.append("run"), original(self, *given)))
    seed = 1 if change == "seed" else 0
    if change == "weights":
        model.conv.weight.data += 0.1
    elif change == "data":
        x = feature_maps(40, 16, seed=5)
    elif change == "specs":
        requests = {"conv": [*WIDTHS[:2]]}
    again = measure_damage(model, requests, [x], settings=DamageSettings(seed=seed, directory=tmp_path))
    assert runs == ([] if change == "nothing" else ["run"])
    assert (again == first) == (change in ("nothing", "seed"))  # so few positions are all taken, whatever the seed
    if change == "specs":
        assert again.find("conv", WIDTHS[0]) == first.find("conv", WIDTHS[0])


def test_a_broken_file_is_measured_anew(tmp_path: Path) -> None:
    """A cache file that can't be read is replaced, not believed."""
    model, x, requests = One(), feature_maps(40, 16), {"conv": [WIDTHS[0]]}
    settings = DamageSettings(directory=tmp_path)
    first = measure_damage(model, requests, [x], settings=settings)
    (path,) = tmp_path.glob("damage-*.json")
    path.write_text("{")
    assert measure_damage(model, requests, [x], settings=settings) == first
    assert json.loads(path.read_text())["entries"]["conv"]


def test_names_that_are_no_convolution_are_refused() -> None:
    """Damage is asked of convolutions by name."""
    with pytest.raises(UsageError, match="where the model has nothing"):
        measure_damage(One(), {"cnv": WIDTHS}, [feature_maps(8, 16)])
    with pytest.raises(UsageError, match="where the model has a Linear"):
        measure_damage(Chain(), {"head": WIDTHS}, [feature_maps(8, 8)])
    measure_damage(One(), {"conv": WIDTHS[:1]}, [feature_maps(8, 16)])


def test_held_back_images_are_never_fitted_on() -> None:
    """Every eighth image is held back, across batches; single-image batches count too; with seven images none is."""
    x = torch.arange(20.0).view(20, 1, 1, 1)
    model = nn.Identity()
    for batches in ([x], [*x.split(3)], [*x.split(1)]):
        calibration = Calibration.of(batches)
        held = torch.cat([inputs.tensors()[0] for inputs in calibration.held_back(model)])
        fitted = torch.cat([inputs.tensors()[0] for inputs in calibration.fitting(model)])
        assert held.flatten().tolist() == [7.0, 15.0]
        assert len(fitted) == 18
    assert not list(Calibration.of([x[:7]]).held_back(model))


def test_images_of_lists_are_held_back_one_by_one() -> None:
    """Of the lists that a detector takes, of images of any size, every eighth image is held back, too."""
    images = [torch.full((3, 2, 2 + i % 3), float(i)) for i in range(20)]
    calibration = Calibration.of([images[:5], images[5:]])
    held = [tensor for inputs in calibration.held_back(nn.Identity()) for tensor in inputs.tensors()]
    fitted = [tensor for inputs in calibration.fitting(nn.Identity()) for tensor in inputs.tensors()]
    assert [float(tensor.mean()) for tensor in held] == [7.0, 15.0]
    assert (len(fitted), calibration.count()) == (18, 20)


def test_the_callers_random_state_stays() -> None:
    """Measuring draws nothing from the caller's random numbers."""
    model = One()
    state = torch.random.get_rng_state()
    measure_damage(model, {"conv": [*WIDTHS[:1], *OTHERS]}, [feature_maps(60, 16)])
    assert torch.equal(state, torch.random.get_rng_state())
