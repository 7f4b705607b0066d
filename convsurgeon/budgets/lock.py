"""The lock file: exact counts per model and layer, as sorted TOML that people can read and diff."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from convsurgeon.base.errors import RecipeError, UsageError
from convsurgeon.base.files import write_file
from convsurgeon.base.reading import decoded, parse_toml, require_plain
from convsurgeon.base.records import Record, from_file
from convsurgeon.budgets.config import shown
from convsurgeon.budgets.measurement import Measured
from convsurgeon.budgets.metrics import Metric
from convsurgeon.planning.recipe import explain

__all__ = [
    "FORMER_LOCK_FILE",
    "LOCK_FILE",
    "Lock",
    "LockedLayer",
    "LockedModel",
    "lock_path",
    "read_lock",
    "read_lock_at",
    "write_lock",
]

# The former name read like that of a dependency lock; it is still read where there is no other.
LOCK_FILE, FORMER_LOCK_FILE = "convsurgeon-budgets.lock", "convsurgeon.lock"
_HEADER = "# Exact counts per model and layer, written by 'convsurgeon check --update'. Commit it; do not edit it."
_GIT_SECONDS = 30


class LockedLayer(Record):
    """A module's own MACs and parameters; ``varies``: there are more MACs, which depend on the data."""

    macs: int = 0
    params: int = 0
    varies: bool = False


class LockedModel(Record):
    """One model's counts, and what they were counted for. Latency is left out: it differs from machine to machine."""

    source: str
    input_shapes: tuple[tuple[int, ...], ...]
    macs: int
    params: int
    weights_size: int
    activation_memory: int | None = None
    activation_peak_at: str | None = None
    layers: dict[str, LockedLayer] = Field(default_factory=dict)

    @classmethod
    def of(cls, source: str, found: Measured) -> LockedModel:
        """What the lock keeps of a measurement; nothing that depends on the data."""
        return cls(
            source=source,
            input_shapes=found.input_shapes,
            macs=found.macs,
            params=found.params,
            weights_size=found.weights_size,
            activation_memory=None if found.varies else found.activation_memory,
            activation_peak_at=None if found.varies else found.peak_at,
            layers={
                layer.name: LockedLayer(macs=layer.macs, params=layer.params, varies=layer.varying_macs > 0)
                for layer in found.layers
            },
        )

    def value(self, metric: Metric) -> int | None:
        """The locked number; None where there is none."""
        if metric == "flops":
            return 2 * self.macs
        value: int | None = getattr(self, metric, None)
        return value


class Lock(Record):
    """All locked models by entry name."""

    version: Literal[1] = 1
    models: dict[str, LockedModel] = Field(default_factory=dict)

    def to_toml(self) -> str:
        """The file's text: models by name, layers in natural order (layer1.2 before layer1.10)."""
        parts = [f"{_HEADER}\nversion = {self.version}\n"]
        for name in sorted(self.models, key=_natural):
            parts.append(_model_text(name, self.models[name]))
        return "\n".join(parts)


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _model_text(name: str, model: LockedModel) -> str:
    lines = [f"[models.{_quoted(name)}]"]
    for key, value in model.model_dump(mode="json", exclude={"layers"}, exclude_none=True).items():
        lines.append(f"{key} = {_quoted(value) if isinstance(value, str) else json.dumps(value)}")
    lines += ["", f"[models.{_quoted(name)}.layers]"]
    for layer in sorted(model.layers, key=_natural):
        counts = model.layers[layer].model_dump(exclude_defaults=True)
        inner = ", ".join(f"{key} = {json.dumps(value)}" for key, value in counts.items())
        lines.append(f"{_quoted(layer)} = {{ {inner} }}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string, whose escapes are JSON's; only DEL needs one more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_lock(path: Path) -> Lock | None:
    """Read a lock file; None if there is none.

    Raises:
        RecipeError: it is no lock file, or of another version.
    """
    if not path.is_file():
        return None
    return parse_lock(path.read_bytes(), shown(path))


def parse_lock(written: bytes, origin: str) -> Lock:
    """Read a lock file's content.

    Raises:
        RecipeError: it is no lock file, or of another version.
    """
    remedy = "Settle a merge conflict, if it has one, or write it anew: convsurgeon check --update"
    try:
        content = parse_toml(decoded(written, origin), origin)
        require_plain(content, origin)
        return from_file(Lock, content)
    except RecipeError as error:
        raise RecipeError(f"{error} {remedy}.") from error
    except ValidationError as error:
        known = [*Lock.model_fields, *LockedModel.model_fields, *LockedLayer.model_fields]
        raise RecipeError(f"{explain(error, origin, lambda _: known)}\n{remedy}.") from error


def lock_path(folder: Path) -> Path:
    """The folder's lock file: that of the former name only where there is no other."""
    path, former = folder / LOCK_FILE, folder / FORMER_LOCK_FILE
    return former if former.is_file() and not path.is_file() else path


def write_lock(folder: Path, lock: Lock) -> bool:
    """Write a folder's lock file whole, or not at all; whether one of the former name was replaced by it."""
    former = lock_path(folder)
    write_file(folder / LOCK_FILE, lock.to_toml(), force=True)
    if former.name == LOCK_FILE:
        return False
    former.unlink()
    return True


def read_lock_at(revision: str, path: Path) -> Lock:
    """Read a lock file as it is in another git revision.

    Raises:
        UsageError: git fails, or there is no such revision, or no lock in it.
        RecipeError: it is no lock file, or of another version.
    """
    if not revision or revision.startswith("-") or not revision.isprintable() or ":" in revision:
        raise UsageError(f"'{revision}' is no git revision; expected a branch, a tag or a commit.")
    _git(path.parent, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", failing=_unknown(revision))
    kept = _git(path.parent, "ls-tree", "--name-only", revision, "./", failing=_unknown(revision)).decode(
        errors="replace"
    )
    name = next((name for name in (LOCK_FILE, FORMER_LOCK_FILE) if name in kept.split("\n")), None)
    if name is None:
        raise UsageError(
            f"the revision '{revision}' has no {shown(path)}. Commit one there first: convsurgeon check --update."
        )
    written = _git(path.parent, "show", f"{revision}:./{name}", failing=_unknown(revision))
    return parse_lock(written, f"{revision}:{name}")


def _unknown(revision: str) -> str:
    return (
        f"git knows no revision '{revision}' in this checkout. CI checkouts are often shallow: fetch it first, "
        "e.g. git fetch --depth=1 origin main, and name FETCH_HEAD or origin/main."
    )


def _git(folder: Path, *arguments: str, failing: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"git can't be run: {error}.") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(failing + (f" (git: {words[0]})" if words else ""))
    return done.stdout
