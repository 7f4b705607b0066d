"""What the matrix says about narrowing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compatibility import narrowing
from compatibility.calibrated import shaken
from compatibility.examine import Settings, examine
from compatibility.narrowing import NARROW, halved, narrowed
from compatibility.stages import LeftOut, Wrong
from tests.compatibility.networks import Chain, subject, wide

SETTINGS = Settings(methods=(NARROW,), export_method="", checks=())

IMAGE = (torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)),)


class Given(Chain):
    """A chain that gives what its body reads, too."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """[N, 3, H, W] → twice [N, width, H, W]."""
        first = self.stem(x)
        return first, self.body(first)


def test_every_check_is_asked_of_the_cut_network() -> None:
    """The column has the checks of the others, and the share of the MACs that half of the channels leaves."""
    row = examine(subject(wide), SETTINGS)
    (cell,) = row.cells
    assert row.failures() == []
    asked = {"convert", "unchanged", "forward", "counts", "target", "reload", "backward"}
    assert asked == {name for name, check in cell.checks.items() if check.state == "ok"}
    assert (cell.kept, cell.note) == (0.5, "1 of 2 streams")
    assert row.checks["narrowed"].state == "ok"


def test_a_network_that_hears_what_is_gone_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs are held to those of readers that have zeros, and to the error of only cutting."""
    model = wide().eval()
    narrowed(model, IMAGE)
    with monkeypatch.context() as patch:
        patch.setattr(narrowing, "SLACK", 0.0)
        with pytest.raises(Wrong, match="only cut"):
            narrowed(model, IMAGE)
    monkeypatch.setattr(narrowing, "_deafened", lambda model, plan: shaken(model))
    with pytest.raises(Wrong, match="does not read the channels"):
        narrowed(model, IMAGE)


def test_closed_streams_are_nothing_to_narrow() -> None:
    """With the reasons, and how often each holds."""
    closed = Given(16)
    found = halved(closed, IMAGE)
    assert (found.outcome, found.note) == ("nothing", "the network gives it back (2)")
    with pytest.raises(LeftOut, match="every stream is closed"):
        narrowed(closed, IMAGE)
    assert halved(Chain(1), IMAGE).outcome == "nothing"
    assert halved(Chain(2), IMAGE).outcome == "converted"


def test_outputs_that_vary_must_be_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector's boxes can't be compared, and need not be."""
    monkeypatch.setattr(narrowing, "apart", lambda *_: (1.0, 1.0))
    narrowed(wide(), IMAGE, varying=True)
    with pytest.raises(Wrong):
        narrowed(wide(), IMAGE)
    monkeypatch.setattr(narrowing, "finite", lambda found: False)
    with pytest.raises(Wrong, match="not finite"):
        narrowed(wide(), IMAGE, varying=True)
    monkeypatch.setattr("compatibility.calibrated.finite", lambda found: False)
    with pytest.raises(LeftOut, match="not finite"):
        narrowed(wide(), IMAGE, varying=True)


def test_what_changes_nothing_is_no_proof() -> None:
    """Where the outputs do not depend on the channels that are gone, the oracle is left out."""
    deaf: nn.Module = Chain(16)
    deaf.body.weight.data.zero_()
    with pytest.raises(LeftOut, match="change nothing"):
        narrowed(deaf, IMAGE)
