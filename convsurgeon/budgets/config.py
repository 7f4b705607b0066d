"""The budgets' configuration: ``[tool.convsurgeon]`` in pyproject.toml, or convsurgeon.toml, found upwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from convsurgeon.base.errors import RecipeError, TargetError, UnknownName
from convsurgeon.base.reading import decoded, parse_toml, require_plain
from convsurgeon.base.records import from_file
from convsurgeon.budgets.limits import Limit, parse_limit
from convsurgeon.budgets.metrics import METRICS, Metric
from convsurgeon.planning.recipe import explain

__all__ = ["Config", "Entry", "Level", "Settings", "find_config", "read_config"]

Level = Literal["off", "warn", "error"]
LimitText = StrictStr | StrictInt | None
OWN_FILE, PROJECT_FILE = "convsurgeon.toml", "pyproject.toml"
_MOST_CHARACTERS = 300


class Entry(BaseModel):
    """One budget: a model, by name or by recipe, and what it may cost at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StrictStr | None = Field(None, description="name of the row; default: the model or the recipe")
    model: StrictStr | None = Field(
        None,
        description="torchvision name, timm:NAME, package.module:factory, file.py:factory or a converted folder; "
        "a glob over torchvision's names or over a module's factories makes one entry each",
    )
    recipe: StrictStr | None = Field(None, description="a recipe's TOML file: the budget holds for the planned model")
    input: tuple[PositiveInt, ...] | None = Field(None, description="input shape, e.g. [1, 3, 224, 224]")
    trust_factory: StrictBool = Field(False, description="run the factory that a converted folder names")
    macs: LimitText = Field(None, description="most MACs of one forward, e.g. 4.2G, +2%, 50% of ENTRY")
    flops: LimitText = Field(None, description="the same in FLOPs = 2 × MACs")
    params: LimitText = Field(None, description="most parameters, e.g. 26M, +0%")
    weights_size: LimitText = Field(None, description="most bytes of parameters and buffers, e.g. 100MB")
    activation_memory: LimitText = Field(None, description="most bytes of live activations, e.g. 50MiB")
    latency: LimitText = Field(None, description="longest median forward on this machine's CPU, e.g. 20ms; warns only")
    insist: StrictBool = Field(False, description="let numbers that vary from machine to machine fail the check too")
    level: Level = Field("error", description="off: not measured; warn: going over never fails the check; error")
    message: StrictStr | None = Field(None, description="what to tell whoever goes over the budget")

    @field_validator("name", "model", "recipe", "message")
    @classmethod
    def _plain_text(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or not value.isprintable() or len(value) > _MOST_CHARACTERS):
            raise ValueError(f"expected 1 to {_MOST_CHARACTERS} printable characters on one line")
        return value

    @field_validator(*METRICS, mode="before")
    @classmethod
    def _readable_limit(cls, value: object, info: ValidationInfo) -> object:
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise ValueError(f'expected a whole number, or text such as "4.2G" or "+2%", found {value!r}')
            try:
                parse_limit(info.field_name, value)  # type: ignore[arg-type]
            except TargetError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _one_subject(self) -> Entry:
        if self.model is None and self.recipe is None:
            raise ValueError("names neither a model nor a recipe; expected one of them, or a recipe and its model")
        return self

    def limits(self) -> dict[Metric, Limit]:
        """The limits that are set."""
        return {key: parse_limit(key, text) for key in METRICS if (text := getattr(self, key)) is not None}


class Settings(BaseModel):
    """The content of ``[tool.convsurgeon]`` or of convsurgeon.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budgets: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Config:
    """Entries and where they stand: in ``path`` (None: the command line), relative to ``folder``."""

    entries: tuple[Entry, ...]
    folder: Path
    path: Path | None = None

    @property
    def origin(self) -> str:
        """The file as the user would type it."""
        return "command line" if self.path is None else shown(self.path)


def shown(path: Path) -> str:
    """A path relative to the current folder where it lies in it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def find_config(start: Path) -> Path | None:
    """The nearest convsurgeon.toml or pyproject.toml with a [tool.convsurgeon], from ``start`` upwards.

    Raises:
        RecipeError: a folder has both, or a file can't be read.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        own, project = folder / OWN_FILE, folder / PROJECT_FILE
        in_project = project.is_file() and _table(_toml(project), project) is not None
        if own.is_file() and in_project:
            raise RecipeError(f"{own} and [tool.convsurgeon] in {project} both hold budgets; keep one of them.")
        if own.is_file() or in_project:
            return own if own.is_file() else project
    return None


def read_config(path: Path) -> Config:
    """Read budgets.

    Raises:
        UnknownName: no such file.
        RecipeError: every mistake in it, with near names.
    """
    path = path.absolute()
    if not path.is_file():
        raise UnknownName(f"no configuration at '{shown(path)}'.")
    table = _table(_toml(path), path)
    if table is None:
        raise RecipeError(f"{shown(path)} has no [tool.convsurgeon].")
    return Config(_validated(table, shown(path)).budgets, path.parent, path)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(decoded(path.read_bytes(), shown(path)), shown(path))
    except OSError as error:
        raise RecipeError(f"{shown(path)} can't be read: {error.strerror}.") from error


def _table(content: dict[str, Any], path: Path) -> Any:
    if path.name != PROJECT_FILE:
        return content
    tool = content.get("tool")
    return tool.get("convsurgeon") if isinstance(tool, dict) else None


def _validated(table: Any, origin: str) -> Settings:
    require_plain(table, origin)
    try:
        return from_file(Settings, table)
    except ValidationError as error:
        raise RecipeError(explain(_by_entry_name(error, table), origin, _known_keys)) from error


def _by_entry_name(error: ValidationError, table: Any) -> ValidationError:
    """The same mistakes, located by an entry's name instead of its number."""
    lines: list[InitErrorDetails] = []
    for mistake in error.errors():
        location = mistake["loc"]
        if location[:1] == ("budgets",) and len(location) > 1:
            location = (f"entry {_called(table['budgets'], location[1])}", *location[2:3])
        line = InitErrorDetails(type=mistake["type"], loc=location, input=mistake["input"], ctx=mistake.get("ctx", {}))
        lines.append(line)
    return ValidationError.from_exception_data(error.title, lines)


def _called(budgets: Any, index: int | str) -> str:
    entry = budgets[index] if isinstance(budgets, list) and isinstance(index, int) else {}
    names = [entry[key] for key in ("name", "model", "recipe") if key in entry] if isinstance(entry, dict) else []
    if names and isinstance(names[0], str) and names[0].isprintable():
        return repr(names[0][:60])
    return f"number {index + 1}" if isinstance(index, int) else str(index)


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    return list(Entry.model_fields if len(location) > 1 else Settings.model_fields)
