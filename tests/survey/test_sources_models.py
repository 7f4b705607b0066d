"""Networks as libraries build them: other convolution classes, dtypes, inputs, and fusing before or after."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.byobnet import RepVggBlock
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision.models import quantization, video

from convsurgeon import IGC, ConvsurgeonError, IGCSpec, Rules, convert, inspect
from convsurgeon.surgery.operate import replacement
from tests.nets import outside_macs


@pytest.mark.parametrize(("name", "kind"), [("tf_mixnet_s", "Conv2dSame"), ("test_nfnet", "ScaledStdConv2d")])
def test_timms_own_convolutions_are_taken(name: str, kind: str) -> None:
    """Of timm's own convolutions only the depthwise ones are left with a reason; one of the others is replaced."""
    with torch.device("meta"):
        network = timm.create_model(name).eval()
        x = torch.zeros(1, 3, 64, 64)
    sites = inspect(network, x).sites
    assert {site.obstacle for site in sites} <= {None, "depthwise: one input channel per group already"}
    (chosen, *_) = [site for site in sites if site.kind == kind and site.obstacle is None]
    rules = Rules(only=(chosen.name,))
    done = convert(network, x, method="igc-l1m1-w8", rules=rules, random_weights=True)
    assert [row.kind for row in done.plan.replaced] == [kind]
    assert done.plan.after.macs == outside_macs(done.model, x)


def test_a_weight_standardised_network_keeps_what_it_computes() -> None:
    """With open gates, which take the computed weights over, the network's output stays as it was."""
    network, x = timm.create_model("test_nfnet").eval(), torch.rand(2, 3, 64, 64)
    done = convert(network, x, method="dgconv")
    assert "ScaledStdConv2d" in {row.kind for row in done.plan.replaced}
    torch.testing.assert_close(done.model(x), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [video.mc3_18, video.r2plus1d_18])
def test_video_networks_convert(build: Any) -> None:
    """torchvision's Conv3d networks reach half of their MACs, counted by PyTorch as planned."""
    with torch.device("meta"):
        network, x = build(weights=None).eval(), torch.zeros(1, 3, 4, 32, 32)
    done = convert(network, x, method="igc", target="macs=50%", random_weights=True)
    assert {row.kind for row in done.plan.replaced} <= {"Conv3d", "Conv3DSimple", "Conv3DNoTemporal"}
    assert outside_macs(done.model, x) == done.plan.after.macs <= done.plan.before.macs // 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_through_every_stage(dtype: torch.dtype) -> None:
    """A half-precision network with padding and groups of its own is measured, fitted and stays in its dtype."""
    network = nn.Sequential(
        timm.layers.Conv2dSame(3, 16, 3, stride=2),
        nn.ReLU(),
        timm.layers.ScaledStdConv2dSame(16, 32, 3, stride=2),
        nn.Conv2d(32, 32, 3, groups=2),
    ).to(dtype)
    x = torch.rand(2, 3, 24, 24)
    done = convert(network.eval(), x, target="macs=70%", calibration=[torch.rand(48, 3, 24, 24)])
    assert {tensor.dtype for tensor in done.model.parameters()} == {dtype}
    assert done.plan.objective.startswith("measured")
    assert done.report.fidelity is not None
    assert done.report.fidelity.output_error < 0.1


@pytest.mark.parametrize("conv", [nn.Conv2d(8, 8, 3), nn.Conv3d(8, 8, 3)])
def test_channels_last_follows_on_two_and_three_axes(conv: nn.Module) -> None:
    """The unit's kernels lie in memory as the convolution's do."""
    last = torch.channels_last if isinstance(conv, nn.Conv2d) else torch.channels_last_3d
    spec = IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=2)
    for memory_format in (last, torch.contiguous_format):
        unit = replacement(conv.to(memory_format=memory_format), spec)
        assert unit.primary.weight.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_frozen_part_stays_frozen(trainable: bool) -> None:
    """Units of a frozen, computed weight are frozen; those of a trainable one are trainable."""
    conv = parametrizations.weight_norm(nn.Conv2d(16, 16, 3)).requires_grad_(trainable)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), conv)
    done = convert(network, torch.rand(1, 3, 9, 9), method="igc-l1m1-w4")
    assert {parameter.requires_grad for parameter in done.model[1].parameters()} == {trainable}
    assert all(parameter.requires_grad for parameter in done.model[0].parameters())


class _Reader(nn.Module):
    """Asks its convolution for everything but the values of the weight, as libraries' forwards do."""

    def __init__(self, values: bool) -> None:
        super().__init__()
        self.values, self.stem, self.conv = values, nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, stride=2)

    def forward(self, images: list[Tensor], scale: float = 1.0) -> dict[str, Any]:
        x = self.stem(torch.stack(images)).to(self.conv.weight.device, self.conv.weight.dtype) * scale
        (kh, kw), (sh, sw) = self.conv.kernel_size, self.conv.stride
        y = self.conv(F.pad(x, (0, kw - sw, 0, kh - sh)))
        norm = self.conv.weight.norm() if self.values else torch.ones(1)
        return {"maps": [y, (y / norm,)], "padding": self.conv.padding, "scale": scale}


@pytest.mark.parametrize("values", [True, False])
def test_forwards_that_read_attributes(values: bool) -> None:
    """Lists in, dicts out: reading shapes and types of the convolution works, reading values keeps it."""
    inputs = {"images": [torch.rand(3, 9, 9), torch.rand(3, 9, 9)], "scale": 0.5}
    network = _Reader(values).eval()
    if values:
        with pytest.raises(ConvsurgeonError, match="conv: the model's forward reads its weight directly"):
            convert(network, inputs, method="igc-l1m1-w4")
        return
    done = convert(network, inputs, method="igc-l1m1-w4", calibration=[inputs] * 3)
    assert isinstance(done.model.conv, IGC)
    assert done.model(**inputs)["maps"][0].shape == network(**inputs)["maps"][0].shape


def test_reparameterising_comes_first() -> None:
    """A block that timm has merged converts; merging after the conversion stops with what to do."""
    network, x = nn.Sequential(nn.Conv2d(3, 16, 3), RepVggBlock(16, 32)).eval(), torch.rand(1, 3, 32, 32)
    merged = convert(reparameterize_model(network), x, method="igc-l1m1-w4", random_weights=True)
    assert [row.name for row in merged.plan.replaced] == ["1.reparam_conv"]
    done = convert(network, x, method="igc-l1m1-w4", random_weights=True)
    with pytest.raises(AttributeError, match=r"reparameterize_model\) must run before the conversion"):
        reparameterize_model(done.model)


def test_quantisable_networks_fuse_first() -> None:
    """A quantisable network converts as it is and fused; fused later, torch names the unit, and the report says so."""
    network, x = quantization.resnet18(weights=None, quantize=False).eval(), torch.rand(1, 3, 32, 32)
    fused = copy.deepcopy(network)
    fused.fuse_model()
    rules = Rules(only=("layer1.*",))
    before = convert(fused, x, method="igc-l1m1-w8", rules=rules, random_weights=True)
    assert before.plan.replaced
    assert not any("fuse_model()" in note for note in before.report.notes)
    done = convert(network, x, method="igc-l1m1-w8", rules=rules, random_weights=True)
    assert any(note.startswith("call fuse_model() before the conversion") for note in done.report.notes)
    with pytest.raises(AssertionError, match=r"did not find fuser method for.*IGC"):
        done.model.eval().fuse_model()


class Fusing(nn.Sequential):
    """A layer that is called ``fuse``."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 1), nn.BatchNorm2d(64))
        self.fuse = nn.Identity()


def test_a_layer_called_fuse_fuses_nothing() -> None:
    """The advice is for networks with a method of that name."""
    done = convert(Fusing().eval(), torch.rand(1, 3, 8, 8), method="igc-l1m1-w8", random_weights=True)
    assert done.plan.replaced
    assert not any("before the conversion" in note for note in done.report.notes)


def test_ultralytics_fuses_first() -> None:
    """A YOLO converts as it is and fused; fused after the conversion it stops with what to do."""
    tasks = pytest.importorskip("ultralytics.nn.tasks", reason="ultralytics is no test dependency: it is large")
    x = torch.rand(1, 3, 64, 64)
    network = tasks.DetectionModel("yolov8n.yaml", verbose=False).eval()
    done = convert(network, x, method="igc", target="macs=60%", random_weights=True)
    assert type(done.model(x)) is type(network(x))
    with pytest.raises(AttributeError, match=r"\(model.fuse\(\), .* must run before the conversion"):
        done.model.fuse(verbose=False)
    fused = convert(network.fuse(verbose=False), x, method="igc", target="macs=60%", random_weights=True)
    assert fused.plan.replaced
    assert fused.model.is_fused()


def test_transformers_own_convolutions_are_taken() -> None:
    """Standardised convolutions with dynamic padding, keyword inputs, an embedding whose dtype is asked for."""
    transformers = pytest.importorskip("transformers", reason="transformers is no test dependency: it is large")
    config = transformers.BitConfig(
        hidden_sizes=[32, 32], depths=[1, 1], embedding_size=16, num_groups=8, global_padding="SAME"
    )
    network, inputs = transformers.BitModel(config).eval(), {"pixel_values": torch.rand(1, 3, 32, 32)}
    sites = inspect(network, inputs).sites
    assert {site.obstacle for site in sites} == {None}
    assert "dynamic" in {site.shape.padding for site in sites}
    assert convert(network, inputs, target="macs=95%").plan.replaced
    settings = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    clip = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**settings, image_size=32, patch_size=8)).eval()
    done = convert(clip, inputs, method="igc", target="macs=95%", rules=Rules(stem=True))
    assert len(done.plan.replaced) == 1
