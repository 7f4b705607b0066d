"""Commands and Python in the pages: each is run, or the page says why not; and each could be typed today."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import click
import pytest

import convsurgeon
from convsurgeon.cli.app import cli
from tests.docs.pages import OURS, PAGES, ROOT, Block, blocks, name_of, prose

BLOCKS = [block for page in PAGES for block in blocks(page)]


def _place(block: Block) -> str:
    return f"{name_of(block.page)}:{block.line}"


def _of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("block", _of("sh", "console"), ids=_place)
def test_commands_exist_with_their_options(block: Block) -> None:
    """A command of ours knows each option and takes as many arguments; a module that Python runs is there."""
    for words in block.commands():
        if words[0] in OURS:
            _parse(words[1:])
        elif words[0] == "python" and words[1] == "-m" and words[2].partition(".")[0] in ("benchmarks", "tests"):
            path = ROOT.joinpath(*words[2].split("."))
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), words[2]


def _parse(words: list[str]) -> None:
    """Names and numbers of values only: files need not exist."""
    if words[0].startswith("--"):
        return
    command = cli.commands[words[0]]
    # Below the group's own context, since click keeps the help option that it makes in the first one.
    above = cli.make_context("convsurgeon", [], resilient_parsing=True)
    context = click.Context(command, info_name=words[0], parent=above)
    _, left, _ = command.make_parser(context).parse_args([word for word in words[1:] if word != "…"])
    assert left == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_sentences_exist_with_their_options(page: Path) -> None:
    """What a sentence quotes of the command line is a command of ours with options that it knows."""
    for name, rest in re.findall(r"`convsurgeon\s+([a-z]+)\b([^`]*)`", prose(page)):
        parameters = cli.commands[name].params
        options = {option for one in parameters for option in (*one.opts, *one.secondary_opts)}
        assert set(re.findall(r"--[a-z][a-z-]+", rest)) <= options | {"--help"}, f"convsurgeon {name}{rest}"


@pytest.mark.parametrize("block", _of("python"), ids=_place)
def test_python_names_what_there_is(block: Block) -> None:
    """It is Python; what it takes from convsurgeon exists, and calls name arguments that exist."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "convsurgeon":
            assert hasattr(convsurgeon, node.attr), node.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("convsurgeon."):
            called = getattr(convsurgeon, ast.unparse(node.func).split(".")[1])
            known = inspect.signature(called).parameters
            assert {keyword.arg for keyword in node.keywords} <= set(known)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_command_stands_outside_of_a_block(page: Path) -> None:
    """Indented lines are run by nobody: a command stands in a fenced block, which says what language it is in."""
    assert re.findall(r"^ {4,}(?:convsurgeon|python|pip|scripts/\w+) .*", prose(page), re.MULTILINE) == []


def _source_texts() -> str:
    """What the package's strings say, with … for each value that is filled in."""
    found = []
    for path in (ROOT / "convsurgeon").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_troubleshooting_quotes_messages_that_exist() -> None:
    """Each heading in code style stands in a string of the package, word for word."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    said = _source_texts()
    quoted = re.findall(r"^### `(.+)`$", text, re.MULTILINE)
    assert quoted
    assert [words for words in quoted if words not in said] == []
