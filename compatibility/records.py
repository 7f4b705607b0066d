"""What one examination writes down; one JSON file per network."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Cell", "Check", "NetworkRow", "State"]

State = Literal["ok", "failed", "left out"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Record):
    """One question and its answer; ``why`` gives the error's class and first line, or the reason it was left out.

    ``seconds`` are of CPU time, which other programs on the machine hardly change.
    """

    state: State
    why: str = ""
    seconds: float = 0.0


class Cell(_Record):
    """One method on one network.

    ``refused`` is a target that can't be reached: ``reachable`` is the least share of the MACs that the message
    names, and the checks are those of a conversion to just that share. ``nothing`` stands only where no convolution
    with groups=1 and 16 channels on both sides exists. ``kept`` is the share of the MACs after conversion.
    """

    method: str
    outcome: Literal["converted", "refused", "nothing", "failed"]
    replaced: int = 0
    kept: float | None = None
    reachable: float | None = None
    note: str = ""
    checks: dict[str, Check] = {}

    @property
    def green(self) -> bool:
        """Whether nothing failed."""
        return self.outcome != "failed" and all(check.state != "failed" for check in self.checks.values())


class NetworkRow(_Record):
    """Everything found out about one network; MACs of one forward on ``inputs``."""

    library: str
    name: str
    versions: dict[str, str]
    inputs: str = ""
    reduced: bool = False
    macs: int = 0
    params: int = 0
    convolutions: int = 0
    wide: int = 0
    checks: dict[str, Check] = {}
    cells: tuple[Cell, ...] = ()
    seconds: float = 0.0
    peak_mib: int = 0

    @property
    def green(self) -> bool:
        """Whether the network is handled: every check of every method passed."""
        complete = bool(self.cells) and all(cell.green for cell in self.cells)
        return complete and all(check.state != "failed" for check in self.checks.values())

    def failures(self) -> list[str]:
        """Method, stage and reason of everything that failed."""
        own = [f"{stage}: {check.why}" for stage, check in self.checks.items() if check.state == "failed"]
        return own + [
            f"{cell.method}, {stage}: {check.why}"
            for cell in self.cells
            for stage, check in cell.checks.items()
            if check.state == "failed"
        ]
