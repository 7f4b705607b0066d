"""Streams narrowed from planning to a saved folder, on networks of which half of the channels are copies."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console, RenderableType
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.errors import NothingToConvert, TargetError, UnknownName
from convsurgeon.planning.plan_file import read_plan
from convsurgeon.planning.recipe import Recipe
from convsurgeon.planning.rules import Rules
from convsurgeon.report.markdown import to_markdown
from convsurgeon.report.page.conversion import to_html
from convsurgeon.report.terminal import render_layers
from tests.conversion.time_table import TableKeeper
from tests.nets import outside_macs

EXAMPLE = torch.zeros(1, 3, 12, 12)


class Blocks(nn.Module):
    """A stem, two residual blocks on its stream, a linear head: [N, 3, H, W] → [N, 5]."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.inside = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.inside_norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
        self.back = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        x = F.relu(self.stem_norm(self.stem(x)))
        for conv, norm, back in zip(self.inside, self.inside_norms, self.back, strict=True):
            x = F.relu(x + back(F.relu(norm(conv(x)))))
        return self.head(x.mean((2, 3)))


def _inputs(count: int = 96) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return list(torch.randn(count, 3, 12, 12, generator=random).split(32))


def _with_copies() -> Blocks:
    """Every second channel of every stream equals the one before it, so that half of all channels can go."""
    torch.manual_seed(0)
    model = Blocks().eval()
    with torch.no_grad():
        for norm in (model.stem_norm, *model.inside_norms):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
            for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                values[1::2] = values[::2]
        for conv in (model.stem, *model.inside, *model.back):
            conv.weight[1::2] = conv.weight[::2]
            if conv.bias is not None:
                conv.bias[1::2] = conv.bias[::2]
    return model


def _narrowed(model: nn.Module, moves: str = "narrow,streams", target: str = "macs=27%") -> convsurgeon.Conversion:
    recipe = Recipe(moves=moves, width_multiple=1)  # type: ignore[arg-type]
    return convsurgeon.convert(model, EXAMPLE, method="auto", target=target, calibration=_inputs(), recipe=recipe)


@pytest.fixture(scope="module")
def halved() -> convsurgeon.Conversion:
    """Half of every stream, by moves that only narrow."""
    return _narrowed(_with_copies())


def test_copies_go_without_a_trace(halved: convsurgeon.Conversion) -> None:
    """Where half of the channels are copies, a quarter of the MACs computes the same."""
    model, x = _with_copies(), torch.randn(8, 3, 12, 12)
    assert not halved.plan.replaced
    assert {row.stream.name: len(row.channels) for row in halved.plan.narrowed} == {
        "stem": 8,
        "inside.0": 8,
        "inside.1": 8,
    }
    torch.testing.assert_close(halved.model.eval()(x), model(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("method", "moves", "calibrated", "narrows"),
    [
        ("auto", None, True, True),
        ("auto", None, False, False),
        ("auto", "swap", True, False),
        ("igc", None, True, False),
        ("igc", "swap,narrow", True, True),
    ],
)
def test_auto_narrows_by_itself_where_damage_is_measured(
    method: str, moves: str | None, calibrated: bool, narrows: bool
) -> None:
    """Copies of channels cost nothing to lose; other methods, named moves and no inputs leave it at what was asked."""
    recipe, inputs = Recipe(width_multiple=1), _inputs() if calibrated else None
    plan = convsurgeon.plan(
        _with_copies(), EXAMPLE, method=method, moves=moves, target="macs=20%", calibration=inputs, recipe=recipe
    )
    assert bool(plan.narrowed) == narrows
    assert any(row.closed is None for row in convsurgeon.inspect(_with_copies(), EXAMPLE).streams)


@pytest.mark.parametrize("moves", ["narrow,streams", "swap,narrow,streams"])
def test_what_no_width_reaches_is_refused_before_measuring(moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range is that of the narrowest streams; a target within it is measured."""

    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("convsurgeon.conversion.damage.measure_damage", measured)
    monkeypatch.setattr("convsurgeon.conversion.narrowing.measure_streams", measured)
    with pytest.raises(TargetError, match=r"macs=1% can't .* 3 narrowed streams\. Reachable at best: macs from"):
        _narrowed(_with_copies(), moves, "macs=1%")
    with pytest.raises(AssertionError, match="measured"):
        _narrowed(_with_copies(), moves, "macs=30%")


def test_the_plan_costs_what_is_counted_from_outside(halved: convsurgeon.Conversion) -> None:
    """The plan's MACs and parameters are those of the narrowed network, as PyTorch counts them."""
    assert halved.plan.objective.startswith("measured: relative error that each width leaves")
    assert halved.plan.after.macs == outside_macs(halved.model, EXAMPLE)
    assert halved.plan.after.params == sum(p.numel() for p in halved.model.parameters())
    assert halved.plan.after.macs <= 0.27 * halved.plan.before.macs


def test_the_caller_s_model_stays() -> None:
    """Narrowing works on a copy, and leaves the original's tensors bit-equal."""
    model = _with_copies()
    before = copy.deepcopy(model.state_dict())
    _narrowed(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_only_plain_layers_stand_in_a_narrowed_network(halved: convsurgeon.Conversion) -> None:
    """Narrowed layers are torch's own, so that everything else that takes a network takes this one."""
    original = {name: type(module) for name, module in Blocks().named_modules()}
    assert {name: type(module) for name, module in halved.model.named_modules()} == original


def test_swaps_and_widths_share_a_budget() -> None:
    """With all moves, convolutions of narrowed shapes are swapped, too, and the network costs what was planned."""
    done = _narrowed(_with_copies(), "swap,narrow,streams", "macs=20%")
    assert done.plan.narrowed
    assert any(row.narrowed is not None for row in done.plan.replaced)
    assert done.plan.after.macs == outside_macs(done.model, EXAMPLE) <= 0.2 * done.plan.before.macs


@pytest.mark.parametrize(("moves", "joined"), [("narrow", False), ("streams", True)])
def test_moves_name_what_may_be_narrowed(moves: str, joined: bool) -> None:
    """``narrow`` takes streams with one writer, ``streams`` those that an addition joins; others say so."""
    done = _narrowed(_with_copies(), moves, "macs=80%")
    assert {row.stream.joined for row in done.plan.narrowed} == {joined}
    others = [row for row in done.plan.streams if row.action == "closed"]
    assert any("is not among the moves" in row.reason for row in others)


def test_a_saved_folder_loads_bit_equal(halved: convsurgeon.Conversion, tmp_path: Path) -> None:
    """The folder holds widths and weights; the architecture alone brings the network back."""
    halved.save(tmp_path / "saved")
    loaded = convsurgeon.load(tmp_path / "saved", model=Blocks())
    x = torch.randn(2, 3, 12, 12)
    assert torch.equal(loaded(x), halved.model.eval()(x))


def test_a_plan_is_read_as_it_was_written(halved: convsurgeon.Conversion) -> None:
    """Plans with streams are of version 2, and survive being written."""
    assert halved.plan.version == 2
    assert read_plan(halved.plan.to_json()) == halved.plan


def test_an_edited_stream_is_priced_anew(halved: convsurgeon.Conversion) -> None:
    """Keeping other channels of one stream changes shapes and costs of the layers at its ends, and can be applied."""
    text = halved.plan.to_json()
    row = next(row for row in halved.plan.narrowed if row.stream.name == "inside.0")
    edited = read_plan(text.replace(f'"kept": "{row.kept}"', '"kept": "0-3"', 1))
    changed = next(one for one in edited.streams if one.kept == "0-3")
    writer = next(layer for layer in edited.layers if layer.name == changed.stream.producers[0].name)
    assert writer.now.out_channels == 4
    assert edited.after.macs < halved.plan.after.macs
    done = convsurgeon.apply(_with_copies(), edited, EXAMPLE, calibration=_inputs())
    assert outside_macs(done.model, EXAMPLE) == edited.after.macs


class Tokens(nn.Module):
    """Two linear layers on rows of patches, of which the second half of the hidden channels are copies:
    [N, 3, H, W] → [N, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.inside = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 16)
        self.back, self.head = nn.Linear(16, 8), nn.Linear(8, 5)
        with torch.no_grad():
            self.inside.weight[8:], self.inside.bias[8:] = self.inside.weight[:8], self.inside.bias[:8]

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        rows = self.patches(x).flatten(2).transpose(1, 2)
        return self.head((rows + self.back(F.gelu(self.inside(rows)))).mean(1))


def test_linear_layers_on_rows_are_narrowed() -> None:
    """The channels of linear layers that run on [N, T, C] are the last axis: copies go without a trace."""
    torch.manual_seed(0)
    model, x = Tokens().eval(), torch.randn(4, 3, 12, 12)
    recipe = Recipe(moves="narrow", width_multiple=8, target="macs=85%")  # type: ignore[arg-type]
    done = convsurgeon.convert(model, EXAMPLE, calibration=_inputs(), recipe=recipe)
    assert [row.stream.name for row in done.plan.narrowed] == ["inside"]
    torch.testing.assert_close(done.model(x), model(x), rtol=1e-3, atol=1e-3)
    assert done.plan.after.macs == outside_macs(done.model, EXAMPLE)


def test_a_plan_without_inputs_only_cuts(halved: convsurgeon.Conversion) -> None:
    """The report of a narrowing that was applied without calibration says that nothing makes up for the channels."""
    with_inputs = convsurgeon.apply(_with_copies(), halved.plan, EXAMPLE, calibration=_inputs())
    assert not any("only cut" in note for note in with_inputs.report.notes)
    alone = convsurgeon.apply(_with_copies(), halved.plan, EXAMPLE)
    assert any(note.startswith("3 narrowed streams were only cut") for note in alone.report.notes)


def test_a_second_target_measures_nothing_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What streams hurt is kept: the same plan comes without measuring; other data is measured anew."""
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path))
    asked: list[str] = []

    def plan(target: str, inputs: list[Tensor]) -> convsurgeon.Plan:
        def tell(stage: str, _done: int, _total: int, _name: str) -> None:
            asked.append(stage)

        asked.clear()
        recipe = Recipe(moves="narrow,streams", width_multiple=4)  # type: ignore[arg-type]
        return convsurgeon.plan(
            _with_copies(), EXAMPLE, target=target, calibration=inputs, recipe=recipe, progress=tell
        )

    first = plan("macs=40%", _inputs())
    assert "measuring streams" in asked
    assert plan("macs=40%", _inputs()) == first
    assert plan("macs=60%", _inputs()).after.macs > first.after.macs
    assert "measuring streams" not in asked
    plan("macs=40%", _inputs(64))
    assert "measuring streams" in asked


def test_rules_hold_for_streams() -> None:
    """What ``skip`` names keeps its streams, and each says why."""
    recipe = Recipe(moves="narrow", width_multiple=1, rules=Rules(skip=("inside.0",)))  # type: ignore[arg-type]
    done = convsurgeon.plan(_with_copies(), EXAMPLE, target="macs=90%", calibration=_inputs(), recipe=recipe)
    reasons = {row.stream.name: row.reason for row in done.streams}
    assert reasons["inside.0"] == "skipped by rule: 'inside.0'"
    assert [row.stream.name for row in done.narrowed] == ["inside.1"]


def test_a_stream_without_inputs_to_tell_stays() -> None:
    """Without calibration nothing is narrowed, and each stream says what it takes; the swaps still meet the target."""
    recipe = Recipe(moves="swap,narrow,streams")  # type: ignore[arg-type]
    done = convsurgeon.convert(_with_copies(), EXAMPLE, method="auto", target="macs=60%", recipe=recipe)
    assert done.plan.replaced
    assert {row.action for row in done.plan.streams} == {"closed"}
    assert any("calibration inputs" in row.reason for row in done.plan.streams)


def test_a_narrowed_network_recovers(halved: convsurgeon.Conversion) -> None:
    """Distillation takes it: features are compared where both networks have the same channels."""
    settings = convsurgeon.RecoverSettings(steps=1)
    recovered = convsurgeon.recover(_with_copies(), halved, _inputs(32), settings=settings)
    assert outside_macs(recovered.model, EXAMPLE) == halved.plan.after.macs


def test_a_narrowed_network_is_lowered(halved: convsurgeon.Conversion) -> None:
    """Batch norms fold into narrowed convolutions as into any."""
    lowered = convsurgeon.lower(halved.model, EXAMPLE)
    x = torch.randn(1, 3, 12, 12)
    torch.testing.assert_close(lowered.model(x), halved.model.eval()(x), rtol=1e-3, atol=1e-4)


def test_widths_are_multiples() -> None:
    """Streams keep multiples of what is asked for."""
    recipe = Recipe(moves="narrow", width_multiple=4)  # type: ignore[arg-type]
    done = convsurgeon.convert(
        _with_copies(), EXAMPLE, method="auto", target="macs=75%", calibration=_inputs(), recipe=recipe
    )
    assert done.plan.narrowed
    assert all(len(row.channels) % 4 == 0 for row in done.plan.narrowed)


def test_readers_beyond_the_memory_limit_keep_their_streams() -> None:
    """What can't be fitted again within ``--fit-memory`` keeps its inputs and says why; with enough it is narrowed."""

    def plan(gib: float) -> convsurgeon.Plan:
        recipe = Recipe(moves="narrow,streams", fit_memory=gib)  # type: ignore[arg-type]
        return convsurgeon.plan(_with_copies(), EXAMPLE, target="macs=60%", calibration=_inputs(), recipe=recipe)

    with pytest.raises(NothingToConvert, match=r"stream stem: 'inside.0' reads it, and .* \(--fit-memory GIB\)"):
        plan(1e-6)
    assert plan(1.0).narrowed


@pytest.mark.parametrize(
    ("runtime", "multiple", "closed"),
    [("eager", 16, True), ("eager", None, False), ("onnxruntime", None, True), ("onnxruntime", 8, False)],
)
def test_a_stream_without_another_width_says_so(runtime: str, multiple: int | None, closed: bool) -> None:
    """Sixteen channels have no smaller multiple of sixteen, which ONNX Runtime's blocks ask for where nobody says
    another; the stream has its row and its reason all the same."""
    recipe = Recipe(moves="swap,narrow", width_multiple=multiple, runtime=runtime)  # type: ignore[arg-type]
    plan = convsurgeon.plan(_with_copies(), EXAMPLE, target="macs=40%", calibration=_inputs(), recipe=recipe)
    row = next(row for row in plan.streams if row.stream.name == "inside.0")
    assert (row.action == "closed") is closed
    assert ("multiple of 16" in row.reason) is closed


def test_an_unknown_move_is_named() -> None:
    """A word that is no move is refused with the ones there are."""
    with pytest.raises(UnknownName, match=r"unknown move 'narow'; expected swap, .* Did you mean narrow"):
        convsurgeon.convert(_with_copies(), EXAMPLE, moves="narow", target="macs=50%")


def test_times_of_narrowed_layers_are_planned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a latency target convolutions are timed at their widths, and the measured network is as fast as asked."""
    table = TableKeeper()
    monkeypatch.setattr("convsurgeon.conversion.planner.timekeeper", lambda runtime, precision: table)
    done = _narrowed(_with_copies(), "swap,narrow,streams", "latency=60%")
    assert done.plan.narrowed
    assert {size[1] for size, _ in table.asked} > {3, 16}
    latency = done.plan.latency
    assert latency is not None
    assert latency.ratio == pytest.approx(0.6, abs=0.05)
    # Units at other widths are estimated, so prediction and measurement are near each other, not equal.
    assert latency.measured_after_ns == pytest.approx(latency.predicted_ns, rel=0.01)


def test_streams_are_told_in_every_form(halved: convsurgeon.Conversion) -> None:
    """The terminal's rows, Markdown and the page name each stream with what is left of it."""
    told = (to_markdown(halved.report), to_html(halved.report), _printed(render_layers(halved.report)))
    for text in told:
        assert "16 → 8 channels" in text
        assert "the network gives it back" in text


def _printed(rows: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(rows)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_what_is_out_of_reach_counts_the_streams() -> None:
    """Where nothing is swapped, no convolution is eligible, and what can be narrowed is said."""
    with pytest.raises(TargetError, match="by 0 eligible of 5 convolutions and 3 narrowed streams"):
        _narrowed(_with_copies(), target="macs=0.1%")
