"""What a transfer of weights is asked for, and what it says of each layer and of the whole network."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.transfer.agreement import Agreement
from convsurgeon.transfer.fit import FitResult

__all__ = ["InheritSettings", "Inherited", "SiteFit"]


@dataclass(frozen=True)
class InheritSettings:
    """``seed`` draws the positions; ``memory_bytes`` bounds the samples that are kept between passes, and
    ``settled_bytes`` the outputs of layers that are fitted.

    ``refine_steps`` are taken by gradient at each layer after its closed-form fit.
    """

    seed: int = 0
    memory_bytes: int = 1 << 30
    settled_bytes: int = 1 << 30
    refine_steps: int = 0


@dataclass(frozen=True)
class SiteFit:
    """One replaced site: what its fit says of itself, and what is left on images it was not fitted on.

    ``held_back_error`` = ‖y − ŷ‖² / ‖y − mean(y)‖² in the finished network; None without such images.
    """

    name: str
    fit: FitResult
    held_back_error: float | None = None


@dataclass(frozen=True)
class Inherited:
    """The sites in execution order, the norms whose statistics changed, how far the models agree (None without
    calibration inputs), and on how many ``images`` all was fitted; ``notes`` are about the inputs."""

    sites: tuple[SiteFit, ...]
    recalibrated: tuple[str, ...]
    agreement: Agreement | None
    images: int = 0
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the inputs, and sites with too few samples, as lines for people."""
        return (*self.notes, *(f"{site.name}: {site.fit.warning}" for site in self.sites if site.fit.warning))
