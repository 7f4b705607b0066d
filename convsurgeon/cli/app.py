"""The entry point: commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, cast

import click

from convsurgeon._version import __version__
from convsurgeon.base.errors import ConvsurgeonError, ModelError, UsageError, first_line, named_first_line
from convsurgeon.cli.bench import bench_command
from convsurgeon.cli.check import check_command
from convsurgeon.cli.convert import apply_command, convert_command, plan_command
from convsurgeon.cli.demo import demo_command
from convsurgeon.cli.exit_codes import INTERNAL_ERROR, INTERRUPTED
from convsurgeon.cli.explain import inspect_command, methods_command, report_command, schema_command
from convsurgeon.cli.explore import compare_command, explore_command
from convsurgeon.cli.export import export_command
from convsurgeon.cli.lower import lower_command
from convsurgeon.cli.recover import recover_command
from convsurgeon.cli.screen import tell
from convsurgeon.cli.sections import GroupWithSections
from convsurgeon.cli.standard_output import (
    answers_apart,
    drop_output,
    is_broken_pipe,
    reader_may_leave,
    reserve_standard_output,
)

__all__ = ["cli", "main"]

# Whoever runs it by ``python -m``, too: the name is in usage lines, and shells ask by a variable made of it.
_NAME = "convsurgeon"
_COMPLETING = "_CONVSURGEON_COMPLETE"

# What a path, its rights or a full disk can cause; any other failing call of the system is a bug of ours.
_FILE_SYSTEM = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENAMETOOLONG,
    }
)


@click.group(cls=GroupWithSections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="convsurgeon")
def cli() -> None:
    """Make convolutional networks smaller and faster under a budget, keeping what they know.

    \b
    convsurgeon convert resnet50 --method compconv128
    convsurgeon convert resnet50 --target macs=50%
    convsurgeon inspect my_package.models:build

    Exit codes: 0 fine, 1 over budget (check only), 2 usage, configuration or an unreachable target, 3 a model that
    can't be loaded or run, 70 an internal error.
    """


for command in (
    convert_command,
    explore_command,
    plan_command,
    apply_command,
    inspect_command,
    report_command,
    compare_command,
    methods_command,
    schema_command,
    check_command,
    recover_command,
    demo_command,
    bench_command,
    lower_command,
    export_command,
):
    command.callback = answers_apart()(cast("Callable[..., Any]", command.callback))
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    reserve_standard_output()
    code = run(arguments)
    # What a model's code prints at the program's end is no answer either.
    sys.stdout = sys.stderr
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; every failure is one message on standard error and an exit code."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        result = cli.main(args=list(given), prog_name=_NAME, obj=tuple(given), standalone_mode=False)
        with reader_may_leave():
            if sys.stdout is not None:
                sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        drop_output()
        return 0
    except SystemExit as error:
        if is_broken_pipe():
            drop_output()
            return 0
        if _COMPLETING in os.environ:
            # click answers a shell that completes before any command, and leaves.
            sys.stdout.flush()
            return int(error.code or 0)
        tell(f"error: code of the model's ended the program (exit {first_line(error)}); remove that exit.")
        return ModelError.exit_code
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except click.exceptions.Abort:
        tell("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        tell(shown.getvalue().rstrip("\n"))
        return error.exit_code
    except ConvsurgeonError as error:
        if error.exit_code != INTERNAL_ERROR:
            tell(f"error: {error}")
            return error.exit_code
        return _internal(error)
    except OSError as error:
        return _unusable_file(error) if error.errno in _FILE_SYSTEM else _internal(error)
    except BaseException as error:
        # Not only Exceptions: Python would exit with 1, which means something else here.
        return _internal(error)


def _unusable_file(error: OSError) -> int:
    """The file system said no: neither a bug nor a fault of the model."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        drop_output()
    if os.environ.get("CONVSURGEON_DEBUG"):
        traceback.print_exc()
    name = f"'{error.filename}'" if error.filename is not None else "a file or the standard output"
    tell(
        f"error: {name} can't be read or written: {error.strerror}. Name a place that exists, that you may write to "
        "and that has room."
    )
    return UsageError.exit_code


def _internal(error: BaseException) -> int:
    if os.environ.get("CONVSURGEON_DEBUG"):
        traceback.print_exc()
    tell(
        f"internal error: {named_first_line(error)}\n"
        "This is a bug in convsurgeon, not in your model or options; CONVSURGEON_DEBUG=1 shows where."
    )
    return INTERNAL_ERROR
