"""Counts of one forward, layer by layer, against closed forms and outside witnesses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as zoo

from convsurgeon.base.errors import ModelLoadError, ModelRunError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.budgets.measurement import measure
from convsurgeon.models.loading import build_model, default_inputs
from convsurgeon.survey.sites import survey

IMAGE = as_inputs(torch.zeros(1, 3, 10, 10))
FLOAT = 4


def _peak(*layers: nn.Module) -> int:
    return measure(nn.Sequential(*layers), IMAGE).activation_memory


def test_the_peak_is_what_lives_at_once() -> None:
    """A chain holds its input image, a layer's input and its output: not the sum over all layers."""
    image, wide, thin = 3 * 100, 8 * 100, 2 * 100
    narrowing = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
    assert _peak(nn.Conv2d(3, 8, 1)) == FLOAT * (image + wide)
    assert _peak(nn.Conv2d(3, 8, 1), *narrowing) == FLOAT * (image + wide + thin)


def test_in_place_operations_and_views_take_nothing() -> None:
    """ReLU in place and flatten add no bytes; a ReLU that copies adds its output."""
    conv = nn.Conv2d(3, 8, 1)
    alone = _peak(conv)
    assert _peak(conv, nn.ReLU(inplace=True), nn.Flatten()) == alone
    assert _peak(conv, nn.ReLU()) == alone + FLOAT * 800


def test_half_precision_halves_bytes_and_no_counts() -> None:
    """Bytes follow the dtype, MACs and parameters do not."""
    single = measure(nn.Conv2d(3, 8, 1), IMAGE)
    half = measure(nn.Conv2d(3, 8, 1).half(), IMAGE.to("cpu", torch.float16))
    assert 2 * half.activation_memory == single.activation_memory
    assert 2 * half.weights_size == single.weights_size
    assert (half.macs, half.params) == (single.macs, single.params)


def test_shared_modules_and_buffers_count_once() -> None:
    """A module called twice has its parameters once and its MACs twice; saved buffers belong to the weights' size."""
    conv = nn.Conv2d(3, 3, 1, bias=False)
    found = measure(nn.Sequential(conv, nn.BatchNorm2d(3), conv), IMAGE)
    assert found.params == 9 + 6
    assert found.macs == 2 * 9 * 100
    assert found.weights_size == FLOAT * (9 + 6 + 6) + 8
    assert {layer.name: (layer.macs, layer.params) for layer in found.layers} == {"0": (1800, 9), "1": (0, 6)}


class _Functional(nn.Module):
    """A matrix product and a parameter outside of any child."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(10, 5))
        self.inner = nn.Linear(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x @ self.scale)


def test_what_no_child_does_belongs_to_the_module_itself() -> None:
    """Work and parameters go to the innermost module at work, the root's own to "(model)"."""
    found = measure(_Functional(), IMAGE)
    assert [(one.name, one.macs, one.params) for one in found.layers] == [
        ("(model)", 30 * 10 * 5, 50),
        ("inner", 30 * 25, 30),
    ]


class _Selecting(nn.Module):
    """A fixed convolution, then a linear layer on as many rows as are positive."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 7)
        self.where = where

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.stem(x).flatten(2)[0].T
        if self.where == "mask":
            return self.head(rows[rows[:, 0] > rows[:, 0].mean()])
        if self.where == "length":
            chosen = (rows[:, 0] > rows[:, 0].mean()).nonzero()[:, 0]
            copied = torch.zeros(len(chosen), 4)
            copied[torch.arange(len(chosen))] = rows[chosen]
            return self.head(copied)
        if self.where == "filled":
            rows[(rows[:, 0] > rows[:, 0].mean()).nonzero()[:, 0]] = 0
        return self.head(rows)


@pytest.mark.parametrize("where", ["mask", "length"])
def test_what_depends_on_the_data_is_counted_apart(where: str) -> None:
    """A layer on as many rows as the data selects is data-dependent, the layers before it are not."""
    torch.manual_seed(0)
    model = _Selecting(where)
    inputs = as_inputs(torch.rand(1, 3, 10, 10) - 0.5)
    found = measure(model, inputs)
    rows = len(model(*inputs.args))
    assert 0 < rows < 100
    assert (found.counted_on, found.varies) == ("device", True)
    assert (found.macs, found.varying_macs) == (100 * 12, rows * 28)
    assert {layer.name: layer.varying_macs for layer in found.layers} == {"stem": 0, "head": rows * 28}


@pytest.mark.parametrize(("where", "counted_on"), [("all", "meta"), ("filled", "device")])
def test_a_fixed_number_of_rows_is_not_data_dependent(where: str, counted_on: str) -> None:
    """The same layer on every row, even if the data decides what is in them, has a fixed cost."""
    found = measure(_Selecting(where), as_inputs(torch.rand(1, 3, 10, 10) - 0.5))
    assert (found.counted_on, found.macs, found.varying_macs) == (counted_on, 100 * (12 + 28), 0)


def test_an_r_cnn_is_labelled_and_its_fixed_part_is_the_published_one() -> None:
    """Box heads depend on the proposals; what remains is the number that torchvision publishes."""
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    model, inputs = build_model(name), default_inputs(name)
    found = measure(model, inputs)
    varying = {layer.name for layer in found.layers if layer.varying_macs}
    assert varying == {
        f"roi_heads.box_{end}" for end in ("head.fc6", "head.fc7", "predictor.cls_score", "predictor.bbox_pred")
    }
    assert f"{found.macs / 1e9:.3f}" == f"{zoo.get_model_weights(name).DEFAULT.meta['_ops']:.3f}"
    assert found.macs + found.varying_macs == survey(model, inputs).total.macs


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "efficientnet_b0",
        "googlenet",
        "mnasnet0_5",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "quantized_resnet18",
        "regnet_y_400mf",
        "resnet18",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        "swin_t",
        "vit_b_32",
    ],
)
def test_counts_agree_with_the_witnesses(name: str) -> None:
    """MACs are FlopCounterMode / 2, torchvision's own and the survey's; layers sum to totals, by their closed form."""
    try:
        model = build_model(name, device="meta")
    except ModelLoadError:
        model = build_model(name)
    inputs = default_inputs(name).like(model)
    found = measure(model, inputs)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(*inputs.args)
    meta = zoo.get_model_weights(name).DEFAULT.meta
    assert found.macs == counter.get_total_flops() // 2
    assert f"{found.macs / 1e9:.3f}" == f"{meta['_ops']:.3f}"
    assert found.params == meta["num_params"]
    assert (sum(one.macs for one in found.layers), sum(one.params for one in found.layers)) == (
        found.macs,
        found.params,
    )
    layers = {layer.name: layer.macs for layer in found.layers}
    surveyed = survey(model, inputs)
    assert all(layers[site.name] == site.cost.macs for site in surveyed.sites)
    assert surveyed.total.macs == found.macs
    assert (found.counted_on, found.varying_macs) == ("meta", 0)


def test_the_model_is_left_alone() -> None:
    """Measuring changes no mode, no statistic and leaves no hook, also where the forward fails."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure(model, IMAGE)
    with pytest.raises(ModelRunError, match=r"\[1, 5, 10, 10\]"):
        measure(model, as_inputs(torch.zeros(1, 5, 10, 10)))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_counting_goes_on_after_a_failure() -> None:
    """A failed forward leaves no counter behind: the next measurement is as if it had been the first."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    first = measure(model, IMAGE)
    with pytest.raises(ModelRunError):
        measure(model, as_inputs(torch.zeros(1, 5, 10, 10)))
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.utils._python_dispatch._get_current_dispatch_mode_stack() == []
    assert measure(model, IMAGE) == first


class _Catching(nn.Module):
    """Tries a layer that fails before one that works."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong, self.right = nn.Linear(3, 3), nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            return self.wrong(x)
        except RuntimeError:
            return F.relu(self.right(x))


def test_a_caught_failure_does_not_shift_the_layers() -> None:
    """A layer that raises inside of the forward takes no later layer's work."""
    found = measure(_Catching(), IMAGE)
    assert {layer.name: layer.macs for layer in found.layers} == {"wrong": 0, "right": 600}


class _Ending(nn.Module):
    """Ends in whatever it is given."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.conv, self.error = nn.Conv2d(3, 4, 3), error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] → nothing."""
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(), BaseException("very")])
def test_a_forward_that_fails_leaves_nothing_switched_on(error: BaseException) -> None:
    """Whatever comes afterwards in the process is run, traced and exported as before."""
    before = len(_get_current_dispatch_mode_stack())
    with pytest.raises(ModelRunError):
        measure(_Ending(error), as_inputs(torch.rand(1, 3, 8, 8)))
    assert len(_get_current_dispatch_mode_stack()) == before
