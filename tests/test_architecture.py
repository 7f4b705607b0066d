"""The house: sixteen entries at the top, every import runs down the list of rooms, and no file is in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import convsurgeon

PACKAGE = Path(convsurgeon.__file__).parent

# From the ground up: a room imports from those before it, and from itself.
ROOMS = (
    "base",
    "families",
    "survey",
    "models",
    "runtimes",
    "planning",
    "surgery",
    "transfer",
    "recovery",
    "report",
    "conversion",
    "deployment",
    "budgets",
    "demo",
    "cli",
)


def _modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(name: str, *, late: bool) -> set[str]:
    """The package's modules that one imports; ``late`` ones too: inside of functions, and for type checkers only."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if late else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "convsurgeon":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    return found - {name}


def test_the_top_level_holds_the_rooms_and_nothing_else() -> None:
    """A newcomer sees the rooms in the list above, the version, and what ``python -m convsurgeon`` runs."""
    entries = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__pycache__"}
    assert entries == {*ROOMS, "__init__", "__main__", "_version"}


def test_imports_run_down_the_rooms() -> None:
    """No module imports, not even late, from a room above its own."""
    upwards = [
        f"{name} → {other}"
        for name in MODULES
        for other in _imports(name, late=True)
        if name.count(".") and other.count(".")
        if (mine := name.split(".")[1]) in ROOMS and (theirs := other.split(".")[1]) in ROOMS
        if ROOMS.index(theirs) > ROOMS.index(mine)
    ]
    assert upwards == []


def test_no_file_is_in_a_circle() -> None:
    """What a module imports at its top, directly or through others, never imports it back."""
    reached: dict[str, set[str]] = {}

    def below(name: str, path: tuple[str, ...]) -> set[str]:
        assert name not in path, " → ".join((*path[path.index(name) :], name))
        if name not in reached:
            direct = _imports(name, late=False)
            reached[name] = direct.union(*(below(other, (*path, name)) for other in direct))
        return reached[name]

    for name in MODULES:
        below(name, ())
