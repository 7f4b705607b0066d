"""Each network in a process of its own, with a limit on its time and memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path

from compatibility.examine import Settings, examine
from compatibility.records import Check, NetworkRow
from compatibility.subjects import Subject
from convsurgeon.base.files import write_whole

__all__ = ["examine_all"]

_PRELOADED = ("compatibility.examine", "convsurgeon.conversion.verbs")
_PATIENCE = 10  # wall-clock seconds per second of CPU time, for processes that wait for something


def examine_all(
    asked: Mapping[Subject, Settings],
    jobs: int,
    finished: Callable[[NetworkRow], None],
) -> None:
    """Examine every subject for what is asked of it; ``finished`` is called once per network, as they end.

    The processes are forked from a server that has the libraries imported, so that none pays for imports; it runs
    no tensor code itself, and is started with one thread per process.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED, *sorted({subject.library for subject in asked})])

    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(lambda each: _supervised(context, *each), asked.items()):
            finished(row)


def _supervised(context: ForkServerContext, subject: Subject, settings: Settings) -> NetworkRow:
    """The row that the process wrote, or one that says where it ended."""
    with tempfile.TemporaryDirectory() as folder:
        at, result = Path(folder) / "stage", Path(folder) / "row.json"
        process = context.Process(target=_examined, args=(subject, settings, at, result), daemon=True)
        process.start()
        process.join(settings.seconds * _PATIENCE)
        late = process.is_alive()
        if late:
            process.kill()
            process.join()
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
    write_whole(result, row.model_dump_json())


def _say(path: Path, stage: str) -> None:
    path.write_text(stage, encoding="utf-8")
