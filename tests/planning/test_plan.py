"""Plans: chosen under every target, readable, editable, and refused where they do not belong."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from torch import nn

from convsurgeon import IGCSpec, LayerRule, Plan, Recipe, Rules, inspect, read_plan
from convsurgeon.base.errors import NothingToConvert, RecipeError, TargetError, UnknownName, UsageError
from convsurgeon.models.loading import build_model
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import PROXY, Damage
from convsurgeon.planning.plan_file import read_plan_file
from convsurgeon.planning.plan_fits import check_fits
from convsurgeon.planning.problem import pose
from tests.families.table import ROWS
from tests.nets import IMAGE, Plain, Residual, Shared


def _plan(network: nn.Module | None = None, damage: Damage = PROXY, **recipe: object) -> Plan:
    found = inspect(network or Residual(), torch.zeros(IMAGE))
    return make_plan(pose(found, Recipe(**recipe)).rated(damage))  # type: ignore[arg-type]


def test_resnet50_auto_lands_just_under_half() -> None:
    """auto with macs=50% keeps between 49.5 % and 50 % of ResNet-50's MACs."""
    found = inspect(build_model("resnet50", device="meta"), torch.empty(1, 3, 224, 224))
    recipe = Recipe(method="auto", target="macs=50%")
    plan = make_plan(pose(found, recipe))
    assert 0.495 <= plan.after.macs / plan.before.macs <= 0.5
    assert make_plan(pose(found, recipe)) == plan


@pytest.mark.parametrize("method", ["auto", *ROWS])
@pytest.mark.parametrize("target", ["macs=60%", "params=50%"])
def test_targets_are_never_exceeded(method: str, target: str) -> None:
    """Whatever the family and the metric, the plan stays within its target."""
    metric, limit = {"macs=60%": ("macs", 0.6), "params=50%": ("params", 0.5)}[target]
    plan = _plan(method=method, target=target)
    assert plan.replaced
    assert getattr(plan.after, metric) <= limit * getattr(plan.before, metric)


def test_several_targets_hold_at_once() -> None:
    """Two budgets in different metrics are both kept, and each alone asks for less."""
    alone = _plan(method="auto", target="macs=70%")
    both = _plan(method="auto", target=["macs=70%", "params=40%"])
    assert alone.after.params > both.before.params * 0.4
    assert both.after.macs <= both.before.macs * 0.7
    assert both.after.params <= both.before.params * 0.4


def test_a_target_of_everything_keeps_everything() -> None:
    """macs=100% is met by the original, so nothing is replaced, and every row says why."""
    plan = _plan(method="auto", target="macs=100%")
    assert plan.replaced == ()
    assert plan.after == plan.before
    eligible = [row for row in plan.layers if row.name in ("conv1", "conv2", "gate")]
    assert {row.reason for row in eligible} == {"the target is met without it"}


def test_an_unreachable_target_names_the_reachable_range() -> None:
    """The message says how low this method can go on this model, and how to get further."""
    with pytest.raises(TargetError) as caught:
        _plan(method="compconv", target="macs=5%")
    words = str(caught.value)
    assert words.startswith("target macs=5% can't be reached by 3 eligible of 5 convolutions. Reachable: macs from ")
    lowest = min_macs(words)
    assert _plan(method="compconv", target=f"macs={lowest + 0.1:.1f}%").replaced
    with pytest.raises(TargetError):
        _plan(method="compconv", target=f"macs={lowest - 0.1:.1f}%")


def min_macs(words: str) -> float:
    """The lower end of the range in the message, in percent."""
    return float(words.split("(")[1].split("%")[0])


def test_targets_that_fight_each_other_are_unreachable_together() -> None:
    """Each limit is reachable alone; where both are not, the message says so."""
    with pytest.raises(TargetError, match=r"macs from .*; params from .* \(each alone; together they may reach less\)"):
        _plan(method="compconv", target=["macs=5%", "params=99%"])


def test_fixed_methods_without_a_target_replace_every_eligible_layer() -> None:
    """compconv128 without a target takes all it may; stems, shortcuts and what saves nothing stay, with reasons."""
    plan = _plan(method="compconv128")
    assert [row.name for row in plan.replaced] == ["conv1", "conv2", "gate"]
    assert plan.target == ()
    assert {row.name: row.reason for row in plan.layers if row.action == "kept"} == {
        "stem.0": "stem: the first convolution stays by default",
        "shortcut.0": "shortcut: 1×1 on a residual join stays by default",
    }


@pytest.mark.parametrize("method", ["auto", *(name for name in ROWS if name != "dgconv")])
def test_families_with_a_choice_take_half_and_say_so(method: str) -> None:
    """Without a target they keep macs=50%, and a note says so."""
    plan = _plan(Plain(), method=method)
    assert plan.target == ("macs=50%",)
    assert plan.notes == (f"no target given: '{method}' has a choice, so macs=50% was taken",)
    assert plan.after.macs <= plan.before.macs / 2


def test_a_rule_with_a_choice_needs_a_target_too() -> None:
    """A fixed method beside a rule that has a choice takes the default target; the note names the rule's method."""
    rules = Rules(layers=[LayerRule(match="conv2", method="igc")])
    plan = _plan(method="compconv128", rules=rules)
    assert plan.notes == ("no target given: 'igc' has a choice, so macs=50% was taken",)
    methods = {row.name: row.spec.family for row in plan.replaced if row.spec}
    assert methods["conv2"] == "igc"
    assert set(methods.values()) == {"igc", "compconv"}


def test_dgconv_without_a_target_keeps_its_gates_open() -> None:
    """Cost unchanged but for K gates a layer, and the plan says so; with a target it gets 2^z groups."""
    plan = _plan(method="dgconv")
    assert plan.after.macs == plan.before.macs
    assert {row.reason for row in plan.replaced} == {"DGConv open gates"}
    assert plan.after.params == plan.before.params + 5 + 6 + 6
    assert any("keeps every gate open: cost unchanged" in note for note in plan.notes)
    hardened = _plan(method="dgconv", target="macs=60%")
    assert hardened.replaced
    assert all(row.spec.groups in (2, 4, 8, 16, 32, 64) for row in hardened.replaced)  # type: ignore[union-attr]


def test_dgconv_beside_a_rule_with_a_choice_is_hardened() -> None:
    """Once a rule brings the default target, dgconv groups too: open gates would save nothing."""
    rules = Rules(layers=[LayerRule(match="gate", method="igc")])
    plan = _plan(method="dgconv", rules=rules)
    assert plan.target == ("macs=50%",)
    assert plan.after.macs <= plan.before.macs / 2
    grouped = [row.spec.groups for row in plan.replaced if row.spec and row.spec.family == "dgconv"]
    assert grouped
    assert None not in grouped


def test_auto_never_plans_open_gates() -> None:
    """auto uses hardened candidates only."""
    plan = _plan(Plain(), method="auto", target="params=30%")
    assert plan.replaced
    assert "DGConv open gates" not in {row.reason for row in plan.layers}


def test_a_replacement_that_saves_nothing_is_refused() -> None:
    """A convolution that the method would make dearer stays, with both numbers; the one it helps does not."""
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 4, 1))
    rows = {row.name: (row.action, row.reason) for row in _plan(network, method="igc-l1m1-w48").layers}
    assert rows["1"] == ("replaced", "IGC L1M1 w48")
    assert rows["2"] == ("refused", "would not save MACs (36,864 → 470,016)")


def test_nothing_eligible_is_an_error_with_every_reason() -> None:
    """A model none of whose convolutions can change is refused, one line a convolution; its twin is not."""
    depthwise = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2))
    with pytest.raises(NothingToConvert) as caught:
        _plan(depthwise, method="compconv128")
    assert str(caught.value).splitlines() == [
        "nothing to convert: 'compconv128' can replace none of the 3 convolutions:",
        "  0: stem: the first convolution stays by default",
        "  1: depthwise: one input channel per group already",
        "  2: grouped convolution (groups=2): CompConv replaces dense ones",
    ]
    assert _plan(depthwise, method="compconv128", rules=Rules(stem=True)).replaced
    with pytest.raises(NothingToConvert, match="the model has no convolution"):
        _plan(nn.Flatten(), method="compconv128")


def test_damage_decides_between_layers() -> None:
    """The solver takes the candidate whose damage is least, and leaves alone what can't be estimated."""

    def hurt(site: object, spec: object) -> float | None:
        return {"conv1": 1.0, "conv2": 5.0}.get(site.name)  # type: ignore[attr-defined]

    plan = _plan(method="compconv", target="macs=85%", damage=Damage("test", hurt))
    assert [row.name for row in plan.replaced] == ["conv1"]
    assert plan.objective == "test"
    gate = next(row for row in plan.layers if row.name == "gate")
    assert (gate.action, gate.reason) == ("refused", "its damage can't be estimated from the data given")


def test_a_plan_survives_json() -> None:
    """Written and read again it is the same plan, and fits the published schema."""
    plan = _plan(Shared(), method="auto", target="macs=50%")
    assert read_plan(plan.to_json()) == plan
    jsonschema.validate(json.loads(plan.to_json()), Plan.model_json_schema())


def test_an_edited_plan_is_priced_anew() -> None:
    """Another spec in one row changes that row's cost, its words and the total, without any arithmetic by hand."""
    data = json.loads(_plan(method="compconv128").to_json())
    row = next(layer for layer in data["layers"] if layer["name"] == "conv2")
    row["spec"] = {"family": "igc", "primary_groups": 4, "secondary_groups": 2, "mid_channels": 64}
    row["after"] = {"macs": 1, "params": 1}
    edited = read_plan(json.dumps(data))
    spec = IGCSpec(primary_groups=4, secondary_groups=2, mid_channels=64)
    new = next(layer for layer in edited.layers if layer.name == "conv2")
    assert new.after.cost() == spec.cost(new.shape, new.positions)
    assert new.reason == "IGC L4M2 w64"
    rows = sum(layer.after.macs - layer.before.macs for layer in edited.layers)
    assert edited.after.macs == edited.before.macs + rows


def test_a_layer_can_be_kept_by_hand() -> None:
    """Taking the spec out and saying "kept" keeps a layer at its own cost."""
    data = json.loads(_plan(method="compconv128").to_json())
    row = next(layer for layer in data["layers"] if layer["name"] == "conv2")
    row |= {"spec": None, "action": "kept", "reason": "by hand"}
    edited = read_plan(json.dumps(data))
    assert [layer.name for layer in edited.replaced] == ["conv1", "gate"]
    kept = next(layer for layer in edited.layers if layer.name == "conv2")
    assert kept.after == kept.before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spec": None}, "layer 'conv2' is 'replaced' but has spec None"),
        ({"action": "kept"}, "layer 'conv2' is 'kept' but has spec"),
        (
            {"action": "swapped"},
            r"layers\.2\.action: Input should be 'replaced', 'narrowed', 'dropped', 'kept' or 'refused'",
        ),
        ({"spec": {"family": "ghost"}}, r"layers\.2\.spec: Input tag 'ghost'"),
        ({"spec": {"family": "dgconv", "grups": 2}}, r"layers\.2\.spec\.dgconv\.grups: Extra inputs are not permitted"),
    ],
)
def test_mistakes_in_a_plan_are_named(change: dict[str, object], words: str) -> None:
    """A row that contradicts itself, or an unknown word, is refused with its place."""
    data = json.loads(_plan(method="compconv128").to_json())
    row = next(layer for layer in data["layers"] if layer["name"] == "conv2")
    row |= change
    with pytest.raises(RecipeError, match=words):
        read_plan(json.dumps(data))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"family": "igc", "primary_groups": 7, "secondary_groups": 1, "mid_channels": 14}, "L=7 does not divide"),
        ({"family": "igc", "primary_groups": 2, "secondary_groups": 1, "mid_channels": 3}, "3 is no multiple of L·M"),
        ({"family": "dgconv", "groups": 3}, "expected one of 2, 4"),
        ({"family": "compconv", "depth": 1, "primary_channels": 1, "tail_kernel": [3, 3]}, "p=1 is too few for"),
        ({"family": "compconv", "depth": 1, "primary_channels": 8, "tail_kernel": [3]}, "has not the axes of"),
        ({"family": "igc", "primary_groups": 0, "secondary_groups": 1, "mid_channels": 8}, "greater than 0"),
    ],
)
def test_specs_that_do_not_fit_the_layer_are_named(spec: dict[str, object], words: str) -> None:
    """An edited spec that no module can have is refused with its layer; the one that was planned is read."""
    data = json.loads(_plan(method="compconv128").to_json())
    row = next(layer for layer in data["layers"] if layer["name"] == "conv2")
    assert read_plan(json.dumps(data)).replaced
    row["spec"] = spec
    with pytest.raises(RecipeError, match=words):
        read_plan(json.dumps(data))


@pytest.mark.parametrize("text", ["[]", "null", '{"version": 2}'])
def test_what_is_no_plan_is_refused(text: str, tmp_path: Path) -> None:
    """Anything but a plan of version 1 is refused, with the file's name."""
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"plan\.json is not a plan of version 1"):
        read_plan_file(path)
    with pytest.raises(UnknownName, match="no plan at"):
        read_plan_file(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Plain(), "'stem.0' is Conv2d 3→64 3×3 here and Conv2d 3→32 3×3 in the plan"),
        (nn.Sequential(nn.Conv2d(3, 8, 3)), "'stem.0' is not in this one"),
    ],
)
def test_another_model_is_refused_by_its_first_difference(other: nn.Module, words: str) -> None:
    """A plan for another model names the first convolution that is missing, differs, or is unknown to it."""
    plan = _plan(method="compconv128")
    with pytest.raises(UnknownName, match=words):
        check_fits(plan, inspect(other, torch.zeros(IMAGE)))
    check_fits(plan, inspect(Residual(), torch.zeros(IMAGE)))


def test_another_shape_is_refused_with_both_shapes() -> None:
    """The first convolution of another shape is named, with both shapes; an extra one by its name."""
    plan, wider, longer = _plan(method="compconv128"), Residual(), Residual()
    wider.conv2 = nn.Conv2d(64, 64, 5, padding=2)
    with pytest.raises(UnknownName, match="'conv2' is Conv2d 64→64 5×5 here and Conv2d 64→64 3×3 in the plan"):
        check_fits(plan, inspect(wider, torch.zeros(IMAGE)))
    longer.extra = nn.Conv2d(1, 1, 1)
    with pytest.raises(UnknownName, match="it does not know 'extra'"):
        check_fits(plan, inspect(longer, torch.zeros(IMAGE)))


def test_inputs_of_another_shape_are_refused() -> None:
    """A plan's costs hold for its own input shapes; other shapes are refused, the same ones are not."""
    plan = _plan(method="compconv128")
    with pytest.raises(UsageError, match=r"made for inputs \[1, 3, 16, 16\], these are \[2, 3, 20, 20\]"):
        check_fits(plan, inspect(Residual(), torch.zeros(2, 3, 20, 20)))
    check_fits(plan, inspect(Residual(), torch.ones(IMAGE)))


def test_a_convolution_has_one_row() -> None:
    """A row that stands twice is refused by its name: one of the two would be carried out without a word."""
    data = json.loads(_plan(method="compconv128").to_json())
    assert read_plan(json.dumps(data)).layers
    data["layers"].append(data["layers"][2])
    with pytest.raises(RecipeError, match="'conv2' has 2 rows in layers; expected one for each convolution"):
        read_plan(json.dumps(data))


def test_rows_that_do_not_count_this_model_are_refused() -> None:
    """Costs are priced from a row's numbers, so other numbers than the model's are refused by the layer's name."""
    found, plan = inspect(Residual(), torch.zeros(IMAGE)), _plan(method="compconv128")
    check_fits(plan, found)
    data = json.loads(plan.to_json())
    data["layers"][2]["positions"] += 1
    with pytest.raises(UsageError, match=r"the plan says of 'conv2': 1 calls, 65 positions, .* this model has 1, 64"):
        check_fits(read_plan(json.dumps(data)), found)


def test_a_truth_is_no_number_in_a_plan() -> None:
    """true is not read as 1."""
    data = json.loads(_plan(method="compconv128").to_json())
    assert read_plan(json.dumps(data)).layers[2].calls == 1
    data["layers"][2]["calls"] = True
    with pytest.raises(RecipeError, match=r"layers\.2\.calls: Input should be a valid integer"):
        read_plan(json.dumps(data))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"in_channels": 0}, "whole numbers from 1 on"),
        ({"out_channels": -16}, "whole numbers from 1 on"),
        ({"kernel": [3, 0]}, "whole numbers from 1 on"),
        ({"groups": 5}, "can't be cut into 5 groups"),
        ({"stride": [1]}, "one number for each of 1, 2 or 3 axes"),
        ({"kernel": [], "stride": [], "dilation": [], "padding": []}, "one number for each of 1, 2 or 3 axes"),
        ({"padding": [-1, 0]}, "a padding is no less than 0"),
        ({"padding": "same"}, ""),
        ({"padding": [[0, 1], [0, 1]]}, ""),
    ],
)
def test_a_shape_that_no_convolution_has_is_refused(changes: dict[str, object], said: str) -> None:
    """A plan's rows are edited by people, and read by code that divides by their numbers."""
    content = json.loads(_plan(method="igc-l4m2").model_dump_json())
    content["layers"][1]["shape"] |= changes
    if not said:
        assert read_plan(json.dumps(content), "plan.json")
        return
    with pytest.raises(RecipeError, match=rf"layers\.1\.shape: .*{said}"):
        read_plan(json.dumps(content), "plan.json")
