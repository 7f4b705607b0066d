"""Each network in a process of its own, with a limit on its time and memory; one JSON file per network."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

from compatibility.examine import Settings, examine
from compatibility.records import Check, NetworkRow
from compatibility.subjects import Subject

__all__ = ["Cache", "examine_all"]

_PRELOADED = ("compatibility.examine", "convsurgeon.conversion.verbs")
_PATIENCE = 10  # wall-clock seconds per second of CPU time, for processes that wait for something


@dataclass(frozen=True)
class Cache:
    """The folder with one file per network: ``LIBRARY/NAME.json``."""

    folder: Path

    def path(self, library: str, name: str) -> Path:
        """Where a network's row is kept."""
        return self.folder / library / f"{name}.json"

    def read(self, library: str, name: str) -> NetworkRow | None:
        """The row, or None where there is none."""
        path = self.path(library, name)
        return NetworkRow.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write(self, row: NetworkRow) -> None:
        """Keep a row, whole or not at all."""
        path = self.path(row.library, row.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(row.model_dump_json(indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def examine_all(
    subjects: Iterable[Subject],
    settings: Settings,
    cache: Cache,
    jobs: int,
    finished: Callable[[NetworkRow], None],
) -> None:
    """Examine every subject; ``finished`` is called once per network, as they end.

    The processes are forked from a server that has the libraries imported, so that none pays for imports; it runs
    no tensor code itself, and is started with one thread per process.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    subjects = tuple(subjects)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED, *sorted({subject.library for subject in subjects})])

    def one(subject: Subject) -> NetworkRow:
        row = _supervised(context, subject, settings, cache)
        cache.write(row)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(one, subjects):
            finished(row)


def _supervised(context: ForkServerContext, subject: Subject, settings: Settings, cache: Cache) -> NetworkRow:
    """The row that the process wrote, or one that says where it ended."""
    path = cache.path(subject.library, subject.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    at, result = path.with_suffix(".at"), path.with_suffix(".new")
    for leftover in (at, result):
        leftover.unlink(missing_ok=True)
    process = context.Process(target=_examined, args=(subject, settings, at, result), daemon=True)
    process.start()
    process.join(settings.seconds * _PATIENCE)
    late = process.is_alive()
    if late:
        process.kill()
        process.join()
    try:
        if result.is_file():
            return NetworkRow.model_validate_json(result.read_text(encoding="utf-8"))
        stage = at.read_text(encoding="utf-8") if at.is_file() else "start"
        code = process.exitcode or 0
        spent = late or code == -signal.SIGXCPU
        ending = f"over {settings.seconds} s of CPU time" if spent else f"the process ended: {_ending(code)}"
        return NetworkRow(
            library=subject.library,
            name=subject.name,
            versions={},
            checks={stage: Check(state="failed", why=ending)},
            seconds=settings.seconds if spent else 0.0,
        )
    finally:
        for leftover in (at, result):
            leftover.unlink(missing_ok=True)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _examined(subject: Subject, settings: Settings, at: Path, result: Path) -> None:
    """In the new process."""
    most = settings.gib * 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (settings.seconds, settings.seconds + 10))
    os.environ["CONVSURGEON_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    row = examine(subject, settings, lambda stage: _say(at, stage))
    unfinished = result.with_suffix(".unfinished")
    unfinished.write_text(row.model_dump_json(), encoding="utf-8")
    unfinished.replace(result)


def _say(path: Path, stage: str) -> None:
    path.write_text(stage, encoding="utf-8")
