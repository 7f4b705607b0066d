"""Lowering: equal outputs, passes that fire where they may and only there, and a caller's model left alone."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

import convsurgeon
from convsurgeon import CompConvSpec, ConvShape, DGConv, IGCSpec, Lowered, lower
from convsurgeon.base.errors import ConvsurgeonError, ModelRunError, UnknownName, UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.cli.app import run
from convsurgeon.deployment.lowering.choice import Timed
from convsurgeon.deployment.lowering.equality import require_equal
from convsurgeon.deployment.lowering.forms import forms_of
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.families.unit import CompactConv
from convsurgeon.runtimes.compiled import Compiled
from convsurgeon.runtimes.eager import Eager
from convsurgeon.runtimes.onnx_conversion import to_onnx
from convsurgeon.runtimes.registry import find_runtime
from convsurgeon.runtimes.timer import Spread
from tests.nets import Opaque, Residual, Shared, Stage, Untraceable

IMAGE = (2, 8, 9, 8)


def _lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Norms that do something, and orders away from where they start; in eval mode."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for name, low, high in (("weight", 0.5, 1.5), ("running_var", 0.5, 1.5), ("bias", -1, 1)):
                getattr(module, name).data.uniform_(low, high)
            module.running_mean.normal_()
        for name in ("output_order", "input_order"):
            if isinstance(module, CompactConv) and hasattr(module, name):
                getattr(module, name).copy_(torch.randperm(len(getattr(module, name))))
    return model.eval()


def _unit(c_in: int, c_out: int, kernel: int = 3, stride: int = 1, kind: str = "compconv") -> nn.Module:
    """A compact unit in place of a convolution; ``plain`` is the convolution."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2)
    like: ConvShape = conv_shape(conv)
    if kind == "plain":
        return conv
    if kind == "igc":
        return IGCSpec(primary_groups=2, secondary_groups=2, mid_channels=8).build(like)
    if kind == "thin":
        return IGCSpec(primary_groups=4, secondary_groups=1, mid_channels=8).build(like)
    return CompConvSpec.of(like, 2 if kind == "compconv2" else 1).build(like)


KINDS = ("plain", "compconv", "compconv2", "igc", "thin")


class Net(nn.Module):
    """[N, 8, H, W] → [N, 5]: a unit, a residual block around two more, pooling, a linear head over flattened maps."""

    def __init__(self, kinds: tuple[str, str, str], kernels: tuple[int, int], stride: int, norm_last: bool) -> None:
        super().__init__()
        self.first = _unit(8, 16, kernels[0], stride, kinds[0])
        self.bn1 = nn.BatchNorm2d(16)
        self.second = _unit(16, 16, kernels[1], 1, kinds[1])
        self.bn2 = nn.BatchNorm2d(16)
        self.third = _unit(16, 16, 1, 1, kinds[2])
        self.bn3 = nn.BatchNorm2d(16)
        self.norm_last = norm_last
        self.pool = nn.AdaptiveAvgPool2d((2, 1))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 8, H, W] → [N, 5]."""
        x = F.max_pool2d(F.relu(self.bn1(self.first(x))), 2)
        y = self.third(F.relu(self.bn2(self.second(x))))
        # Norm behind the activation: nothing to fold into.
        y = self.bn3(torch.relu(y)) if self.norm_last else torch.relu(self.bn3(y))
        return self.head(torch.flatten(self.pool(x + y), 1))


def _lowered(model: nn.Module, *inputs: Tensor) -> Lowered:
    """Lowered without timing, after checking outputs and that the caller's model is as it was."""
    before = copy.deepcopy(model.state_dict())
    kinds = [type(module) for module in model.modules()]
    done = lower(model, inputs, runtime=None)
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(done.model(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)
    return done


def _count(model: nn.Module, *kinds: type[nn.Module]) -> int:
    return sum(isinstance(module, kinds) for module in model.modules())


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.tuples(*(st.sampled_from(KINDS) for _ in range(3))),
    kernels=st.tuples(st.sampled_from((1, 3)), st.sampled_from((1, 3))),
    stride=st.sampled_from((1, 2)),
    norm_last=st.booleans(),
)
def test_outputs_stay_equal(
    kinds: tuple[str, str, str], kernels: tuple[int, int], stride: int, norm_last: bool
) -> None:
    """Strides, 1×1 units, residual joins, pooling, flattening, norms before and after ReLU: equal outputs."""
    net = _lively(Net(kinds, kernels, stride, norm_last))
    done = _lowered(net, torch.randn(IMAGE))
    assert _count(done.model, CompactConv) == 0
    assert _count(done.model, nn.BatchNorm2d) == int(norm_last)


def _relu_between(x: Tensor) -> Tensor:
    return F.relu(x)


class Pair(nn.Module):
    """Two modules with something between them."""

    def __init__(
        self, first: nn.Module, second: nn.Module, between: Callable[[Tensor], Tensor] = _relu_between
    ) -> None:
        super().__init__()
        self.first, self.second, self.between = first, second, between

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, C', H, W]."""
        return self.second(self.between(self.first(x)))


class Spy(nn.Module):
    """A convolution, a norm behind it, and perhaps a second reader of the convolution."""

    def __init__(self, second_reader: bool) -> None:
        super().__init__()
        self.conv, self.bn, self.second_reader = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), second_reader

    def forward(self, x: Tensor) -> Tensor:
        """[N, 8, H, W] → [N, 8, H, W]."""
        y = self.conv(x)
        return self.bn(y) + (y if self.second_reader else x)


@pytest.mark.parametrize("second_reader", [False, True])
def test_a_norm_is_folded_unless_somebody_else_reads_the_convolution(second_reader: bool) -> None:
    """A norm goes into a convolution that only it reads; with a second reader it stays, and a step says so."""
    done = _lowered(_lively(Spy(second_reader)), torch.randn(IMAGE))
    assert _count(done.model, nn.BatchNorm2d) == int(second_reader)
    (step,) = [step for step in done.steps if step.pass_name == "fold batch norm"]
    assert step.done is not second_reader
    assert ("other readers" in step.what) is second_reader


class Twice(nn.Module):
    """A convolution with a norm, called once or twice."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.conv, self.bn, self.calls = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), calls

    def forward(self, x: Tensor) -> Tensor:
        """[N, 8, H, W] → [N, 8, H, W]."""
        for _ in range(self.calls):
            x = self.bn(self.conv(x))
        return x


@pytest.mark.parametrize("calls", [1, 2])
def test_shared_modules_stay(calls: int) -> None:
    """A convolution that is called twice keeps its norm; called once it takes it in."""
    done = _lowered(_lively(Twice(calls)), torch.randn(IMAGE))
    assert _count(done.model, nn.BatchNorm2d) == calls - 1


def _norms_statistics(statistics: bool) -> nn.Module:
    return nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, track_running_stats=statistics))


@pytest.mark.parametrize("statistics", [True, False])
def test_a_norm_without_statistics_stays(statistics: bool) -> None:
    """A norm that normalises by its batch can't be folded; one with running statistics can."""
    model = _norms_statistics(statistics).eval()
    assert _count(_lowered(model, torch.randn(IMAGE)).model, nn.BatchNorm2d) == int(not statistics)


def _orders_absorbed(done: Lowered) -> int:
    return sum(step.done for step in done.steps if step.pass_name == "absorb channel orders")


def _gathers(done: Lowered) -> int:
    return sum(type(module).__name__ == "Gather" for module in done.model.modules())


@pytest.mark.parametrize(
    ("between", "absorbed"),
    [
        (F.relu, True),
        (lambda x: F.avg_pool2d(F.silu(x), 2), True),
        (lambda x: torch.sigmoid(x) * x, True),
        (lambda x: x * x.mean((2, 3), keepdim=True), True),
        (lambda x: torch.softmax(x, 1), False),
        (lambda x: torch.cat((x, x), 1)[:, :16], False),
        (lambda x: x.flip(1), False),
        (lambda x: F.pixel_shuffle(torch.cat((x, x, x, x), 1), 2), False),
        (lambda x: x.view(x.shape[0], 2, 8, 9, 8).transpose(1, 2).reshape(x.shape), False),
    ],
)
def test_orders_pass_through_what_works_channel_by_channel(between: Any, absorbed: bool) -> None:
    """A unit's output order is taken in by the next weights across pointwise work and pooling, and by nothing else."""
    model = _lively(Pair(_unit(8, 16), nn.Conv2d(16, 4, 1), between))
    done = _lowered(model, torch.randn(IMAGE))
    assert (_orders_absorbed(done), _gathers(done)) == ((1, 0) if absorbed else (0, 1))


def test_an_order_that_reaches_the_outside_stays() -> None:
    """The network's own outputs keep their channel order: a last unit is followed by a gather."""
    done = _lowered(_lively(nn.Sequential(_unit(8, 16), nn.ReLU())), torch.randn(IMAGE))
    assert (_orders_absorbed(done), _gathers(done)) == (0, 1)


class Joined(nn.Module):
    """Two units added up; a third convolution reads the sum."""

    def __init__(self, equal: bool) -> None:
        super().__init__()
        self.one, self.other, self.last = _unit(8, 16), _unit(8, 16), nn.Conv2d(16, 4, 1)
        _lively(self)
        if equal:
            self.other.output_order.copy_(self.one.output_order)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 8, H, W] → [N, 4, H, W]."""
        return self.last(self.one(x) + self.other(x))


@pytest.mark.parametrize("equal", [True, False])
def test_a_join_has_one_order(equal: bool) -> None:
    """Units of one residual join share an order: both absorb it if they agree, otherwise one gathers."""
    done = _lowered(Joined(equal), torch.randn(IMAGE))
    assert _gathers(done) == int(not equal)
    assert any("won on a shared join" in step.what for step in done.steps) is not equal


def test_orders_reach_a_depthwise_convolution_and_a_flattened_head() -> None:
    """Depthwise convolutions, norms and linear layers behind flattened maps follow a unit's order."""
    depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
    model = nn.Sequential(
        _unit(8, 16), nn.ReLU(), nn.BatchNorm2d(16), depthwise, nn.Flatten(), nn.Dropout(), nn.Linear(16 * 72, 3)
    )
    done = _lowered(_lively(model), torch.randn(IMAGE))
    assert (_orders_absorbed(done), _gathers(done), _count(done.model, nn.Dropout)) == (1, 0, 0)


def test_two_flavours_of_group_are_not_mixed_up() -> None:
    """A grouped convolution that is not depthwise keeps the order that it reads."""
    done = _lowered(_lively(Pair(_unit(8, 16), nn.Conv2d(16, 16, 3, groups=4))), torch.randn(IMAGE))
    assert (_orders_absorbed(done), _gathers(done)) == (0, 1)


@pytest.mark.parametrize("fresh", [True, False])
def test_activations_overwrite_only_what_nobody_else_reads(fresh: bool) -> None:
    """ReLU works in place behind a convolution, and not where its input is read again."""

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return F.relu(y) if fresh else F.relu(y) + y

    done = _lowered(Reads().eval(), torch.randn(IMAGE))
    assert any(step.pass_name == "activate in place" for step in done.steps) is fresh


@pytest.mark.parametrize("net", [Residual, Shared, Untraceable, Opaque])
def test_awkward_networks_are_lowered_as_far_as_they_trace(net: type[nn.Module]) -> None:
    """Residual, shared, partly and wholly untraceable networks, converted: equal outputs, no unit left."""
    model = net().eval()
    x = torch.randn(2, 3, 16, 16)
    converted = convsurgeon.convert(model, x, method="compconv32", random_weights=True).model
    done = _lowered(_lively(converted), x)
    assert _count(done.model, CompactConv) == 0


def test_a_part_at_two_paths_is_lowered_once_and_named_from_the_root() -> None:
    """What two untraceable modules share is one part, and its steps bear the first of its names."""

    class Around(nn.Module):
        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, x: Tensor) -> Tensor:
            return self.inside(x) if float(x.sum()) < 1e30 else x

    stage = Stage()
    done = _lowered(_lively(nn.Sequential(Around(stage), Around(stage))), torch.randn(IMAGE))
    assert [step.where for step in done.steps if step.pass_name == "fold batch norm"] == ["0.inside.bn"]
    assert _count(done.model, nn.BatchNorm2d) == 0
    assert done.model[0].inside is done.model[1].inside


@pytest.mark.parametrize("also_calls", [False, True])
def test_code_that_indexes_its_parts_is_lowered_unit_by_unit(also_calls: bool) -> None:
    """A forward that can't be traced and looks into its parts keeps them; only the units change."""

    class Indexing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(_unit(8, 16), nn.ReLU(), _unit(16, 16))

        def forward(self, x: Tensor) -> Tensor:
            y = self.body[2](self.body[1](self.body[0](x))) if float(x.sum()) < 1e30 else x
            return y + self.body(x) if also_calls else y

    done = _lowered(_lively(Indexing()), torch.randn(IMAGE))
    assert _count(done.model, CompactConv) == 0
    assert type(done.model).__name__ == "Indexing"


def test_learnable_gates_become_their_masked_convolution() -> None:
    """A DGConv with closed gates becomes the plain convolution that it computes."""
    like = conv_shape(nn.Conv2d(8, 16, 3, padding=1))
    model = Pair(DGConv(like), nn.Conv2d(16, 4, 1))
    with torch.no_grad():
        model.first.latent_gates[0] = -1
    done = _lowered(model.eval(), torch.randn(IMAGE))
    assert _count(done.model, DGConv) == 0


def test_a_network_in_training_is_lowered_as_in_eval_and_stays_in_training() -> None:
    """The caller's flags stay; the lowered network is in eval mode."""
    model = _lively(Net(("compconv", "plain", "igc"), (3, 3), 1, False)).train()
    done = lower(model, torch.randn(IMAGE), runtime=None)
    assert model.training
    assert not any(module.training for module in done.model.modules())


def test_a_runtime_must_exist() -> None:
    """An unknown runtime is refused with the known ones; eager is taken."""
    model, x = _lively(nn.Sequential(_unit(8, 16), nn.ReLU())), torch.randn(IMAGE)
    with pytest.raises(UnknownName, match=r"unknown runtime 'eagre'.*Did you mean eager"):
        lower(model, x, runtime="eagre")
    done = lower(model, x, runtime="eager")
    assert (done.runtime, _count(done.model, CompactConv)) == ("eager", 0)


@pytest.mark.parametrize("runtime", ["eager", "compile", "onnxruntime", "openvino"])
def test_forms_can_be_timed_in_other_runtimes(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `bench` knows `lower` times in; compiling each form takes minutes, so here it runs as it is."""
    monkeypatch.setattr(Compiled, "prepare", Eager.prepare)
    if runtime != "compile" and (reason := find_runtime(runtime).available()) is not None:
        pytest.skip(reason)
    model = _lively(nn.Sequential(_unit(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1)))
    done = lower(model, torch.randn(IMAGE), runtime=runtime)
    assert (done.runtime, _count(done.model, CompactConv)) == (runtime, 0)


def test_forms_are_timed_in_the_precision_asked_for_or_the_runtimes_own(eager_in_two_precisions: list[str]) -> None:
    """Without a word in what the runtime takes by itself; what it lacks is refused, and any where nothing is timed."""
    model, x = _lively(nn.Sequential(_unit(8, 16), nn.ReLU())), torch.randn(2, 8, 7, 7)
    for asked, expected in ((None, "bfloat16"), ("float32", "float32")):
        eager_in_two_precisions.clear()
        assert lower(model, x, precision=asked).precision == expected
        assert set(eager_in_two_precisions) == {expected}
    with pytest.raises(UsageError, match="eager does not calculate in 'int8' here; expected float32 or bfloat16"):
        lower(model, x, precision="int8")
    with pytest.raises(UsageError, match="precision 'float32' says what to time in, but no runtime is given"):
        lower(model, x, runtime=None, precision="float32")
    assert lower(model, x, runtime=None).precision is None


def test_half_precision_is_compared_as_such_in_onnx_runtime() -> None:
    """Forms in float16 differ by its rounding, not by 1e-4, and are timed and exported all the same."""
    pytest.importorskip("onnxruntime")
    model = _lively(nn.Sequential(_unit(32, 64), nn.ReLU(), nn.Conv2d(64, 4, 1))).half()
    x = torch.randn(2, 32, 9, 8).half()
    done = lower(model, x, runtime="onnxruntime")
    assert _count(done.model, CompactConv) == 0
    assert to_onnx(done.model, Inputs((x,))).error > 1e-4


def test_the_form_with_the_fastest_sample_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs can only add to a time: the median of a disturbed form says nothing."""

    def disturbed(runs: list[Callable[[], object]], *_: Any) -> tuple[Spread, ...]:
        fast = Spread.of([1, 1000, 1000])
        return (*(Spread.of([10, 10, 10]) for _ in runs[1:]), fast)

    monkeypatch.setattr("convsurgeon.deployment.lowering.choice.time_in_turn", disturbed)
    unit = _unit(8, 16).eval()
    assert isinstance(unit, CompactConv)
    absorbed = Absorbed.nothing(unit)
    forms = forms_of(absorbed)
    assert len(forms) > 1
    assert Timed(Eager(), "float32").pick(absorbed, forms, torch.randn(IMAGE), free=False, onto=False) is forms[-1]


def test_unequal_outputs_are_an_internal_error_and_unstable_ones_the_models() -> None:
    """A wrong result is a bug (70); a network that differs in float32 only is unusable (3); an equal one passes."""
    conv, inputs = nn.Conv2d(8, 8, 1), Inputs((torch.randn(IMAGE),))
    other = copy.deepcopy(conv)
    assert require_equal(conv, other, inputs) == 0
    with torch.no_grad():
        other.weight[0] += 0.01
    with pytest.raises(ConvsurgeonError, match="differs by") as wrong:
        require_equal(conv, other, inputs)
    assert wrong.value.exit_code == 70

    class Unstable(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.one, self.factor = nn.Parameter(torch.ones(())), factor

        def forward(self, x: Tensor) -> Tensor:
            return (self.one * x * self.factor + 1e8) * (1 / self.factor) - 1e8 * (1 / self.factor)

    with pytest.raises(ModelRunError, match="amplifies rounding"):
        require_equal(Unstable(1.0), Unstable(3.0), inputs)


def test_both_memory_formats_share_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is lowered contiguous and with its channels last is read once."""
    traced: list[type] = []
    trace = fx.Tracer.trace

    def counted(self: fx.Tracer, root: nn.Module, *args: object) -> fx.Graph:
        traced.append(type(root))
        return trace(self, root, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(fx.Tracer, "trace", counted)
    done = lower(_lively(Pair(_unit(8, 16), _unit(16, 8))), torch.randn(IMAGE))
    assert any(step.pass_name == "memory format" for step in done.steps)
    assert traced == [Pair]


def test_the_state_can_be_saved_and_loaded() -> None:
    """A lowered network's state dict goes into a second lowering of the same network."""
    model, x = _lively(Net(("compconv", "compconv2", "thin"), (3, 3), 1, False)), torch.randn(IMAGE)
    first, second = (lower(net, x, runtime=None).model for net in (model, copy.deepcopy(model)))
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.zero_()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


_RELOAD = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'convsurgeon':
            raise ImportError('not here')
sys.meta_path.insert(0, Block())
import torch
module = torch.export.load(sys.argv[1]).module()
print(*module(torch.ones(3, 8, 9, 8)).shape)
"""


def test_the_command_writes_a_file_that_runs_without_this_package(tmp_path: Path, capsys: Any) -> None:
    """``lower`` writes a program for any batch size and its steps as JSON, and refuses to overwrite."""
    source = tmp_path / "net.py"
    source.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())\n"
    )
    file = tmp_path / "out" / "net.pt2"
    words = [
        "lower",
        f"{source}:build",
        "-o",
        str(file),
        "--input",
        "1,8,9,8",
        "--weights",
        "none",
        "--runtime",
        "none",
    ]
    assert run(words) == 0
    assert "fold batch norm: 1" in capsys.readouterr().out
    assert '"pass_name": "fold batch norm"' in file.with_suffix(".json").read_text()
    done = subprocess.run(
        [sys.executable, "-c", _RELOAD, str(file)], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.stdout.split() == ["3", "16", "9", "8"], done.stderr
    assert run(words) == 2
    assert run([*words, "--force"]) == 0


@pytest.mark.parametrize("command", ["lower", "export"])
def test_the_commands_take_a_precision_to_time_forms_in(command: str, tmp_path: Path, capsys: Any) -> None:
    """One that the runtime has is named in the answer; another one, and any where nothing is timed, is exit code 2."""
    source, file = tmp_path / "net.py", tmp_path / "net.pt2"
    source.write_text("from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU())\n")
    words = [command, f"{source}:build", "-o", str(file), "--input", "1,8,9,8", "--weights", "none", "--precision"]
    untimed = ["--runtime", "none"] if command == "lower" else ["--no-lower"]
    for refused, reason in (
        ([*words, "bf16"], "eager does not calculate in 'bf16' here; expected float32."),
        ([*words, "float32", *untimed], "precision 'float32' says what to time in, but no"),
    ):
        assert run(refused) == 2
        assert reason in capsys.readouterr().err
        assert not file.exists()
    assert run([*words, "float32"]) == 0
    assert "forms timed in eager, float32" in capsys.readouterr().out
    assert command == "export" or '"timed_precision": "float32"' in file.with_suffix(".json").read_text()
