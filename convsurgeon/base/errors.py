"""Every error convsurgeon raises on purpose, and the exit code the command line gives it.

ConvsurgeonError
├── UsageError                 2   the request itself is wrong
│   ├── UnknownName            2   a model, method, rule or file that does not exist
│   ├── RecipeError            2   a recipe, plan or configuration file with mistakes in it
│   ├── TargetError            2   a target that can't be read, or can't be reached
│   ├── NothingToConvert       2   no convolution is eligible
│   └── OutputExists           2   the output folder is there already
└── ModelError                 3   the model can't be used
    ├── ModelLoadError         3   it can't be built, or its weights can't be had
    │   └── WeightsUnavailable 3   pretrained weights are neither cached nor to be downloaded
    ├── ModelRunError          3   it fails in forward, or on these inputs
    └── TrainingFailed         3   its loss or gradient is not finite any more
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from convsurgeon.base.outside_text import visible

__all__ = [
    "ConvsurgeonError",
    "ModelError",
    "ModelLoadError",
    "ModelRunError",
    "NothingToConvert",
    "OutputExists",
    "RecipeError",
    "TargetError",
    "TrainingFailed",
    "UnknownName",
    "UsageError",
    "WeightsUnavailable",
    "did_you_mean",
    "first_line",
    "named_first_line",
]


class ConvsurgeonError(Exception):
    """Root of the tree; ``exit_code`` is what the command line exits with."""

    exit_code = 70

    def __str__(self) -> str:
        """The message, in which names and other errors' words are shown and not obeyed."""
        return visible(super().__str__())


class UsageError(ConvsurgeonError):
    """The request itself is wrong: an option, a configuration, a name."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that stands for nothing: model, method, rule pattern, file."""


class RecipeError(UsageError):
    """A recipe, plan or configuration file that can't be read; lists every mistake at once."""


class TargetError(UsageError):
    """A target that can't be read, or that no choice of candidates reaches."""


class NothingToConvert(UsageError):
    """No convolution is eligible; the message carries the reasons."""


class OutputExists(UsageError):
    """The output folder exists and overwriting it was not asked for."""


class ModelError(ConvsurgeonError):
    """The model can't be used."""

    exit_code = 3


class ModelLoadError(ModelError):
    """The model can't be built, or its weights can't be had or don't fit."""


class WeightsUnavailable(ModelLoadError):
    """Pretrained weights exist, but can't be had here and now; ``auto`` goes on without them."""


class ModelRunError(ModelError):
    """The model fails in forward, or does not accept the inputs."""


class TrainingFailed(ModelError):
    """Training can't go on: the loss or the gradient is not finite; the last good checkpoint stays."""


def did_you_mean(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return " Did you mean a, b?" for the nearest known names, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f" Did you mean {', '.join(near)}?" if near else ""


# Code of other people may raise anything, also what is no Exception; only this is no failure of theirs.
INTERRUPTIONS = (KeyboardInterrupt,)

_MOST_QUOTED = 500


def first_line(error: BaseException) -> str:
    """How another library's error is quoted: its first line without the stop and colours, or its type's name.

    A line that only announces the next one (it ends in a colon) is quoted with it. Long ones are cut.
    """
    lines = re.sub(r"\x1b\[[0-9;]*m", "", _text(error)).strip().splitlines()
    if not lines:
        return type(error).__name__
    words = " ".join(line.strip() for line in lines[: 2 if lines[0].rstrip().endswith(":") else 1])
    return words.rstrip(" .") if len(words) <= _MOST_QUOTED else f"{words[:_MOST_QUOTED]}…"


def named_first_line(error: BaseException) -> str:
    """`first_line`, with the name of the error's type in front."""
    words = first_line(error)
    return words if words == type(error).__name__ else f"{type(error).__name__}: {words}"


def _text(error: BaseException) -> str:
    """The error's text; empty where making it fails, as code of other people may."""
    try:
        return str(error)
    except INTERRUPTIONS:
        raise
    except BaseException:
        return ""
