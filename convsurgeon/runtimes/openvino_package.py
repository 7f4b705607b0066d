"""The package openvino: imported, its converter called and its only core made without reporting on the user."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from convsurgeon.base.working_folder import staying_here
from convsurgeon.runtimes.runtime import missing

__all__ = ["converted_by_openvino", "openvino_core", "openvino_missing", "openvino_package", "unreported"]

_ONE_AT_A_TIME = threading.RLock()


def openvino_missing() -> str | None:
    """Which package is missing; None if it is there."""
    return missing(("openvino",), "openvino")


def openvino_package() -> Any:
    """The module ``openvino``, imported without a report to its makers (see `unreported`)."""
    with unreported():
        import openvino

        return openvino


def converted_by_openvino(model: nn.Module, example_input: dict[str, torch.Tensor] | tuple[Any, ...]) -> Any:
    """``openvino.convert_model`` on a module in eval mode, without a report to its makers (see `unreported`)."""
    openvino = openvino_package()
    with unreported(), staying_here():
        return openvino.convert_model(model, example_input=example_input)


def openvino_core() -> Any:
    """The process's only ``openvino.Core``, which stays until its end.

    The CPU plugin of each core gives the thread a stack for signals and takes it back with the core: of two cores that
    do not end in reverse order, the second puts the first one's freed stack back, and the next signal (Ctrl-C) ends the
    process in a segmentation fault (seen with OpenVINO 2026.4).
    """
    with _ONE_AT_A_TIME:
        return _first_core()


@cache
def _first_core() -> Any:
    return openvino_package().Core()


@contextmanager
def unreported() -> Iterator[None]:
    """OpenVINO reports every import and conversion to an analytics service unless it runs in CI, and so it shall think.

    Nobody asked the user; and each of a conversion's ten events forks this process, in the midst of timings
    (openvino-telemetry 2025.2, whose reports only ``CI=true`` and a file in the home directory stop). Other threads see
    ``CI=true`` meanwhile; OpenVINO stays silent until the process ends.
    """
    with _ONE_AT_A_TIME:
        before = os.environ.get("CI")
        os.environ["CI"] = "true"
        try:
            _withdraw_consent()
            yield
        finally:
            if before is None:
                os.environ.pop("CI", None)
            else:
                os.environ["CI"] = before


def _withdraw_consent() -> None:
    """Of a process that has converted before, for the variable is looked at once."""
    try:
        telemetry = importlib.import_module("openvino_telemetry").Telemetry()
    # Not installed; or not set up yet, so that the variable will be looked at.
    except (ImportError, RuntimeError):
        return
    telemetry.consent = False
