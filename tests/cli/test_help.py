"""Help in sections, and what shells complete."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from convsurgeon.cli.app import cli, run
from convsurgeon.models.timm_names import timm_names


def _completed(*words: str) -> list[str]:
    *before, last = words
    shell = ShellComplete(cli, {}, "convsurgeon", "_CONVSURGEON_COMPLETE")
    return [item.value for item in shell.get_completions(before, last)]


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_help_names_every_option_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Sections lose no option and repeat none."""
    assert run([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    sections = lines[next(number for number, line in enumerate(lines) if re.fullmatch(r"\S.*:", line)) :]
    shown = [line.split()[0].rstrip(",") for line in sections if line.startswith("  -")]
    context = click.Context(cli.commands[name])
    options = [option for option in cli.commands[name].get_params(context) if isinstance(option, click.Option)]
    assert sorted(shown) == sorted((*option.opts, *option.secondary_opts)[0] for option in options if not option.hidden)


def test_help_has_sections(capsys: pytest.CaptureFixture[str]) -> None:
    """Many options come in sections, few under one title."""
    heads = {}
    for name in ("convert", "methods"):
        assert run([name, "--help"]) == 0
        heads[name] = [line[:-1] for line in capsys.readouterr().out.splitlines() if line.endswith(":")]
    assert heads["convert"][:2] == ["What to reach", "Which convolutions"]
    assert heads["methods"] == ["Options"]


@pytest.mark.parametrize("name", ["convert", "explore", "plan", "recover"])
def test_what_a_recipe_says_stands_in_a_section(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No option of a conversion or a recovery is left to the rest, where nobody looks for it."""
    assert run([name, "--help"]) == 0
    rest = capsys.readouterr().out.partition("\nOptions:\n")[2].splitlines()
    assert [line.split()[0] for line in rest if line.startswith("  -")] == ["-h,"]


def test_the_help_of_convert_names_what_keeps_half_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Every family's method with a choice; dgconv's gates are open without a target."""
    assert run(["convert", "--help"]) == 0
    said = re.split(r"[ ,]+", " ".join(capsys.readouterr().out.split()).partition(" keep macs=50%")[0])
    assert {"auto", "igc", "igc-b16", "spatial", "tucker", "compconv"} <= set(said)


def test_commands_stand_by_what_people_want(capsys: pytest.CaptureFixture[str]) -> None:
    """The first help that anybody reads is in sections, too."""
    assert run(["--help"]) == 0
    heads = {line[:-1] for line in capsys.readouterr().out.splitlines() if line.endswith(":")}
    assert {"Convert", "Look", "Deploy", "Hold"} <= heads


def test_a_shell_is_answered_and_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script for a shell and its completions come on standard output, with exit code 0."""
    monkeypatch.setenv("_CONVSURGEON_COMPLETE", "zsh_source")
    assert run([]) == 0
    assert capsys.readouterr().out.startswith("#compdef convsurgeon")
    monkeypatch.setenv("_CONVSURGEON_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "convsurgeon convert --method tu")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert run([]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["plain", "tucker"]
    assert err == ""


def test_shells_complete_methods_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods by their beginnings; models once they were listed; a path is the shell's own."""
    monkeypatch.setattr("convsurgeon.models.loading.known_models", lambda: ["resnet18", "resnet50", "vgg16"])
    assert _completed("convert", "--method", "dg") == ["dgconv"]
    assert _completed("convert", "--method", "nothing") == []
    assert _completed("explore", "--methods", "auto,dg") == ["auto,dgconv"]
    assert _completed("convert", "resn") == ["resnet18", "resnet50"]
    assert _completed("inspect", "vgg") == ["vgg16"]
    assert _completed("convert", "path/to/mo") == ["path/to/mo"]


def test_names_of_timm_complete_once_its_prefix_is_typed() -> None:
    """They are those that timm lists itself, with the prefix; without it none of them is offered."""
    timm = pytest.importorskip("timm", reason="the names are timm's")
    assert timm_names() == sorted(f"timm:{name}" for name in timm.list_models())
    assert "timm:resnet50d" in _completed("convert", "timm:resnet50")
    assert not any(name.startswith("timm:") for name in _completed("convert", ""))


def test_listing_the_names_of_timm_imports_neither_it_nor_torch() -> None:
    """Whoever presses Tab does not wait for them."""
    code = "import sys; from convsurgeon.cli.completion import complete_model as complete;"
    code += "complete(None, None, 'timm:re'); print({'timm', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
