"""The check itself: measure every entry, judge it, and keep the lock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from convsurgeon.base.errors import ConvsurgeonError, UnknownName, UsageError, did_you_mean
from convsurgeon.base.progress import Progress, silent
from convsurgeon.base.reading import read_text
from convsurgeon.budgets.baseline import Baselines
from convsurgeon.budgets.config import Config
from convsurgeon.budgets.entries import Budget, expand
from convsurgeon.budgets.judge import Case, Outcome, failed, judge, switched_off
from convsurgeon.budgets.lock import (
    FORMER_LOCK_FILE,
    LOCK_FILE,
    Lock,
    LockedModel,
    lock_path,
    read_lock,
    read_lock_at,
    write_lock,
)
from convsurgeon.budgets.measurement import Measured
from convsurgeon.budgets.record import CheckReport, Row
from convsurgeon.budgets.subjects import measure_budget
from convsurgeon.budgets.toml_text import entry_lines

__all__ = ["Checked", "check"]


@dataclass(frozen=True)
class Checked:
    """The report, and the budgets with what became of each measured one, for writing limits and locks."""

    report: CheckReport
    budgets: tuple[Budget, ...]
    outcomes: dict[str, Outcome]


def check(
    config: Config,
    *,
    only: Iterable[str] = (),
    baseline: str | None = None,
    update: bool = False,
    progress: Progress | None = None,
) -> Checked:
    """Measure the entries and hold them against their limits; nothing is downloaded.

    Args:
        config: see ``read_config``.
        only: names of entries; none means all.
        baseline: a git revision whose lock to compare with, instead of the one that lies here.
        update: rewrite the lock (of ``only`` these entries); limits against the baseline are not judged then.
        progress: called before each measurement, with the entry's name, and at the end.

    Raises:
        UsageError: no entries, an unknown name in ``only``, a revision without a lock.
        RecipeError: mistakes in the configuration or the lock.
    """
    budgets = expand(config)
    chosen = _chosen(budgets, tuple(only), config)
    path = lock_path(config.folder)
    baselines = Baselines(
        file=path.name,
        here=read_lock(path),
        revision=baseline,
        there=None if baseline is None else read_lock_at(baseline, path),
    )
    outcomes = _measured(chosen, budgets, config, progress or silent)
    lines = _lines(config)
    rows = []
    for budget in chosen:
        line = lines[budget.number] if lines else None
        rows.append(_row(budget, outcomes, baselines, config.origin, line, not update))
    notes = _lock_notes(baselines, budgets, config)
    if update:
        notes = _update(config.folder, baselines.here, budgets, chosen, outcomes)
    report = CheckReport(
        config=config.origin,
        baseline=baselines.name,
        exit_code=max(row.exit_code for row in rows),
        rows=tuple(rows),
        notes=notes,
    )
    return Checked(report, budgets, outcomes)


def _chosen(budgets: tuple[Budget, ...], only: tuple[str, ...], config: Config) -> tuple[Budget, ...]:
    if not budgets:
        raise UsageError(f"{config.origin} holds no budgets; 'convsurgeon check MODEL --init' writes the first one.")
    names = [budget.name for budget in budgets]
    for name in only:
        if name not in names:
            raise UnknownName(f"{config.origin} has no entry '{name}'.{did_you_mean(name, names)}")
    return tuple(budget for budget in budgets if not only or budget.name in only)


def _measured(
    chosen: tuple[Budget, ...], budgets: tuple[Budget, ...], config: Config, progress: Progress
) -> dict[str, Outcome]:
    """Every chosen entry that is not off, and those their limits refer to, each measured once."""
    by_name = {budget.name: budget for budget in budgets}
    judged = [budget for budget in chosen if budget.entry.level != "off"]
    timed: set[str] = set()
    needed = dict.fromkeys(budget.name for budget in judged)
    for budget in judged:
        for metric, limit in budget.entry.limits().items():
            others = [limit.entry] if limit.kind == "entry" else []
            needed |= dict.fromkeys(others)
            timed |= {budget.name, *others} if metric == "latency" else set()
    outcomes: dict[str, Outcome] = {}
    for number, name in enumerate(needed):
        progress("checking", number, len(needed), name)
        try:
            outcomes[name] = measure_budget(by_name[name], config.folder, with_latency=name in timed)
        except ConvsurgeonError as error:
            # the other entries still get their row
            outcomes[name] = error
    progress("checking", len(needed), len(needed), "")
    return outcomes


def _row(
    budget: Budget,
    outcomes: dict[str, Outcome],
    baselines: Baselines,
    origin: str,
    line: int | None,
    relative: bool,
) -> Row:
    if budget.entry.level == "off":
        return switched_off(budget, line)
    found = outcomes[budget.name]
    if isinstance(found, ConvsurgeonError):
        return failed(budget, found, origin, line)
    base = baselines.compare(budget, found)
    if not relative:
        base = replace(base, notes=())  # they ask for the update that is under way
    return judge(Case(budget, found, base, outcomes, origin, line, relative))


def _lines(config: Config) -> list[int] | None:
    if config.path is None:
        return None
    return entry_lines(read_text(config.path), len(config.entries))


def _lock_notes(baselines: Baselines, budgets: tuple[Budget, ...], config: Config) -> tuple[str, ...]:
    left = baselines.leftovers(budgets) if config.path is not None else ()
    if not left:
        return ()
    return (
        f"{baselines.file} knows entries that {config.origin} does not have: {', '.join(left)}. "
        "Run convsurgeon check --update and commit the result",
    )


def _update(
    folder: Path,
    old: Lock | None,
    budgets: tuple[Budget, ...],
    chosen: tuple[Budget, ...],
    outcomes: dict[str, Outcome],
) -> tuple[str, ...]:
    """Rewrite the lock: chosen entries anew, the other configured ones as they were, no leftovers."""
    before = {} if old is None else old.models
    picked = {budget.name for budget in chosen}
    models, kept = {}, []
    for budget in budgets:
        found = outcomes.get(budget.name)
        if budget.name in picked and isinstance(found, Measured):
            models[budget.name] = LockedModel.of(budget.source, found)
        elif budget.name in before:
            models[budget.name] = before[budget.name]
            if isinstance(found, ConvsurgeonError):
                kept.append(budget.name)
    renamed = write_lock(folder, Lock(models=models))
    notes = [f"{FORMER_LOCK_FILE} is called {LOCK_FILE} now: commit both changes"] if renamed else []
    notes += [f"{LOCK_FILE} written: {len(models)} of {len(budgets)} entries"]
    if kept:
        notes.append(f"{LOCK_FILE} keeps the old counts of entries that failed: {', '.join(kept)}")
    return tuple(notes)
