"""Plans over measured times: exact against exhaustive search, slow swaps vetoed with a reason, ranges told."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convsurgeon import IGCSpec, Plan, Recipe, Rules, Site, inspect, read_plan
from convsurgeon.base.errors import NothingToConvert, TargetError
from convsurgeon.families import parse_method
from convsurgeon.families.family import Spec
from convsurgeon.planning.latencies import PAYS, PER_KIND, Latencies, only_paying, worth_timing
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import PROXY, Candidate, Choices, candidates
from convsurgeon.planning.plan import LayerLatency
from convsurgeon.planning.problem import pose
from convsurgeon.planning.targets import human_ms, parse_targets, shown
from tests.conversion.time_table import PLACE
from tests.nets import IMAGE, Residual

FOUND = inspect(Residual(), torch.zeros(IMAGE))
MENUS = {c.site.name: c for c in candidates(FOUND.sites, parse_method("compconv"), Rules()) if c.options}
TOTAL = 10_000_000


def _latencies(times: dict[tuple[str, Spec | None], int], **more: object) -> Latencies:
    return Latencies(PLACE, 1, lambda site, spec: times.get((site.name, spec)), TOTAL, **more)  # type: ignore[arg-type]


def _plan(latencies: Latencies | None = None, **recipe: object) -> Plan:
    return make_plan(pose(FOUND, Recipe(**recipe)), latencies)  # type: ignore[arg-type]


@st.composite
def _times(draw: st.DrawFn) -> dict[tuple[str, Spec | None], int]:
    """Anything between nothing and twice the convolution's time, for each site and candidate."""
    times: dict[tuple[str, Spec | None], int] = {}
    for name, choice in MENUS.items():
        before = draw(st.integers(10_000, 3_000_000))
        times[name, None] = before
        for option in choice.options:
            times[name, option.spec] = draw(st.integers(1, 2 * before))
    return times


def _exhaustive(times: dict[tuple[str, Spec | None], int], share: float, slower: bool) -> float | None:
    """The least damage of any choice within the latency share; None if there is none."""
    menus: list[list[Candidate | None]] = []
    for name, choice in MENUS.items():
        paying = [o for o in choice.options if slower or times[name, o.spec] < PAYS * times[name, None]]
        menus.append([None, *paying])
    best = None
    for pick in itertools.product(*menus):
        saved = sum(
            times[name, None] - times[name, option.spec]
            for name, option in zip(MENUS, pick, strict=True)
            if option is not None
        )
        if TOTAL - saved <= int(share * TOTAL):
            damage = math.fsum(option.damage for option in pick if option is not None)
            best = damage if best is None else min(best, damage)
    return best


@given(_times(), st.integers(40, 100), st.booleans())
@settings(max_examples=60)
def test_the_least_damage_under_a_latency_is_found(
    times: dict[tuple[str, Spec | None], int], percent: int, slower: bool
) -> None:
    """Against every possible choice: the same damage, never over the limit, and unreachable only where it is."""
    best = _exhaustive(times, percent / 100, slower)
    request = {"method": "compconv", "target": f"latency={percent}%", "latencies": _latencies(times)}
    try:
        plan = _plan(allow_slower=slower, **request)  # type: ignore[arg-type]
    except NothingToConvert:
        assert not slower
        assert all(times[name, o.spec] >= PAYS * times[name, None] for name, c in MENUS.items() for o in c.options)
        return
    except TargetError:
        assert best is None
        return
    assert best is not None
    assert plan.latency is not None
    assert plan.latency.predicted_ns <= TOTAL * percent // 100
    assert math.fsum(row.damage or 0 for row in plan.replaced) == pytest.approx(best, rel=1e-4, abs=1e-9)
    saved = sum(row.latency.before_ns - row.latency.after_ns for row in plan.layers if row.latency)
    assert plan.latency.predicted_ns == TOTAL - saved


def _paying(factor: float = 0.5) -> dict[tuple[str, Spec | None], int]:
    """Every candidate takes a part of its convolution's millisecond."""
    times: dict[tuple[str, Spec | None], int] = {}
    for name, choice in MENUS.items():
        times[name, None] = 1_000_000
        times |= {(name, option.spec): int(factor * 1_000_000) for option in choice.options}
    return times


def test_latency_and_macs_hold_together() -> None:
    """Both limits are kept; each alone asks for less."""
    latencies = _latencies(_paying())
    alone = _plan(method="compconv", target="latency=95%", latencies=latencies)
    both = _plan(method="compconv", target=["latency=95%", "macs=60%"], latencies=latencies)
    assert alone.after.macs > 0.6 * FOUND.total.macs
    assert both.after.macs <= 0.6 * FOUND.total.macs
    assert both.latency is not None
    assert both.latency.predicted_ns <= 0.95 * TOTAL


def test_a_swap_that_does_not_pay_is_vetoed_with_its_reason() -> None:
    """At 0.98 of the convolution's time it goes, with both times in its row; just below it stays."""
    times = _paying()
    for option in MENUS["conv2"].options:
        times["conv2", option.spec] = 980_000
    plan = _plan(method="compconv", target="latency=95%", latencies=_latencies(times))
    row = next(row for row in plan.layers if row.name == "conv2")
    assert row.action == "refused"
    assert row.reason == (
        "not faster: CompConv d=3 p=5, the fastest of 3, takes 0.980 ms, 0.98 of the convolution's 1.000 ms "
        "(eager, batch 1)"
    )
    assert plan.notes == (
        "3 swaps were left out, since they do not pay in time (eager, float32, 1 thread, a table, torch 0.0, "
        "batch 1); --allow-slower takes them",
    )
    times = {key: 979_999 if took == 980_000 else took for key, took in times.items()}
    twin = _plan(method="compconv", target="latency=95%", latencies=_latencies(times))
    assert twin.notes == ()
    assert next(row for row in twin.layers if row.name == "conv2").action != "refused"


def test_slower_swaps_are_taken_when_allowed() -> None:
    """With allow_slower a MACs target takes what time forbids; without, the range is what the rest reaches."""
    times = _paying(1.5)
    request = {"method": "compconv", "target": "macs=60%"}
    plan = _plan(latencies=_latencies(times), allow_slower=True, **request)  # type: ignore[arg-type]
    assert plan.after.macs <= 0.6 * FOUND.total.macs
    with pytest.raises(NothingToConvert, match=r"conv1: not faster: CompConv"):
        _plan(latencies=_latencies(times), **request)  # type: ignore[arg-type]


def test_a_macs_target_must_be_met_without_the_vetoed() -> None:
    """Where the rest can't reach the MACs target, the error tells the range and how to get further."""
    times = _paying()
    for option in MENUS["conv2"].options:
        times["conv2", option.spec] = 2_000_000
    with pytest.raises(TargetError) as caught:
        _plan(method="compconv", target="macs=60%", latencies=_latencies(times))
    words = str(caught.value)
    assert "can't be reached by 2 eligible of 5 convolutions. Reachable: macs from " in words
    assert words.endswith(
        "or free more layers (--shortcuts, --stem), take swaps that do not pay in time (--allow-slower)."
    )
    lowest = float(words.split("(")[1].split("%")[0])
    assert lowest > 60
    assert _plan(method="compconv", target=f"macs={lowest + 0.1:.1f}%", latencies=_latencies(times))


def test_an_unreachable_latency_names_the_range() -> None:
    """Three layers that halve a millisecond each bring 10 ms to 8.5 ms and no further."""
    latencies = _latencies(_paying())
    with pytest.raises(
        TargetError, match=r"latency from 8\.500 ms \(85\.0%\) to 10\.00 ms \(100 %\), asked: 8\.400 ms"
    ):
        _plan(method="compconv", target="latency=84%", latencies=latencies)
    assert len(_plan(method="compconv", target="latency=85%", latencies=latencies).replaced) == 3


def test_what_the_network_does_not_realise_is_planned_for() -> None:
    """When half of the layers' saving shows, one millisecond in all takes two of the layers'."""
    latencies = _latencies(_paying())
    assert (latencies.needed(9_000_000), latencies.predicted(1_000_000)) == (1_000_000, 9_000_000)
    half = dataclasses.replace(latencies, realised=0.5)
    assert (half.needed(9_000_000), half.predicted(1_000_000)) == (2_000_000, 9_500_000)
    with pytest.raises(TargetError, match=r"latency from 9\.250 ms \(92\.5%\)"):
        _plan(method="compconv", target="latency=90%", latencies=half)


def test_fixed_methods_without_a_target_leave_out_what_does_not_pay() -> None:
    """Every eligible layer that pays, and the others with their reason."""
    times = _paying(0.5)
    (option,) = next(
        c for c in candidates(FOUND.sites, parse_method("compconv128"), Rules()) if c.site.name == "gate"
    ).options
    times["gate", option.spec] = 1_100_000
    plan = _plan(method="compconv128", latencies=_latencies(times))
    assert [row.name for row in plan.replaced] == ["conv1", "conv2"]
    assert plan.latency is not None
    assert plan.latency.predicted_ns == TOTAL - 2 * 500_000


def test_a_latency_target_without_measured_times_is_refused() -> None:
    """Where nothing was timed, a latency can't be promised; a MACs target can."""
    with pytest.raises(TargetError, match="'latency=60%' needs measured latencies"):
        _plan(method="compconv", target="latency=60%")
    assert _plan(method="compconv", target="macs=60%").latency is None


def test_a_plan_with_latencies_survives_json_and_an_edit_drops_them() -> None:
    """Read again it is the same; a spec that nobody timed takes the row's and the plan's latency with it."""
    plan = _plan(method="compconv", target="latency=90%", latencies=_latencies(_paying()))
    assert read_plan(plan.to_json()) == plan
    data = json.loads(plan.to_json())
    row = next(layer for layer in data["layers"] if layer["action"] == "replaced")
    row["spec"] = IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=16).model_dump()
    edited = read_plan(json.dumps(data))
    assert edited.latency is None
    assert next(layer for layer in edited.layers if layer.name == row["name"]).latency is None
    kept = [layer.latency for layer in edited.layers if layer.name != row["name"]]
    assert kept == [layer.latency for layer in plan.layers if layer.name != row["name"]]


def test_plans_from_before_latencies_are_read() -> None:
    """The new fields are optional: a plan without them is a plan."""
    data = json.loads(_plan(method="compconv", target="macs=60%").to_json())
    data.pop("latency")
    for row in data["layers"]:
        row.pop("latency")
    assert isinstance(read_plan(json.dumps(data)), Plan)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("latency=60%", 6_000_000),
        ("latency=33.3%", 3_330_000),
        ("latency=2ms", 2_000_000),
        ("Latency = 1.5 ms", 1_500_000),
        ("latency=800us", 800_000),
        ("latency=800µs", 800_000),
        ("latency=0.01s", 10_000_000),
        ("latency=12345ns", 12_345),
    ],
)
def test_latency_targets_are_read_exactly(text: str, limit: int) -> None:
    """Shares of the original, or a duration with its unit."""
    (target,) = parse_targets(text)
    assert (target.metric, target.limit(FOUND.total, TOTAL)) == ("latency", limit)


@pytest.mark.parametrize(
    "text", ["latency=60", "latency=2G", "latency=-1ms", "latency=0ms", "latency=2 min", "macs=2ms"]
)
def test_durations_need_their_unit(text: str) -> None:
    """A number without a unit of time is no latency, and a time is no number of MACs."""
    with pytest.raises(TargetError, match=r"can't be read; .* latency=60% or latency=12ms"):
        parse_targets(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(81_000, "0.081 ms"), (1_204_000, "1.204 ms"), (12_340_000, "12.34 ms"), (123_456_000, "123.5 ms")],
)
def test_durations_for_people(nanoseconds: int, text: str) -> None:
    """Milliseconds with about four digits."""
    assert human_ms(nanoseconds) == shown("latency", nanoseconds) == text


def _igc_choices(size: tuple[int, int] = (8, 8)) -> tuple[Choices, ...]:
    return candidates([site for site in FOUND.sites if site.name == "conv2"], parse_method("igc"), Rules())


def test_only_what_can_win_is_timed() -> None:
    """At most PER_KIND widths of each kind of unit, both ends among them, in the order they came."""
    (before,), (after,) = _igc_choices(), worth_timing(_igc_choices())
    assert set(after.options) < set(before.options)
    kinds: dict[int, list[Candidate]] = {}
    for option in after.options:
        assert isinstance(option.spec, IGCSpec)
        kinds.setdefault(option.spec.primary_groups, []).append(option)
    assert kinds
    assert all(len(kind) <= PER_KIND for kind in kinds.values())
    assert [o for o in before.options if o in after.options] == list(after.options)


def test_a_beaten_unit_is_not_timed() -> None:
    """More MACs, parameters, partitions and damage than another unit: out. Fewer partitions: in."""
    (choice,) = _igc_choices()
    one, four = (
        next(o for o in choice.options if isinstance(o.spec, IGCSpec) and o.spec.primary_groups == groups)
        for groups in (1, 4)
    )
    dear = dataclasses.replace(four, cost=one.cost, damage=one.damage + 1)
    menu = dataclasses.replace(choice, options=(one, dear))
    assert worth_timing([menu])[0].options == (one,)
    cheap = dataclasses.replace(dear, damage=one.damage - 1)
    assert worth_timing([dataclasses.replace(choice, options=(one, cheap))])[0].options == (one, cheap)


def test_untimed_options_are_left_out_without_a_word() -> None:
    """What was not worth timing is no option, and no veto."""
    (choice,) = _igc_choices()
    first = choice.options[0]
    times: dict[tuple[str, Spec | None], int] = {("conv2", None): 1000, ("conv2", first.spec): 10}
    (kept,), vetoed = only_paying([choice], _latencies(times), allow_slower=False)
    assert (kept.options, vetoed) == ((first,), 0)


def test_layers_show_before_and_after() -> None:
    """A kept layer takes the same before and after; an untimed one nothing."""
    latencies = _latencies({("conv2", None): 7})
    conv2, gate = (next(site for site in FOUND.sites if site.name == name) for name in ("conv2", "gate"))
    assert isinstance(conv2, Site)
    assert latencies.layer(conv2, None) == LayerLatency(before_ns=7, after_ns=7)
    assert latencies.layer(gate, None) is None
    assert PROXY.of(conv2, MENUS["conv2"].options[0].spec)
