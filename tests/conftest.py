"""What every test starts from: no network, no cache, one thread, repeatable random examples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
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
