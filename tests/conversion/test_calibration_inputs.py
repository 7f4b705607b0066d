"""What calibration data may look like: loaders with labels, inputs that say nothing, inputs that are not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import convsurgeon
from convsurgeon.base.errors import UsageError
from tests.nets import Plain

X = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 10
NET = Plain(width=16).eval()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept between tests."""
    monkeypatch.setenv("CONVSURGEON_CACHE", str(tmp_path))


def _converted(calibration: Any, model: nn.Module = NET, example: Any = X[:1], method: str = "igc-l4m2") -> Any:
    return convsurgeon.convert(model, example, method=method, calibration=calibration)


def _same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (DataLoader(TensorDataset(X, LABELS), 24), "part 1"),
        ([(X, LABELS)], "part 1"),
        ([(LABELS, X)], "part 2"),
        ([(X, torch.zeros(24, 8, 8, dtype=torch.int64))], "part 1"),
        ([(X, torch.zeros(24, 1, 8, 8))], "part 1"),
        ([{"pixels": X, "label": LABELS}], "'pixels'"),
        (DataLoader(TensorDataset(X), 24), None),
        ([{"image": X}], None),
        ([X], None),
    ],
)
def test_the_images_of_labelled_data_are_taken(data: Any, taken: str | None) -> None:
    """Of pairs and dicts the part that is like the example inputs is fitted on, and a note says which."""
    done = _converted(data)
    assert _same(done.model, _converted([X]).model)
    notes = [note for note in done.report.notes if "calibration batch" in note]
    assert [f"only {taken} was taken" in note for note in notes] == ([True] if taken else [])


def test_two_parts_that_could_be_the_input_are_refused() -> None:
    """Of a noisy and a clean image neither is guessed to be the input; a model that takes both gets both."""
    with pytest.raises(UsageError, match=r"part 1: \[24, 3, 8, 8\], part 2: .*part 1 and part 2 could each be"):
        _converted([(X, X + 1)])
    pairs = [[X, X + 1]]
    assert _converted(pairs, _Both().eval(), (X[:1], X[:1])).report.notes == ()


class _Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Plain(width=16)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.net(one) + self.net(other)


class _Listed(nn.Module):
    """Takes a list of images, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Plain(width=16)

    def forward(self, images: list[Tensor], targets: Any = None) -> Tensor:
        assert targets is None
        return self.net(torch.stack(list(images)))


def test_the_images_of_a_detection_loader_are_taken() -> None:
    """Images of any number in a tuple, beside targets that the model would take only in training."""
    targets = tuple({"boxes": torch.zeros(1, 4)} for _ in range(4))
    done = _converted([(tuple(X[:4]), targets), (tuple(X[4:8]), targets)], _Listed().eval(), ([X[0]],))
    assert "only part 1 was taken" in done.report.notes[0]


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
@pytest.mark.parametrize("method", ["igc-l4m2", "auto"])
@pytest.mark.parametrize("at", [0, 7])
def test_inputs_that_are_not_finite_are_refused(bad: float, method: str, at: int) -> None:
    """One value in the second of three batches names that batch, also where it is held back from the fits."""
    batches = [batch.clone() for batch in X.split(8)]
    _converted(batches, method="igc-l4m2")
    batches[1][at, 0, 0, 0] = bad
    with pytest.raises(UsageError, match=r"calibration batch 2 \(\[8, 3, 8, 8\]\) holds NaN or infinity"):
        _converted(batches, method=method)


@pytest.mark.parametrize(
    ("inputs", "note"),
    [
        (X, None),
        (X[:1].expand(24, -1, -1, -1), "are equal: the fits know this one only"),
        (torch.cat([X[:8], torch.zeros(16, 3, 8, 8)]), "14 of 21 calibration inputs are of one value all over"),
        (torch.cat([X[:16], torch.zeros(8, 3, 8, 8)]), None),
        (torch.linspace(0, 1, 24)[:, None, None, None].expand(-1, 3, 8, 8), "21 of 21 calibration inputs are of one"),
    ],
)
def test_inputs_that_hardly_differ_are_named(inputs: Tensor, note: str | None) -> None:
    """Equal ones, and a majority of empty ones, are fitted on with a note."""
    notes = _converted([inputs]).report.notes
    assert [note in found for found in notes] == [True] if note else not notes, notes


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_inputs_without_any_difference_are_refused(value: float) -> None:
    """Where every input is the same and of one value, nothing can be fitted; one odd pixel is enough for a fit."""
    blank = torch.full((8, 3, 8, 8), value)
    with pytest.raises(UsageError, match="without any difference"):
        _converted([blank])
    blank[0, 0, 0, 0] += 1
    _converted([blank])
