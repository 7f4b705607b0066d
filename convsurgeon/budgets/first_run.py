"""The way in: limits just above today's numbers, to paste or to be written."""

from __future__ import annotations

from pathlib import Path

from convsurgeon.base.errors import UsageError
from convsurgeon.base.files import write_file
from convsurgeon.budgets.config import OWN_FILE, PROJECT_FILE, Config, Entry, read_config, shown
from convsurgeon.budgets.entries import Budget
from convsurgeon.budgets.measurement import Measured
from convsurgeon.budgets.metrics import Metric
from convsurgeon.budgets.run import Checked
from convsurgeon.budgets.toml_text import append_entry, entry_text, insert_limits, limit_lines

__all__ = ["add_entry", "lines_to_paste", "write_limits"]

PROPOSED: tuple[Metric, ...] = ("macs", "params", "weights_size", "activation_memory")
GLOB_GROWTH = "+2%"


def lines_to_paste(done: Checked, config: Config) -> str:
    """TOML for every entry without a limit; empty where all have one."""
    path = config.path or _home(config.folder)
    parts = []
    for budget in _unlimited(done):
        found = done.outcomes.get(budget.name)
        if isinstance(found, Measured):
            parts.append(entry_text(path, _keys(budget), _limits(budget, found)))
    return "\n".join(parts)


def _unlimited(done: Checked) -> list[Budget]:
    """Budgets that limit nothing; of a glob only the first, since all its rows share one entry."""
    firsts: dict[int, Budget] = {}
    for budget in done.budgets:
        if not budget.entry.limits():
            firsts.setdefault(budget.number, budget)
    return list(firsts.values())


def _keys(budget: Budget) -> dict[str, str]:
    entry = budget.entry
    named = {"name": entry.name, "model": budget.glob or entry.model, "recipe": entry.recipe}
    return {key: value for key, value in named.items() if value is not None}


def _limits(budget: Budget, found: Measured) -> list[str]:
    if budget.glob is not None:
        # one limit for models of many sizes can only be relative
        return limit_lines(dict.fromkeys(("macs", "params"), GLOB_GROWTH))
    return limit_lines({metric: found.value(metric) or 0 for metric in PROPOSED if found.value(metric)})


def write_limits(done: Checked, config: Config) -> Path:
    """Write today's numbers as limits into every entry that has none.

    Raises:
        UsageError: all entries have limits, or the file writes its budgets in another way than [[…budgets]].
    """
    path = config.path or _home(config.folder)
    additions = {
        budget.number: _limits(budget, found)
        for budget in _unlimited(done)
        if isinstance(found := done.outcomes.get(budget.name), Measured)
    }
    if not additions:
        raise UsageError(f"every entry in {config.origin} that could be measured has limits; nothing to write.")
    write_file(path, insert_limits(path, additions, len(config.entries)), force=True)
    return path


def add_entry(done: Checked, config: Config, found_at: Path | None) -> Path:
    """Write the command line's entry, with its limits or with today's numbers, into the configuration.

    Raises:
        UsageError: the nearest configuration lies in another folder, knows the name already, or can't be added to.
    """
    path = found_at or _home(config.folder)
    if path.parent != config.folder:
        raise UsageError(f"budgets are kept in {shown(path)}: run --init in that folder, or name it with --config.")
    budget = done.budgets[0]
    known = [entry.name or entry.model for entry in read_config(path).entries] if found_at else []
    if budget.name in known:
        raise UsageError(f"{shown(path)} has an entry '{budget.name}' already; edit it there.")
    found = done.outcomes[budget.name]
    if not isinstance(found, Measured):
        raise found
    given = {metric: limit.text for metric, limit in budget.entry.limits().items()}
    limits = limit_lines(dict(given)) if given else _limits(budget, found)
    write_file(path, append_entry(path, _with_input(entry_text(path, _keys(budget), limits), budget.entry)), force=True)
    return path


def _with_input(text: str, entry: Entry) -> str:
    return text if entry.input is None else f"{text}input = {list(entry.input)}\n"


def _home(folder: Path) -> Path:
    """Where a first entry goes: the project's file if there is one, else a file of its own."""
    project = folder / PROJECT_FILE
    return project if project.is_file() else folder / OWN_FILE
