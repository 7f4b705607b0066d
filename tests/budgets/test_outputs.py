"""Every form of the report, read by what reads it in earnest."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from convsurgeon.budgets import CheckReport
from convsurgeon.budgets.markdown import to_markdown
from tests.budgets.budget_project import Project

ENTRIES = (
    'name = "fine"\nmodel = "nets.py:small"\nmacs = "7k"\nparams = "1k"',
    'name = "over"\nmodel = "nets.py:large"\nmacs = "7k"\nparams = "1k"\nmessage = "50% <b>, `x` | y"',
    'name = "slow"\nmodel = "nets.py:small"\nmacs = "1k"\nlevel = "warn"',
    'name = "gone"\nmodel = "nets.py:broken"\nmacs = "7k"',
    'name = "idle"\nmodel = "nets.py:small"\nlevel = "off"',
    'name = "free"\nmodel = "nets.py:small"',
)


def test_json_has_its_schema_and_nothing_around_it(project: Project) -> None:
    """Standard output is one JSON document that the published schema accepts; a changed one it refuses."""
    project.config(*ENTRIES)
    project.check("--update")
    outcome = project.check("--json", "--json-file", "out/report.json")
    report = outcome.report()
    schema = CheckReport.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report | {"exit_code": "three"}, schema)
    assert json.loads(Path("out/report.json").read_text()) == report
    assert (outcome.code, report["exit_code"], report["baseline"]) == (3, 3, "convsurgeon-budgets.lock")
    assert {row["name"]: row["status"] for row in report["rows"]} == {
        "fine": "ok",
        "over": "over",
        "slow": "warn",
        "gone": "failed",
        "idle": "off",
        "free": "no limit",
    }
    assert report["rows"][1]["figures"][0] == {
        "metric": "macs",
        "value": 13824,
        "baseline": 13824,
        "limit": 7000,
        "limit_text": "7k",
        "varying": 0,
        "status": "over",
    }


def test_junit_is_read_by_a_junit_reader(project: Project) -> None:
    """A case for each limit; over is a failure, a model that fails an error, off skipped, a warning passes."""
    project.config(*ENTRIES)
    project.check("--junit", "out/budgets.xml")
    xml = JUnitXml.fromfile("out/budgets.xml")
    suite = next(iter(xml))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (8, 1, 1, 1)
    seen = {(case.classname, case.name): [type(one) for one in case.result] for case in suite}
    assert seen == {
        ("fine", "macs"): [],
        ("fine", "params"): [],
        ("over", "macs"): [Failure],
        ("over", "params"): [],
        ("slow", "macs"): [],
        ("gone", "model"): [Error],
        ("idle", "model"): [Skipped],
        ("free", "model"): [],
    }
    over = next(case for case in suite if case.result and isinstance(case.result[0], Failure))
    assert over.result[0].message == (
        "convsurgeon.toml, entry 'over', macs: 13,824 MACs, at most 7,000 MACs (7k) allowed, 6,824 MACs too many. "
        "50% <b>, `x` | y"
    )
    assert "MACs 0: 13,824 (100.0 %)" in over.result[0].text
    slow = next(case for case in suite if case.classname == "slow")
    assert "6,912 MACs, at most 1,000 MACs (1k) allowed" in slow.system_out


def test_markdown_is_a_table_that_no_text_breaks(project: Project) -> None:
    """As many cells in every row; names and messages stand there literally, whatever signs they hold."""
    project.config(*ENTRIES)
    outcome = project.check("--markdown", "--why")
    lines = outcome.out.splitlines()
    assert lines[0] == (
        "### ❌ convsurgeon: some models failed: 6 entries, 1 ok, 1 no limit, 1 warning, 1 over, 1 failed, 1 off"
    )
    table = [line for line in lines if line.startswith("|")]
    assert table[0] == "| entry | of one forward | now | limit | used | result |"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}
    assert "| over | MACs | 13.824 k | 7.000 k | 197.5 % | ❌ OVER |" in table
    assert any(line.endswith("50% &lt;b&gt;, \\`x\\` | y") for line in lines)
    assert "<details><summary>over: largest layers</summary>" in lines


def test_a_name_can_not_become_markup() -> None:
    """HTML, links, mentions and code in a name are text in Markdown."""
    report = CheckReport(
        config="c",
        baseline=None,
        exit_code=0,
        rows=({"name": "<img src=x> [a](b) @all `c`", "source": "s", "level": "off", "status": "off"},),
    )
    assert "| &lt;img src=x&gt; \\[a\\](b) \\@all \\`c\\` | – | – | – | – | off |" in to_markdown(report)


# https://docs.github.com/actions/reference/workflow-commands-for-github-actions
COMMAND = re.compile(r"::(?P<kind>error|warning|notice) (?P<properties>(?:\w+=[^,:\r\n]*,?)+)::(?P<text>[^\r\n]*)")


def _unescaped(text: str) -> str:
    for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def test_annotations_stand_on_the_entries_lines(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a runner, errors, warnings and notices go to standard error as workflow commands; JSON stays clean."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.folder.parent))
    path = project.config(*ENTRIES)
    outcome = project.check("--json")
    assert outcome.report()["exit_code"] == 3
    found = []
    for line in outcome.err.splitlines():
        command = COMMAND.fullmatch(line)
        assert command, line
        pairs = dict(pair.split("=", 1) for pair in command["properties"].split(","))
        found.append((command["kind"], {k: _unescaped(v) for k, v in pairs.items()}, _unescaped(command["text"])))
    text = path.read_text().splitlines()
    file = f"{project.folder.name}/convsurgeon.toml"
    assert [(kind, pairs["title"], pairs["file"]) for kind, pairs, _ in found] == [
        ("error", "convsurgeon: over", file),
        ("warning", "convsurgeon: slow", file),
        ("error", "convsurgeon: gone", file),
    ]
    assert [text[int(pairs["line"])] for _, pairs, _ in found] == ['name = "over"', 'name = "slow"', 'name = "gone"']
    assert found[0][2].endswith("6,824 MACs too many. 50% <b>, `x` | y")


def test_outside_of_a_runner_there_are_no_annotations(project: Project) -> None:
    """Without GITHUB_ACTIONS nothing is written to standard error."""
    project.config(*ENTRIES)
    assert project.check().err == ""


def test_no_text_can_start_another_command(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception's text is one line of an annotation, however it looks."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.write("bad.py", 'def net():\n    raise RuntimeError("x%0A::stop-commands::y\\n::error::z")\n')
    project.config('name = "a,b:c"\nmodel = "bad.py:net"')
    lines = project.check("--json").err.splitlines()
    assert len(lines) == 1
    command = COMMAND.fullmatch(lines[0])
    assert command
    assert "title=convsurgeon%3A a%2Cb%3Ac" in command["properties"]
    assert "x%250A::stop-commands::y" in command["text"]


def test_the_job_summary_is_appended_and_never_fails_the_check(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GITHUB_STEP_SUMMARY gets the Markdown behind what is there; if it can't be written, that is a warning."""
    project.config(*ENTRIES[:1])
    summary = project.write("summary.md", "before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert project.check().code == 0
    text = summary.read_text()
    assert text.startswith("before\n### ✅ convsurgeon: within budget: 1 entry, 1 ok\n\n| entry |")
    assert text == "before\n" + project.check("--markdown", "--why").out + "\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.folder / "no/such/folder"))
    outcome = project.check()
    assert outcome.code == 0
    assert "WARNING: the job summary" in outcome.err


def test_a_check_that_can_not_begin_is_told_as_well(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the configuration is an annotation of one line and stands in the summary."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    summary = project.write("summary.md", "")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    project.config('model = "nets.py:small"\nmacs = "4X"\nparms = 3')
    outcome = project.check()
    assert outcome.code == 2
    first, *rest = outcome.err.splitlines()
    assert COMMAND.fullmatch(first)
    assert _unescaped(first.split("::")[2]) == "\n".join(rest).removeprefix("error: ")
    assert "entry 'nets.py:small'.macs: '4X' can't be read" in summary.read_text()


def test_messages_stay_on_one_line(project: Project) -> None:
    """A log can be searched: no sentence is cut or wrapped, however long it is."""
    message = "word " * 50
    project.config(f'model = "nets.py:small"\nmacs = 1\nmessage = "{message}end"')
    assert any(line.endswith("end") and line.startswith("OVER: ") for line in project.check().out.splitlines())
