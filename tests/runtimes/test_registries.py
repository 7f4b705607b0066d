"""A runtime, or a format of files, is one file and one entry: nothing else in the package names it."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import convsurgeon
from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.deployment.exporting import FORMATS, format_for, formats
from convsurgeon.runtimes import registry
from convsurgeon.runtimes.eager import Eager
from convsurgeon.runtimes.registry import RUNTIMES, find_layer_runtime, find_runtime

PACKAGE = Path(convsurgeon.__file__).parent
CLASSES = {type(entry).__name__: type(entry).__module__ for entry in (*RUNTIMES, *FORMATS)}
LISTS = {"convsurgeon.runtimes.registry", "convsurgeon.deployment.exporting.formats"}


def test_only_the_lists_name_a_runtime_or_a_format() -> None:
    """No module uses the class of one but its own and the list that holds it."""
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        named = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)} & set(CLASSES)
        assert module in LISTS or all(CLASSES[name] == module for name in named), f"{module} names {named}"


def test_a_new_entry_is_found_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one more entry each list finds it, and its messages name it; one that times no layers is not offered."""
    monkeypatch.setattr(registry, "RUNTIMES", (*RUNTIMES, replace(Eager(), name="mine")))
    assert find_layer_runtime("mine").name == "mine"
    with pytest.raises(UnknownName, match=r"openvino, mine"):
        find_runtime("another")
    with pytest.raises(UsageError, match=r"'compile'.*--runtime eager, onnxruntime, openvino or mine;"):
        find_layer_runtime("compile")
    own = replace(FORMATS[0], name="mine", suffix=".mine")
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, own))
    assert format_for(Path("net.mine")) == own
    with pytest.raises(UnknownName, match=r"\.mlpackage, \.mine"):
        format_for(Path("net.another"))
