"""Files for phones: what their own libraries make of units and of narrowed networks, where these are installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon.base.errors import ModelRunError
from convsurgeon.deployment.exporting import Exported, format_for, int8_file
from convsurgeon.runtimes.int8_processor import no_int8_instructions
from convsurgeon.runtimes.timer import Effort
from tests.families.table import FIXED

X = torch.randn(1, 16, 9, 9, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(96, 16, 9, 9, generator=torch.Generator().manual_seed(3)).split(32)


def _unit(method: str) -> nn.Module:
    """A convolution that became a unit, with a batch norm behind it, and one that stayed."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 8, 1)).eval()
    rules = convsurgeon.Rules(skip=("3",), stem=True)
    target = "macs=60%" if method == "dgconv" else None
    done = convsurgeon.convert(net, X, method=method, target=target, rules=rules, random_weights=True)
    assert [row.name for row in done.plan.replaced] == ["0"]
    return done.model


def _narrowed() -> nn.Module:
    """A network that lost channels between layers."""
    wanted = {"target": "macs=60%", "width_multiple": 4, "calibration": list(IMAGES)}
    done = convsurgeon.convert(Joined().eval(), X, moves="narrow,streams", **wanted)  # type: ignore[arg-type]
    assert done.plan.streams
    return done.model


class Joined(nn.Module):
    """A stem, and a residual branch of two convolutions: [N, 16, H, W] → [N, 8, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.last = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 8, 1)
        self.inside = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One forward pass."""
        x = torch.relu(self.stem(x))
        return self.last(torch.relu(x + self.inside(x)))


@pytest.fixture(params=[".tflite", ".pte", ".mlpackage"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file to write."""
    name = Path(f"net{request.param}")
    if (reason := format_for(name).missing()) is not None:
        pytest.skip(reason)
    return tmp_path / name


def _holds(done: Exported) -> bool:
    """Compared, or looked at and said to be no more than that."""
    if done.not_run is not None:
        return done.error is None and any("convolutions and 0 linear layers" in note for note in done.notes)
    return done.error is not None and done.error <= 1e-4


@pytest.mark.parametrize("lowered", [True, False])
@pytest.mark.parametrize("method", FIXED)
def test_units_of_every_family_compute_the_same(path: Path, method: str, lowered: bool) -> None:
    """A unit of each family, as it is and in its deployment form, computes in the file what it does in torch."""
    assert _holds(convsurgeon.export(_unit(method), X, path, lowered=lowered))


def test_narrowed_networks_compute_the_same(path: Path) -> None:
    """A network with fewer channels than it had computes in the file what it does here."""
    assert _holds(convsurgeon.export(_narrowed(), X, path))


def test_a_channel_order_costs_a_tflite_file_its_free_batch(tmp_path: Path) -> None:
    """litert-torch ties a gather to one batch size, which is told and refused if it was asked for; others stay free."""
    path = tmp_path / "net.tflite"
    if (reason := format_for(path).missing()) is not None:
        pytest.skip(reason)
    shuffled = convsurgeon.export(_unit("igc-l4m2"), X, path)
    assert shuffled.free == ()
    assert any("not any batch size: LiteRT can't run it" in note for note in shuffled.notes)
    with pytest.raises(ModelRunError, match="not any batch size: LiteRT can't run it on"):
        convsurgeon.export(_unit("igc-l4m2"), X, path, free="batch", force=True)
    assert convsurgeon.export(_unit("tucker-r8x8"), X, path, free="batch", force=True).free == ("batch",)


@pytest.mark.skipif(no_int8_instructions() is not None, reason="no int8 instructions")
@pytest.mark.parametrize("method", [*FIXED, "narrowed"])
def test_int8_files_are_like_their_float_files(path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the network was made of, its int8 file hardly differs from the one in float."""
    if (reason := format_for(path).int8_missing()) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(int8_file, "_TIMING", Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=0))
    model = _narrowed() if method == "narrowed" else _unit(method)
    report = convsurgeon.export(model, X, path, int8=convsurgeon.Int8(IMAGES)).int8
    assert report is not None
    assert report.float_file.output_error is not None
    assert 0 < report.float_file.output_error < 0.01
