"""Rules: patterns over names, kinds and kernels; the more specific one wins."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from convsurgeon import LayerRule, Rules, Site, inspect
from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.families import parse_method
from convsurgeon.planning.rules import check_rules, method_for, why_kept, why_stream_kept
from tests.nets import IMAGE, Residual, Shared


@pytest.fixture(scope="module")
def sites() -> dict[str, Site]:
    """The convolutions of a residual network, by name."""
    return {site.name: site for site in inspect(Residual(), torch.zeros(IMAGE)).sites}


def _chosen(sites: dict[str, Site], **rules: object) -> list[str]:
    return [name for name, site in sites.items() if why_kept(site, Rules(**rules)) is None]


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        ({}, ["conv1", "conv2", "gate"]),
        ({"stem": True}, ["stem.0", "conv1", "conv2", "gate"]),
        ({"shortcuts": True}, ["conv1", "conv2", "shortcut.0", "gate"]),
        ({"only": ["conv*"]}, ["conv1", "conv2"]),
        ({"only": ["kernel:3x3"]}, ["conv1", "conv2"]),
        ({"only": ["kernel:1x1"]}, ["gate"]),
        ({"only": ["kernel:1x1"], "shortcuts": True}, ["shortcut.0", "gate"]),
        ({"only": ["re:conv[12]"]}, ["conv1", "conv2"]),
        ({"only": ["re:conv"]}, []),
        ({"only": ["type:Conv2d"]}, ["conv1", "conv2", "gate"]),
        ({"only": ["stem.0"]}, ["stem.0"]),
        ({"only": ["shortcut.0", "gate"]}, ["shortcut.0", "gate"]),
        ({"only": ["shortcut.*"]}, []),
        ({"skip": ["conv2"]}, ["conv1", "gate"]),
        ({"skip": ["*"], "only": ["conv1"]}, ["conv1"]),
        ({"only": ["*"], "skip": ["conv1"]}, ["conv2", "gate"]),
        ({"only": ["conv1"], "skip": ["conv1"]}, []),
        ({"only": ["conv*"], "skip": ["kernel:3x3"]}, ["conv1", "conv2"]),
        ({"only": ["kernel:3x3"], "skip": ["conv*"]}, []),
        ({"only": ["re:conv.*"], "skip": ["type:Conv2d"]}, ["conv1", "conv2"]),
    ],
)
def test_patterns_choose_convolutions(sites: dict[str, Site], rules: dict[str, object], chosen: list[str]) -> None:
    """Exact name > glob > re: > type:/kernel:; between equals skip wins; an exact name frees stem and shortcut."""
    assert _chosen(sites, **rules) == chosen


@pytest.mark.parametrize(
    ("rules", "name", "reason"),
    [
        ({}, "stem.0", "stem: the first convolution stays by default"),
        ({}, "shortcut.0", "shortcut: 1×1 on a residual join stays by default"),
        ({"only": ["conv1"]}, "conv2", "not selected by 'only'"),
        ({"skip": ["conv1"]}, "conv1", "skipped by rule"),
    ],
)
def test_every_rule_that_keeps_says_so(
    sites: dict[str, Site], rules: dict[str, object], name: str, reason: str
) -> None:
    """A convolution that stays carries the reason."""
    assert why_kept(sites[name], Rules(**rules)) == reason


@pytest.mark.parametrize("field", ["only", "skip"])
def test_a_pattern_without_a_match_is_an_error(sites: dict[str, Site], field: str) -> None:
    """A rule that matches nothing is refused, with near names; one that matches is not."""
    with pytest.raises(UnknownName, match=r"rule 'conv3' matches none of the 5 convolutions\. Did you mean conv"):
        check_rules(Rules(**{field: ["conv1", "conv3"]}), sites.values())
    check_rules(Rules(**{field: ["conv1"]}), sites.values())


def test_a_layer_rule_without_a_match_is_an_error(sites: dict[str, Site]) -> None:
    """Also a rule that names another method must match something."""
    with pytest.raises(UnknownName, match="rule 'kernel:5x5' matches none"):
        check_rules(Rules(layers=[LayerRule(match="kernel:5x5", method="igc")]), sites.values())


def test_a_bad_regular_expression_is_named(sites: dict[str, Site]) -> None:
    """An expression that can't be read is refused with the reason."""
    with pytest.raises(UsageError, match=r"rule 're:\(' is no regular expression: missing \)"):
        check_rules(Rules(only=["re:("]), sites.values())


def test_the_most_specific_layer_rule_names_the_method(sites: dict[str, Site]) -> None:
    """Between rules of one kind the first stands; without a match there is none."""
    rules = Rules(
        layers=[
            LayerRule(match="kernel:3x3", method="igc"),
            LayerRule(match="conv*", method="compconv64"),
            LayerRule(match="con*", method="compconv32"),
            LayerRule(match="conv2", method="dgconv"),
        ]
    )
    methods = {name: method_for(site, rules) for name, site in sites.items()}
    assert methods == {
        "stem.0": parse_method("igc"),
        "conv1": parse_method("compconv64"),
        "conv2": parse_method("dgconv"),
        "shortcut.0": None,
        "gate": None,
    }


def test_a_module_answers_to_all_its_names() -> None:
    """A shared module is matched by any of its paths."""
    near = next(site for site in inspect(Shared(), torch.zeros(IMAGE)).sites if site.aliases)
    assert why_kept(near, Rules(skip=["far.again"])) == "skipped by rule"
    assert why_kept(near, Rules(only=["far.*"])) is None


@pytest.mark.parametrize(
    ("rules", "open_ones"),
    [
        ({}, ["a", "b", "c"]),
        ({"skip": ["a"]}, ["b", "c"]),
        ({"skip": ["b"]}, ["c"]),
        ({"skip": ["depthwise"]}, ["a", "c"]),
        ({"only": ["b"]}, ["b"]),
        ({"only": ["b", "depthwise", "c"], "skip": ["type:Conv2d"]}, ["b"]),
        ({"only": ["depthwise"]}, []),
        ({"only": ["*"], "skip": ["d"]}, ["a", "b"]),
    ],
)
def test_streams_stay_by_rules(rules: dict[str, object], open_ones: list[str]) -> None:
    """A skipped layer keeps the streams at its ends; ``only`` opens those that a selected layer writes; defaults for
    stems close none."""
    convs = {"a": nn.Conv2d(3, 8, 1), "b": nn.Conv2d(8, 8, 1), "depthwise": nn.Conv2d(8, 8, 3, groups=8)}
    model = nn.Sequential(OrderedDict(**convs, c=nn.Conv2d(8, 8, 1), d=nn.Conv2d(8, 8, 1), pool=nn.ReLU()))
    found = inspect(model, torch.zeros(1, 3, 9, 9))
    known = {site.name: site for site in found.sites}
    free = [stream for stream in found.streams if stream.closed is None]
    chosen = [stream.name for stream in free if why_stream_kept(stream, known, Rules(**rules)) is None]  # type: ignore[arg-type]
    assert chosen == open_ones


def test_a_stream_says_which_rule_keeps_it() -> None:
    """The reason names the layer that is skipped, or what ``only`` lacks."""
    found = inspect(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)), torch.zeros(1, 3, 4, 4))
    known = {site.name: site for site in found.sites}
    stream = found.streams[0]
    assert why_stream_kept(stream, known, Rules(skip=("1",))) == "skipped by rule: '1'"
    assert why_stream_kept(stream, known, Rules(only=("1",))) == "no layer that writes it is selected by 'only'"
