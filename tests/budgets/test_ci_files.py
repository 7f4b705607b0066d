"""What lies in the repository for other people's CI: tried as a runner would, and read by what reads it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from convsurgeon.budgets import LOCK_FILE, Entry, Settings, read_config
from convsurgeon.budgets.entries import expand
from convsurgeon.budgets.lock import read_lock
from tests.budgets.budget_project import Project

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


@dataclass
class Runner:
    """Runs the action's shell steps one after the other, as GitHub's runner does on Linux."""

    project: Project
    tools: Path

    def tool(self, name: str, body: str) -> None:
        """Put a command in front of all others of its name."""
        (self.tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (self.tools / name).chmod(0o755)

    def __call__(self, **inputs: str) -> tuple[int, str, dict[str, str]]:
        """The exit code of the step that failed (or 0), all output, and the action's outputs."""
        known = {f"inputs.{key}": str(one.get("default", "")) for key, one in ACTION["inputs"].items()}
        known |= {f"inputs.{key.replace('_', '-')}": value for key, value in inputs.items()}
        known["github.action_path"] = str(ROOT)
        output = self.project.write("github_output", "")
        text, code = "", 0
        for step in ACTION["runs"]["steps"]:
            environment = os.environ | {
                "PATH": f"{self.tools}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(self.project.folder),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(self.project.folder / "summary.md"),
            }
            environment |= {key: _filled(value, known) for key, value in step.get("env", {}).items()}
            script = self.project.write("step.sh", step["run"])
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
                cwd=self.project.folder / _filled(step.get("working-directory", "."), known),
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            text, code = text + done.stdout + done.stderr, done.returncode
            if code:
                break
        return code, text, dict(line.split("=", 1) for line in output.read_text().splitlines())


def _filled(text: str, known: dict[str, str]) -> str:
    return EXPRESSION.sub(lambda match: known[match[1]], text)


@pytest.fixture
def runner(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A runner whose pip only says what it would install, and whose convsurgeon is this one."""
    runner = Runner(project, tmp_path_factory.mktemp("bin"))
    python = f'exec {sys.executable} "$@"'
    runner.tool("python", f'if [ "$1 $2" = "-m pip" ]; then printf "pip:[%s]" "$@"; else {python}; fi')
    runner.tool("convsurgeon", f'exec {sys.executable} -m convsurgeon "$@"')
    return runner


def test_the_action_checks_and_reports(runner: Runner, project: Project) -> None:
    """Over budget against the base branch: exit code 1, outputs, JSON, JUnit, annotations and summary are there."""
    project.config('name = "small"\nmodel = "nets.py:small"\nmacs = "+10%"')
    project.check("--update")
    project.git("init", "-q", "-b", "main")
    project.git("add", "-A")
    project.git("commit", "-qm", "one")
    nets = (project.folder / "nets.py").read_text()
    project.write("nets.py", nets.replace("make(4)", "make(5)"))
    code, text, outputs = runner(baseline="main", junit="out/budgets.xml", arguments="--why  --entry small")
    assert (code, outputs) == (1, {"exit-code": "1", "json": "convsurgeon-report.json"})
    assert f"pip:[-m]pip:[pip]pip:[install]pip:[--quiet]pip:[--disable-pip-version-check]pip:[{ROOT}]" in text
    assert "::error file=convsurgeon.toml,line=1,title=convsurgeon%3A small::" in text
    assert "why small against main:" in text
    assert "❌ OVER" in (project.folder / "summary.md").read_text()
    assert (project.folder / "out/budgets.xml").is_file()
    assert '"baseline": "main"' in (project.folder / "convsurgeon-report.json").read_text()


def test_the_action_fetches_a_base_branch_that_a_shallow_checkout_lacks(runner: Runner, project: Project) -> None:
    """With the last commit alone, as on a runner, origin/main is fetched; a branch that is nowhere fails the step."""
    project.config('name = "small"\nmodel = "nets.py:small"\nmacs = "+10%"')
    project.check("--update")
    project.git("init", "-q", "-b", "main")
    project.git("add", "-A")
    project.git("commit", "-qm", "one")
    project.git("checkout", "-q", "-b", "topic")
    project.git("commit", "-q", "--allow-empty", "-m", "two")
    url = f"file://{project.folder}"
    project.git("clone", "-q", "--depth=1", "--branch", "topic", url, "work")
    runner.tool("convsurgeon", 'if [ "$1" = check ]; then exec git rev-parse "${@: -1}"; fi')
    code, text, outputs = runner(install="none", baseline="origin/main", working_directory="work")
    assert (code, outputs["exit-code"]) == (0, "0"), text
    code, text, outputs = runner(install="none", baseline="origin/nowhere", working_directory="work")
    assert code != 0
    assert outputs == {}


@pytest.mark.parametrize(
    "inputs",
    [
        {"arguments": "; touch pwned"},
        {"arguments": "$(touch pwned) `touch pwned`"},
        {"baseline": "main; touch pwned"},
        {"baseline": "--upload-pack=touch pwned;"},
        {"install": 'x"; touch pwned; "', "junit": "$(touch pwned).xml", "arguments": "--entry nobody"},
    ],
)
def test_no_input_becomes_code(runner: Runner, project: Project, inputs: dict[str, str]) -> None:
    """What looks like shell stays text, that the command may refuse: a step fails, and nothing else happens."""
    project.git("init", "-q", "-b", "main")
    runner.tool("convsurgeon", 'printf "[%s]" "$@"; exit 2')
    code, text, _ = runner(**inputs)
    assert code != 0, text
    for word in inputs.get("arguments", "").split() if "baseline" not in inputs else ():
        assert f"[{word}]" in text
    assert not list(project.folder.rglob("pwned"))


def test_no_expression_stands_inside_of_a_script() -> None:
    """Inputs reach scripts through the environment only, and every one of them is described and used."""
    steps = ACTION["runs"]["steps"]
    assert not [step["name"] for step in steps if "${{" in step["run"]]
    used = set(EXPRESSION.findall(yaml.safe_dump(steps)))
    assert {f"inputs.{name}" for name in ACTION["inputs"]} <= used
    assert all(one["description"] for one in (*ACTION["inputs"].values(), *ACTION["outputs"].values()))


def _workflow(path: Path) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return workflow


def test_the_projects_workflow_uses_the_action_as_it_is() -> None:
    """The workflow passes only inputs that the action has, and may write nothing."""
    workflow = _workflow(ROOT / ".github/workflows/budgets.yml")
    (step,) = (step for step in workflow["jobs"]["budgets"]["steps"] if step.get("uses") == "./")
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert workflow["permissions"] == {"contents": "read"}


def test_the_project_keeps_its_own_budgets() -> None:
    """The configuration in pyproject.toml names recipes that exist, and the committed lock has all of its entries."""
    budgets = expand(read_config(ROOT / "pyproject.toml"))
    lock = read_lock(ROOT / LOCK_FILE)
    assert lock is not None
    assert set(lock.models) == {budget.name for budget in budgets}
    assert {budget.source for budget in budgets} == {model.source for model in lock.models.values()}
    assert all((ROOT / one.entry.recipe).is_file() for one in budgets if one.entry.recipe)
    assert lock.to_toml() == (ROOT / LOCK_FILE).read_text(encoding="utf-8")


def test_the_pre_commit_hooks_are_whole() -> None:
    """Each hook has what pre-commit requires, runs the check, and starts for the files that can change its answer."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["convsurgeon-check", "convsurgeon-check-system"]
    for hook in hooks:
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
        assert (hook["entry"], hook["pass_filenames"]) == ("convsurgeon check", False)
        starts = [
            re.search(hook["files"], path) is not None for path in ("pyproject.toml", "a/b.py", LOCK_FILE, "a.md")
        ]
        assert starts == [True, True, True, False]


def test_pre_commit_accepts_the_manifest() -> None:
    """pre-commit's own validator, where it is installed."""
    if shutil.which("pre-commit", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is None:
        pytest.skip("pre-commit is not installed")
    subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")], check=True
    )


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/ci.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_documented_configuration_is_valid_and_complete() -> None:
    """The example can be read as it stands, and the table explains every key."""
    (example,) = _blocks("toml")
    settings = Settings.model_validate(tomllib.loads(example)["tool"]["convsurgeon"])
    assert len(settings.budgets) == 4
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/ci.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(Entry.model_fields) <= documented


def test_the_documented_workflows_are_yaml_and_use_real_inputs() -> None:
    """Every YAML block parses; the one for GitHub passes inputs that the action has."""
    blocks = [yaml.safe_load(block) for block in _blocks("yaml")]
    workflow = next(block for block in blocks if isinstance(block, dict) and "jobs" in block)
    (step,) = (one for one in workflow["jobs"]["budgets"]["steps"] if "convsurgeon" in one["uses"])
    assert set(step["with"]) <= set(ACTION["inputs"])
    gitlab = next(block for block in blocks if isinstance(block, dict) and "budgets" in block)
    assert gitlab["budgets"]["artifacts"]["reports"]["junit"] == "budgets.xml"
