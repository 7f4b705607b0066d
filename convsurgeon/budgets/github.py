"""What GitHub Actions shows: annotations on the configuration's lines, and the job's summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convsurgeon.base.outside_text import annotation, annotation_property
from convsurgeon.budgets.config import Config
from convsurgeon.budgets.record import CheckReport, Row

__all__ = ["commands", "failure", "in_actions", "write_summary"]


def in_actions(environment: Mapping[str, str]) -> bool:
    """Whether the runner reads annotations."""
    return environment.get("GITHUB_ACTIONS") == "true"


def commands(report: CheckReport, config: Config, environment: Mapping[str, str]) -> list[str]:
    """Workflow commands: an error for what fails the check, a warning for the rest, a notice for each note."""
    file = _in_workspace(config, environment)
    lines = []
    for row in report.rows:
        if row.problem is not None:
            lines.append(_command("error", row.problem, file, row))
        for figure, text in row.verdicts(report.config):
            lines.append(_command("error" if figure.status == "over" else "warning", text, file, row))
        lines += [_command("notice", text, file, row) for text in row.notes]
    return lines + [_command("warning", text, file, None) for text in report.notes]


def failure(message: str) -> str:
    """The workflow command for a check that could not begin, e.g. because of its configuration."""
    return _command("error", message, None, None)


def _in_workspace(config: Config, environment: Mapping[str, str]) -> str | None:
    """The configuration's path as the runner knows it; None for the command line, or outside of the checkout."""
    workspace = Path(environment.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    if config.path is None or not config.path.resolve().is_relative_to(workspace):
        return None
    return config.path.resolve().relative_to(workspace).as_posix()


def _command(kind: str, message: str, file: str | None, row: Row | None) -> str:
    """``::error file=…,line=…,title=…::message``, escaped so that no text can end the command or start another."""
    properties = {} if file is None else {"file": file}
    if file is not None and row is not None and row.line is not None:
        properties["line"] = str(row.line)
    properties["title"] = "convsurgeon" if row is None else f"convsurgeon: {row.name}"
    listed = ",".join(f"{key}={annotation_property(value)}" for key, value in properties.items())
    return f"::{kind} {listed}::{annotation(message)}"


def write_summary(markdown: str, environment: Mapping[str, str]) -> str | None:
    """Append to the job's summary where there is one; returns why that failed, if it did, since it fails no check."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path:
        return None
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown + "\n")
    except OSError as error:
        return f"the job summary {path} can't be written: {error.strerror}"
    return None
