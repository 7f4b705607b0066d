"""Residual branches dropped from planning to a saved folder, on a network of which two branches can be told apart."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.errors import NothingToConvert, TargetError, UsageError
from convsurgeon.planning.plan_file import read_plan
from convsurgeon.planning.recipe import Recipe
from convsurgeon.planning.rules import Rules
from convsurgeon.report.markdown import to_markdown
from convsurgeon.report.page.conversion import to_html
from convsurgeon.report.terminal import render_layers
from tests.conversion.time_table import TableKeeper
from tests.nets import outside_macs

EXAMPLE = torch.zeros(1, 3, 12, 12)


class Branch(nn.Module):
    """x + f(x), f of two convolutions and norms with an activation in place between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.two, self.last = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        return x + self.last(self.two(self.relu(self.norm(self.one(x)))))


class Deep(nn.Module):
    """A stem, three branches on its stream, the second of which hardly does anything, a linear head."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.branches = nn.Sequential(*(Branch(width) for _ in range(3)))
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, 5]."""
        return self.head(self.branches(self.stem(x)).mean((2, 3)))


def _inputs(count: int = 96) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return list(torch.randn(count, 3, 12, 12, generator=random).split(32))


def _deep() -> Deep:
    torch.manual_seed(0)
    model = Deep().eval()
    with torch.no_grad():
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.1)
            norm.bias.normal_(0, 0.3)
        model.branches[1].last.weight.mul_(1e-3)
    return model


def _dropped(model: nn.Module, moves: str = "drop", target: str = "macs=69%", **more: object) -> convsurgeon.Conversion:
    recipe = Recipe(moves=moves, width_multiple=4, target=target, **more)  # type: ignore[arg-type]
    return convsurgeon.convert(model, EXAMPLE, calibration=_inputs(), recipe=recipe)


@pytest.fixture(scope="module")
def done() -> convsurgeon.Conversion:
    """The deep network without the branch that does least."""
    return _dropped(_deep())


def test_the_branch_that_does_least_goes(done: convsurgeon.Conversion) -> None:
    """Of three equal branches the one whose loss hurts the outputs least; what it added to x on average stays."""
    assert [row.block.name for row in done.plan.dropped] == ["branches.1"]
    assert {row.action for row in done.plan.blocks} == {"dropped", "kept"}
    assert {row.name for row in done.plan.layers if row.action == "dropped"} == {"branches.1.one", "branches.1.two"}
    x = torch.randn(8, 3, 12, 12)
    torch.testing.assert_close(done.model.eval()(x), _deep()(x), rtol=1e-2, atol=1e-2)


def test_the_plan_costs_what_is_counted_from_outside(done: convsurgeon.Conversion) -> None:
    """MACs and parameters are those of the network without the branch, as PyTorch counts them."""
    assert done.plan.after.macs == outside_macs(done.model, EXAMPLE) <= 0.7 * done.plan.before.macs
    assert done.plan.after.params == sum(p.numel() for p in done.model.parameters())


def test_the_caller_s_model_stays() -> None:
    """Dropping works on a copy, and leaves the original's tensors bit-equal and the caller's chance alone."""
    model = _deep()
    before, chance = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    _dropped(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize("restored_by", ["scale", "map"])
def test_what_stands_in_is_fitted(done: convsurgeon.Conversion, restored_by: str) -> None:
    """Of all scales and shifts, or 1×1 convolutions, of what the branch reads, the least squares."""
    content = json.loads(done.plan.to_json())
    for row in content["blocks"]:
        row["action"], row["restored_by"] = ("kept", "dropped")[row["block"]["name"] == "branches.0"], restored_by
    applied = convsurgeon.apply(_deep(), read_plan(json.dumps(content)), EXAMPLE, calibration=_inputs())
    unit: Any = applied.model.get_submodule("branches.0.last")
    assert unit.groups == (16 if restored_by == "scale" else 1)
    model, x = _deep(), torch.cat(_inputs())
    with torch.no_grad():
        read = model.stem(x)
        gave = model.branches[0](read) - read
        found = unit(read)
        for channel in range(16):
            inputs = read[:, [channel] if restored_by == "scale" else slice(None)].movedim(1, -1).flatten(0, 2)
            columns, wanted = torch.cat((inputs, torch.ones(len(inputs), 1)), 1), gave[:, channel].flatten()
            best = columns @ torch.linalg.lstsq(columns, wanted[:, None]).solution
            lost, least = (found[:, channel].flatten() - wanted).square().sum(), (best[:, 0] - wanted).square().sum()
            assert least <= lost <= least + 0.01 * (wanted - wanted.mean()).square().sum()


def test_swaps_widths_and_branches_share_a_budget() -> None:
    """With all moves the network costs what was planned, and its plan is read as it was written."""
    found = _dropped(_deep(), "swap,narrow,streams,drop", "macs=12%")
    plan = found.plan
    assert plan.dropped
    assert plan.narrowed
    assert plan.after.macs == outside_macs(found.model, EXAMPLE) <= 0.12 * plan.before.macs
    assert read_plan(plan.to_json()) == plan


def test_a_saved_folder_loads_bit_equal(done: convsurgeon.Conversion, tmp_path: Path) -> None:
    """The folder holds which branches are gone; the architecture alone brings the network back."""
    done.save(tmp_path / "saved")
    loaded, x = convsurgeon.load(tmp_path / "saved", model=Deep()), torch.randn(2, 3, 12, 12)
    assert torch.equal(loaded(x), done.model.eval()(x))


def test_a_plan_is_read_as_it_was_written(done: convsurgeon.Conversion) -> None:
    """Plans with branches are of version 2, and survive being written."""
    assert done.plan.version == 2
    assert read_plan(done.plan.to_json()) == done.plan


@pytest.mark.parametrize("action", ["kept", "dropped"])
def test_actions_of_branches_can_be_edited(done: convsurgeon.Conversion, action: str) -> None:
    """All branches kept, or dropped: rows and costs of their layers follow, and the plan can be applied."""
    content = json.loads(done.plan.to_json())
    for row in content["blocks"]:
        row["action"] = action
    edited = read_plan(json.dumps(content))
    assert {row.action for row in edited.layers if row.name.startswith("branches")} == {action}
    applied = convsurgeon.apply(_deep(), edited, EXAMPLE, calibration=_inputs())
    assert outside_macs(applied.model, EXAMPLE) == edited.after.macs
    assert (edited.after == edited.before) is (action == "kept")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"block": {"channels": 8}}, "other layers, parts or channels"),
        ({"block": {"parts": ["head"]}}, "other layers, parts or channels"),
        ({"block": {"parts": []}}, "has no parts"),
        ({"block": {"name": "branches.7"}}, "'branches.7' is not in this one"),
        ({"others": 5}, "has 5 parameters beside"),
        ({"carried": {"stem": 9}}, "has 64 parameters beside"),
    ],
)
def test_any_other_edit_is_refused(done: convsurgeon.Conversion, edit: dict[str, object], message: str) -> None:
    """One error says what is not the model's."""
    content = json.loads(done.plan.to_json())
    row = next(row for row in content["blocks"] if row["action"] == "dropped")
    for key, value in edit.items():
        if isinstance(value, dict) and isinstance(row[key], dict):
            row[key].update(value)
        else:
            row[key] = value
    with pytest.raises(UsageError, match=message):
        convsurgeon.apply(_deep(), read_plan(json.dumps(content)), EXAMPLE, calibration=_inputs())


def test_a_branch_that_has_to_stay_is_not_dropped_by_a_plan(done: convsurgeon.Conversion) -> None:
    """A frozen branch stays whatever a plan says; the same plan is carried out where it is trained."""
    frozen = _deep()
    frozen.branches[1].requires_grad_(False)
    with pytest.raises(UsageError, match=r"drops residual branch 'branches\.1', which has to stay: .* is frozen"):
        convsurgeon.apply(frozen, done.plan, EXAMPLE)
    assert convsurgeon.apply(_deep(), done.plan, EXAMPLE).plan.dropped


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        (Rules(skip=("branches.1.two",)), "skipped by rule: 'branches.1.two'"),
        (Rules(only=("branches.0.*", "branches.1.one")), "'branches.1.two' is not selected by 'only'"),
        (Rules(only=("branches.*",)), None),
    ],
)
def test_rules_hold_for_branches(rules: Rules, kept: str | None) -> None:
    """A branch goes only if nothing of it is skipped and all of its convolutions are selected."""
    rows = {row.block.name: row for row in _dropped(_deep(), rules=rules).plan.blocks}
    assert (rows["branches.1"].action == "dropped") is (kept is None)
    assert kept is None or rows["branches.1"].reason == kept


def test_a_branch_without_inputs_to_tell_stays() -> None:
    """Without calibration nothing is dropped, and each branch says what it takes; the swaps still meet the target."""
    recipe = Recipe(moves="swap,drop", target="macs=60%")  # type: ignore[arg-type]
    plan = convsurgeon.plan(_deep(), EXAMPLE, recipe=recipe)
    assert plan.replaced
    assert {row.reason for row in plan.blocks} == {"dropping needs calibration inputs (--calibrate DIR)"}
    with pytest.raises(NothingToConvert, match=r"residual branch branches\.1: dropping needs calibration"):
        convsurgeon.plan(_deep(), EXAMPLE, moves="drop", target="macs=60%")


def test_too_few_inputs_keep_every_branch() -> None:
    """Nine images hold out one only, on which chance would choose; ten hold out two."""
    few = [torch.cat(_inputs())[:11]]
    with pytest.raises(NothingToConvert, match="too few to tell"):
        convsurgeon.plan(_deep(), EXAMPLE, moves="drop", target="macs=70%", calibration=[few[0][:10]])
    assert convsurgeon.plan(_deep(), EXAMPLE, moves="drop", target="macs=70%", calibration=few).dropped


def test_what_is_out_of_reach_counts_the_branches() -> None:
    """Where nothing is swapped, what can be dropped is said."""
    with pytest.raises(TargetError, match="by 0 eligible of 7 convolutions and 3 dropped residual branches"):
        _dropped(_deep(), target="macs=0.1%")


def test_a_plan_without_inputs_only_leaves_out(done: convsurgeon.Conversion) -> None:
    """The report of a drop that was applied without calibration says that nothing makes up for the branch."""
    alone = convsurgeon.apply(_deep(), done.plan, EXAMPLE)
    assert any(note.startswith("1 residual branches were only left out") for note in alone.report.notes)
    assert not any("only left out" in note for note in done.report.notes)
    assert not alone.model.get_submodule("branches.1.last").weight.any()


def test_a_second_target_measures_nothing_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What branches hurt is kept; other data is measured anew."""
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path))
    asked: list[str] = []

    def plan(target: str, count: int) -> convsurgeon.Plan:
        asked.clear()
        recipe = Recipe(moves="drop", target=target)  # type: ignore[arg-type]

        def tell(stage: str, *_: object) -> None:
            asked.append(stage)

        return convsurgeon.plan(_deep(), EXAMPLE, calibration=_inputs(count), recipe=recipe, progress=tell)

    first = plan("macs=70%", 96)
    assert "measuring branches" in asked
    assert plan("macs=70%", 96) == first
    assert len(plan("macs=40%", 96).dropped) == 2
    assert "measuring branches" not in asked
    plan("macs=70%", 64)
    assert "measuring branches" in asked


def test_a_network_without_a_branch_recovers_and_is_lowered(done: convsurgeon.Conversion) -> None:
    """Distillation takes it, and so do lowering and torch.export, which files are made by."""
    settings = convsurgeon.RecoverSettings(steps=1)
    recovered = convsurgeon.recover(_deep(), done, _inputs(32), settings=settings)
    assert outside_macs(recovered.model, EXAMPLE) == done.plan.after.macs
    x = torch.randn(1, 3, 12, 12)
    lowered = convsurgeon.lower(done.model, EXAMPLE)
    torch.testing.assert_close(lowered.model(x), done.model.eval()(x), rtol=1e-3, atol=1e-4)
    exported = torch.export.export(done.model.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), done.model(x))


def test_times_of_dropped_layers_are_planned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions that no method touches are timed where their branch may go, and a stand-in takes its share."""
    table = TableKeeper()
    monkeypatch.setattr("convsurgeon.conversion.planner.timekeeper", lambda *_: table)
    found = _dropped(_deep(), target="latency=83%").plan
    assert [row.block.name for row in found.dropped] == ["branches.1"]
    taken = [
        row.latency.after_ns / row.latency.before_ns for row in found.layers if row.action == "dropped" and row.latency
    ]
    assert taken == pytest.approx([1 / 18, 1 / 18])
    assert found.latency is not None
    assert found.latency.ratio is not None
    assert found.latency.ratio <= 0.83
    assert found.latency.measured_after_ns == found.latency.predicted_ns


def test_branches_are_told_in_every_form(done: convsurgeon.Conversion) -> None:
    """The terminal's rows, Markdown and the page name each branch and what became of it."""
    console = Console(width=200, file=io.StringIO())
    console.print(render_layers(done.report))
    for text in (to_markdown(done.report), to_html(done.report), console.file.getvalue()):  # type: ignore[attr-defined]
        assert "branches.1" in text
        assert "dropped: 4 layers give way to a scale and a shift for each channel" in text
    assert "1 of 3 residual branches dropped" in to_markdown(done.report)
