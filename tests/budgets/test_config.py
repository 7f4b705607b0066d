"""Where budgets are found, and what a configuration with mistakes is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convsurgeon.base.errors import RecipeError, UnknownName
from convsurgeon.budgets import Entry, Settings, find_config, read_config
from convsurgeon.budgets.entries import expand
from convsurgeon.cli.app import run
from tests.budgets.budget_project import Project

IN_PYPROJECT = '[project]\nname = "x"\n\n[[tool.convsurgeon.budgets]]\nmodel = "nets.py:small"\n'


def test_the_nearest_file_with_budgets_is_found(project: Project) -> None:
    """Looking upwards skips a pyproject.toml that says nothing of convsurgeon."""
    outer = project.write("pyproject.toml", IN_PYPROJECT)
    project.write("deep/pyproject.toml", '[project]\nname = "y"\n')
    (project.folder / "deep/er").mkdir()
    assert find_config(project.folder / "deep/er") == outer
    inner = project.write("deep/convsurgeon.toml", '[[budgets]]\nmodel = "alexnet"\n')
    assert find_config(project.folder / "deep/er") == inner


def test_both_kinds_of_file_say_the_same(project: Project) -> None:
    """pyproject.toml and convsurgeon.toml hold the same entries, one of them under a prefix."""
    own = project.write("a/convsurgeon.toml", '[[budgets]]\nmodel = "nets.py:small"\n')
    other = project.write("b/pyproject.toml", IN_PYPROJECT)
    assert read_config(own).entries == read_config(other).entries == (Entry(model="nets.py:small"),)


def test_budgets_in_two_files_of_a_folder_are_refused(project: Project) -> None:
    """Two homes in one folder are a mistake, not a question of order."""
    project.config('model = "alexnet"')
    project.write("pyproject.toml", IN_PYPROJECT)
    outcome = project.check()
    assert outcome.code == 2
    assert "convsurgeon.toml and [tool.convsurgeon] in" in outcome.err
    (project.folder / "pyproject.toml").unlink()
    assert project.check("--entry", "nobody").err.startswith("error: convsurgeon.toml has no entry 'nobody'")


def test_every_mistake_is_named_at_once_by_file_entry_and_key(project: Project) -> None:
    """One message lists all of them, each with the file, the entry's name, the key and the way out."""
    path = project.config(
        'name = "first"\nmodel = "alexnet"\nmax_macs = "4G"\nparms = "3M"',
        'model = "resnet18"\nmacs = "4X"\nlatency = "20"\ninput = [1, 0]',
        'macs = "4G"',
        'model = "resnet50"\nlevel = "fatal"\nparams = 1.5\ninsist = "yes"',
    )
    with pytest.raises(RecipeError) as caught:
        read_config(path)
    assert str(caught.value) == (
        "convsurgeon.toml has 9 mistakes:\n"
        "  entry 'first'.max_macs: unknown key. Did you mean macs?\n"
        "  entry 'first'.parms: unknown key. Did you mean params?\n"
        "  entry 'resnet18'.input: Input should be greater than 0, found 0\n"
        "  entry 'resnet18'.macs: '4X' can't be read. Expected at most how much, e.g. 4.2G, +2% (against the "
        "baseline), 50% of ENTRY.\n"
        "  entry 'resnet18'.latency: '20' can't be read. Expected at most how much, e.g. 20ms, 50% of ENTRY.\n"
        "  entry number 3: names neither a model nor a recipe; expected one of them, or a recipe and its model\n"
        '  entry \'resnet50\'.params: expected a whole number, or text such as "4.2G" or "+2%", found 1.5\n'
        "  entry 'resnet50'.insist: Input should be a valid boolean, found 'yes'\n"
        "  entry 'resnet50'.level: Input should be 'off', 'warn' or 'error', found 'fatal'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "budgets = 3",
        'budgets = ["resnet50"]',
        "[budgets]\nmacs = 3",
        "[[budgets]]\nmodel = []",
        "budgets = [[[]]]",
        "[[budgets]]\nname = {a = 1}\nmodel = 3",
        "a = " + "[" * 2000,
        '[[budgets]]\nmodel = "alexnet"\nmessage = "\\u001b[2J"',
        '[[budgets]]\nmodel = "alexnet"\nname = "a\\nb"',
        '[[budgets]]\nmodel = "alexnet"\nname = ""',
        '[[budgets]]\nmodel = "alexnet"\nmacs = true',
        '[[budgets]]\nmodel = "alexnet"\nmacs = ' + "9" * 400,
        '[[budgets]]\nmodel = "alexnet"\nlock = "../../etc/passwd"',
        'model = "alexnet"\n',
        "\x00",
    ],
)
def test_a_hostile_configuration_is_refused_with_its_file_name(project: Project, text: str) -> None:
    """Whatever stands in the file, the answer is one message that names it and exit code 2, never a crash."""
    project.write("convsurgeon.toml", text)
    outcome = project.check()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: convsurgeon.toml ")
    assert "\x1b" not in outcome.err


def test_a_harmless_twin_of_the_hostile_configurations_is_accepted(project: Project) -> None:
    """The same keys with plain values are fine."""
    project.config('model = "nets.py:small"\nname = "a b"\nmessage = "[2J"\nmacs = 9000')
    assert project.check().code == 0


def test_a_converted_folder_runs_no_factory_that_the_configuration_does_not_trust(project: Project) -> None:
    """A folder that names a factory is refused without trust_factory, before any of its code runs."""
    project.write(
        "own.py",
        "import pathlib\nfrom torch import nn\npathlib.Path('ran').touch()\n"
        "def net(): return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3))\n",
    )
    assert run(["convert", "own.py:net", "--method", "compconv32", "--weights", "none", "-o", "saved"]) == 0
    (project.folder / "ran").unlink()
    project.config('model = "saved"\nmacs = "1G"')
    outcome = project.check()
    assert outcome.code == 2
    assert "convsurgeon.toml, entry 'saved', model: 'saved' is built by the factory 'own.py:net'" in outcome.out
    assert not (project.folder / "ran").exists()
    (project.folder / "saved").rename(project.folder / "saved[1]")
    project.config('model = "saved[1]"\nmacs = "1G"\ntrust_factory = true')
    outcome = project.check("--json")
    assert outcome.code == 0
    saved = json.loads((project.folder / "saved[1]/plan.json").read_text())["after"]
    assert [figure["value"] for figure in outcome.report()["rows"][0]["figures"]] == [saved["macs"], saved["params"]]
    assert (project.folder / "ran").exists()


def test_a_glob_makes_a_row_for_each_factory_of_the_module(project: Project) -> None:
    """Functions that the module defines and that need no arguments count; private and imported ones do not."""
    project.write(
        "more.py",
        "from nets import small\nfrom torch import nn\n\nclass Net(nn.Conv2d):\n"
        "    def __init__(self): super().__init__(3, 4, 3)\n\ndef build(): return Net()\n\nclass Other: ...\n",
    )
    entries = ('model = "nets.py:*"', 'model = "more:*"', 'model = "squeezenet*"')
    budgets = expand(read_config(project.config(*entries)))
    assert [(one.name, one.number) for one in budgets] == [
        ("nets.py:small", 0),
        ("nets.py:large", 0),
        ("nets.py:broken", 0),
        ("more:Net", 1),
        ("more:build", 1),
        ("squeezenet1_0", 2),
        ("squeezenet1_1", 2),
    ]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (['model = "nets.py:smal*"', 'model = "nets.py:tiny*"'], "'nets.py:tiny*' matches none of"),
        (['model = "resnext5*"', 'model = "resnet55*"'], "'resnet55*' matches none of 121 models. Did you mean"),
        (['model = "nets.py:s*"', 'model = "nests.py:s*"'], "'nests.py' can't be imported"),
        (['model = "nets.py:s*"', 'model = "nets.py:l*"\nname = "x"'], "leave out name = 'x'"),
        (['model = "alexnet"', 'model = "alexnet"'], "entry 'alexnet', name: used 2 times"),
        (
            ['model = "alexnet"', 'model = "resnet18"\nmacs = "5% of alexnt"'],
            "no entry 'alexnt'. Did you mean alexnet?",
        ),
        (['model = "alexnet"\nmacs = "5% of alexnet"'], "refers to the entry itself"),
    ],
)
def test_entries_that_do_not_go_together_are_named(project: Project, entries: list[str], words: str) -> None:
    """Globs without a match, names used twice and limits that refer to nothing are mistakes of the configuration."""
    with pytest.raises(RecipeError, match=re.escape(words)) as caught:
        expand(read_config(project.config(*entries)))
    assert str(caught.value).startswith("convsurgeon.toml has 1 mistake:\n  entry '")
    if len(entries) > 1:
        assert expand(read_config(project.config(entries[0])))


def test_a_missing_file_is_said(project: Project) -> None:
    """--config with no such file names it, and no configuration at all says how to start."""
    with pytest.raises(UnknownName, match=r"no configuration at 'none\.toml'"):
        read_config(Path("none.toml"))
    outcome = project.check()
    assert outcome.code == 2
    assert "convsurgeon check MODEL --init" in outcome.err


def test_the_schema_tells_every_key() -> None:
    """Editors get a JSON Schema in which each key has a description."""
    properties = Settings.model_json_schema()["$defs"]["Entry"]["properties"]
    assert {name for name, one in properties.items() if not one.get("description")} == set()
