"""A user's own code: a module or a file, imported or run, and the callable in it that builds a model."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from convsurgeon.base.errors import (
    INTERRUPTIONS,
    ConvsurgeonError,
    ModelLoadError,
    UnknownName,
    UsageError,
    did_you_mean,
    named_first_line,
)
from convsurgeon.base.working_folder import staying_here
from convsurgeon.models.rebuild import file_behind

__all__ = ["at_work", "find_code", "names_code", "quoted"]


def find_code(spec: str) -> tuple[str, Callable[[], Any], Path]:
    """Import the module or run the file, and find the callable in it. This runs the user's code.

    A module is looked for in the current folder, or in one that stands in front of it: ``folder/package.module:name``.

    Its name, normalised, the callable, and the folder where its imports are looked for.

    Raises:
        UnknownName: no such module, file or name in it; with near matches among its callables.
        ModelLoadError: the module raises while it is imported, or another one of its name is imported already.
        UsageError: the name is no callable, or needs arguments.
    """
    where, _, name = spec.rpartition(":")
    where, name = where.strip(), name.strip()
    if not where or not name:
        raise UsageError(f"{spec!r} names no factory; expected package.module:factory or path/file.py:factory.")
    path = Path(where)
    where, folder = path.as_posix(), path.expanduser().absolute().parent
    with at_work(folder):
        if where.endswith(".py"):
            module = _run_file(path.expanduser())
        else:
            module = _import(path.name) if where == path.name else _import_from(folder, path.name)
    return f"{where}:{name}", _callable_in(module, name, where), folder


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """While a user's code runs, its own folder is importable; wherever it goes, the current folder stays ours."""
    entry = str(folder)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        with staying_here():
            yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UnknownName(
                f"there is no module {error.name!r} to find a factory in; expected package.module:factory, "
                "importable from here, or path/file.py:factory."
            ) from error
        raise ModelLoadError(f"the module {name} can't be imported: {quoted(error)}.") from error
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        raise ModelLoadError(f"the module {name} can't be imported: {quoted(error)}.") from error


def _import_from(folder: Path, name: str) -> ModuleType:
    """Import a module of that folder, and no other that has its name."""
    file = file_behind(f"{folder / name}:")
    if file is None:
        raise UnknownName(f"there is no module {name!r} in {folder} to find a factory in.")
    module = _import(name)
    found = getattr(module, "__file__", None)
    if found is None or not file.samefile(found):
        raise ModelLoadError(
            f"the module {name!r} is to come from {file}, and another one of that name is imported already "
            f"({found}). Load it in a process of its own, or pass the architecture yourself."
        )
    return module


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownName(f"there is no file {path} to find a factory in.")
    # not the plain stem: a user's resnet.py or torch.py must not shadow a module of that name
    name = f"convsurgeon_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{path} can't be read as a Python module.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, INTERRUPTIONS):
            raise
        raise ModelLoadError(f"{path} can't be run: {quoted(error)}.") from error
    return module


def _callable_in(module: ModuleType, name: str, where: str) -> Callable[[], Any]:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            hint = did_you_mean(name, known) or f" Its callables: {', '.join(known) or 'none'}."
            raise UnknownName(f"{where} has no {name!r}.{hint}")
        found = getattr(found, part)
    if not callable(found) or isinstance(found, nn.Module):
        raise UsageError(f"{where}:{name} is a {type(found).__name__}; expected a function that returns a model.")
    required = _required_arguments(found)
    if required:
        raise UsageError(
            f"the factory {where}:{name} needs arguments ({', '.join(required)}); expected a callable "
            "without required ones: wrap it in a function that passes them."
        )
    make: Callable[[], Any] = found
    return make


def _required_arguments(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have none
        return []
    star = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is inspect.Parameter.empty and one.kind not in star]


def quoted(error: BaseException) -> str:
    """What an error that their code raised says, in one line without a stop."""
    return str(error).rstrip(".") if isinstance(error, ConvsurgeonError) else named_first_line(error)


def names_code(name: str) -> bool:
    """Whether a file or a module stands before the last colon.

    A single word that is no module is the prefix of a source that there is not, and nobody's code.
    """
    where, colon, _ = name.rpartition(":")
    where = where.strip()
    if not where.isidentifier():
        return bool(colon)
    return Path(where).is_dir() or Path(f"{where}.py").is_file() or _is_installed(where)


def _is_installed(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except ValueError:
        return False
