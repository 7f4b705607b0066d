"""Weights, features and inputs that are not finite: refused with their name wherever something is made of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import convsurgeon
from convsurgeon.base.errors import ModelLoadError, ModelRunError, UsageError
from tests.nets import Plain

X = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
USES: dict[str, Callable[[nn.Module, Path], object]] = {
    "convert": lambda model, _: convsurgeon.convert(model, X[:1], method="igc-l4m2", calibration=[X]),
    "convert, blindly": lambda model, _: convsurgeon.convert(model, X[:1], method="compconv32"),
    "lower": lambda model, _: convsurgeon.lower(model, X[:1], runtime=None),
    "export": lambda model, folder: convsurgeon.export(model, X[:1], folder / "net.pt2", lowered=False),
    "recover": lambda model, _: convsurgeon.recover(
        Plain(width=16).eval(), model, [X], settings=convsurgeon.RecoverSettings(steps=1), progress=False
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept between tests."""
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path / "cache"))


def _net() -> nn.Module:
    torch.manual_seed(0)
    return Plain(width=16).eval()


@pytest.mark.parametrize("use", [use for name, use in USES.items() if name != "recover"], ids=lambda _: "")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.0])
def test_a_weight_that_is_not_finite_is_named(
    use: Callable[[nn.Module, Path], object], value: float, tmp_path: Path
) -> None:
    """NaN and infinity are refused wherever weights enter; another value there is a weight like all."""
    model = _net()
    name, weight = next((name, weight) for name, weight in model.named_parameters() if weight.dim() == 4)
    weight.data[0, 0, 0, 0] = value
    if value == 1.0:
        assert use(model, tmp_path)
        return
    with pytest.raises(ModelLoadError, match=rf"the model's {name} holds NaN, infinity or a negative variance"):
        use(model, tmp_path)


def test_recovery_refuses_a_network_that_is_not_finite(tmp_path: Path) -> None:
    """Before it trains, whichever of the two networks it is."""
    broken = _net()
    next(broken.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelLoadError, match="holds NaN"):
        USES["recover"](broken, tmp_path)


@pytest.mark.parametrize(
    ("statistic", "value"), [("running_var", -1.0), ("running_var", torch.inf), ("running_mean", torch.nan)]
)
def test_statistics_that_no_batch_has_are_named(statistic: str, value: float) -> None:
    """Of a batch norm; a mask's infinity is meant, and the same numbers elsewhere are taken."""
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
    model.register_buffer("mask", torch.tensor([-torch.inf]))
    assert convsurgeon.convert(copy.deepcopy(model), X[:1], method="igc-l4m2", calibration=[X])
    getattr(model[1], statistic)[0] = value
    with pytest.raises(ModelLoadError, match=rf"the model's 1\.{statistic} holds"):
        convsurgeon.convert(model, X[:1], method="igc-l4m2", calibration=[X])


@pytest.mark.parametrize("scale", [1e30, 1.0])
def test_the_layer_that_overflows_is_named(scale: float) -> None:
    """Weights that are finite may give features that are not."""
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)).eval()
    for layer in (model[0], model[2]):
        layer.weight.data.mul_(scale)  # type: ignore[operator]
    if scale == 1.0:
        assert convsurgeon.convert(model, X[:1], method="igc-l4m2", calibration=[X])
        return
    with pytest.raises(ModelRunError, match="'2' gives NaN or infinity on the calibration inputs"):
        convsurgeon.convert(model, X[:1], method="igc-l4m2", calibration=[X])


def test_inputs_to_judge_on_are_finite() -> None:
    """One NaN among them would agree with itself; without it they are judged on."""
    judging = [X[:2].clone(), X[2:4].clone()]
    assert convsurgeon.convert(_net(), X[:1], method="igc-l4m2", calibration=[X], judging=judging).report.fidelity
    judging[1][0, 0, 0, 0] = torch.nan
    with pytest.raises(UsageError, match=r"batch 2 to judge on .* holds NaN or infinity"):
        convsurgeon.convert(_net(), X[:1], method="igc-l4m2", calibration=[X], judging=judging)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_that_shuffles_is_refused(shuffle: bool) -> None:
    """A layer's inputs and what should come out are read in two passes, which would not match."""
    loader = DataLoader(TensorDataset(X), 8, shuffle=shuffle, generator=torch.Generator().manual_seed(0))
    if shuffle:
        with pytest.raises(UsageError, match=r"another order each time .* shuffle=False .* list\(loader\)"):
            convsurgeon.convert(_net(), X[:1], method="igc-l4m2", calibration=loader)
        loader = list(loader)  # type: ignore[assignment]
    assert convsurgeon.convert(_net(), X[:1], method="igc-l4m2", calibration=loader)
