"""Devices by name: what can't be calculated on is refused, and what has no values can't be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from convsurgeon import RecoverSettings, UsageError, bench, lower, recover
from convsurgeon.base.devices import best_device, usable_device
from convsurgeon.base.errors import ModelLoadError, ModelRunError
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.registry import find_runtime

X = torch.rand(1, 3, 8, 8)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Pretends that there is an accelerator, with float64 or without."""
    empty: Callable[..., torch.Tensor] = torch.empty

    def pretend(float64: bool) -> None:
        def fake(*size: Any, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
            if dtype == torch.float64 and not float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype. More advice")
            return empty(*size, dtype=dtype)

        monkeypatch.setattr(torch, "empty", fake)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))

    return pretend


def test_a_device_without_float64_is_refused_and_never_chosen(accelerator: Callable[[bool], None]) -> None:
    """Fits and comparisons calculate in float64; a device that has it is taken."""
    accelerator(False)
    with pytest.raises(UsageError, match="'mps' can't be used: Cannot convert a MPS Tensor to float64"):
        usable_device("mps")
    assert best_device() == torch.device("cpu")
    accelerator(True)
    assert usable_device("mps") == best_device() == torch.device("mps")


def test_without_an_accelerator_the_cpu_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is always a CPU."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert best_device() == torch.device("cpu")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_weights_without_values_are_neither_lowered_nor_timed_nor_trained(device: str) -> None:
    """A model on the meta device can be counted, not run."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval().to(device)
    if device == "cpu":
        assert lower(model, X, runtime=None).error < 1e-4
        assert bench(model, None, X, runtimes="eager", seconds=0.01).rows
        assert recover(model, model, [X], settings=RecoverSettings(steps=1), device="cpu").history.steps == 1
        return
    with pytest.raises(ModelLoadError, match="meta device, where nothing can be lowered"):
        lower(model, X, runtime=None)
    with pytest.raises(ModelLoadError, match="meta device, where nothing can be timed"):
        bench(model, None, X, runtimes="eager", seconds=0.01)
    with pytest.raises(ModelLoadError, match="meta device, where nothing can be trained"):
        recover(model, model, [X], settings=RecoverSettings(steps=1))


@pytest.mark.parametrize("run", [lambda m: lower(m, X), lambda m: bench(m, None, X, runtimes="eager", seconds=0.01)])
def test_what_is_no_module_is_refused(run: Callable[[Any], object]) -> None:
    """A name in place of a model gets an error of ours, which a module of the same kind does not."""
    with pytest.raises(ModelLoadError, match=r"is a str; expected a torch\.nn\.Module"):
        run("resnet18")
    assert run(nn.Conv2d(3, 4, 3).eval())


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runtimes_of_the_cpu_refuse_models_elsewhere(name: str) -> None:
    """Copies to and from the host would be in their times."""
    runtime = find_runtime(name)
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    with pytest.raises(ModelRunError, match="the model is on 'meta'; use --device cpu"):
        runtime.prepare(nn.Conv2d(3, 4, 3, device="meta"), Inputs((X,)), precision="float32", threads=1)
