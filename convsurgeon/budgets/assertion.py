"""Budgets as assertions, for a project's own tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from convsurgeon.base.errors import ConvsurgeonError, UsageError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.outside_text import on_one_line
from convsurgeon.budgets import cells
from convsurgeon.budgets.baseline import Comparison
from convsurgeon.budgets.config import Config, Entry, find_config, read_config
from convsurgeon.budgets.entries import Budget
from convsurgeon.budgets.judge import Case, judge
from convsurgeon.budgets.latency import latency_ms
from convsurgeon.budgets.measurement import measure
from convsurgeon.budgets.record import Row
from convsurgeon.budgets.run import check

__all__ = ["entry_failure", "folder_config", "model_failure"]

_ORIGIN = "assert_budget"


def model_failure(model: nn.Module, example_inputs: Any, limits: dict[str, str | int]) -> str | None:
    """What an assertion has to say about a model over its limits; None if it is within them.

    Raises:
        UsageError: no limits, an unknown one, one that can't be read, or one that needs a lock or another entry.
        ModelError: the model can't be opened, or fails on the inputs.
    """
    try:
        entry = Entry(model="model", insist=True, **limits)
    except ValidationError as error:
        first = error.errors()[0]
        words = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{_ORIGIN}, {first['loc'][0]}: {words}") from error
    given = entry.limits()
    relative = next((limit.text for limit in given.values() if limit.kind != "absolute"), None)
    if not given or relative is not None:
        what = f"'{relative}' compares with something else" if relative else "no limit is given"
        raise UsageError(f'{_ORIGIN}: {what}; expected amounts, e.g. macs="2.1G". The lock is for configured entries.')
    inputs = as_inputs(example_inputs).like(model)
    found = measure(model, inputs)
    if "latency" in given:
        found = replace(found, latency=latency_ms(model, inputs))
    case = Case(Budget(type(model).__name__, entry, 0), found, Comparison(None, _ORIGIN), {}, _ORIGIN)
    return _failure(judge(case), _ORIGIN)


def entry_failure(name: str, config: Config, baseline: str | None) -> str | None:
    """What an assertion has to say about a configured entry; None if it is within its budget.

    Raises:
        UsageError: no such entry, or a mistake in the configuration.
        ConvsurgeonError: the entry's model can't be used; its own error class is kept where there is one.
    """
    done = check(config, only=[name], baseline=baseline)
    row = done.report.rows[0]
    if row.problem is not None:
        cause = done.outcomes.get(name)
        kind = type(cause) if isinstance(cause, ConvsurgeonError) else UsageError
        raise kind(row.problem)
    return _failure(row, done.report.config)


def _failure(row: Row, config: str) -> str | None:
    if row.status != "over":
        return None
    lines = [text for figure, text in row.verdicts(config) if figure.status == "over"]
    against = f"against {row.why_against}" if row.why_against else "the largest layers"
    lines += [f"Layers responsible, {against}:", *(f"  {text}" for text in cells.why(row))]
    return "\n".join(map(on_one_line, lines))


def folder_config(folder: Path) -> Config:
    """The configuration nearest to a folder.

    Raises:
        UsageError: there is none.
    """
    path = find_config(folder)
    if path is None:
        raise UsageError(f"no budgets: neither [tool.convsurgeon] nor a convsurgeon.toml from {folder} upwards.")
    return read_config(path)
