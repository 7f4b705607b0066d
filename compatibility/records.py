"""What is known of each network: one line of docs/matrix.jsonl."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_serializer, model_validator

__all__ = ["Cell", "Check", "NetworkRow", "State"]

State = Literal["ok", "failed", "left out"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Record):
    """One question and its answer; ``why`` gives the error's class and first line, or the reason it was left out.

    Written as one text, ``ok`` or ``failed: ValueError: …``.
    """

    state: State
    why: str = ""

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: object, handler: ModelWrapValidatorHandler[Check]) -> Check:
        if isinstance(value, str):
            state, _, why = value.partition(": ")
            return handler({"state": state, "why": why})
        return handler(value)

    @model_serializer
    def _written(self) -> str:
        return f"{self.state}: {self.why}" if self.why else self.state


class Cell(_Record):
    """One method on one network.

    ``refused`` is a target that can't be reached: ``reachable`` is the least share of the MACs that the message
    names, and the checks are those of a conversion to just that share. ``nothing`` stands only where no convolution
    with groups=1 and 16 channels on both sides exists. ``kept`` is the share of the MACs after conversion.
    """

    method: str
    outcome: Literal["converted", "refused", "nothing", "failed"]
    kept: float | None = None
    reachable: float | None = None
    note: str = ""
    checks: dict[str, Check] = {}

    @property
    def failed(self) -> dict[str, str]:
        """The checks that failed, and why."""
        return _failed(self.checks)

    @property
    def green(self) -> bool:
        """Whether nothing failed."""
        return self.outcome != "failed" and not self.failed


class NetworkRow(_Record):
    """Everything found out about one network; MACs of one forward on ``inputs``, seconds of CPU time.

    ``reduced`` says that the inputs are smaller than the library's own.
    """

    library: str
    name: str
    versions: dict[str, str]
    inputs: str = ""
    reduced: bool = False
    macs: int = 0
    convolutions: int = 0
    checks: dict[str, Check] = {}
    cells: tuple[Cell, ...] = ()
    seconds: float = 0.0

    @property
    def green(self) -> bool:
        """Whether the network is handled: every check of every method passed."""
        return bool(self.cells) and all(cell.green for cell in self.cells) and not _failed(self.checks)

    @property
    def key(self) -> tuple[str, str]:
        """Of the network."""
        return self.library, self.name

    def cell(self, method: str) -> Cell | None:
        """What was found of one method."""
        return next((cell for cell in self.cells if cell.method == method), None)

    def failures(self) -> list[str]:
        """Method, stage and reason of everything that failed."""
        own = [f"{stage}: {why}" for stage, why in _failed(self.checks).items()]
        return own + [f"{cell.method}, {stage}: {why}" for cell in self.cells for stage, why in cell.failed.items()]

    def beside(self, earlier: NetworkRow | None) -> NetworkRow:
        """With those methods and checks of an ``earlier`` examination that were not asked for again."""
        if earlier is None:
            return self
        others = tuple(cell for cell in earlier.cells if self.cell(cell.method) is None)
        if not others:
            return self
        own = self if self.versions else earlier  # a process that did not end by itself knows no more than where
        known = {"checks": earlier.checks | self.checks, "cells": others + self.cells, "versions": self.versions}
        return own.model_copy(update=known | {"seconds": round(earlier.seconds + self.seconds, 1)})


def _failed(checks: dict[str, Check]) -> dict[str, str]:
    return {stage: check.why for stage, check in checks.items() if check.state == "failed"}
