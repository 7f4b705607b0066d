"""torchvision's architectures and pretrained weights, against torchvision's own builders."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models as zoo

from convsurgeon.base.errors import ModelLoadError, WeightsUnavailable
from convsurgeon.models.loading import build_model, known_models, load_model
from convsurgeon.models.torchvision_models import torchvision_model
from convsurgeon.models.torchvision_weights import WeightsInHand
from tests.models.loopback import closed_address, serving

NAMES = known_models()
REGNETS = [name for name in NAMES if name.startswith("regnet")]
# the smallest of each family whose builder does more with weights than loading them
REBUILT = (
    "googlenet",
    "inception_v3",
    "fcn_resnet50",
    "fasterrcnn_resnet50_fpn",
    "densenet121",
    "mnasnet0_5",
)


@pytest.fixture(autouse=True)
def _offline_and_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("CONVSURGEON_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "*")


def _publish(name: str, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch, address: str = "") -> Path:
    """Put a state dict into the cache as the DEFAULT weights of a name, with the hash in its file name."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "new")
    digest = hashlib.sha256((folder / "new").read_bytes()).hexdigest()
    path = (folder / "new").rename(folder / f"{name}-{digest[:8]}.pth")
    member = torchvision_model(name).member
    monkeypatch.setattr(member.value, "url", f"{address or closed_address()}/{path.name}")
    return path


def _scattered(model: nn.Module) -> dict[str, Any]:
    """A state dict in which no two tensors of one shape are alike, not even fresh batch norms."""
    generator = torch.Generator().manual_seed(1)
    state = model.state_dict()
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.1 + 0.5)
    return state


def _same(left: nn.Module, right: nn.Module) -> bool:
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REGNETS])
def test_every_name_builds_the_architecture_of_its_weights(name: str) -> None:
    """Built without weights and without memory, a model has the parameters that its DEFAULT weights fill."""
    model = build_model(name, device="meta")
    published = torchvision_model(name).member.meta["num_params"]
    # torchvision drops the auxiliary head of its quantisable Inception when it loads weights
    dropped = {"quantized_inception_v3": 3_326_696}.get(name, 0)
    assert sum(parameter.numel() for parameter in model.parameters()) == published - dropped
    assert not model.training


@pytest.mark.parametrize("name", REGNETS)
def test_regnets_cannot_be_built_on_meta(name: str) -> None:
    """torchvision's RegNets compute with their sizes as tensors, so the meta device is refused in one line."""
    with pytest.raises(ModelLoadError, match=f"{name} can't be built on meta: "):
        build_model(name, device="meta")


def test_a_regnet_is_built_on_cpu() -> None:
    """What is refused on meta is built where tensors have values."""
    assert sum(parameter.numel() for parameter in build_model("regnet_y_400mf").parameters()) == 4_344_144


class _ReachedError(Exception):
    pass


class _Probe(WeightsInHand):
    def get_state_dict(self, **_: Any) -> Any:
        raise _ReachedError


def _one_per_builder_file() -> list[str]:
    smallest = sorted(NAMES, key=lambda name: torchvision_model(name).member.meta["num_params"], reverse=True)
    return sorted({zoo.get_model_builder(name).__module__: name for name in smallest}.values())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", _one_per_builder_file())
def test_builders_take_the_stand_in_for_their_weights(name: str) -> None:
    """Every kind of builder accepts the stand-in as a member of its own enum, and asks it for the state dict."""
    builder = zoo.get_model_builder(name)
    options = {"weights_backbone": None} if "weights_backbone" in inspect.signature(builder).parameters else {}
    device = "cpu" if name in REGNETS else "meta"
    with pytest.raises(_ReachedError), torch.device(device):
        builder(weights=_Probe(torchvision_model(name).member, {}), **options)


@pytest.mark.parametrize("name", ["resnet18", *REBUILT])
def test_cached_weights_give_what_torchvision_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one cached file torchvision's builder and this one make the same modules, settings and tensors.

    The same architecture comes without weights too, so a saved model is rebuilt from its name.
    """
    source = torchvision_model(name)
    path = _publish(name, _scattered(source._call_builder(None, **source._settings())), monkeypatch)
    loaded = load_model(name, weights="DEFAULT")
    theirs = zoo.get_model(name, weights=source.member).eval()
    assert repr(loaded.model) == repr(theirs)
    assert _same(loaded.model, theirs)
    assert getattr(loaded.model, "transform_input", None) == getattr(theirs, "transform_input", None)
    assert loaded.weights.origin == "pretrained"
    assert loaded.weights.detail == f"{source.member}, from the cache"
    rebuilt = build_model(loaded.spec)
    assert repr(rebuilt) == repr(theirs)
    assert getattr(rebuilt, "transform_input", None) == getattr(theirs, "transform_input", None)
    path.unlink()  # some have hundreds of megabytes


def test_pretrained_weights_bring_classes_and_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretrained weights come with their class names and with the transform from an image to [3, H, W]."""
    image = pytest.importorskip("PIL.Image").new("RGB", (300, 200))
    _publish("resnet18", zoo.resnet18().state_dict(), monkeypatch)
    loaded = load_model("resnet18", weights="IMAGENET1K_V1")
    assert loaded.categories is not None
    assert (len(loaded.categories), loaded.categories[0]) == (1000, "tench")
    assert loaded.transform is not None
    assert loaded.transform(image).shape == (3, 224, 224)
    bare = load_model("resnet18", weights="none")
    assert (bare.categories, bare.transform) == (None, None)


def test_auto_takes_what_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """auto means the pretrained weights where they are cached, network or not."""
    state = _scattered(zoo.squeezenet1_1())
    _publish("squeezenet1_1", state, monkeypatch)
    loaded = load_model("squeezenet1_1")
    assert loaded.weights.origin == "pretrained"
    assert torch.equal(loaded.model.state_dict()["features.0.weight"], state["features.0.weight"])


def test_auto_downloads_what_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """auto and DEFAULT download what is not cached, into the cache."""
    state = _scattered(zoo.squeezenet1_1())
    content = _publish("squeezenet1_1", state, monkeypatch).read_bytes()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "another"))
    monkeypatch.delenv("CONVSURGEON_OFFLINE")

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)

    with serving(answer) as address:
        _publish_at(address, "squeezenet1_1", content, monkeypatch)
        assert "downloaded from 127.0.0.1" in load_model("squeezenet1_1").weights.detail
    assert load_model("squeezenet1_1", weights="DEFAULT").weights.detail.endswith("from the cache")


def _publish_at(address: str, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{address}/{name}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(torchvision_model(name).member.value, "url", url)


def test_auto_goes_on_with_random_weights_and_says_why() -> None:
    """Where the pretrained weights can't be had, auto's are random, with the reason and the seed."""
    weights = load_model("resnet18", seed=7).weights
    assert weights.origin == "random"
    assert weights.detail == (
        "random: ResNet18_Weights.IMAGENET1K_V1 can't be had: resnet18-f37072fd.pth is not in the cache and "
        "CONVSURGEON_OFFLINE is set, seed 7"
    )


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"])
def test_named_weights_that_cannot_be_had_are_an_error(weights: str) -> None:
    """DEFAULT and a member's name fail where auto goes on, and name the weights."""
    with pytest.raises(WeightsUnavailable, match=r"IMAGENET1K_V1 can't be had: .* is not in the cache"):
        load_model("resnet18", weights=weights)


def test_a_dead_network_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the network on but dead, auto says so, and DEFAULT fails."""
    monkeypatch.delenv("CONVSURGEON_OFFLINE")
    monkeypatch.setattr(torchvision_model("resnet18").member.value, "url", f"{closed_address()}/resnet18-01234567.pth")
    assert "can't be reached" in load_model("resnet18").weights.detail
    with pytest.raises(WeightsUnavailable, match="can't be reached"):
        load_model("resnet18", weights="DEFAULT")


def test_a_corrupt_cache_is_an_error_even_for_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corrupt cached file is not quietly replaced by random weights."""
    path = _publish("resnet18", {"x": torch.ones(1)}, monkeypatch)
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(ModelLoadError, match=f"{path.name} are corrupt"):
        load_model("resnet18")


def test_cached_weights_of_another_model_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verified file that holds another model's weights is one clear message."""
    _publish("resnet18", zoo.squeezenet1_1().state_dict(), monkeypatch)
    with pytest.raises(ModelLoadError, match="does not fit torchvision's resnet18") as caught:
        load_model("resnet18")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["googlenet", "mobilenet_v3_small"])
def test_a_file_in_torchvisions_own_form_fits(name: str, tmp_path: Path) -> None:
    """A file as torchvision publishes it fits, with auxiliary heads that the model then drops."""
    raw = torchvision_model(name)._call_builder(None)
    torch.save(raw.state_dict(), tmp_path / "w.pth")
    loaded = load_model(name, weights=tmp_path / "w.pth")
    assert loaded.weights.detail == str(tmp_path / "w.pth")
    assert repr(loaded.model) == repr(build_model(name))
    torch.save(loaded.model.state_dict(), tmp_path / "again.pth")
    assert _same(load_model(name, weights=tmp_path / "again.pth").model, loaded.model)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda weight: weight * float("nan"), r"not finite .*conv1\.weight"),
        (lambda weight: weight.to(torch.int8), r"conv1\.weight is int8 in the file, float32 in the model"),
        (lambda weight: weight, None),
    ],
)
def test_a_builder_is_handed_no_spoilt_numbers(spoil: Any, words: str | None, tmp_path: Path) -> None:
    """Numbers that mean nothing are refused before torchvision's builder could take them without a word."""
    state = zoo.resnet18().state_dict()
    state["conv1.weight"] = spoil(state["conv1.weight"])
    torch.save(state, tmp_path / "w.pth")
    if words is None:
        assert load_model("resnet18", weights=tmp_path / "w.pth").weights.origin == "file"
        return
    with pytest.raises(ModelLoadError, match=words):
        load_model("resnet18", weights=tmp_path / "w.pth")


def test_a_file_with_other_classes_is_refused(tmp_path: Path) -> None:
    """A checkpoint with another number of classes is refused with both shapes and what to do."""
    torch.save(zoo.resnet18(num_classes=10).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelLoadError) as caught:
        load_model("resnet18", weights=tmp_path / "w.pth")
    assert "2 of another shape (fc.weight [10, 512] in the file, [1000, 512] in the model" in str(caught.value)
    assert "a factory that builds theirs" in str(caught.value)
