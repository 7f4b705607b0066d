"""What builds a saved network's architecture again: a name and, where it stands for code, which file that was."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from convsurgeon.base.errors import ModelLoadError

__all__ = ["Rebuild", "file_behind"]


@dataclass(frozen=True)
class Rebuild:
    """What builds a saved network's architecture again.

    ``name`` is the model's; where it names code in a file, ``file`` is that file and ``sha256`` its content's digest.
    Both are None for libraries' models and installed modules.
    """

    name: str
    file: Path | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, name: str) -> Rebuild:
        """What a name means from the current folder, and now."""
        file = file_behind(name)
        return cls(name) if file is None else cls(name, file.resolve(), _digest(file))

    def from_here(self) -> str:
        """The name to build it by from the current folder: by the very file, or one with the same content.

        Raises:
            ModelLoadError: the file is gone or another one.
        """
        if self.file is None:
            return self.name
        here = file_behind(self.name)
        named = {self.file: _from_anywhere(self.file, self.name)}
        if here is not None:
            named[here.resolve()] = self.name
        found = [file for file in named if file.is_file()]
        same = next((file for file in found if _digest(file) == self.sha256), None)
        if same is not None:
            return named[same]
        state = f"{found[0]} is another file (its SHA-256 differs)" if found else "that file is not there"
        raise ModelLoadError(
            f"the network was converted from '{self.name}' in {self.file}, and {state}. Put the file back, or pass the "
            "architecture yourself: load(dir, model=...) in Python, --original MODEL on the command line."
        )


def file_behind(name: str) -> Path | None:
    """The file that a factory's name means from the current folder; None where it means no file there."""
    where = name.rpartition(":")[0].strip()
    if not where:
        return None
    path = Path(where)
    module = path.parent.joinpath(*path.name.split("."))
    candidates = [path] if where.endswith(".py") else [Path(f"{module}.py"), module / "__init__.py"]
    return next((path for path in (one.expanduser().absolute() for one in candidates) if path.is_file()), None)


def _from_anywhere(file: Path, name: str) -> str:
    """What means ``file`` from every folder: of a module, its name behind the folder that it is imported from."""
    where, _, function = name.rpartition(":")
    module = Path(where).name
    names = [] if module.endswith(".py") else [f"{folder / module}:{function}" for folder in file.parents]
    return next((one for one in names if file_behind(one) == file), f"{file}:{function}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
