"""A family is named in its own folder and in the list of families, and nowhere else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import convsurgeon
from convsurgeon.families import FAMILIES, family_of, parse_method
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.family import Refusal
from tests.families.table import ROWS

PACKAGE = Path(convsurgeon.__file__).parent
OUTSIDE = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    # The package's own __init__ lists public names, the units and specs among them.
    if path.relative_to(PACKAGE).parts[0] not in ("families", "__init__.py")
)
SHAPE = ConvShape(
    in_channels=64, out_channels=64, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), bias=True
)


def _named(tree: ast.Module) -> set[str]:
    """Identifiers, modules and whole strings of a file; docstrings and other sentences are for people."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id.lower())
        elif isinstance(node, ast.Attribute):
            found.add(node.attr.lower())
        elif isinstance(node, ast.ImportFrom):
            found |= {part.lower() for part in (node.module or "").split(".")}
            found |= {alias.name.lower() for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.lower())
    return found


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_outside_names_a_family(path: Path) -> None:
    """Neither a module, a class nor a word of a family stands outside of families/."""
    named = _named(ast.parse(path.read_text(encoding="utf-8")))
    words = {word for family in FAMILIES for word in (family.name, f"{family.name}spec", f"hardened{family.name}")}
    assert named & words == set()


def test_names_are_found_where_they_stand() -> None:
    """The search above sees an import, a class, an attribute and a word, and passes over a sentence."""
    code = "from convsurgeon.families.igc.unit import IGC\nx.dgconv\nm = 'compconv'\n'''igc is good'''"
    assert {"igc", "dgconv", "compconv"} <= _named(ast.parse(code))
    assert "igc" not in _named(ast.parse("'''igc is good'''"))


def test_every_family_has_its_row_in_the_tests() -> None:
    """The tests that hold for all families hold for this one too: none is left out of the table."""
    assert list(ROWS) == [family.name for family in FAMILIES]


def test_reading_the_list_does_not_import_torch() -> None:
    """Plans and reports are read without torch: specs, methods and cards are plain data."""
    code = "import sys, convsurgeon.families; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_whole(family: object) -> None:
    """Its examples are methods of its own, its free method's specs are its own, and each builds its unit."""
    assert family in FAMILIES
    known = next(f for f in FAMILIES if f is family)
    assert all(known.parse(example) == parse_method(example) for example in known.examples)
    specs = known.free.specs(SHAPE, (14, 14))
    assert not isinstance(specs, Refusal)
    assert {family_of(spec) for spec in specs} == {known}
    assert all(isinstance(spec, known.spec) and isinstance(spec.build(SHAPE), known.unit()) for spec in specs[:2])
    assert known.card.family == known.name
