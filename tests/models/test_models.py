"""Models by name: names, input sizes, seeds and devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models as zoo

from convsurgeon.base.batch_axis import rebatched
from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.models.input_sizes import random_inputs
from convsurgeon.models.loading import build_model, default_inputs, known_models, load_model
from convsurgeon.models.torchvision_models import torchvision_model


@pytest.fixture(autouse=True)
def _offline_and_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("CONVSURGEON_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "*")


def _same(left: nn.Module, right: nn.Module) -> bool:
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", known_models())
def test_every_name_has_inputs_of_its_kind(name: str) -> None:
    """Inputs have batch 1 and three channels, in the layout and at the size of the name's own kind."""
    inputs = default_inputs(name)
    kind = zoo.get_model_builder(name).__module__.split(".")[-2]
    shapes = inputs.shapes()
    if kind == "detection":
        assert isinstance(inputs.args[0], list)
        assert shapes in (((3, 800, 800),), ((3, 320, 320),), ((3, 300, 300),))
    elif kind == "optical_flow":
        assert shapes == ((1, 3, 128, 128), (1, 3, 128, 128))
    elif kind == "segmentation":
        assert shapes == ((1, 3, 520, 520),)
    elif kind == "video":
        assert shapes in (((1, 3, 16, 112, 112),), ((1, 3, 16, 224, 224),))
    else:
        (size,) = torchvision_model(name).member.transforms().crop_size
        assert shapes == ((1, 3, size, size),)


@pytest.mark.parametrize(
    ("name", "side"),
    [("fasterrcnn_resnet50_fpn", 800), ("fasterrcnn_mobilenet_v3_large_320_fpn", 320), ("ssd300_vgg16", 300)],
)
def test_a_detectors_image_has_its_own_smallest_side(name: str, side: int) -> None:
    """A detector's image has the side to which the detector itself resizes."""
    assert default_inputs(name).shapes() == ((3, side, side),)


def test_random_weights_follow_the_seed_alone() -> None:
    """Weights and inputs depend on the seed, whatever torch's global generator is at, and leave it alone."""
    torch.manual_seed(1)
    first = load_model("mobilenet_v3_small", weights="none", seed=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = load_model("mobilenet_v3_small", weights="none", seed=3)
    other = load_model("mobilenet_v3_small", weights="none", seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert _same(first.model, again.model)
    assert not _same(first.model, other.model)
    assert torch.equal(first.example_inputs.args[0], again.example_inputs.args[0])
    assert not torch.equal(first.example_inputs.args[0], other.example_inputs.args[0])
    assert first.weights.detail == "random: as asked for, seed 3"


@pytest.mark.parametrize(
    ("weights", "words"),
    [("IMAGENET1K_V3", "Did you mean IMAGENET1K_V"), ("imagnet", "Did you mean|Known: IMAGENET1K_V1")],
)
def test_unknown_weights_get_near_names(weights: str, words: str) -> None:
    """Weights that a model does not have are an unknown name, with those it has."""
    with pytest.raises(UnknownName, match=words):
        load_model("resnet50", weights=weights)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("resnet5O", "Did you mean resnet50"),
        ("zzzzzz", "timm's models are named timm:NAME"),
        ("", "no model ''"),
    ],
)
def test_unknown_models_get_near_names(spec: str, words: str) -> None:
    """A name that is not registered is refused with the nearest ones."""
    with pytest.raises(UnknownName, match=words):
        load_model(spec)


@pytest.mark.parametrize(
    ("spec", "normal"),
    [
        (" ResNet50 ", "resnet50"),
        ("resnet50@IMAGENET1K_V1", "resnet50"),
        ("vit_b_16@DEFAULT", "vit_b_16"),
        ("vit_b_16@IMAGENET1K_SWAG_E2E_V1", "vit_b_16@IMAGENET1K_SWAG_E2E_V1"),
        ("vit_b_16@IMAGENET1K_SWAG_LINEAR_V1", "vit_b_16"),
        ("regnet_y_16gf@IMAGENET1K_SWAG_E2E_V1", "regnet_y_16gf@IMAGENET1K_SWAG_E2E_V1"),
    ],
)
def test_names_are_normalised(spec: str, normal: str) -> None:
    """A name carries its weights only where they need another architecture or input size than DEFAULT's."""
    assert torchvision_model(spec).spec == normal


def test_weights_that_need_another_architecture_get_it() -> None:
    """The name with its weights builds their position embedding and takes their image size."""
    plain, large = "vit_b_16", "vit_b_16@IMAGENET1K_SWAG_E2E_V1"
    assert default_inputs(plain).shapes() == ((1, 3, 224, 224),)
    assert default_inputs(large).shapes() == ((1, 3, 384, 384),)
    shapes = [build_model(spec, device="meta").encoder.pos_embedding.shape[1] for spec in (plain, large)]
    assert shapes == [1 + 14 * 14, 1 + 24 * 24]


def test_the_name_and_the_weights_may_not_disagree() -> None:
    """Weights in the name and other ones beside it contradict each other."""
    with pytest.raises(UsageError, match="disagree; name the weights once"):
        load_model("vit_b_16@IMAGENET1K_SWAG_E2E_V1", weights="IMAGENET1K_V1")


@pytest.mark.parametrize(
    ("spec", "shape", "expected"),
    [
        ("resnet18", "2,3,64,32", ((2, 3, 64, 32),)),
        ("resnet18", (2, 3, 64, 32), ((2, 3, 64, 32),)),
        ("ssd300_vgg16", "2,3,64,32", ((3, 64, 32), (3, 64, 32))),
        ("raft_small", "1, 3, 128, 136", ((1, 3, 128, 136), (1, 3, 128, 136))),
        ("r3d_18", "1,3,8,64,64", ((1, 3, 8, 64, 64),)),
    ],
)
def test_an_input_shape_is_laid_out_for_its_model(spec: str, shape: Any, expected: Any) -> None:
    """A shape becomes one tensor, a list of images for a detector, or two frames for RAFT."""
    inputs = default_inputs(spec, input_shape=shape)
    assert inputs.shapes() == expected
    assert isinstance(inputs.args[0], list) is (spec == "ssd300_vgg16")
    assert min(tensor.min() for tensor in inputs.tensors()) >= 0
    assert max(tensor.max() for tensor in inputs.tensors()) < 1


@pytest.mark.parametrize("shape", ["", "1,3,224", "1,3,8,224,224", "1,3,0,224", "1,3,-8,8", "1,3,a,8", "1;3", (1.5, 3)])
def test_a_malformed_input_shape_is_refused(shape: Any) -> None:
    """A shape that is no list of positive whole numbers, or of another rank, says what was expected."""
    with pytest.raises(UsageError, match=r"expected N,C,H,W such as|takes 4: N,C,H,W such as") as caught:
        default_inputs("resnet18", input_shape=shape)
    assert (shape if isinstance(shape, str) else "1.5,3") in str(caught.value)


def test_a_clip_needs_five_numbers() -> None:
    """A video model's shape has a time."""
    with pytest.raises(UsageError, match="takes 5: N,C,T,H,W"):
        default_inputs("r3d_18", input_shape="1,3,64,64")


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_an_unusable_device_is_refused(device: str) -> None:
    """A device that does not exist, or not here, is a mistake in the request."""
    with pytest.raises(UsageError, match=f"the device '{device}' can't be used"):
        load_model("resnet18", weights="none", device=device)


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "squeezenet1_1"])
def test_example_inputs_run(name: str) -> None:
    """A model runs on its own example inputs."""
    loaded = load_model(name, weights="none")
    with torch.no_grad():
        assert loaded.example_inputs.call(loaded.model) is not None


def test_inputs_beyond_the_memory_at_hand_are_refused_before_they_are_asked_for() -> None:
    """Nothing that is typed as a shape or a batch ends in an allocator's words."""
    with pytest.raises(UsageError, match="GiB are at hand"):
        random_inputs((1, 3, 999_999_999, 999_999_999), "image", 0)
    small = random_inputs((1, 3, 9, 9), "image", 0)
    with pytest.raises(UsageError, match="GiB are at hand"):
        small.reshaped([(1, 3, 999_999, 999_999)])
    with pytest.raises(UsageError, match="GiB are at hand"):
        rebatched(small, 999_999_999)
    assert rebatched(small.reshaped([(1, 3, 9, 8)]), 2).shapes() == ((2, 3, 9, 8),)
