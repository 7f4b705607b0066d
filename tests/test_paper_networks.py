"""The papers' networks rebuilt from this project's modules, on the meta device: parameters and MACs as printed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from convsurgeon import CompConvSpec, ConvShape, IGCSpec, Plan, Recipe, Rules, apply, convert, read_plan
from convsurgeon.base.inputs import as_inputs
from convsurgeon.models.loading import build_model
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.problem import pose
from convsurgeon.survey.sites import survey
from tests.nets import outside_macs, vgg16_bn_for_small_images

RECIPES = Path(__file__).parents[1] / "recipes"


def _image(side: int = 224) -> Tensor:
    return torch.empty(1, 3, side, side, device="meta")


def _params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("recipe", "replaced", "params", "macs"),
    [
        ("resnet50-compconv128-3x3", 16, 16.85, 2.906),
        ("resnet50-compconv128-blocks", 48, 10.59, 1.722),
        ("resnet50-compconv128-all", 52, 8.62, 1.487),
        ("resnet18-compconv128-3x3", 16, 3.41, 0.788),
    ],
)
def test_resnets_with_compconv128(recipe: str, replaced: int, params: float, macs: float) -> None:
    """The recipes reproduce the totals: millions of parameters, billions of MACs at 224×224."""
    done = convert(
        build_model(recipe.partition("-")[0], device="meta"),
        _image(),
        recipe=RECIPES / f"{recipe}.toml",
        random_weights=True,
    )
    assert len(done.plan.replaced) == replaced
    assert _params(done.model) / 1e6 == pytest.approx(params, abs=0.005)
    assert outside_macs(done.model, _image()) / 1e9 == pytest.approx(macs, abs=0.0005)
    assert done.report.after.macs == outside_macs(done.model, _image())


@pytest.mark.parametrize(("bias", "params"), [(True, 3.19), (False, 3.18)])
def test_vgg16_for_small_images_with_compconv128(bias: bool, params: float) -> None:
    """VGG-16-BN at 32×32, first convolution kept: 3.19 M parameters (3.18 without biases), 106.2 MMACs."""
    with torch.device("meta"):
        network = vgg16_bn_for_small_images(bias)
    done = convert(network, _image(32), method="compconv128", random_weights=True)
    assert len(done.plan.replaced) == 12
    assert _params(done.model) / 1e6 == pytest.approx(params, abs=0.005)
    assert outside_macs(done.model, _image(32)) / 1e6 == pytest.approx(106.2, abs=0.05)


def test_depth_1_everywhere_is_ghost_resnet50() -> None:
    """A plan edited to d = 1 in every layer but the stem has the totals of Ghost-ResNet-50 (s = 2)."""
    network = build_model("resnet50", device="meta")
    recipe = Recipe(method="compconv128", rules=Rules(shortcuts=True))
    plan = make_plan(pose(survey(network, as_inputs(_image())), recipe))
    edited = _every_depth(plan, 1)
    done = apply(network, read_plan(edited.to_json()), _image(), random_weights=True)
    assert done.report.after.macs == outside_macs(done.model, _image())
    assert _params(done.model) / 1e6 == pytest.approx(13.86, abs=0.005)
    assert done.report.after.macs / 1e9 == pytest.approx(2.115, abs=0.0005)


def _every_depth(plan: Plan, depth: int) -> Plan:
    layers = tuple(
        row if row.spec is None else row.model_copy(update={"spec": CompConvSpec.of(row.shape, depth)})
        for row in plan.layers
    )
    return plan.model_copy(update={"layers": layers})


def _igc_unit(c_in: int, c_out: int, stride: int, groups: int, partitions: int) -> nn.Sequential:
    shape = ConvShape(
        in_channels=c_in, out_channels=c_out, kernel=(3, 3), stride=(stride, stride), padding=(1, 1), dilation=(1, 1)
    )
    spec = IGCSpec(primary_groups=groups, secondary_groups=partitions, mid_channels=c_out)
    return nn.Sequential(spec.build(shape), nn.BatchNorm2d(c_out))


class _Block(nn.Module):
    """Two IGC units and a shortcut, which is a 1×1 convolution with L groups where the width changes."""

    def __init__(self, c_in: int, c_out: int, stride: int, groups: int, partitions: int) -> None:
        super().__init__()
        self.first = _igc_unit(c_in, c_out, stride, groups, partitions)
        self.second = _igc_unit(c_out, c_out, 1, groups, partitions)
        self.shortcut = (
            nn.Identity()
            if c_in == c_out
            else nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, groups=groups, bias=False), nn.BatchNorm2d(c_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


class _IGCNet(nn.Module):
    """Depth 18: stem 7×7/2 and max-pool, four stages of two blocks of two units, a linear head."""

    def __init__(self, stem: int, widths: list[int], groups: list[int], partitions: list[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        blocks, c_in = [], stem
        for stage, (width, L, M) in enumerate(zip(widths, groups, partitions, strict=True)):
            blocks += [_Block(c_in, width, 2 if stage else 1, L, M), _Block(width, width, 1, L, M)]
            c_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(c_in, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.stem(x), 3, 2, 1)
        return self.head(self.blocks(x).mean((2, 3)))


def _conv_weights(network: nn.Module) -> int:
    return sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Conv2d))


def test_igc_l100m2() -> None:
    """IGC-L100M2 holds 8.607 M convolution and classifier weights and computes 1.3 GMACs."""
    with torch.device("meta"):
        network = _IGCNet(100, [200, 400, 800, 1600], [100, 200, 400, 800], [2, 2, 2, 2]).eval()
    assert _conv_weights(network) + network.head.weight.numel() == 8_606_700
    assert outside_macs(network, _image()) / 1e9 == pytest.approx(1.3, abs=0.05)


def test_igc_l4m32() -> None:
    """IGC-L4M32 holds 11.207 M convolution weights and computes 1.9 GMACs."""
    with torch.device("meta"):
        network = _IGCNet(128, [128, 256, 512, 1024], [4, 4, 4, 4], [32, 64, 128, 256]).eval()
    assert _conv_weights(network) == 11_207_040
    assert outside_macs(network, _image()) / 1e9 == pytest.approx(1.9, abs=0.05)
