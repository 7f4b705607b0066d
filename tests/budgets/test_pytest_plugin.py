"""Budgets in a project's own tests."""

from __future__ import annotations

import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from torch import nn

from convsurgeon.base.errors import ModelRunError, UsageError
from convsurgeon.budgets.pytest_plugin import assert_budget
from tests.budgets.budget_project import LARGE_MACS, NETS

pytest_plugins = ["pytester"]

IMAGE = torch.zeros(1, 3, 10, 10)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quick_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WARM_UP_S", "TIMED_S"):
        monkeypatch.setattr(f"convsurgeon.budgets.latency.{name}", 0.0)


def _net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 1))


def test_a_model_within_its_budget_passes() -> None:
    """Exactly the limit is within it, for every kind of limit."""
    macs = LARGE_MACS + 8 * 64
    assert_budget(_net(), IMAGE, macs=macs, flops=2 * macs, params=233, weights_size="932B", latency="1000s")


def test_a_model_over_its_budget_fails_with_the_layers_responsible() -> None:
    """The message names the numbers, the limit and the layers by size."""
    with pytest.raises(AssertionError) as caught:
        assert_budget(_net(), IMAGE, macs="14k", params="1k")
    assert str(caught.value) == (
        "assert_budget, entry 'Sequential', macs: 14,336 MACs, at most 14,000 MACs (14k) allowed, 336 MACs too many\n"
        "Layers responsible, the largest layers:\n"
        "  MACs 0: 13,824 (96.4 %)\n"
        "  MACs 2: 512 (3.6 %)\n"
        "  params 0: 224 (96.1 %)\n"
        "  params 2: 9 (3.9 %)"
    )


def test_a_latency_does_fail_a_test() -> None:
    """Who asserts a latency insists on it."""
    with pytest.raises(AssertionError, match="latency: "):
        assert_budget(_net(), IMAGE, latency="0.00001ms")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "no limit is given"),
        ({"macs": "4X"}, "'4X' can't be read"),
        ({"macs": "+2%"}, "compares with something else"),
    ],
)
def test_limits_that_mean_nothing_here_are_refused(limits: dict[str, str], words: str) -> None:
    """A test that could never fail, or has nothing to compare with, is an error; a plain amount is not."""
    with pytest.raises(UsageError, match=words.replace("+", r"\+")):
        assert_budget(_net(), IMAGE, **limits)  # type: ignore[arg-type]
    assert_budget(_net(), IMAGE, macs="1G")


def test_a_model_that_fails_is_no_failed_budget() -> None:
    """Wrong inputs raise the model's error, not an assertion."""
    with pytest.raises(ModelRunError, match=r"\[1, 4, 10, 10\]"):
        assert_budget(_net(), torch.zeros(1, 4, 10, 10), macs="1G")


def test_the_plugin_is_registered() -> None:
    """The package's entry point for pytest names a module that can be imported and has the fixture."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert hasattr(import_module(module), "convsurgeon_check")


def test_the_fixture_checks_entries(pytester: pytest.Pytester) -> None:
    """Within its budget an entry passes, over it the test fails with the layers, an unknown one is said."""
    pytester.makefile(
        ".toml",
        convsurgeon='[[budgets]]\nname = "fine"\nmodel = "nets.py:small"\nmacs = "7k"\n\n'
        '[[budgets]]\nname = "over"\nmodel = "nets.py:large"\nmacs = "7k"\n',
    )
    pytester.path.joinpath("nets.py").write_text(NETS)
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("name", ["fine", "over", "ovre"])
        def test_entry(convsurgeon_check, name):
            convsurgeon_check(name)
        """
    )
    installed = entry_points(group="pytest11", name="convsurgeon")
    result = pytester.runpytest_inprocess(
        *([] if installed else ["-p", "convsurgeon.budgets.pytest_plugin"]), "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E   *AssertionError: convsurgeon.toml, entry 'over', macs: 13,824 MACs, at most 7,000 MACs (7k) allowed*",
            "E   *MACs 0: 13,824 (100.0 %)",
            "E   *UnknownName: convsurgeon.toml has no entry 'ovre'. Did you mean over?",
        ]
    )
