"""From configured entries to budgets: globs become one budget each, names become unique, references are checked."""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import inspect
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from torch import nn

from convsurgeon.base.errors import INTERRUPTIONS, RecipeError, UnknownName, did_you_mean, named_first_line
from convsurgeon.budgets.config import Config, Entry
from convsurgeon.models.loading import source_of
from convsurgeon.models.user_code import at_work
from convsurgeon.report.folder import MANIFEST

__all__ = ["Budget", "expand"]


@dataclass(frozen=True)
class Budget:
    """One row of the check: an entry whose ``model`` is no glob any more.

    ``number`` counts the configured entries from 0; ``glob`` is the pattern where several rows share that entry.
    """

    name: str
    entry: Entry
    number: int
    glob: str | None = None

    @property
    def source(self) -> str:
        """What is measured, as the lock file keeps it."""
        if self.entry.recipe is None:
            return self.entry.model or ""
        return f"recipe {self.entry.recipe}" + (f" on {self.entry.model}" if self.entry.model else "")


def expand(config: Config) -> tuple[Budget, ...]:
    """The rows, in the order of their entries. A glob over factories imports their module, which runs its code.

    Raises:
        RecipeError: every glob that matches nothing, name used twice, or limit that refers to no entry.
    """
    budgets: list[Budget] = []
    mistakes: list[str] = []
    for number, entry in enumerate(config.entries):
        if entry.model is None or not _is_glob(entry.model) or (config.folder / entry.model / MANIFEST).is_file():
            budgets.append(Budget(entry.name or entry.recipe or entry.model or "", entry, number))
            continue
        try:
            budgets += _spread(entry, number, config.folder)
        except UnknownName as error:
            mistakes.append(f"entry '{entry.name or entry.model}', model: {error}")
    mistakes += _repeated(budgets) + _dangling(budgets)
    if mistakes:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        raise RecipeError(f"{config.origin} has {count}:\n" + "\n".join(f"  {line}" for line in mistakes))
    return tuple(budgets)


def _is_glob(model: str) -> bool:
    return any(sign in model.rpartition(":")[2] for sign in "*?[")


def _spread(entry: Entry, number: int, folder: Path) -> list[Budget]:
    model = entry.model or ""
    where, _, pattern = model.rpartition(":")
    if entry.name is not None:
        raise UnknownName(f"'{model}' is a glob, whose rows name themselves; leave out name = '{entry.name}'.")
    source = source_of(model)
    if source.is_code:
        known = _factories(where, folder)
        names = [f"{where}:{name}" for name in known if fnmatch.fnmatchcase(name, pattern)]
    else:
        known = source.names()
        names = [name for name in known if fnmatch.fnmatchcase(name, model)]
    if not names:
        raise UnknownName(f"the glob '{model}' matches none of {len(known)} models.{did_you_mean(pattern, known)}")
    return [Budget(name, entry.model_copy(update={"model": name}), number, glob=model) for name in names]


def _factories(where: str, folder: Path) -> list[str]:
    """Functions and model classes that a module defines itself and that need no arguments, in its order."""
    with at_work(folder):
        module = _module(where, folder)
    own = {name: value for name, value in vars(module).items() if getattr(value, "__qualname__", None) == name}
    return [name for name, value in own.items() if not name.startswith("_") and _makes_models(value, module)]


def _makes_models(value: object, module: ModuleType) -> bool:
    is_class = inspect.isclass(value) and issubclass(value, nn.Module)
    if not (is_class or inspect.isfunction(value)) or getattr(value, "__module__", None) != module.__name__:
        return False
    star = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(value).parameters.values()  # type: ignore[arg-type]
    return all(one.default is not one.empty or one.kind in star for one in parameters)


def _module(where: str, folder: Path) -> ModuleType:
    """Import what stands before the colon; any code may stand there, so anything may be raised."""
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = folder / where
        spec = importlib.util.spec_from_file_location(f"convsurgeon_glob_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise UnknownName(f"'{where}' can't be read as a Python module.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module  # dataclasses look their module up there
        spec.loader.exec_module(module)
        return module
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        raise UnknownName(f"'{where}' can't be imported: {named_first_line(error)}.") from error


def _repeated(budgets: list[Budget]) -> list[str]:
    times = Counter(budget.name for budget in budgets)
    return [f"entry '{name}', name: used {count} times" for name, count in times.items() if count > 1]


def _dangling(budgets: list[Budget]) -> list[str]:
    """Limits that refer to an entry which is not there, or to their own."""
    names = [budget.name for budget in budgets]
    lines = []
    for budget in budgets:
        for metric, limit in budget.entry.limits().items():
            where = f"entry '{budget.name}', {metric}"
            if limit.kind == "entry" and limit.entry not in names:
                hint = did_you_mean(limit.entry, names)
                lines.append(f"{where}: '{limit.text}' refers to no entry '{limit.entry}'.{hint}")
            elif limit.entry == budget.name:
                lines.append(f"{where}: '{limit.text}' refers to the entry itself")
    return lines
