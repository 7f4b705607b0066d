"""Files for phones: what their own libraries make of units and of narrowed networks, where these are installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import convsurgeon
from convsurgeon.deployment.exporting import Exported, format_for, int8_file
from convsurgeon.runtimes.int8_processor import no_int8_instructions
from convsurgeon.runtimes.timer import Effort
from tests.conversion.test_narrowing import Blocks
from tests.families.table import FIXED

X = torch.zeros(1, 3, 12, 12)


@pytest.fixture(params=[".tflite", ".pte", ".mlpackage"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file to write."""
    name = Path(f"net{request.param}")
    if (reason := format_for(name).missing()) is not None:
        pytest.skip(reason)
    return tmp_path / name


def _images(count: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return list(torch.randn(count, 3, 12, 12, generator=random).split(32))


def _holds(done: Exported) -> bool:
    """Compared, or looked at and said to be no more than that."""
    if done.not_run is not None:
        return done.error is None and any("convolutions and 1 linear layers" in note for note in done.notes)
    return done.error is not None and done.error <= 1e-4


@pytest.mark.parametrize("lowered", [True, False])
@pytest.mark.parametrize("method", FIXED)
def test_units_of_every_family_compute_the_same(path: Path, method: str, lowered: bool) -> None:
    """A unit of each family, as it is and in its deployment form, computes in the file what it does in torch."""
    target = "macs=60%" if method == "dgconv" else None
    done = convsurgeon.convert(Blocks().eval(), X, method=method, target=target, random_weights=True)
    assert done.plan.replaced
    assert _holds(convsurgeon.export(done.model, X, path, lowered=lowered))


def _narrowed() -> nn.Module:
    wanted = {"target": "macs=60%", "width_multiple": 4, "calibration": _images(96)}
    done = convsurgeon.convert(Blocks().eval(), X, moves="narrow,streams", **wanted)  # type: ignore[arg-type]
    assert done.plan.streams
    return done.model


def test_narrowed_networks_compute_the_same(path: Path) -> None:
    """A network with fewer channels, inside of its blocks and between them, computes in the file what it does here."""
    assert _holds(convsurgeon.export(_narrowed(), X, path))


@pytest.mark.skipif(no_int8_instructions() is not None, reason="no int8 instructions")
@pytest.mark.parametrize("method", [*FIXED, "narrow"])
def test_int8_files_are_like_their_float_files(path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was quantised is smaller than, or as small as, the weights in float and hardly differs in its outputs."""
    if (reason := format_for(path).int8_missing()) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(int8_file, "_TIMING", Effort(warm_up_s=0, timed_s=0, fewest=1, most=1, sample_s=0))
    if method == "narrow":
        model = _narrowed()
    else:
        target = "macs=60%" if method == "dgconv" else None
        model = convsurgeon.convert(Blocks(64).eval(), X, method=method, target=target, random_weights=True).model
    report = convsurgeon.export(model, X, path, int8=convsurgeon.Int8(_images(96))).int8
    assert report is not None
    assert report.float_file.output_error is not None
    assert report.float_file.output_error < 0.01
    assert method == "narrow" or report.int8_bytes < report.float_bytes
