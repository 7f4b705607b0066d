"""Layers that can't be fitted within the memory there may be stay as they are, with the numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon.base.errors import RecipeError, UsageError
from convsurgeon.transfer.memory import memory_named

X = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept between tests."""
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path))


def _net(kernel: int) -> nn.Module:
    torch.manual_seed(0)
    tall = nn.Conv2d(1024, 16, (kernel, 1), padding=(kernel // 2, 0))
    return nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 1024, 1), tall).eval()


@pytest.mark.parametrize("calibration", [None, [X]])
@pytest.mark.parametrize(("kernel", "gib", "stays"), [(65, None, True), (1, 0.03, True), (1, 0.04, False)])
def test_a_layer_too_wide_to_be_fitted_stays(
    calibration: list[torch.Tensor] | None, kernel: int, gib: float | None, stays: bool
) -> None:
    """66,560 unknowns per output are beyond any default, 1,024 beyond 0.03 GiB but not beyond 0.04."""
    chosen = convsurgeon.plan(_net(kernel), X[:1], method="igc-l4m2", calibration=calibration, fit_memory=gib)
    wide = chosen.layers[3]
    assert wide.action == ("refused" if stays else "replaced")
    assert ("GiB of memory, more than the limit of" in wide.reason) == stays
    assert chosen.layers[1].action == "replaced"


def test_what_is_not_fitted_needs_no_memory() -> None:
    """Random weights are converted whatever the limit; a limit of nothing or without end is refused."""
    done = convsurgeon.convert(_net(1), X[:1], method="igc-l4m2", random_weights=True, fit_memory=0.001)
    assert done.plan.layers[3].action == "replaced"
    assert convsurgeon.plan(_net(1), X[:1], method="igc-l4m2", fit_memory=1e18).layers[3].action == "replaced"
    for wrong in (0, -1, float("nan"), float("inf"), 1e308):
        with pytest.raises(RecipeError, match="fit_memory"):
            convsurgeon.plan(_net(1), X[:1], method="igc-l4m2", fit_memory=wrong)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), UsageError),
        (MemoryError(), UsageError),
        (torch.OutOfMemoryError("CUDA out of memory"), UsageError),
        (RuntimeError("shapes differ"), RuntimeError),
    ],
)
def test_an_allocators_words_are_translated(error: Exception, kind: type[Exception]) -> None:
    """Whoever asks for too much, the layer is named; other errors pass."""
    message = "not enough memory to fit 'body'" if kind is UsageError else str(error)
    with pytest.raises(kind, match=message), memory_named("body"):
        raise error
