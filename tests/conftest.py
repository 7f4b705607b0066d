"""What every test starts from: no network, no cache, one thread, repeatable random examples."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.eager import Eager

settings.register_profile(
    "repeatable",
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("repeatable")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _offline_and_seeded(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("CONVSURGEON_OFFLINE", "1")
    # Times and damage that the user's own runs left on disk would change plans.
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path_factory.mktemp("cache")))
    torch.manual_seed(0)


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file can grow beyond 1000 bytes, which programs see as they see a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def eager_in_two_precisions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Eager mode as a runtime that takes bfloat16 by itself and has float32; the precisions that it is asked for."""
    asked: list[str] = []

    def prepare(self: Eager, model: nn.Module, inputs: Inputs, *, precision: str, threads: int) -> Callable[[], object]:
        asked.append(precision)
        return lambda: None

    monkeypatch.setattr(Eager, "precisions", lambda self, dtype: ("float32", "bfloat16"))
    monkeypatch.setattr(Eager, "preferred", lambda self, dtype: "bfloat16")
    monkeypatch.setattr(Eager, "prepare", prepare)
    return asked
