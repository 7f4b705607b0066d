"""timm's models and their weights; the Hugging Face hub is a loopback server here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from convsurgeon.base.errors import ModelLoadError, UnknownName, UsageError, WeightsUnavailable
from convsurgeon.models.loading import build_model, default_inputs, load_model
from tests.models.loopback import Handler, closed_address, serving

timm = pytest.importorskip("timm")
constants = pytest.importorskip("huggingface_hub").constants

MODEL = "timm:test_resnet"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub where nobody listens."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("CONVSURGEON_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    _point_hub_at(closed_address(), monkeypatch)
    return tmp_path / "hub"


def _point_hub_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(timm.create_model("test_resnet").state_dict())


def _same(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def test_a_dead_hub_means_random_weights() -> None:
    """auto goes on with random weights and says why; DEFAULT and a tag of the model's own fail."""
    loaded = load_model(MODEL, seed=5)
    assert loaded.weights.origin == "random"
    assert "can't be reached: " in loaded.weights.detail
    assert loaded.weights.detail.endswith("seed 5")
    assert loaded.example_inputs.shapes() == ((1, 3, 160, 160),)
    with pytest.raises(WeightsUnavailable, match=r"test_resnet can't be had: .*go on with random ones"):
        load_model(MODEL, weights="DEFAULT")


def test_offline_asks_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """CONVSURGEON_OFFLINE keeps the hub from being asked."""
    asked: list[str] = []
    monkeypatch.setenv("CONVSURGEON_OFFLINE", "1")
    with serving(lambda handler: asked.append(handler.path)) as address:
        _point_hub_at(address, monkeypatch)
        assert "is not in the cache" in load_model(MODEL).weights.detail
    assert asked == []


def test_the_hubs_cache_is_used(hub: Path) -> None:
    """Weights in the hub's cache are loaded without the network, and the model does not carry them twice."""
    state = _state()
    folder = hub / "models--timm--test_resnet.r160_in1k"
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    save_file(state, folder / "snapshots" / COMMIT / "model.safetensors")
    loaded = load_model(MODEL, weights="DEFAULT")
    assert _same(loaded.model, state)
    assert loaded.weights.origin == "pretrained"
    assert loaded.weights.detail == "timm test_resnet.r160_in1k, from the cache"
    assert "state_dict" not in loaded.model.pretrained_cfg
    image = pytest.importorskip("PIL.Image").new("RGB", (300, 200))
    assert loaded.transform is not None
    assert loaded.transform(image).shape == (3, 160, 160)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_the_hub_is_downloaded_from(name: str, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights on the hub are downloaded into its cache: safetensors where there are any, else the .bin."""
    state = _state()
    save = save_file if name.endswith("safetensors") else torch.save
    save(state, tmp_path / name)
    content = (tmp_path / name).read_bytes()

    def answer(handler: Handler) -> None:
        if not handler.path.endswith(f"test_resnet.r160_in1k/resolve/main/{name}"):
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("X-Repo-Commit", COMMIT)
        handler.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)

    with serving(answer) as address:
        _point_hub_at(address, monkeypatch)
        loaded = load_model(MODEL, weights="DEFAULT")
    assert _same(loaded.model, state)
    assert loaded.weights.detail.endswith("downloaded from the Hugging Face hub")
    assert len(list(hub.glob(f"**/{name}"))) == 1


def test_a_file_fits_or_is_refused(tmp_path: Path) -> None:
    """A state dict file is loaded strictly; one that does not fit is refused with its keys."""
    state = _state()
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_model(MODEL, weights=tmp_path / "w.safetensors")
    assert _same(loaded.model, state)
    assert loaded.weights.origin == "file"
    del state["fc.bias"]
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(ModelLoadError, match=r"1 missing in the file \(fc\.bias\)"):
        load_model(MODEL, weights=tmp_path / "short.safetensors")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:test_resnte", "timm has no model 'test_resnte'. Did you mean test_resnet"),
        ("timm:test_resnet.in7k", "no weights 'in7k' for test_resnet. Known: test_resnet.r160_in1k"),
    ],
)
def test_unknown_names_get_near_ones(spec: str, words: str) -> None:
    """An unknown model or tag is refused with those timm has."""
    with pytest.raises(UnknownName) as caught:
        load_model(spec)
    assert words in str(caught.value)


def test_weights_are_tags() -> None:
    """timm's weights are named in the model's name; another name is refused with where to put it."""
    assert load_model(f"{MODEL}.r160_in1k", weights="none").weights.origin == "random"
    with pytest.raises(UsageError, match=r"part of the model's name: timm:test_resnet\.TAG"):
        load_model(MODEL, weights="r160_in1k")


def test_building_on_meta_and_sizes_by_name() -> None:
    """The architecture is built without memory, and the input size is timm's without building."""
    assert build_model("timm:resnet50", device="meta").fc.weight.is_meta
    assert default_inputs("timm:resnet50.tv2_in1k").shapes() == ((1, 3, 176, 176),)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where timm is not installed, its names say what to install."""
    monkeypatch.setitem(sys.modules, "timm.models", None)
    with pytest.raises(UsageError, match=r'pip install "convsurgeon\[timm\]"'):
        load_model(MODEL)


def test_timm_is_not_imported_unasked() -> None:
    """Importing the room of models, and refusing a torchvision name, leaves timm alone."""
    code = (
        "import sys, convsurgeon.models.loading as m\n"
        "from convsurgeon.base.errors import UsageError\n"
        "try: m.load_model('resnet5O')\n"
        "except UsageError: pass\n"
        "sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
