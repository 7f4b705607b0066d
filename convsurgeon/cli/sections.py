"""Help in sections: options by what they are about, commands by what people want."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click

from convsurgeon.models.preprocessing import Preprocessing
from convsurgeon.planning.rules import Rules
from convsurgeon.recovery.settings import ImageSettings, RecoverSettings

__all__ = ["CommandWithSections", "GroupWithSections"]

_REST = "Options"
# The parameters' names; what stands in several belongs to the first, what stands in none to the rest.
_OPTIONS: Mapping[str, Iterable[str]] = {
    "What to reach": (
        *("method", "methods", "moves", "target", "targets", "budget", "int8", "at_least", "minimise"),
        *("width_multiple", "learn_groups", "refine", "recipe_file"),
    ),
    # Its layers are a table of a recipe's; the option of that name shows rows.
    "Which convolutions": [name for name in Rules.model_fields if name != "layers"],
    "Time and memory": (
        *("latency", "time_layers", "allow_slower", "runtime", "precision", "latency_batch"),
        *("fit_memory", "runtimes", "batches", "threads", "seconds"),
    ),
    "Images": ("calibrate", "images", "evaluate", "classes", "data", "labels", "annotations"),
    "How images become inputs": Preprocessing.model_fields,
    "The model": ("weights", "weights_key", "original", "input", "input_shape", "seed", "device", "trust_factory"),
    "Output": (
        *("save", "output", "page", "layers", "form", "as_json", "markdown"),
        *("json_file", "junit", "force", "dry_run"),
    ),
    "Training": (*RecoverSettings.model_fields, "checkpoints", "resume"),
    "Training images": ImageSettings.model_fields,
}
_COMMANDS: Mapping[str, Iterable[str]] = {
    "Convert": ("convert", "explore", "plan", "apply", "recover"),
    "Look": ("inspect", "report", "compare", "methods", "demo"),
    "Deploy": ("bench", "lower", "export"),
    "Hold": ("check", "schema"),
}
# A list this short needs no sections.
_SHORT = 8


class CommandWithSections(click.Command):
    """A command whose help lists its options in sections, where they are many."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """In place of click's one list."""
        records = {
            parameter.name or "": record
            for parameter in self.get_params(ctx)
            if (record := parameter.get_help_record(ctx)) is not None
        }
        _write(formatter, records, _OPTIONS if len(records) > _SHORT else {})


class GroupWithSections(click.Group):
    """The command line, whose help lists its commands in sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """In place of click's one list."""
        room = formatter.width - 6 - max(map(len, self.commands))
        records = {name: (name, command.get_short_help_str(room)) for name, command in self.commands.items()}
        _write(formatter, records, _COMMANDS)


def _write(
    formatter: click.HelpFormatter, records: Mapping[str, tuple[str, str]], sections: Mapping[str, Iterable[str]]
) -> None:
    """Each section that has something in it, in its own order; what is in none comes last."""
    left = dict(records)
    for title, names in sections.items():
        rows = [left.pop(name) for name in names if name in left]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
    if left:
        with formatter.section(_REST):
            formatter.write_dl(list(left.values()))
