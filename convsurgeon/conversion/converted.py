"""What a conversion gives: the network, its plan, its report, and ways to look at them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from convsurgeon.base.console import as_text
from convsurgeon.conversion.remembered import Facts, remember
from convsurgeon.conversion.saved import save
from convsurgeon.models.rebuild import Rebuild
from convsurgeon.planning.plan import Plan
from convsurgeon.report.page.conversion import summary_html, to_html
from convsurgeon.report.pictures import Picture, layer_picture
from convsurgeon.report.record import Report
from convsurgeon.report.rows import LayerValue, layer_rows
from convsurgeon.report.terminal import render

__all__ = ["Conversion"]


@dataclass(frozen=True, repr=False)
class Conversion:
    """A converted network: ``model`` (same class, device, dtype and mode as the original), its plan and report.

    ``print`` shows what the terminal shows, a notebook the headline numbers.
    """

    model: nn.Module
    plan: Plan
    report: Report
    rebuild: Rebuild | None = None

    def __post_init__(self) -> None:
        """A network that travels alone, without its conversion, can still be recovered and saved."""
        remember(self.model, Facts(self.plan, self.report, self.rebuild))

    def __repr__(self) -> str:
        return f"Conversion({type(self.model).__name__}, {self.plan!r})"

    def __str__(self) -> str:
        return as_text(render(self.report))

    def _repr_html_(self) -> str:
        return summary_html(self.report)

    def rows(self) -> list[dict[str, LayerValue]]:
        """A record for each convolution, ready for ``pandas.DataFrame(done.rows())``."""
        return layer_rows(self.report)

    def plot(self) -> Picture:
        """MACs of every convolution before and after, as an SVG that notebooks show and ``save`` writes."""
        return layer_picture(self.report)

    def to_html(self) -> str:
        """The page that ``convsurgeon report DIR --html FILE`` writes: one self-contained file."""
        return to_html(self.report)

    def save(self, directory: Path | str, *, force: bool = False) -> Path:
        """Write a folder that ``convsurgeon.load`` reads: safetensors weights, plan and report as JSON.

        Raises:
            OutputExists: the folder is there and ``force`` is not given.
        """
        return save(Path(directory), self.model, self.plan, self.report, self.rebuild, force)
