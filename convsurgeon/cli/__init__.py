"""The command line: thin commands over the Python verbs; one file per group of commands."""

from convsurgeon.cli.app import main

__all__ = ["main"]
