"""Tensors by name in a safetensors file, with a header of texts; whatever is wrong with one is one kind of error."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from convsurgeon.base.errors import ModelLoadError, first_line
from convsurgeon.base.outside_text import in_unicode

__all__ = ["read_tensors", "tensors_of", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str]) -> None:
    """Write contiguous CPU tensors that share no memory.

    Raises:
        OSError: the file system said no, in which case safetensors tells only in words.
    """
    try:
        save_file(dict(tensors), path, metadata=about)
    except SafetensorError as error:
        if (number := re.search(r"(?:os error|code:) (\d+)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    # safetensors writes for the owner alone; the result is as readable as other files.
    path.chmod(0o644)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors and the header's texts, which anybody may have written.

    Raises:
        ModelLoadError: the file is missing or damaged.
    """
    try:
        return tensors_of(path)
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(f"{path} can't be read: {first_line(error)}.") from error


def tensors_of(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the header's texts.

    Raises:
        OSError, SafetensorError: the file is missing or damaged.
    """
    if in_unicode(str(path)) != str(path):
        # safetensors opens no path that is not UTF-8.
        content = path.read_bytes()
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, header.get("__metadata__") or {}
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
