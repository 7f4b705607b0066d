"""Damaged files end in one of the project's own errors, or load; never in a traceback, and never in a hang.

100 mutations a format here; ``CONVSURGEON_MUTATIONS=2000 scripts/test tests/fuzzing`` tries more.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import convsurgeon
from convsurgeon.base.cache_file import CacheFile
from convsurgeon.base.errors import ConvsurgeonError
from convsurgeon.base.tensor_file import read_tensors
from convsurgeon.budgets.config import read_config
from convsurgeon.budgets.lock import read_lock
from convsurgeon.models.checkpoints import read_checkpoint
from convsurgeon.models.images import labelled_images
from convsurgeon.planning.plan_file import read_plan_file
from convsurgeon.planning.recipe import read_recipe
from convsurgeon.recovery import RecoverSettings
from convsurgeon.recovery.checkpoint import LAST, Checkpoints, Standing
from convsurgeon.report.folder import MANIFEST, PLAN, REPORT, WEIGHTS, read_manifest, read_report
from convsurgeon.runtimes.timer import Spread
from convsurgeon.transfer.damage_file import Estimate
from tests.fuzzing.mutations import mutated

MUTATIONS = int(os.environ.get("CONVSURGEON_MUTATIONS", "100"))
_SECONDS = 20
_ROOT = Path(__file__).parents[2]

RECIPE = b"""model = "resnet18"
method = "igc"
target = ["macs=50%", "params=5M"]
input = [1, 3, 64, 64]
seed = 3

[rules]
skip = ["conv1", "layer4*"]

[[rules.layers]]
match = "layer1*"
method = "compconv"

[preprocessing]
mean = [0.5, 0.5, 0.5]
crop = 64
"""
BUDGETS = b"""[[tool.convsurgeon.budgets]]
name = "net"
model = "resnet18"
macs = "1.9G"
params = "+0%"
latency = "20ms"
"""


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    ).eval()  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A file, what reads it, and what must hold of what was read."""

    path: Path
    read: Callable[[], Any]
    holds: Callable[[Any], bool] = lambda _read: True


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    """One sound file of each format."""
    home = tmp_path_factory.mktemp("files")
    net, images = _net(), torch.rand(8, 3, 16, 16)
    done = convsurgeon.convert(net, images[:1], method="igc", target="macs=60%", calibration=[images])
    saved = done.save(home / "saved")
    undigested = Path(shutil.copytree(saved, home / "undigested"))
    manifest = read_manifest(undigested).model_copy(update={"weights_sha256": None})
    (undigested / MANIFEST).write_text(manifest.model_dump_json())
    settings = RecoverSettings(steps=1)
    convsurgeon.recover(net, done, [images], settings=settings, checkpoints=home / "training", device="cpu")
    standing = Standing.model_validate_json(read_tensors(home / "training" / LAST)[1]["standing"])
    for name, content in (("recipe.toml", RECIPE), ("pyproject.toml", BUDGETS), ("classes.txt", b"cat\ndog\n")):
        (home / name).write_bytes(content)
    whole = (_ROOT / "convsurgeon-budgets.lock").read_bytes()
    (home / "convsurgeon-budgets.lock").write_bytes(b"\n[models.".join(whole.split(b"\n[models.")[:3]))
    torch.save({"epoch": 3, "state_dict": net.state_dict()}, home / "net.pth")
    for name in ("cat", "dog"):
        (home / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(home / "images" / name / "0.png")
    state = {name: tensor.clone() for name, tensor in done.model.state_dict().items()}

    def is_the_saved_one(model: nn.Module) -> bool:
        return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())

    spread = Spread(median_ns=5, low_ns=4, high_ns=6, least_ns=4, samples=9)
    caches = {
        "latency cache": _cache(home, "latency", Spread, spread),
        "damage cache": _cache(home, "damage", Estimate, Estimate(error=None, samples=None, held=None, reliable=True)),
    }
    return caches | {
        "plan": Format(saved / PLAN, lambda: read_plan_file(saved / PLAN)),
        "report": Format(saved / REPORT, lambda: read_report(saved)),
        "manifest": Format(saved / MANIFEST, lambda: read_manifest(saved)),
        "weights of a saved network": Format(
            saved / WEIGHTS, lambda: convsurgeon.load(saved, model=net), is_the_saved_one
        ),
        "weights without a digest": Format(undigested / WEIGHTS, lambda: convsurgeon.load(undigested, model=net)),
        "recovery's checkpoint": Format(
            home / "training" / LAST, lambda: Checkpoints(home / "training").load_last(settings, standing.identity)
        ),
        "weights of torch": Format(home / "net.pth", lambda: read_checkpoint(home / "net.pth")),
        "recipe": Format(home / "recipe.toml", lambda: read_recipe(home / "recipe.toml")),
        "budgets": Format(home / "pyproject.toml", lambda: read_config(home / "pyproject.toml")),
        "lock": Format(
            home / "convsurgeon-budgets.lock", lambda: read_lock(home / "convsurgeon-budgets.lock")
        ),
        "classes": Format(
            home / "classes.txt",
            lambda: labelled_images(
                home / "images", torch.as_tensor, outputs=2, classes_file=home / "classes.txt"
            ),
        ),
    }  # fmt: skip


def _cache(home: Path, kind: str, entry: Any, sample: Any) -> Format:
    """A cache says what it was told, or nothing at all."""
    CacheFile(home, kind, ("net",), entry).add("layer", {"unit": sample})
    (path,) = home.glob(f"{kind}-*.json")
    return Format(
        path,
        lambda: CacheFile(home, kind, ("net",), entry).entries,
        lambda found: found in ({}, {"layer": {"unit": sample}}),
    )


NAMES = (
    *("plan", "report", "manifest", "recipe", "budgets", "lock", "classes", "latency cache", "damage cache"),
    *("weights of a saved network", "weights without a digest", "weights of torch", "recovery's checkpoint"),
)


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_named_or_harmless(formats: dict[str, Format], name: str) -> None:
    """Whatever stands in a file, reading it ends soon: with a value, or with an error of the project's own."""
    kind = formats[name]
    sound = kind.path.read_bytes()
    assert kind.holds(kind.read())
    try:
        for number in range(MUTATIONS):
            kind.path.write_bytes(mutated(sound, f"{name} {number}"))
            with _in_time(f"{name} {number}"):
                assert _refused(kind) or kind.holds(kind.read()), f"{name} {number} loads as something else"
    finally:
        kind.path.write_bytes(sound)


def _refused(kind: Format) -> bool:
    try:
        kind.read()
    except ConvsurgeonError:
        return True
    return False


@contextmanager
def _in_time(what: str) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"{what} takes more than {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
