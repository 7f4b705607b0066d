"""The budget solver against exhaustive search."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.planning import solver
from convsurgeon.planning.solver import Infeasible, Option, Solution, solve


def _exhaustive(layers: list[list[Option]], limits: list[int]) -> float | None:
    """The least damage of any choice within the limits; None if there is none."""
    return min(
        (
            sum(option.damage for option in choice)
            for choice in itertools.product(*layers)
            if all(sum(option.costs[b] for option in choice) <= limit for b, limit in enumerate(limits))
        ),
        default=None,
    )


@st.composite
def _problems(draw: st.DrawFn) -> tuple[list[list[Option]], list[int]]:
    budgets = draw(st.integers(1, 3))
    unit = draw(st.sampled_from([1, 49, 10**6, 10**9 + 7]))
    jitter = draw(st.sampled_from([0, 3]))
    cost = st.builds(lambda whole, extra: whole * unit + extra, st.integers(0, 12), st.integers(0, jitter))
    damage = st.one_of(st.just(0.0), st.floats(1e-3, 100))
    option = st.builds(
        lambda costs, hurt: Option(tuple(costs), hurt), st.lists(cost, min_size=budgets, max_size=budgets), damage
    )
    layers = draw(st.lists(st.lists(option, min_size=1, max_size=5), min_size=1, max_size=4))
    limits = draw(
        st.lists(
            st.builds(lambda w, e: w * unit + e, st.integers(0, 40), st.integers(0, jitter)),
            min_size=budgets,
            max_size=budgets,
        )
    )
    return layers, limits


@settings(max_examples=120)
@given(_problems())
def test_exhaustive_search_agrees(problem: tuple[list[list[Option]], list[int]]) -> None:
    """With one to three budgets the picks keep every limit and have the least damage there is, or none exists."""
    layers, limits = problem
    best, answer = _exhaustive(layers, limits), solve(layers, limits)
    if best is None:
        assert isinstance(answer, Infeasible)
        return
    assert isinstance(answer, Solution)
    picked = [layer[i] for layer, i in zip(layers, answer.picks, strict=True)]
    for b, limit in enumerate(limits):
        assert sum(option.costs[b] for option in picked) <= limit
    assert answer.damage == pytest.approx(sum(option.damage for option in picked))
    assert answer.damage <= best * (1 + 1e-5) + 1e-9
    assert solve(layers, limits) == answer


@st.composite
def _labelled(draw: st.DrawFn) -> tuple[list[list[Option]], list[int]]:
    """A chain of parts between streams of two or three widths each, as narrowing makes them."""
    widths = draw(st.lists(st.integers(2, 3), min_size=2, max_size=3))
    numbers = st.integers(0, 12)
    damages = st.floats(1e-3, 100)
    parts = [
        [Option((-draw(st.integers(0, 2)),), draw(damages) * number, ((f"s{i}", number),)) for number in range(count)]
        for i, count in enumerate(widths)
    ]
    for i in range(len(widths) + 1):
        ends = [(f"s{j}", widths[j]) for j in sorted({max(i - 1, 0), min(i, len(widths) - 1)})]
        labels = itertools.product(*([(name, number) for number in range(count)] for name, count in ends))
        parts.append(
            [Option((draw(numbers),), draw(damages), one) for one in labels for _ in range(draw(st.integers(1, 2)))]
        )
    return parts, [draw(st.integers(0, 30))]


def _agree(choice: tuple[Option, ...]) -> bool:
    found: dict[str, int] = {}
    return all(found.setdefault(name, value) == value for option in choice for name, value in option.labels)


def _agreeing(parts: list[list[Option]]) -> list[tuple[Option, ...]]:
    """Every choice whose labels agree, part by part: what disagrees early is not carried on."""
    choices: list[tuple[Option, ...]] = [()]
    for part in parts:
        choices = [longer for choice in choices for option in part if _agree(longer := (*choice, option))]
    return choices


@settings(max_examples=150)
@given(_labelled())
def test_parts_that_share_a_stream_agree(problem: tuple[list[list[Option]], list[int]]) -> None:
    """Of all choices whose labels agree, the least damaging within the limits; without one, the cheapest is named."""
    parts, limits = problem
    agreeing = _agreeing(parts)
    within = [choice for choice in agreeing if sum(o.costs[0] for o in choice) <= limits[0]]
    answer = solve(parts, limits)
    if not within:
        assert answer == Infeasible((min(sum(o.costs[0] for o in choice) for choice in agreeing),))
        return
    assert isinstance(answer, Solution)
    picked = tuple(part[i] for part, i in zip(parts, answer.picks, strict=True))
    assert _agree(picked)
    assert sum(option.costs[0] for option in picked) <= limits[0]
    assert answer.damage <= min(sum(o.damage for o in choice) for choice in within) * (1 + 2e-3) + 1e-9


@pytest.mark.parametrize("limit", [10**6, 2 * 10**9, 4_089_184_256, 10**12])
def test_one_mac_over_is_over(limit: int) -> None:
    """At any scale, a choice that exceeds the limit by one MAC is not taken, and the next best one is."""
    tempting, fits = Option((limit // 2 + 1,), 0.0), Option((limit // 2,), 1e-4)
    answer = solve([[tempting, fits], [tempting, fits]], [limit])
    assert isinstance(answer, Solution)
    assert answer.picks == (1, 1)


def test_a_limit_met_exactly_is_met() -> None:
    """A choice that costs the limit itself is allowed."""
    answer = solve([[Option((7,), 0.0), Option((3,), 1.0)], [Option((5,), 0.0)]], [12])
    assert isinstance(answer, Solution)
    assert answer.picks == (0, 0)


def test_the_first_of_equals_stands() -> None:
    """Options of equal cost and damage: the earlier one, so that doing nothing wins a tie."""
    keep, same = Option((5,), 0.0), Option((5,), 0.0)
    answer = solve([[keep, same], [keep, same]], [10])
    assert isinstance(answer, Solution)
    assert answer.picks == (0, 0)


def test_infeasible_names_the_lowest_reachable() -> None:
    """No choice keeps the limits: the least each could be, the others ignored."""
    layers = [[Option((5, 1), 0.0), Option((1, 5), 0.0)], [Option((2, 2), 0.0)]]
    assert solve(layers, [2, 100]) == Infeasible((3, 3))
    assert solve(layers, [4, 4]) == Infeasible((3, 3))
    assert isinstance(solve(layers, [3, 7]), Solution)


def test_many_layers_and_options() -> None:
    """Fifty layers of forty options land within one step of the limit, and again the same."""
    layers = [
        [Option((100 * (layer % 7 + 1) * step,), (40 - step) ** 2 / (layer + 1)) for step in range(1, 41)]
        for layer in range(50)
    ]
    limit = sum(layer[-1].costs[0] for layer in layers) // 2
    answer = solve(layers, [limit])
    assert isinstance(answer, Solution)
    spent = sum(layer[i].costs[0] for layer, i in zip(layers, answer.picks, strict=True))
    assert limit - 700 <= spent <= limit
    assert solve(layers, [limit]) == answer


def test_picks_over_a_limit_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """If rounding lets picks over a limit through, they are excluded and the rest is solved again, exactly."""
    layers = [[Option((6,), 0.0), Option((5,), 1.0), Option((1,), 9.0)]] * 2
    true_milp = solver._milp
    rounds = []

    def careless(menus: object, limits: object, cuts: list[object]) -> tuple[list[int] | None, float]:
        rounds.append(len(cuts))
        return true_milp(menus, limits if len(cuts) > 1 else [10**9], cuts)  # type: ignore[arg-type]

    monkeypatch.setattr(solver, "_milp", careless)
    answer = solve(layers, [10])
    assert isinstance(answer, Solution)
    assert (answer.picks, answer.damage) == ((1, 1), 2.0)
    assert rounds == [0, 1, 2]


def test_a_solver_that_never_keeps_the_limit_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Picks over the limit are never returned, come what may."""
    monkeypatch.setattr(solver, "_milp", lambda *_: ([0], 0.0))
    with pytest.raises(ConvsurgeonError, match="stayed over the limits"):
        solve([[Option((6,), 0.0), Option((1,), 1.0)]], [5])
