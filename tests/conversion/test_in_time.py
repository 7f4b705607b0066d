"""Planning in time: layers timed once and kept, the planned network measured, missed targets corrected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon import Plan, Recipe, inspect
from convsurgeon.base.errors import ModelLoadError, NothingToConvert, RecipeError, TargetError, UnknownName, UsageError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.base.progress import silent
from convsurgeon.conversion.in_time import TimedPlanning, known_latencies, plan_in_time
from convsurgeon.conversion.in_time.corrected_plan import MOST_ROUNDS
from convsurgeon.conversion.in_time.latency_file import LatencyFile, entry_key
from convsurgeon.conversion.in_time.layer_calls import layer_calls
from convsurgeon.conversion.in_time.timekeeper import Bench
from convsurgeon.families import parse_method
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.planning.options import candidates
from convsurgeon.planning.problem import pose
from convsurgeon.planning.targets import parse_targets
from convsurgeon.planning.widths import Widths
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import Effort, Spread
from tests.conversion.time_table import PLACE, TableKeeper, by_macs, exactly
from tests.nets import IMAGE, Plain, Residual, Shared

X = torch.zeros(IMAGE)


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TableKeeper:
    """A table in the clock's place, and a cache of its own."""
    table = TableKeeper()
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("convsurgeon.conversion.planner.timekeeper", lambda runtime, precision: table)
    return table


def _plan(network: nn.Module | None = None, **request: object) -> Plan:
    return convsurgeon.plan(network or Residual().eval(), X, **{"method": "igc", **request})  # type: ignore[arg-type]


def test_a_target_that_layers_keep_is_met_at_once(keeper: TableKeeper) -> None:
    """Where the network is its layers' sum, one plan is built, and prediction and measurement are the same number."""
    plan = _plan(target="latency=80%")
    assert plan.latency is not None
    assert (plan.latency.rounds, plan.latency.place, plan.latency.batch) == (1, PLACE, 1)
    assert plan.latency.measured_after_ns == pytest.approx(plan.latency.predicted_ns, abs=10)
    assert plan.latency.ratio is not None
    assert 0.75 <= plan.latency.ratio <= 0.80
    assert keeper.built == 2


def test_a_network_that_realises_less_is_planned_again(keeper: TableKeeper) -> None:
    """When 60 % of the layers' saving shows, the second plan knows it and lands at the target."""
    keeper.realised = 0.6
    plan = _plan(target="latency=80%")
    assert plan.latency is not None
    assert plan.latency.rounds == 2
    assert plan.latency.realised == pytest.approx(0.6, rel=1e-3)
    assert plan.latency.ratio == pytest.approx(0.80, abs=0.01)
    assert plan.latency.measured_after_ns == pytest.approx(plan.latency.predicted_ns, rel=1e-3)


def test_a_network_that_realises_more_gives_back_damage(keeper: TableKeeper) -> None:
    """A plan that is needlessly fast is relaxed: less damage, and still within the target."""
    keeper.realised = 1.6
    plan = _plan(target="latency=75%")
    keeper.realised = 1.0
    hasty = _plan(target="latency=75%")
    assert plan.latency is not None
    assert plan.latency.rounds > 1
    assert plan.latency.ratio is not None
    assert 0.70 <= plan.latency.ratio <= 0.80
    assert _damage(plan) < _damage(hasty)


def test_plans_that_jump_over_the_target_are_closed_in_on(keeper: TableKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where small savings hardly show and large ones do, the plan is between the one that missed and the one beyond."""
    honest = keeper.networks

    def leaping(models: list[nn.Module], inputs: Inputs) -> tuple[Spread, ...]:
        before, after = (spread.median_ns for spread in honest(models, inputs))
        saved = 1 - after / before
        return exactly(before), exactly(int(before * (1 - saved * (0.25 if saved < 0.35 else 1.2))))

    monkeypatch.setattr(keeper, "networks", leaping)
    plan = _plan(target="latency=85%")
    assert plan.latency is not None
    assert plan.latency.rounds == MOST_ROUNDS
    assert plan.latency.ratio is not None
    assert 0.4 < plan.latency.ratio < 0.85


@pytest.mark.parametrize(("realised", "met"), [(1.6, True), (1.0, False)])
def test_the_fastest_network_is_measured_before_a_target_is_refused(
    keeper: TableKeeper, realised: float, met: bool
) -> None:
    """Layers may save more together than alone: a target a little below their sum stands or falls by a measurement."""
    keeper.realised = realised
    if met:
        latency = _plan(method="igc-l2m2", target="latency=50%").latency
        assert latency is not None
        assert latency.ratio is not None
        assert latency.ratio <= 0.5
        return
    with pytest.raises(TargetError, match=r"latency=50% can't be reached .* latency from .* \(67.4%\)"):
        _plan(method="igc-l2m2", target="latency=50%")
    assert keeper.built == 2


def test_a_target_far_below_the_layers_is_refused_at_once(keeper: TableKeeper) -> None:
    """What no network showed yet is not worth a measurement."""
    with pytest.raises(TargetError, match=r"latency=2% can't be reached"):
        _plan(method="igc-l2m2", target="latency=2%")
    assert not keeper.built


def _damage(plan: Plan) -> float:
    return sum(row.damage or 0.0 for row in plan.replaced)


def test_what_can_not_be_realised_ends_with_the_range(keeper: TableKeeper) -> None:
    """When a tenth of the saving shows, the corrected range is told; where all of it shows, the same target is met."""
    keeper.realised = 0.1
    with pytest.raises(TargetError, match=r"latency=60% can't be reached .* latency from .* asked:"):
        _plan(target="latency=60%")
    keeper.realised = 1.0
    assert _plan(target="latency=60%").latency


def test_a_network_that_never_settles_ends_after_some_rounds(
    keeper: TableKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured 10 points over the target whatever the plan: the error holds the closest measurement."""
    times = iter(range(1000))

    def stubborn(models: list[nn.Module], inputs: object) -> tuple[object, ...]:
        # A little more each time, so that every correction asks for another plan.
        return exactly(10_000_000), exactly(9_000_000 + 1000 * next(times))

    monkeypatch.setattr(keeper, "networks", stubborn)
    with pytest.raises(TargetError) as caught:
        _plan(target="latency=80%")
    words = str(caught.value)
    assert "can't be reached" in words or f"was not met by {MOST_ROUNDS} planned networks" in words


def _with_one_width() -> TimedPlanning:
    """80 % of the time; half of one stream's channels may go, which hurts far less than any swap."""
    model = Plain(16).eval()
    found = inspect(model, X)
    stream = next(stream for stream in found.streams if stream.closed is None)
    channels = tuple(range(stream.channels))
    widths = Widths((stream,), ((channels,), (channels[::2],)), (0.0, 1e-6), (2,))
    recipe = Recipe(method=parse_method("igc"), moves=("swap", "narrow"), target=parse_targets("latency=80%"))
    return TimedPlanning(model, as_inputs(X), pose(found, recipe).narrowing((widths,), ()))


@pytest.mark.parametrize("slow", [False, True])
def test_swaps_alone_stand_where_narrowed_networks_are_slow(
    keeper: TableKeeper, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    """A narrowed network that takes longer than its layers gives way to one of swaps alone; another one stays."""
    measured = keeper.networks

    def networks(models: list[nn.Module], inputs: object) -> tuple[Spread, ...]:
        before, after = measured(models, inputs)  # type: ignore[arg-type]
        narrowed = any(isinstance(one, nn.Conv2d) and one.out_channels == 8 for one in models[1].modules())
        return before, exactly(after.median_ns + before.median_ns * (slow and narrowed))

    monkeypatch.setattr(keeper, "networks", networks)
    plan = plan_in_time(_with_one_width(), keeper, None, silent)
    assert plan.latency is not None
    assert plan.latency.ratio is not None
    assert plan.latency.ratio <= 0.85
    assert bool(plan.narrowed) is not slow
    assert bool(plan.replaced) or not slow


def test_the_layers_are_brought_to_the_networks_moment(keeper: TableKeeper) -> None:
    """A machine half as fast while the network is timed stretches layers and network alike: the same plan."""
    calm = _plan(target="latency=80%")
    keeper.busy = 2.0
    busy = _plan(target="latency=80%")
    assert [row.spec for row in busy.layers] == [row.spec for row in calm.layers]
    assert busy.latency is not None
    assert calm.latency is not None
    assert busy.latency.before_ns == 2 * calm.latency.before_ns


def test_equal_layers_are_timed_once_and_kept(keeper: TableKeeper) -> None:
    """Each distinct case is timed once, with its convolution first; a second plan times nothing."""
    pad = {"kernel_size": 3, "padding": 1}
    twins = nn.Sequential(nn.Conv2d(3, 64, **pad), nn.Conv2d(64, 64, **pad), nn.Conv2d(64, 64, **pad)).eval()  # type: ignore[arg-type]
    _plan(twins, target="latency=80%")
    ((size, specs),) = keeper.asked
    assert size == (1, 64, 16, 16)
    assert specs[0] is None
    assert None not in specs[1:]
    _plan(twins, target="latency=90%")
    assert len(keeper.asked) == 1


def test_another_input_size_is_another_case(keeper: TableKeeper) -> None:
    """Times hold for one input size and batch; another is timed anew."""
    _plan(target="latency=80%")
    asked = len(keeper.asked)
    convsurgeon.plan(Residual().eval(), torch.zeros(1, 3, 32, 32), method="igc", target="latency=80%")
    assert len(keeper.asked) == 2 * asked
    plan = _plan(target="latency=80%", latency_batch=4)
    assert len(keeper.asked) == 3 * asked
    assert {size[0] for size, _ in keeper.asked[2 * asked :]} == {4}
    assert plan.latency is not None
    assert plan.latency.batch == 4


@pytest.mark.parametrize(
    "change",
    [{"torch": "0.1"}, {"device": "another"}, {"threads": 2}, {"runtime": "openvino"}, {"precision": "bfloat16"}],
)
def test_another_place_is_another_file(keeper: TableKeeper, change: dict[str, object]) -> None:
    """torch, device, threads, runtime and number format each make their own times; the same place shares them."""
    _plan(target="latency=80%")
    asked = len(keeper.asked)
    keeper.place_ = PLACE.model_copy(update=change)
    _plan(target="latency=80%")
    assert len(keeper.asked) == 2 * asked
    keeper.place_ = PLACE
    _plan(target="latency=80%")
    assert len(keeper.asked) == 2 * asked


def test_what_another_version_timed_is_timed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are kept for the source of units and runtimes, and for the runtime package's version."""
    LatencyFile(tmp_path, PLACE).add("case", {"conv": Spread.of([1])})
    assert LatencyFile(tmp_path, PLACE).entries
    for name, other in (("_code", "another source"), ("_version_of", "another version")):
        with monkeypatch.context() as patched:
            patched.setattr(f"convsurgeon.conversion.in_time.latency_file.{name}", lambda *_, other=other: other)
            assert not LatencyFile(tmp_path, PLACE).entries
    assert LatencyFile(tmp_path, PLACE).entries


def test_a_case_knows_layer_size_type_and_format() -> None:
    """Equal convolutions on equal inputs are one case; another input, kernel or memory format is another."""
    network = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)).eval()
    x = torch.zeros(1, 8, 6, 6)
    sites = inspect(network, x).sites
    cases = layer_calls(network, as_inputs(x), sites)
    keys = [case.key() for name in ("0", "1", "2") for case in cases[name]]
    assert keys[0] == keys[1] != keys[2]
    last = x.contiguous(memory_format=torch.channels_last)
    (other,) = layer_calls(network, as_inputs(last), sites)["0"]
    (double,) = layer_calls(network.double(), as_inputs(x.double()), sites)["0"]
    (wide,) = layer_calls(network.float(), as_inputs(torch.zeros(2, 8, 6, 6)), sites)["0"]
    assert len({keys[0], other.key(), double.key(), wide.key()}) == 4
    (case,) = cases["0"]
    assert case.example(network[0]).shape == (1, 8, 6, 6)


def test_calls_on_several_sizes_are_counted() -> None:
    """A module called three times on two sizes has two cases, one of them twice."""
    network = Shared().eval()
    cases = layer_calls(network, as_inputs(X), [s for s in inspect(network, X).sites if s.name == "near"])
    assert sorted(cases["near"].values()) == [1, 2]


def test_what_is_added_later_is_scaled_to_the_first_convolution(tmp_path: Path) -> None:
    """A candidate timed on a day half as fast is kept at half of its time: ratios to the convolution stay."""
    from convsurgeon.conversion.in_time.layer_times import time_layers

    network, site = Residual().eval(), next(s for s in inspect(Residual(), X).sites if s.name == "conv2")
    (case,) = layer_calls(network, as_inputs(X), [site])["conv2"]
    first, second = (IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=width) for width in (8, 16))
    file = LatencyFile(tmp_path, PLACE)
    time_layers(network, {case: (site, [first])}, TableKeeper(), file, lambda *_: None)
    slow = TableKeeper(take=lambda shape, spec: 2 * by_macs(shape, spec))
    time_layers(network, {case: (site, [first, second])}, slow, file, lambda *_: None)
    assert slow.asked == [((1, 64, 8, 8), (None, second))]
    kept = LatencyFile(tmp_path, PLACE).entries[case.key()]
    assert {key: spread.median_ns for key, spread in kept.items()} == {
        entry_key(spec): by_macs(site.shape, spec) for spec in (None, first, second)
    }


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 2}', '{"place": 1}'])
def test_a_damaged_file_is_no_cache(keeper: TableKeeper, tmp_path: Path, damage: str) -> None:
    """What can't be read is timed again; what can is not."""
    _plan(target="latency=80%")
    asked = len(keeper.asked)
    (path,) = (tmp_path / "cache").glob("latency-*.json")
    good = path.read_text()
    path.write_text(damage)
    _plan(target="latency=80%")
    assert len(keeper.asked) == 2 * asked
    assert json.loads(path.read_text()) == json.loads(good)


def test_slow_swaps_are_vetoed_once_every_time_is_known(keeper: TableKeeper) -> None:
    """Known times veto without being asked for; allow_slower, or one unknown candidate, lets a plan go as ever."""
    keeper.take = lambda shape, spec: by_macs(shape, spec) if spec is None else 2 * by_macs(shape, None)
    with pytest.raises(NothingToConvert, match="not faster: CompConv"):
        _plan(method="compconv128", time_layers=True)
    assert keeper.asked
    with pytest.raises(NothingToConvert, match="not faster: CompConv"):
        _plan(method="compconv128")
    assert len(_plan(method="compconv128", allow_slower=True).replaced) == 3
    assert len(_plan(method="compconv32").replaced) == 3


def test_known_times_alone_show_layers_and_no_total(keeper: TableKeeper) -> None:
    """Vetoed by what the file holds: rows have times, and the network, which nobody timed, has none."""
    timed = _plan(method="compconv128", time_layers=True)
    assert timed.latency is not None
    assert timed.latency.rounds == 1
    known = _plan(method="compconv128")
    assert known.latency is None
    assert [row.latency for row in known.layers] == [row.latency for row in timed.layers]


def test_nothing_is_looked_up_without_a_file(tmp_path: Path) -> None:
    """No file, no veto; and a model without weights can't be looked up either."""
    network, inputs = Residual().eval(), as_inputs(X)
    assert known_latencies(network, inputs, (), TableKeeper(), tmp_path) is None


def test_a_model_without_weights_can_not_be_timed(keeper: TableKeeper) -> None:
    """On the meta device nothing runs, so a latency target is refused there; MACs are not."""
    with torch.device("meta"):
        network = Residual().eval()
    with pytest.raises(ModelLoadError, match="meta device, where nothing can be timed"):
        convsurgeon.plan(network, X.to("meta"), method="igc", target="latency=80%")
    assert convsurgeon.plan(network, X.to("meta"), method="igc", target="macs=80%").replaced


def test_runtimes_are_checked_where_they_are_named(keeper: TableKeeper) -> None:
    """An unknown runtime, and one in which a layer alone means nothing, are refused before any work."""
    with pytest.raises(UnknownName, match=r"unknown runtime 'eagr'; expected eager, .*Did you mean eager"):
        _plan(target="latency=80%", runtime="eagr")
    with pytest.raises(UsageError, match=r"layers can't be timed with 'compile'"):
        _plan(target="latency=80%", runtime="compile")
    with pytest.raises(RecipeError, match="latency_batch: Input should be greater than or equal to 1"):
        _plan(target="latency=80%", latency_batch=0)
    assert _plan(target="latency=80%", runtime="eager")


def test_the_caller_s_model_stays_as_it_was(keeper: TableKeeper) -> None:
    """Timing happens on copies in eval mode: train flags, weights and statistics are untouched."""
    network = Residual().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    convsurgeon.convert(network, X, method="igc", target="latency=80%", random_weights=True)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_real_clock_times_layers_and_networks() -> None:
    """The bench returns one spread for each thing, of an effort's own number of samples; the numbers are its own."""
    effort = Effort(warm_up_s=0, timed_s=0, fewest=2, most=2, sample_s=0)
    bench = Bench(find_runtime("eager"), "float32", effort, effort)
    network, inputs = Residual().eval(), as_inputs(X)
    (case,) = layer_calls(network, inputs, [s for s in inspect(network, X).sites if s.name == "conv2"])["conv2"]
    spec = IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=16)
    assert [s.samples for s in bench.layer(network.conv2, case, [None, spec])] == [2, 2]
    assert [s.samples for s in bench.networks([network, network], inputs)] == [2, 2]
    place = bench.place(network)
    assert (place.runtime, place.precision, place.threads) == ("eager", "float32", torch.get_num_threads())


@pytest.mark.usefixtures("eager_in_two_precisions")
def test_a_plan_is_timed_in_what_the_runtime_takes_by_itself(
    monkeypatch: pytest.MonkeyPatch, keeper: TableKeeper
) -> None:
    """A plan is for the precision that a deployed network gets without a word, or for the one that is asked for."""
    asked: list[str] = []

    def noting(runtime: object, precision: str) -> TableKeeper:
        asked.append(precision)
        return keeper

    monkeypatch.setattr("convsurgeon.conversion.planner.timekeeper", noting)
    _plan(target="latency=80%")
    _plan(target="latency=80%", precision="float32")
    assert asked == ["bfloat16", "float32"]


def test_timing_layers_draws_no_random_numbers_of_the_caller_s() -> None:
    """Fresh units are timed, and the caller's generator is where it was."""
    effort = Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=0)
    network = Residual().eval()
    (case,) = layer_calls(network, as_inputs(X), [s for s in inspect(network, X).sites if s.name == "conv2"])["conv2"]
    before = torch.get_rng_state()
    spec = IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=16)
    Bench(find_runtime("eager"), "float32", effort, effort).layer(network.conv2, case, [None, spec])
    assert torch.equal(torch.get_rng_state(), before)


def test_choices_are_made_once(keeper: TableKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a plan is corrected, what each site may become is worked out a single time."""
    made: list[object] = []

    def counted(*given: object) -> object:
        made.append(given)
        return candidates(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("convsurgeon.planning.problem.candidates", counted)
    keeper.realised = 0.6
    plan = _plan(target="latency=80%")
    assert plan.latency is not None
    assert (plan.latency.rounds, len(made)) == (2, 1)
