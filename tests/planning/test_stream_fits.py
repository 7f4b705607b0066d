"""Plans with streams that were edited: what is kept may be anything, all else has to be the model's."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convsurgeon import Survey, inspect
from convsurgeon.base.errors import UsageError
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_file import read_plan
from convsurgeon.planning.plan_fits import check_fits
from convsurgeon.planning.problem import pose
from convsurgeon.planning.recipe import merged
from convsurgeon.planning.widths import Widths
from convsurgeon.surgery.operate import narrowed

Edit = Callable[[dict[str, Any]], None]


class Chain(nn.Module):
    """Two streams, ``first`` with a norm and ``second``, and a linear head: [N, 3, H, W] → [N, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)
        self.second, self.head = nn.Conv2d(16, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        return self.head(self.second(self.norm(self.first(x)).relu()).relu().mean((2, 3)))


@pytest.fixture(scope="module")
def surveyed() -> Survey:
    """Of the chain."""
    return inspect(Chain(), torch.zeros(1, 3, 8, 8))


@pytest.fixture(scope="module")
def plan(surveyed: Survey) -> dict[str, Any]:
    """A plan that halves both streams, as its file holds it."""
    problem = pose(surveyed, merged(None, target="macs=60%", moves="narrow"))
    open_ones = {stream.name: stream for stream in surveyed.streams if stream.closed is None}
    widths = [
        Widths((stream,), ((tuple(range(n)),), (tuple(range(n // 2)),)), (0.0, 0.1), (carried,))
        for stream, n, carried in ((open_ones["first"], 16, 2), (open_ones["second"], 8, 0))
    ]
    closed = [stream for stream in surveyed.streams if stream.closed is not None]
    content: dict[str, Any] = json.loads(make_plan(problem.narrowing(widths, closed)).to_json())
    for row in content["streams"]:
        if row["action"] == "kept":
            row["kept"] = "0-7" if row["stream"]["channels"] == 16 else "0-3"
    return content


def _read(plan: dict[str, Any], edit: Edit) -> Plan:
    content = copy.deepcopy(plan)
    edit(content)
    return read_plan(json.dumps(content))


def _row(key: str, value: Any) -> Edit:
    return lambda content: content["streams"][0].update({key: value})


def _stream(key: str, value: Any) -> Edit:
    return lambda content: content["streams"][0]["stream"].update({key: value})


@pytest.mark.parametrize(
    ("kept", "action", "reason"),
    [
        ("0-15", "kept", "the target is met without it"),
        ("3,7-9", "narrowed", "16 → 4 channels"),
        ("15", "narrowed", "16 → 1 channels"),
    ],
)
def test_what_is_kept_may_be_edited(
    plan: dict[str, Any], surveyed: Survey, kept: str, action: str, reason: str
) -> None:
    """Action, reason and layers follow from the channels alone, and the network has them."""
    edited = _read(plan, _row("kept", kept))
    check_fits(edited, surveyed)
    row = edited.streams[0]
    assert (row.action, row.reason) == (action, reason)
    network = narrowed(Chain(), edited)
    assert network.get_submodule("first").out_channels == len(row.channels)
    assert edited.after.params == sum(p.numel() for p in network.parameters())


def test_a_damage_of_another_width_is_dropped(plan: dict[str, Any]) -> None:
    """An edited row makes no promise; one that was not edited keeps its own."""
    first = _read(plan, lambda _: None).streams[0].model_copy(update={"damage": 0.1})
    content = json.loads(first.model_dump_json())

    def damage(kept: str) -> float | None:
        return _read(plan, lambda all: all["streams"].__setitem__(0, content | {"kept": kept})).streams[0].damage

    assert damage(first.kept) == 0.1
    assert damage("0-1") is None


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_row("kept", ""), "can't be read"),
        (_row("kept", "15-0"), "ascending"),
        (_row("kept", "0-99999999999"), "from 0 to 15"),
        (_row("action", "closed"), "is 'closed' but keeps"),
        (_row("carried", 5), "carry 5 parameters for each channel; in this model it is 2"),
        (_stream("channels", 10**12), "has 1000000000000 channels"),
        (_stream("channels", 17), "other channels, producers, carriers or readers"),
        (_stream("name", "third"), "stream 'third' is not in this one"),
        (_stream("readers", []), "other channels, producers, carriers or readers"),
        (_stream("readers", [{"name": "first", "offset": 0, "span": 1}]), "8 of the 3 inputs of 'first'"),
        (_stream("readers", [{"name": "second", "offset": 3, "span": 1}]), "other channels, producers, carriers"),
        (lambda content: content["streams"].append(content["streams"][0]), "2 rows in streams"),
        (lambda content: content["linears"].clear(), "no row in linears for 'head'"),
        (lambda content: content["linears"].append(content["linears"][0]), "or there twice"),
        (lambda content: content["linears"][0]["layer"].update(positions=9), "not this model's"),
        (lambda content: content["before"].update(macs=5), "says that the model has 5 MACs"),
    ],
)
def test_any_other_edit_is_refused(plan: dict[str, Any], surveyed: Survey, edit: Edit, message: str) -> None:
    """One error says what is not the model's; nothing is counted for hours, and nothing half done."""
    with pytest.raises(UsageError, match=message):
        _applied(_read(plan, edit), surveyed)


def _applied(plan: Plan, surveyed: Survey) -> nn.Module:
    check_fits(plan, surveyed)
    return narrowed(Chain(), plan)


def test_a_stream_that_has_to_stay_is_not_opened_by_a_plan(plan: dict[str, Any], surveyed: Survey) -> None:
    """What the network gives back keeps its channels, whatever a plan says of it."""

    def opened(content: dict[str, Any]) -> None:
        row = next(row for row in content["streams"] if row["action"] == "closed")
        row.update(action="narrowed", kept="0")
        row["stream"]["closed"] = None

    with pytest.raises(UsageError, match="has to stay: the network gives it back"):
        check_fits(_read(plan, opened), surveyed)
