"""The command line: whole outputs, the JSON that is promised, exit codes, and what goes to which stream."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from convsurgeon import Plan, Recipe, Report, load
from convsurgeon.budgets import CheckReport, Settings
from convsurgeon.cli.app import run
from convsurgeon.cli.screen import working
from convsurgeon.deployment.benching import BenchReport
from tests.families.table import ROWS

FACTORY = """\
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 64, 3, groups=64))


build.example_inputs = torch.zeros(1, 3, 12, 12)


def tiny():
    return nn.Sequential(nn.Conv2d(3, 8, 3))


def sized(image=8):
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))


sized.example_inputs = {"input": torch.zeros(2, 3, 9, 9)}
"""

# The JSON that the documentation promises, spelled out by hand.
COST = {
    "type": "object",
    "required": ["macs", "params"],
    "properties": {"macs": {"type": "integer"}, "params": {"type": "integer"}},
    "additionalProperties": False,
}
PROMISED_PLAN = {
    "type": "object",
    "required": ["model", "method", "target", "before", "after", "layers"],
    "properties": {
        "model": {"type": "string"},
        "method": {"type": "string"},
        "target": {"type": "array", "items": {"type": "string"}},
        "before": COST,
        "after": COST,
        "layers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "calls", "action", "reason", "before", "after"],
                "properties": {
                    "name": {"type": "string"},
                    "calls": {"type": "integer"},
                    "action": {"enum": ["replaced", "kept", "refused"]},
                    "reason": {"type": "string", "minLength": 1},
                    "before": COST,
                    "after": COST,
                },
            },
        },
    },
}
PROMISED = {
    "type": "object",
    "required": ["schema_version", "plan", "weights", "inherited", "notes", "errors"],
    "properties": {
        "schema_version": {"const": 2},
        "plan": PROMISED_PLAN,
        "weights": {
            "type": "object",
            "required": ["origin", "detail"],
            "properties": {"origin": {"type": "string"}, "detail": {"type": "string"}},
        },
        "errors": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def _expected(file: str) -> str:
    return (Path(__file__).parent / "expected" / file).read_text(encoding="utf-8")


def _trimmed(text: str) -> str:
    """Without the blanks that pad a table's title to its width."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _convert(*arguments: str, model: str = "mine.py:build") -> int:
    return run(["convert", model, "--method", "compconv128", "--weights", "none", *arguments])


def test_a_dry_run_prints_the_whole_report_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Totals first, the layers in groups, the weights' origin, the units; with --layers a row for every convolution."""
    assert run(["convert", "mine.py:build", "--method", "compconv128", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert _trimmed(out) == _expected("dry_run.txt")
    assert run(["convert", "mine.py:build", "--method", "compconv128", "--dry-run", "--layers"]) == 0
    assert _trimmed(capsys.readouterr().out) == _expected("dry_run_layers.txt")
    assert err == ""
    assert [path.name for path in Path().iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []


def test_a_conversion_is_saved_and_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """convert writes the default folder, says how to load it and what to do next; report shows it again."""
    monkeypatch.setattr("convsurgeon.conversion.quick_timing.quick_timing", lambda *_: None)
    assert _convert() == 0
    out, _ = capsys.readouterr()
    folder = "mine.py-build-compconv128"
    assert out.endswith(
        f'saved to {folder}; load it with: convsurgeon.load("{folder}", trust_factory=True)\n'
        f"as a page: convsurgeon report {folder} --html {folder}.html\n"
        f"next: convsurgeon bench {folder} --trust-factory, export {folder} --trust-factory -o {folder}.onnx\n"
    )
    assert load(folder, trust_factory=True)
    assert run(["report", folder, "--markdown"]) == 0
    assert capsys.readouterr().out == _expected("report.md")
    assert run(["report", folder]) == 0
    assert _trimmed(out).startswith(_trimmed(capsys.readouterr().out))


def test_inspect_lists_every_convolution(capsys: pytest.CaptureFixture[str]) -> None:
    """Shape, map, MACs, share, params, eligible or why not; the streams; and the whole in MACs and FLOPs."""
    assert run(["inspect", "mine.py:build"]) == 0
    out, err = capsys.readouterr()
    assert _trimmed(out) == _expected("inspect.txt")
    assert err == ""


def test_inspect_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same as data, in exact integers."""
    assert run(["inspect", "mine.py:build", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["total"] == {"macs": 2_552_832, "params": 39_360}
    assert [(row["name"], row["macs"], row["eligible"]) for row in data["layers"]] == [
        ("0", 172_800, False),
        ("2", 2_359_296, True),
        ("3", 20_736, False),
    ]
    assert [(row["name"], row["channels"], row["producers"], row["open"]) for row in data["streams"]] == [
        ("0", 64, ["0"], True),
        ("2", 64, ["2"], False),
    ]
    assert data["streams"][0]["readers"] == [{"name": "2", "offset": 0, "span": 1}]
    assert data["streams"][1]["carriers"] == [{"name": "3", "kind": "depthwise", "offset": 0}]
    assert data["streams"][1]["reason"] == "the network gives it back"
    assert data["blocks"] == []


@pytest.mark.parametrize("dry", [True, False])
def test_json_is_what_was_promised_and_nothing_else(dry: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """--json prints one document of the promised form on stdout, dry or not; no float among the costs."""
    assert _convert("--json", *(["--dry-run"] if dry else [])) == 0
    out, _ = capfd.readouterr()
    data = json.loads(out)
    jsonschema.validate(data, PROMISED)
    jsonschema.validate(data, Report.model_json_schema(mode="serialization"))
    assert (data["plan"]["before"], data["plan"]["after"]) == (
        {"macs": 2_552_832, "params": 39_360},
        {"macs": 1_391_616, "params": 21_216},
    )
    assert data["weights"]["origin"] == "random"
    assert Path("mine.py-build-compconv128").exists() != dry
    if not dry:
        assert run(["report", "mine.py-build-compconv128", "--json"]) == 0
        assert capfd.readouterr().out == out


def test_dry_and_real_have_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """What a dry run announces is what the conversion does."""
    _convert("--json", "--dry-run")
    dry = json.loads(capsys.readouterr().out)
    _convert("--json")
    real = json.loads(capsys.readouterr().out)
    assert dry["plan"] == real["plan"]


def test_random_weights_are_a_warning_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that could not be had are shouted about on stderr, named in the report, and saved with it."""
    arguments = ["convert", "squeezenet1_1", "--method", "compconv32", "--input", "1,3,64,64"]
    assert run([*arguments, "--json", "-o", "out"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("WARNING: squeezenet1_1 has RANDOM weights (")
    assert "CONVSURGEON_OFFLINE is set" in err
    assert json.loads(out)["weights"]["origin"] == "random"
    assert json.loads(Path("out/report.json").read_text())["weights"]["origin"] == "random"
    assert run([*arguments, "--weights", "none", "--dry-run"]) == 0
    assert "WARNING" not in capsys.readouterr().err
    assert run([*arguments, "--weights", "DEFAULT", "-o", "out2"]) == 3
    assert "can't be had" in capsys.readouterr().err
    assert not Path("out2").exists()


def test_plan_then_apply(capsys: pytest.CaptureFixture[str]) -> None:
    """plan writes a file and changes no weight; apply carries it out, also edited."""
    assert run(["plan", "mine.py:build", "--method", "compconv128", "-o", "p.json"]) == 0
    assert capsys.readouterr().out.endswith("plan written to p.json; carry it out with: convsurgeon apply p.json\n")
    data = json.loads(Path("p.json").read_text())
    jsonschema.validate(data, Plan.model_json_schema())
    row = next(layer for layer in data["layers"] if layer["name"] == "2")
    row["spec"] = {"family": "igc", "primary_groups": 4, "secondary_groups": 2, "mid_channels": 64}
    Path("p.json").write_text(json.dumps(data))
    assert run(["apply", "p.json", "--weights", "none", "--json", "-o", "done"]) == 0
    report = json.loads(capsys.readouterr().out)["plan"]
    assert [row["reason"] for row in report["layers"] if row["action"] == "replaced"] == ["IGC L4M2 w64"]
    assert report["after"]["macs"] == 172_800 + 20_736 + 64 * (64 * 64 * 9 // 4 + 64 * 64 // 2)
    assert load("done", trust_factory=True)


def test_plan_and_convert_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """The plan that convert saves is the plan that plan prints."""
    assert run(["plan", "mine.py:build", "--method", "auto", "--target", "macs=60%", "--json", "-o", "p.json"]) == 0
    printed = capsys.readouterr().out
    assert Path("p.json").read_text() == printed
    arguments = [
        "convert",
        "mine.py:build",
        "--method",
        "auto",
        "--target",
        "macs=60%",
        "-o",
        "out",
        "--weights",
        "none",
    ]
    assert run(arguments) == 0
    assert Path("out/plan.json").read_text() == printed


@pytest.mark.parametrize(
    ("model", "shapes"),
    [("mine.py:sized", [[2, 3, 9, 9]]), ("ssdlite320_mobilenet_v3_large", [[3, 64, 64]])],
)
def test_apply_uses_the_inputs_of_the_plan(
    model: str, shapes: list[list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Keyword inputs, a list of images, another size: apply prices the plan on what it was made for."""
    size = ["--input", "1,3,64,64"] if "ssd" in model else []
    arguments = ["--weights", "none", "--json"]
    assert run(["plan", model, "--method", "compconv32", "-o", "p.json", *size, *arguments]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["input_shapes"] == shapes
    assert run(["apply", "p.json", "--dry-run", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["after"] == plan["after"]


def test_apply_refuses_other_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    """Inputs of another shape than the plan's are refused: its costs would not hold."""
    assert run(["plan", "mine.py:build", "--method", "compconv128", "-o", "p.json"]) == 0
    assert run(["apply", "p.json", "--input", "1,3,20,20", "--dry-run"]) == 2
    assert "made for inputs [1, 3, 12, 12], these are [1, 3, 20, 20]" in capsys.readouterr().err


def test_a_recipe_and_flags_over_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe alone is a whole request; flags override it, one by one."""
    Path("r.toml").write_text(
        'model = "mine.py:build"\nmethod = "compconv64"\nweights = "none"\n[rules]\nskip = ["2"]\nstem = true\n'
    )
    assert run(["convert", "--recipe", "r.toml", "--json", "--dry-run"]) == 0
    plain = json.loads(capsys.readouterr().out)["plan"]
    assert [row["name"] for row in plain["layers"] if row["action"] == "replaced"] == ["0"]
    flags = ["--method", "igc-l1m1-w8", "--skip", "3", "--no-stem"]
    assert run(["convert", "--recipe", "r.toml", "--json", "--dry-run", *flags]) == 0
    changed = json.loads(capsys.readouterr().out)["plan"]
    assert [(row["name"], row["reason"]) for row in changed["layers"] if row["action"] == "replaced"] == [
        ("2", "IGC L1M1 w8")
    ]


def test_several_targets(capsys: pytest.CaptureFixture[str]) -> None:
    """--target is repeatable; the report says how each was met."""
    arguments = ["--target", "macs=60%", "--target", "params=55%", "--dry-run"]
    assert run(["convert", "mine.py:build", "--method", "auto", *arguments]) == 0
    out = capsys.readouterr().out
    assert "target macs=60%: " in out
    assert "target params=55%: " in out
    assert "kept) by scipy milp (HiGHS)" in out


def test_dgconv_without_a_target_says_so_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    """Cost unchanged, exit 0, and a note that nobody overlooks."""
    assert run(["convert", "mine.py:build", "--method", "dgconv", "--dry-run"]) == 0
    assert "note: dgconv without a target keeps every gate open: cost unchanged" in capsys.readouterr().out


def test_methods_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Every method has a card that also says what it is bad for; --json holds the same."""
    assert run(["methods"]) == 0
    text = capsys.readouterr().out
    assert run(["methods", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert [card["family"] for card in cards] == [*ROWS, "auto"]
    for card in cards:
        for key in ("title", "paper", "methods", "idea", "good_for", "bad_for"):
            assert card[key] in text


@pytest.mark.parametrize(
    ("record", "model"),
    [
        ("recipe", Recipe),
        ("plan", Plan),
        ("report", Report),
        ("budgets", Settings),
        ("check", CheckReport),
        ("bench", BenchReport),
    ],
)
def test_schemas_are_printed(record: str, model: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """schema prints a valid JSON Schema of the record."""
    assert run(["schema", record]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == model.__name__


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["convert", "resnet5000"], 2, "torchvision has no model 'resnet5000'. Did you mean resnet50"),
        (["convert", "mine.py:bulid"], 2, "mine.py has no 'bulid'. Did you mean build?"),
        (["convert", "mine.py:build", "--method", "compcov128"], 2, "unknown method 'compcov128'; expected auto"),
        (["convert", "mine.py:build", "--target", "macs"], 2, "target 'macs' can't be read"),
        (
            ["convert", "mine.py:build", "--target", "macs=1%"],
            2,
            "can't be reached by 1 eligible of 3 convolutions. Reach",
        ),
        (["convert", "mine.py:build", "--only", "layer9.*"], 2, "rule 'layer9.*' matches none of the 3 convolutions"),
        (["convert", "mine.py:tiny", "--method", "compconv128"], 2, "nothing to convert"),
        (["convert", "mine.py:build", "--recipe", "none.toml"], 2, "no recipe at 'none.toml'"),
        (["convert"], 2, "no model given"),
        (["convert", "mine.py:build", "--input", "1,3,x"], 2, "is not a list of positive whole numbers"),
        (["convert", "mine.py:build", "--input", "1,5,9,9"], 3, "fails on inputs [1, 5, 9, 9]"),
        (["convert", "mine.py:build", "--weights", "none.pth"], 2, "none.pth does not exist"),
        (["convert", "mine.py:build", "--weights", "mine.py"], 3, "can't be read as weights"),
        (["convert", "mine.py:build", "--frobnicate"], 2, "No such option"),
        (["apply", "none.json"], 2, "no plan at 'none.json'"),
        (["report", "nowhere"], 2, "no saved model at 'nowhere'"),
        (["inspect", "nopackage:build"], 2, "nopackage"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_mistakes_are_one_message_and_an_exit_code(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong: its exit code, its words on stderr, nothing on stdout, no traceback, no folder."""
    before = set(Path().iterdir())
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    assert {path for path in set(Path().iterdir()) - before if path.name != "__pycache__"} == set()


def test_an_existing_folder_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    """An existing output stops the command at once; --force replaces it."""
    assert _convert("-o", "out") == 0
    assert _convert("-o", "out") == 2
    assert "'out' exists already; choose another -o DIR, or pass --force" in capsys.readouterr().err
    assert _convert("-o", "out", "--force") == 0
    assert _convert("-o", "out", "--dry-run") == 0
    assert run(["plan", "mine.py:build", "--method", "compconv128", "-o", "p.json"]) == 0
    assert run(["plan", "mine.py:build", "--method", "compconv128", "-o", "p.json"]) == 2
    assert run(["plan", "mine.py:build", "--method", "compconv128", "-o", "p.json", "--force"]) == 0


def test_a_bug_is_an_internal_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody foresaw is exit 70, one message, and a traceback only where it is asked for."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("convsurgeon.report.folder.read_report", fail)
    assert run(["report", "x"]) == 70
    err = capsys.readouterr().err
    assert err.startswith("internal error: ZeroDivisionError: a bug\n")
    assert "Traceback" not in err
    monkeypatch.setenv("CONVSURGEON_DEBUG", "1")
    assert run(["report", "x"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["-o", "mine.py/out"], ["-o", "mine.py/out/deep"]])
def test_a_place_that_can_hold_nothing_is_refused_before_any_work(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output below a file stops every writing command before a model is built; below a new folder it is made."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("too late")

    with monkeypatch.context() as patched:
        patched.setattr("convsurgeon.models.loading.load_model", fail)
        for command in (["convert"], ["plan"], ["lower"], ["export"]):
            place = [f"{arguments[1]}.pt2"] if command[0] in ("lower", "export") else [arguments[1]]
            assert run([*command, "mine.py:build", "-o", *place]) == 2
            assert "mine.py' is a file, expected a folder; choose another -o." in capsys.readouterr().err
    assert _convert("-o", "new/out") == 0


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, 2), (errno.ENOSPC, 2), (errno.EIO, 70)])
def test_what_the_file_system_refuses_is_no_bug(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing rights and full disks are the request's (exit 2, the place named); other system errors are ours."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "some/place")

    monkeypatch.setattr("convsurgeon.report.folder.read_report", fail)
    assert run(["report", "x"]) == code
    err = capsys.readouterr().err
    assert "some/place" in err
    assert err.startswith("error: 'some/place' can't be read or written") == (code == 2)


def test_a_full_disk_without_a_name_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failing write names no file; it ends as one message too, where standard output is no file either."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("convsurgeon.report.folder.read_report", fail)
    assert run(["report", "x"]) == 2
    assert "error: a file or the standard output can't be read or written" in capsys.readouterr().err


def test_weights_are_as_readable_as_the_files_beside_them() -> None:
    """A saved conversion may be read by whoever may read its plan."""
    assert _convert("-o", "out") == 0
    assert len({path.stat().st_mode for path in Path("out").iterdir()}) == 1


def test_a_saved_conversion_is_no_models_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a model's name is expected, a saved conversion's folder is recognised; another folder is just unknown."""
    assert _convert("-o", "out") == 0
    Path("other").mkdir()
    capsys.readouterr()
    assert run(["inspect", "out"]) == 2
    assert "'out' is a saved conversion, and a model's name was expected" in capsys.readouterr().err
    assert run(["inspect", "other"]) == 2
    assert "torchvision has no model 'other'" in capsys.readouterr().err


def test_the_help_names_each_commands_own_default_weights(capsys: pytest.CaptureFixture[str]) -> None:
    """inspect reads no weights by default, and convert those that can be had."""
    for command, default in (("inspect", "none"), ("convert", "auto")):
        assert run([command, "--help"]) == 0
        assert f"[default: {default}]" in " ".join(capsys.readouterr().out.split()).replace("[default: 0]", "")


def test_an_interrupt_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and one word."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convsurgeon.report.folder.read_report", interrupt)
    assert run(["report", "x"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_names_with_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets and colons in names are no markup."""
    Path("odd[bold].py").write_text(FACTORY)
    assert run(["convert", "odd[bold].py:build", "--method", "compconv128", "--dry-run"]) == 0
    assert "odd[bold].py:build with compconv128: 1 of 3" in capsys.readouterr().out


def _process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8", **environment},
    )


def test_what_compiled_code_prints_is_not_in_the_answer() -> None:
    """A library that writes to the process's standard output (HiGHS does) reaches standard error, never our JSON."""
    code = (
        "import os\n"
        "from convsurgeon.cli import app\n"
        "@app.cli.command('noisy')\n"
        "def noisy() -> None:\n"
        "    os.write(1, b'noise\\n')\n"
        "    app.click.echo('answer')\n"
        "app.main(['noisy'])\n"
    )
    done = _process(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "answer\n", "noise\n")
    closed = _process(f"import sys, os\nos.close(2)\nsys.stderr = None\n{code}")
    assert (closed.returncode, closed.stdout) == (0, "noise\nanswer\n")


def test_a_closed_pipe_is_no_failure() -> None:
    """A reader that goes away (head, less) is not an error, and 1 stays reserved for budgets."""
    for arguments in (["methods"], ["convert", "--help"]):
        read, write = os.pipe()
        os.close(read)
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-m", "convsurgeon", *arguments],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_standard_output_is_no_failure() -> None:
    """Started without a standard output at all, commands do their work and end with their own exit code."""
    for arguments, code in (("methods", 0), ("report nowhere", 2)):
        done = subprocess.run(
            ["sh", "-c", f'"{sys.executable}" -m convsurgeon {arguments} >&-'],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert done.returncode == code, done.stderr
        assert "internal error" not in done.stderr


def test_colours_follow_the_terminal_and_no_color(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe gets no escape codes; a terminal gets colours unless NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    _convert("--dry-run")
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    _convert("--dry-run")
    assert "\x1b[32m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    _convert("--dry-run")
    assert "\x1b[32m" not in capsys.readouterr().out


@pytest.mark.parametrize("columns", [30, 60, 80])
def test_every_width_shows_whole_words(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However narrow the terminal: no line is longer, no word is cut, every layer and reason is there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    _convert("--dry-run", "--layers")
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(len(line.rstrip()) for line in lines if not line.startswith("dry run")) <= columns
    for word in ("CompConv", "replaced", "refused", "depthwise:", "2.359", "54.5"):
        assert any(word in line for line in lines)


def test_a_narrow_terminal_still_shows_everything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 80 columns every name, reason and number is there, on two lines a cell; nothing is cut off."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    _convert("--dry-run", "--layers")
    out = capsys.readouterr().out
    run(["inspect", "mine.py:build"])
    both = re.sub(r"\x1b\[[\d;]*m", "", out + capsys.readouterr().out)
    assert "…" not in both
    assert max(len(line) for line in both.splitlines() if line.startswith("│")) <= 80
    for words in ("CompConv d=1 p=32", "2.359 M", "1.198 M", "18.784 k", "Conv2d 64→64 3×3", "50.8 %", "10×10"):
        assert words in both


def test_a_sign_of_life_is_for_people_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """While something runs that can't be counted, a terminal shows what it is; a pipe or log stays clean."""
    with working("waiting"):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with working("waiting"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert "waiting" in err
