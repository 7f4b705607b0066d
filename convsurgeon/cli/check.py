"""``check``: budgets that fail a build when a model grows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.base.errors import ConvsurgeonError, UsageError
from convsurgeon.cli.command_line import command_line
from convsurgeon.cli.options import json_option, together
from convsurgeon.cli.page_file import html_option, refuse_foreign_page, write_page
from convsurgeon.cli.screen import answer, progress_bar, show, tell, warn
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.cli.standard_output import reader_may_leave

if TYPE_CHECKING:
    from convsurgeon.budgets import Checked, CheckReport, Config

__all__ = ["check_command"]

_LIMITS = {
    "macs": ("4.2G", "Most MACs of one forward."),
    "flops": ("8.4G", "The same in FLOPs (2 × MACs)."),
    "params": ("26M", "Most parameters."),
    "weights_size": ("100MB", "Most bytes of parameters and buffers."),
    "activation_memory": ("50MiB", "Most bytes of live activations in one forward."),
    "latency": ("20ms", "Longest median forward on this machine's CPU; only warns without --insist."),
}


_limit_options = together(
    *(
        click.option(f"--max-{key.replace('_', '-')}", f"max_{key}", metavar=example, help=words)
        for key, (example, words) in _LIMITS.items()
    )
)


@click.command("check", cls=CommandWithSections)
@click.argument("model", required=False)
@_limit_options
@click.option("--input", "input_shape", metavar="N,C,H,W", help="Input shape of MODEL, e.g. 1,3,224,224.")
@click.option("--insist", is_flag=True, help="Let a latency of MODEL fail the check too.")
@click.option("--trust-factory", is_flag=True, help="Run the factory that a converted folder MODEL names.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration instead of the nearest.")
@click.option("--entry", "entries", multiple=True, metavar="NAME", help="Check only this entry. Repeatable.")
@click.option("--baseline", metavar="REF", help="Compare with convsurgeon-budgets.lock as it is in a git revision.")
@click.option("--update", is_flag=True, help="Rewrite convsurgeon-budgets.lock with today's counts.")
@click.option("--init", is_flag=True, help="Write today's numbers as limits where there are none, and the lock.")
@click.option("--why", is_flag=True, help="Name the layers that grew, or the largest ones.")
@json_option
@click.option("--markdown", is_flag=True, help="Print Markdown and nothing else on standard output.")
@click.option("--json-file", type=click.Path(path_type=Path), metavar="FILE", help="Also write the JSON to a file.")
@html_option
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write JUnit XML.")
def check_command(
    model: str | None,
    config_file: Path | None,
    entries: tuple[str, ...],
    baseline: str | None,
    update: bool,
    init: bool,
    **given: Any,
) -> int:
    """Hold models against budgets; nothing is downloaded and no weights are built where that can be avoided.

    Budgets come from [tool.convsurgeon] in pyproject.toml or from convsurgeon.toml, found upwards, or for one MODEL
    (named as for 'convert', or a converted folder) from the --max options. Limits: 4.2G, +2% (against the lock or
    --baseline), '50% of ENTRY'. An entry without limits is shown with lines to paste.

    A factory is code: checking an entry that names one runs it.

    Exit codes: 0 within budget, 1 over, 2 usage, configuration or an unknown name, 3 a model that can't be loaded
    or run (the others still get their row).
    """
    form = _Form(**{key: given.pop(key) for key in ("as_json", "json_file", "markdown", "junit", "page", "why")})
    with _failures_told():
        config = _config(model, config_file, entries, update, given)
        from convsurgeon.budgets import check

        with progress_bar() as progress:
            done = check(config, only=entries, baseline=baseline, update=update, progress=progress)
        if init:
            done = _init(done, config, config_file)
    form.show(done, config)
    return done.report.exit_code


def _config(
    model: str | None, path: Path | None, entries: tuple[str, ...], update: bool, given: dict[str, Any]
) -> Config:
    """The configuration file's entries, or the one that the options describe."""
    from convsurgeon.budgets import Config, find_config, read_config

    if model is None:
        if any(given.values()):
            named = next(f"--{key.replace('_', '-')}" for key, value in given.items() if value)
            raise UsageError(f"{named.replace('--input-shape', '--input')} is for one model; name it: check MODEL.")
        found = path or find_config(Path.cwd())
        if found is None:
            raise UsageError(
                "no budgets: neither [tool.convsurgeon] in a pyproject.toml nor a convsurgeon.toml, from here upwards. "
                "Start with: convsurgeon check MODEL --init"
            )
        return read_config(found)
    if entries or update:
        raise UsageError(
            f"{'--entry' if entries else '--update'} is about the configuration's entries; leave out MODEL "
            "(MODEL --init adds it to them)."
        )
    return Config((_entry(model, given),), (path.absolute().parent if path else Path.cwd()))


def _entry(model: str, given: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from convsurgeon.budgets import Entry

    keys = {key.removeprefix("max_"): value for key, value in given.items() if value}
    shape = keys.pop("input_shape", None)
    if shape is not None:
        keys["input"] = shape.split(",")
    try:
        return Entry(model=model, **keys)
    except ValidationError as error:
        first = error.errors()[0]
        words = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"command line, {_option(str(first['loc'][0]))}: {words}") from error


def _option(key: str) -> str:
    return {"model": "MODEL", "input": "--input"}.get(key, f"--max-{key.replace('_', '-')}")


def _init(done: Checked, config: Config, config_file: Path | None) -> Checked:
    """Write what is missing, say where, and check again what is there now."""
    from convsurgeon.budgets import LOCK_FILE, check, find_config, read_config
    from convsurgeon.budgets.first_run import add_entry, write_limits

    if config.path is None:
        path = add_entry(done, config, config_file or find_config(Path.cwd()))
    else:
        path = write_limits(done, config)
    names = tuple(row.name for row in done.report.rows)
    tell(f"written: {path.name}, {LOCK_FILE}")
    return check(read_config(path), only=names, update=True)


@dataclass(frozen=True)
class _Form:
    """Where the report goes and how it looks."""

    as_json: bool
    markdown: bool
    json_file: Path | None
    junit: Path | None
    page: Path | None
    why: bool

    def __post_init__(self) -> None:
        if self.as_json and self.markdown:
            raise UsageError("--json and --markdown both ask for standard output; choose one.")
        refuse_foreign_page(self.page)

    def show(self, done: Checked, config: Config) -> None:
        """Print the report, write the files that were asked for, and tell GitHub where it listens."""
        from convsurgeon.base.files import write_file
        from convsurgeon.budgets.first_run import lines_to_paste
        from convsurgeon.budgets.junit import to_junit
        from convsurgeon.budgets.markdown import to_markdown
        from convsurgeon.budgets.terminal import render

        report = done.report
        if self.as_json or self.markdown:
            _warn_of_assumptions(done)
        with reader_may_leave():
            if self.as_json:
                answer(report.to_json())
            elif self.markdown:
                answer(to_markdown(report, why=self.why))
            else:
                show(render(report, why=self.why), crop=False)
                lines = lines_to_paste(done, config)
                if lines:
                    answer(f"\nno limits yet; paste these lines, or let --init write them:\n\n{lines}")
        if self.json_file is not None:
            write_file(self.json_file, report.to_json(), force=True)
        if self.junit is not None:
            write_file(self.junit, to_junit(report), force=True)
        if self.page is not None:
            from convsurgeon.budgets.page import to_html

            write_page(self.page, to_html(report, command_line()))
        _tell_github(report, config)


def _warn_of_assumptions(done: Checked) -> None:
    """Whoever only sees standard error reads of them, too."""
    from convsurgeon.budgets.measurement import Measured

    for name, found in done.outcomes.items():
        if isinstance(found, Measured) and found.assumption is not None:
            warn(f"entry '{name}': {found.assumption}.")


def _tell_github(report: CheckReport, config: Config) -> None:
    from convsurgeon.budgets import github
    from convsurgeon.budgets.markdown import to_markdown

    if github.in_actions(os.environ):
        for line in github.commands(report, config, os.environ):
            # the runner reads both streams; standard output may be JSON
            click.echo(line, err=True)
    problem = github.write_summary(to_markdown(report, why=True), os.environ)
    if problem is not None:
        warn(problem)


@contextmanager
def _failures_told() -> Iterator[None]:
    """Where GitHub listens, a check that can't begin is an annotation and a summary too."""
    try:
        yield
    except ConvsurgeonError as error:
        from convsurgeon.budgets import github, markdown

        if github.in_actions(os.environ):
            click.echo(github.failure(str(error)), err=True)
        github.write_summary(markdown.failure(str(error)), os.environ)
        raise
