"""The check on the command line: exit codes, tables, the lock, revisions, the first run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from convsurgeon.budgets import read_config
from convsurgeon.models.loading import build_model
from tests.budgets.budget_project import LARGE_MACS, NETS, SMALL_MACS, SMALL_PARAMS, Project

SMALL, LARGE = 'name = "small"\nmodel = "nets.py:small"\n', 'name = "large"\nmodel = "nets.py:large"\n'


def test_the_whole_table(project: Project) -> None:
    """One row for each number, then what is over, failed or worth knowing, then the verdict."""
    project.config(
        SMALL + 'macs = "7k"',
        LARGE + 'macs = "150% of small"\nparams = "224"\nmessage = "ask Ada"',
        'model = "nets.py:broken"',
        'model = "alexnet"\nlevel = "off"',
        'name = "warned"\nmodel = "nets.py:large"\nflops = "10k"\nlevel = "warn"',
    )
    outcome = project.check()
    assert outcome.code == 3
    assert outcome.out == TABLE
    assert outcome.err == ""


TABLE = """\
┏━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━┓
┃ entry          ┃ of one forward   ┃      now ┃                    limit ┃    used ┃ result   ┃
┡━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━┩
│ small          │ MACs             │  6.912 k │                  7.000 k │  98.7 % │ ok       │
│                │ params           │      112 │                        – │       – │ no limit │
├────────────────┼──────────────────┼──────────┼──────────────────────────┼─────────┼──────────┤
│ large          │ MACs             │ 13.824 k │ 150% of small = 10.368 k │ 133.3 % │ OVER     │
│                │ params           │      224 │                      224 │ 100.0 % │ ok       │
├────────────────┼──────────────────┼──────────┼──────────────────────────┼─────────┼──────────┤
│ nets.py:broken │ –                │        – │                        – │       – │ FAILED   │
├────────────────┼──────────────────┼──────────┼──────────────────────────┼─────────┼──────────┤
│ alexnet        │ –                │        – │                        – │       – │ off      │
├────────────────┼──────────────────┼──────────┼──────────────────────────┼─────────┼──────────┤
│ warned         │ MACs             │ 13.824 k │                        – │       – │ no limit │
│                │ FLOPs (2 × MACs) │ 27.648 k │                 10.000 k │ 276.5 % │ warning  │
│                │ params           │      224 │                        – │       – │ no limit │
└────────────────┴──────────────────┴──────────┴──────────────────────────┴─────────┴──────────┘
FAILED: convsurgeon.toml, entry 'nets.py:broken', model: the factory nets.py:broken raises RuntimeError: no such disk.
OVER: convsurgeon.toml, entry 'large', macs: 13,824 MACs, at most 10,368 MACs (150% of small) allowed, 3,456 MACs \
too many. ask Ada
warning: convsurgeon.toml, entry 'warned', flops: 27,648 FLOPs, at most 10,000 FLOPs (10k) allowed, 17,648 FLOPs \
too many
some models failed: 5 entries, 1 ok, 1 warning, 1 over, 1 failed, 1 off
"""


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        (f"macs = {SMALL_MACS}", 0),
        (f"macs = {SMALL_MACS - 1}", 1),
        (f"flops = {2 * SMALL_MACS}", 0),
        (f"flops = {2 * SMALL_MACS - 1}", 1),
        (f"params = {SMALL_PARAMS}", 0),
        (f"params = {SMALL_PARAMS - 1}", 1),
        (f"weights_size = {4 * SMALL_PARAMS}", 0),
        (f"weights_size = {4 * SMALL_PARAMS - 1}", 1),
        ("activation_memory = 3248", 0),
        ("activation_memory = 3247", 1),
        (f'macs = {SMALL_MACS - 1}\nlevel = "warn"', 0),
        (f'macs = {SMALL_MACS - 1}\nlevel = "off"', 0),
        ('latency = "0.000001ms"', 0),
        ('latency = "0.000001ms"\ninsist = true', 1),
        ('latency = "0.000001ms"\ninsist = true\nlevel = "warn"', 0),
        ('latency = "1000s"\ninsist = true', 0),
    ],
)
def test_a_limit_is_the_most_that_is_allowed(
    project: Project, limit: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the limit is within it, one more is over; latency and level "warn" fail nothing unless one insists."""
    # [1, 3, 10, 10] in, [1, 4, 8, 8] out of the convolution and again out of the ReLU: the last two live at the end
    assert 4 * (300 + 256 + 256) == 3248
    for name in ("WARM_UP_S", "TIMED_S"):
        monkeypatch.setattr(f"convsurgeon.budgets.latency.{name}", 0.0)
    project.config(SMALL + limit)
    assert project.check("--json").code == code


def test_exit_codes_rank(project: Project) -> None:
    """A model that can't be run (3) wins over an unknown name (2), that one over a budget (1), and all get a row."""
    over, unknown, failing = SMALL + "macs = 1", 'model = "resnet51"', 'model = "nets.py:broken"'
    seen = []
    for entries in ([over], [over, unknown], [over, unknown, failing], [failing, over]):
        project.config(*entries)
        outcome = project.check("--json")
        seen.append((outcome.code, [row["status"] for row in outcome.report()["rows"]]))
    assert seen == [
        (1, ["over"]),
        (2, ["over", "failed"]),
        (3, ["over", "failed", "failed"]),
        (3, ["failed", "over"]),
    ]


def test_a_wrong_input_is_a_model_that_can_not_be_run(project: Project) -> None:
    """Exit code 3 and a message with file, entry and the shape; the right shape is fine."""
    project.config('model = "nets.py:small"\ninput = [1, 5, 10, 10]')
    outcome = project.check("--json")
    assert outcome.code == 3
    problem = outcome.report()["rows"][0]["problem"]
    assert problem.startswith(
        "convsurgeon.toml, entry 'nets.py:small', model: the model fails on inputs [1, 5, 10, 10]"
    )
    project.config('model = "nets.py:small"\ninput = [1, 3, 10, 10]')
    assert project.check().code == 0


def test_flags_check_one_model(project: Project) -> None:
    """Options stand for an entry of their own, without any configuration."""
    outcome = project.check("nets.py:small", "--max-macs", "6.9k", "--max-params", "112", "--input", "1,3,10,10")
    assert outcome.code == 1
    assert (
        "OVER: command line, entry 'nets.py:small', macs: 6,912 MACs, at most 6,900 MACs (6.9k) allowed" in outcome.out
    )
    assert project.check("nets.py:small", "--max-flops", "13824").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nets.py:small", "--max-macs", "4X"], "command line, --max-macs: '4X' can't be read"),
        (["nets.py:small", "--input", "1,3,x"], "command line, --input: Input should be a valid integer"),
        (["--max-macs", "4G"], "--max-macs is for one model; name it: check MODEL"),
        (["--input", "1,3"], "--input is for one model; name it: check MODEL"),
        (["nets.py:small", "--entry", "a"], "--entry is about the configuration's entries"),
        (["nets.py:small", "--update"], "--update is about the configuration's entries"),
        (["--json", "--markdown"], "--json and --markdown both ask for standard output"),
        (["--entry", "smal"], "convsurgeon.toml has no entry 'smal'. Did you mean small?"),
        (["--config", "none.toml"], "no configuration at 'none.toml'"),
        (["--baseline", "--output=x"], "'--output=x' is no git revision"),
        (["--baseline", "nowhere"], "git knows no revision 'nowhere'"),
    ],
)
def test_wrong_usage_is_said_and_exits_with_2(project: Project, arguments: list[str], words: str) -> None:
    """Each mistake has one message on standard error, nothing is measured, and the plain call works."""
    project.config(SMALL)
    outcome = project.check(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert project.check().code == 0


def test_the_first_run_prints_lines_that_work_when_pasted(project: Project) -> None:
    """Today's numbers rounded up, as an entry; checked with those lines, the model is within its budget."""
    outcome = project.check("nets.py:small")
    assert outcome.code == 0
    lines = outcome.out.split("let --init write them:\n\n")[1]
    assert lines == (
        '[[budgets]]\nmodel = "nets.py:small"\nmacs = "6.92k"\nparams = "112"\nweights_size = "448B"\n'
        'activation_memory = "3.25kB"\n'
    )
    project.write("convsurgeon.toml", lines)
    assert project.check("--json").report()["rows"][0]["status"] == "ok"


def test_init_writes_the_entry_and_the_lock(project: Project) -> None:
    """--init with a model adds it to the project's file, whose other content stays as it was."""
    before = '[project]\nname = "x"  # mine\n'
    project.write("pyproject.toml", before)
    outcome = project.check("nets.py:small", "--init", "--input", "1,3,10,10")
    assert (outcome.code, outcome.err) == (0, "written: pyproject.toml, convsurgeon-budgets.lock\n")
    text = (project.folder / "pyproject.toml").read_text()
    assert text.startswith(before)
    entry = read_config(project.folder / "pyproject.toml").entries[0]
    assert (entry.model, entry.macs, entry.input) == ("nets.py:small", "6.92k", (1, 3, 10, 10))
    assert '[models."nets.py:small"]' in project.lock()
    again = project.check("nets.py:small", "--init")
    assert again.code == 2
    assert "pyproject.toml has an entry 'nets.py:small' already" in again.err
    assert project.check("nets.py:large", "--max-macs", "1M", "--init").code == 0
    assert [one.macs for one in read_config(project.folder / "pyproject.toml").entries] == ["6.92k", "1M"]


def test_init_fills_in_the_entries_without_limits(project: Project) -> None:
    """Entries with limits stay, those without get theirs in place; comments and order survive."""
    text = (
        '# budgets\n[[budgets]]\nmodel = "nets.py:small" # the small one\ninput = [\n  1, 3,\n  10, 10,\n]\n\n'
        '# the next one\n[[budgets]]\nmodel = "nets.py:large"\nmacs = "20k"\n\n[[budgets]]\nmodel = "squeezenet1*"'
    )
    project.write("convsurgeon.toml", text)
    assert project.check("--init").code == 0
    assert (project.folder / "convsurgeon.toml").read_text() == (
        '# budgets\n[[budgets]]\nmodel = "nets.py:small" # the small one\ninput = [\n  1, 3,\n  10, 10,\n]\n'
        'macs = "6.92k"\nparams = "112"\nweights_size = "448B"\nactivation_memory = "3.25kB"\n\n'
        '# the next one\n[[budgets]]\nmodel = "nets.py:large"\nmacs = "20k"\n\n'
        '[[budgets]]\nmodel = "squeezenet1*"\nmacs = "+2%"\nparams = "+2%"\n'
    )
    assert project.check().code == 0
    again = project.check("--init")
    assert (again.code, again.out) == (2, "")
    assert "has limits; nothing to write" in again.err


def test_init_does_not_guess_at_other_ways_to_write_entries(project: Project) -> None:
    """Inline tables are left alone; the message holds the lines to paste."""
    text = 'budgets = [{ model = "nets.py:small" }]\n'
    project.write("convsurgeon.toml", text)
    outcome = project.check("--init")
    assert outcome.code == 2
    assert 'macs = "6.92k"' in outcome.err
    assert (project.folder / "convsurgeon.toml").read_text() == text
    assert project.check().code == 0


def test_the_lock_is_readable_sorted_and_stable(project: Project) -> None:
    """Exact numbers for each model and layer, by name; a second update writes the same bytes."""
    project.config(SMALL, LARGE)
    assert project.check("--update").code == 0
    first = project.lock()
    assert first == LOCK
    tomllib.loads(first)
    project.check("--update")
    assert project.lock() == first


LOCK = """\
# Exact counts per model and layer, written by 'convsurgeon check --update'. Commit it; do not edit it.
version = 1

[models."large"]
source = "nets.py:large"
input_shapes = [[1, 3, 10, 10]]
macs = 13824
params = 224
weights_size = 896
activation_memory = 5296
activation_peak_at = "1"

[models."large".layers]
"0" = { macs = 13824, params = 224 }

[models."small"]
source = "nets.py:small"
input_shapes = [[1, 3, 10, 10]]
macs = 6912
params = 112
weights_size = 448
activation_memory = 3248
activation_peak_at = "1"

[models."small".layers]
"0" = { macs = 6912, params = 112 }
"""


def _grow(project: Project, channels: int) -> None:
    nets = (project.folder / "nets.py").read_text()
    project.write("nets.py", nets.replace("return make(4)", f"return make({channels})"))


@pytest.mark.parametrize(("limit", "code"), [("+25%", 0), ("+24%", 1), ("+0%", 1)])
def test_growth_is_held_against_the_lock(project: Project, limit: str, code: int) -> None:
    """Five channels instead of four are 25 % more: allowed at +25 %, over at less; either way the change is shown."""
    project.config(SMALL + f'macs = "{limit}"')
    assert project.check("--update").code == 0
    assert project.check().code == 0
    _grow(project, 5)
    outcome = project.check()
    assert outcome.code == code
    assert "+1.728 k (+25.00 %)" in outcome.out
    assert "note: entry 'small': differs from convsurgeon-budgets.lock" in outcome.out


def test_why_names_the_layers_that_grew(project: Project) -> None:
    """Against the lock by growth; for a budget that was exceeded all along, by size."""
    project.config(SMALL + 'macs = "+0%"', LARGE + 'macs = "1k"')
    project.check("--update")
    _grow(project, 5)
    out = project.check("--why").out
    assert (
        "why small against convsurgeon-budgets.lock:\n  MACs 0: +1,728 (6,912 → 8,640)\n  params 0: +28 (112 → 140)\n"
        "why large, largest layers:\n  MACs 0: 13,824 (100.0 %)\n  params 0: 224 (100.0 %)\n"
    ) in out
    assert "why" not in project.check().out


def test_new_and_gone_layers_are_told_apart(project: Project) -> None:
    """A layer that is only in the model is new, one that is only in the lock is gone."""
    project.config(SMALL)
    project.check("--update")
    project.write("convsurgeon-budgets.lock", project.lock().replace('"0" = {', '"old" = {'))
    out = project.check("--why").out
    assert "MACs 0: new, +6,912 (0 → 6,912)" in out
    assert "MACs old: gone, -6,912 (6,912 → 0)" in out


def test_a_lock_that_does_not_match_is_said_and_not_used(project: Project) -> None:
    """Missing entries, other sources, other inputs and leftovers each have a sentence; a limit on them exits with 2."""
    project.config(SMALL, LARGE)
    project.check("--update")
    project.config(
        'name = "small"\nmodel = "nets.py:large"', LARGE + "input = [1, 3, 20, 20]", 'model = "nets.py:small"'
    )
    outcome = project.check("--json")
    rows = {row["name"]: row for row in outcome.report()["rows"]}
    assert outcome.code == 0
    assert rows["small"]["notes"][0].startswith(
        "not compared with convsurgeon-budgets.lock: there it stands for 'nets.py:small', here for 'nets.py:large'"
    )
    assert "there it was counted on inputs [1, 3, 10, 10], here on [1, 3, 20, 20]" in rows["large"]["notes"][0]
    assert rows["nets.py:small"]["notes"][0].startswith("not in convsurgeon-budgets.lock yet")
    assert all(figure["baseline"] is None for row in rows.values() for figure in row["figures"])
    project.config('model = "nets.py:small"\nmacs = "+2%"')
    outcome = project.check()
    assert outcome.code == 2
    assert "convsurgeon.toml, entry 'nets.py:small', macs: '+2%' has nothing to compare with" in outcome.out
    assert "convsurgeon-budgets.lock knows entries that convsurgeon.toml does not have: large, small" in outcome.out


@pytest.mark.parametrize("damage", ["<<<<<<< HEAD\n", "version = 2\n", "versoin = 1\n"])
def test_a_damaged_lock_is_refused_with_a_remedy(project: Project, damage: str) -> None:
    """A merge conflict or another version is no baseline."""
    project.config(SMALL)
    project.check("--update")
    project.write("convsurgeon-budgets.lock", project.lock().replace("version = 1\n", damage))
    outcome = project.check()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: convsurgeon-budgets.lock ")
    assert "convsurgeon check --update" in outcome.err


def test_update_keeps_what_it_could_not_or_should_not_measure(project: Project) -> None:
    """Failed entries and those not asked for keep their old counts, gone ones leave."""
    project.config(SMALL, LARGE)
    project.check("--update")
    nets = project.folder / "nets.py"
    nets.write_text(nets.read_text().replace("return make(4)", "return make('x')"))
    outcome = project.check("--update")
    assert outcome.code == 3
    assert "convsurgeon-budgets.lock keeps the old counts of entries that failed: small" in outcome.out
    assert project.lock() == LOCK
    nets.write_text(nets.read_text().replace("make('x')", "make(5)").replace("return make(8)", "return make(9)"))
    assert project.check("--update", "--entry", "large").code == 0
    assert "macs = 15552" in project.lock()
    assert "macs = 6912" in project.lock()
    project.config(LARGE)
    project.check("--update")
    assert "small" not in project.lock()


def test_a_revision_is_the_baseline(project: Project) -> None:
    """Numbers are held against the lock as it was there; what is new since then against the lock that lies here."""
    project.config(SMALL + 'macs = "+10%"')
    project.check("--update")
    project.git("init", "-q", "-b", "main")
    project.git("add", "-A")
    project.git("commit", "-qm", "one")
    _grow(project, 5)
    project.config(SMALL + 'macs = "+10%"', LARGE + 'macs = "+10%"')
    project.check("--update")
    assert project.check("--json").code == 0
    outcome = project.check("--json", "--baseline", "main")
    small, large = outcome.report()["rows"]
    assert outcome.code == 1
    assert outcome.report()["baseline"] == "main"
    assert (small["status"], small["figures"][0]["baseline"], small["why_against"]) == ("over", SMALL_MACS, "main")
    assert (large["status"], large["figures"][0]["baseline"]) == ("ok", LARGE_MACS)
    assert large["notes"] == ["not compared with main: it is not in it"]


def test_a_revision_without_a_lock_is_said(project: Project) -> None:
    """The revision exists, the lock does not: exit 2 and the way out."""
    project.config(SMALL)
    project.git("init", "-q", "-b", "main")
    project.git("add", "nets.py")
    project.git("commit", "-qm", "one")
    outcome = project.check("--baseline", "main")
    assert outcome.code == 2
    assert "the revision 'main' has no convsurgeon-budgets.lock" in outcome.err
    project.check("--update")
    project.git("add", "-A")
    project.git("commit", "-qm", "two")
    assert project.check("--baseline", "main").code == 0


def test_an_entry_referred_to_is_measured_even_if_it_is_off(project: Project) -> None:
    """A share of another entry holds for what that entry costs today; if that one fails, so does this row."""
    project.config(SMALL + 'level = "off"', LARGE + 'macs = "200% of small"')
    outcome = project.check("--json", "--entry", "large")
    assert (outcome.code, outcome.report()["rows"][0]["figures"][0]["limit"]) == (0, 2 * SMALL_MACS)
    project.config('name = "small"\nmodel = "nets.py:broken"\nlevel = "off"', LARGE + 'macs = "200% of small"')
    outcome = project.check("--json", "--entry", "large")
    assert outcome.code == 3
    assert (
        "entry 'large', macs: '200% of small' can't be judged, because that entry failed"
        in (outcome.report()["rows"][0]["problem"])
    )


def test_a_recipe_is_held_as_planned(project: Project) -> None:
    """The budget of a recipe holds for the converted architecture: CompConv128 on resnet18's 3×3 convolutions."""
    project.write("r.toml", 'model = "resnet18"\nmethod = "compconv128"\n[rules]\nonly = ["kernel:3x3"]\n')
    project.config('recipe = "r.toml"\nmacs = "0.789G"\nparams = "3.41M"')
    outcome = project.check("--json")
    row = outcome.report()["rows"][0]
    assert (outcome.code, row["source"], row["counted_on"]) == (0, "recipe r.toml", "meta")
    assert [round(figure["value"] / 1e6) for figure in row["figures"]] == [788, 3]
    project.write("r.toml", 'model = "resnet18"\nmethod = "compconv129"\n')
    outcome = project.check()
    assert outcome.code == 2
    assert "convsurgeon.toml, entry 'r.toml', recipe: r.toml has 1 mistake" in outcome.out


def test_names_are_looked_up_from_the_configurations_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check from a folder further down finds the same files, and stays where it is."""
    project.config(SMALL + 'macs = "7k"')
    (project.folder / "deep").mkdir()
    monkeypatch.chdir(project.folder / "deep")
    assert project.check().code == 0
    assert Path.cwd() == project.folder / "deep"


def test_nothing_is_downloaded_and_no_weights_are_made(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pretrained model is counted on the meta device alone; one that can't be built there is built for real."""
    devices: list[tuple[str, str]] = []

    def watched(spec: str, *, device: str) -> object:
        devices.append((spec, device))
        return build_model(spec, device=device)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("convsurgeon.budgets.subjects.build_model", watched)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    project.config('model = "squeezenet1_1"', 'model = "regnet_y_400mf"')
    assert project.check().code == 0
    assert devices == [("squeezenet1_1", "meta"), ("regnet_y_400mf", "meta"), ("regnet_y_400mf", "cpu")]


def test_a_lock_of_the_former_name_is_read_and_renamed(project: Project) -> None:
    """A convsurgeon.lock is compared with where there is no other; an update puts the new file in its place."""
    config = project.config('name = "small"\nmodel = "nets.py:small"\nmacs = "+0%"')
    assert project.check("--update").code == 0
    new, former = project.folder / "convsurgeon-budgets.lock", project.folder / "convsurgeon.lock"
    text = new.read_text()
    new.rename(former)
    outcome = project.check()
    assert (outcome.code, "convsurgeon.lock" in outcome.out) == (0, True)
    assert not new.exists()
    updated = project.check("--update")
    assert "note: convsurgeon.lock is called convsurgeon-budgets.lock now: commit both changes" in updated.out
    assert (new.read_text(), former.exists()) == (text, False)
    former.write_text("nonsense")
    assert project.check().code == 0
    assert config


@pytest.mark.parametrize(
    ("entry", "assumed"),
    [
        ('model = "nets.py:silent"', True),
        ('model = "nets.py:silent"\ninput = [1, 3, 224, 224]', False),
        ('model = "nets.py:small"', False),
        ('recipe = "silent.toml"', True),
    ],
)
def test_an_input_that_nothing_states_is_said_in_every_form(project: Project, entry: str, assumed: bool) -> None:
    """A factory without example_inputs is counted at an assumed size: each output says so, and only where it is so."""
    project.write("nets.py", f"{NETS}\ndef silent(): return nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))\n")
    project.write("silent.toml", 'model = "nets.py:silent"\nmethod = "compconv32"\n')
    project.config(f'name = "net"\n{entry}')
    as_json = project.check("--json")
    (row,) = as_json.report()["rows"]
    assert row["assumed_input"] == assumed
    words = "entry 'net': nothing says what nets.py:silent is called with; [1, 3, 224, 224] is ASSUMED"
    assert (f"WARNING: {words}" in as_json.err) == assumed
    assert (f"note: {words}" in project.check().out) == assumed
    markdown = project.check("--markdown")
    assert ("ASSUMED" in markdown.out, "ASSUMED" in markdown.err) == (assumed, assumed)


def test_one_model_without_a_stated_input_is_said_too(project: Project) -> None:
    """What the command line names is like an entry; --input states its size."""
    project.write("nets.py", f"{NETS}\ndef silent(): return make(4)\n")
    assumed, asked = (project.check("nets.py:silent", *more) for more in ((), ("--input", "1,3,9,9")))
    assert (assumed.code, asked.code) == (0, 0)
    assert ("ASSUMED" in assumed.out, "ASSUMED" in asked.out) == (True, False)
