"""Saved models: safetensors and JSON, all or nothing, bit-equal in a fresh process, no code run unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from convsurgeon import Conversion, convert, load
from convsurgeon.base.errors import ModelLoadError, OutputExists, RecipeError, UnknownName, UsageError
from convsurgeon.base.files import write_folder, write_whole
from convsurgeon.report.folder import SAVED_FILES, read_report
from tests.families.table import FIXED
from tests.nets import IMAGE, Plain, Residual, Shared

FILES = ["convsurgeon.json", "model.safetensors", "plan.json", "report.json"]


def _converted(network: nn.Module, method: str = "compconv128", **request: object) -> Conversion:
    return convert(network, torch.zeros(IMAGE), method=method, random_weights=True, **request)  # type: ignore[arg-type]


def _fresh_process(code: str, *arguments: str, folder: Path) -> str:
    """Run Python anew; returns what it printed."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "CONVSURGEON_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LOAD_AND_RUN = """
import sys, torch, pickle
def refuse(*_, **__): raise SystemExit("pickle was used")
pickle.load = pickle.loads = torch.load = refuse
import torch.fx
torch.fx.Tracer.trace = refuse
import convsurgeon
from safetensors.torch import load_file, save_file
network = convsurgeon.load(sys.argv[1])
assert not any(m.training for m in network.modules())
x = load_file(sys.argv[2])["x"]
with torch.no_grad():
    save_file({"y": network(x)}, sys.argv[2])
"""


def test_a_fresh_process_loads_a_torchvision_model_in_one_line(tmp_path: Path) -> None:
    """By name alone, without pickle and without a trace, with bit-equal outputs in eval mode."""
    from safetensors.torch import save_file

    from convsurgeon.cli.app import run

    folder, exchange = tmp_path / "saved", tmp_path / "x.safetensors"
    arguments = ["--weights", "none", "--method", "auto", "--target", "macs=60%", "--input", "1,3,64,64"]
    assert run(["convert", "resnet18", *arguments, "--seed", "3", "-o", str(folder)]) == 0
    x = torch.randn(2, 3, 64, 64)
    save_file({"x": x}, exchange)
    _fresh_process(LOAD_AND_RUN, str(folder), str(exchange), folder=tmp_path)
    with torch.no_grad():
        assert torch.equal(load_file(exchange)["y"], load(folder)(x))


@pytest.mark.parametrize("method", [*FIXED, "auto"])
def test_every_kind_of_module_comes_back_bit_equal(method: str, tmp_path: Path) -> None:
    """Weights, buffers and index orders are restored exactly, whatever the family."""
    done = _converted(Plain(), method)
    done.model.stem(torch.randn(4, 3, 8, 8))  # moves the batch norm's statistics
    folder = done.save(tmp_path / "saved")
    loaded, network = load(folder, model=Plain()), done.model.eval()
    assert sorted(path.name for path in folder.iterdir()) == FILES
    state = network.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    x = torch.randn(2, *IMAGE[1:])
    assert torch.equal(loaded(x), network(x))


def test_permutations_set_after_surgery_come_back(tmp_path: Path) -> None:
    """Index buffers that weight transfer or hardening set are part of what is saved."""
    done = _converted(Plain())
    unit = done.model.last
    unit.output_order.copy_(unit.output_order.flip(0))
    x = torch.randn(IMAGE)
    expected = done.model.eval()(x)
    assert torch.equal(load(done.save(tmp_path / "saved"), model=Plain())(x), expected)


class _Tied(nn.Module):
    """Two linear layers share one weight, and a buffer is a view of another one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.body = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3)
        self.encode, self.decode = nn.Linear(64, 64), nn.Linear(64, 64)
        self.decode.weight = self.encode.weight
        self.register_buffer("table", torch.arange(6.0))
        self.register_buffer("head", self.table[:3])

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(self.body(self.conv(x)).mean((2, 3)))) + self.head.sum()


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path: Path) -> None:
    """A shared parameter is stored once, and loads as one parameter with two owners."""
    done = _converted(_Tied())
    folder = done.save(tmp_path / "saved")
    stored = load_file(folder / "model.safetensors")
    assert ("encode.weight" in stored) != ("decode.weight" in stored)
    loaded = load(folder, model=_Tied())
    assert loaded.encode.weight is loaded.decode.weight
    x = torch.randn(IMAGE)
    assert torch.equal(loaded(x), done.model.eval()(x))


def test_a_module_at_two_paths_comes_back_at_both(tmp_path: Path) -> None:
    """A shared convolution is one module again after loading."""
    done = _converted(Shared())
    loaded = load(done.save(tmp_path / "saved"), model=Shared())
    assert loaded.near is loaded.far["again"]
    x = torch.randn(IMAGE)
    assert torch.equal(loaded(x), done.model(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_dtype_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    """A model saved in another dtype is that dtype when loaded over a float32 architecture; counters stay integers."""
    done = _converted(Plain().to(dtype))
    loaded = load(done.save(tmp_path / "saved"), model=Plain())
    assert {tensor.dtype for tensor in loaded.parameters()} == {dtype}
    assert loaded.stem[1].num_batches_tracked.dtype == torch.int64
    x = torch.randn(IMAGE, dtype=dtype)
    assert torch.equal(loaded(x), done.model.eval()(x))


@pytest.mark.parametrize("saved", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("base", [torch.channels_last, torch.contiguous_format])
def test_the_memory_format_comes_back(saved: torch.memory_format, base: torch.memory_format, tmp_path: Path) -> None:
    """A model loads in the memory format it was saved in, so that its outputs are bit-equal."""
    done = _converted(Plain().to(memory_format=saved))
    loaded = load(done.save(tmp_path / "saved"), model=Plain().to(memory_format=base))
    assert loaded.last.primary.weight.is_contiguous(memory_format=saved)
    x = torch.randn(IMAGE)
    assert torch.equal(loaded(x), done.model.eval()(x))


def test_a_callers_own_class_needs_the_model(tmp_path: Path) -> None:
    """A model object has no name to build it by: load asks for model=, and takes it without changing it."""
    folder = _converted(Plain()).save(tmp_path / "saved")
    with pytest.raises(UsageError, match=r"converted from a model object; pass the original architecture: load\(dir"):
        load(folder)
    base = Plain().train()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    loaded = load(folder, model=base)
    assert type(loaded) is Plain
    assert base.training
    assert not loaded.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


def test_a_model_of_another_architecture_is_refused(tmp_path: Path) -> None:
    """The given model must be the one that was converted; another one is refused with the first difference."""
    folder = _converted(Plain()).save(tmp_path / "saved")
    with pytest.raises((UnknownName, ModelLoadError), match=r"'body\.0'"):
        load(folder, model=Residual())
    wider = Plain()
    wider.head = nn.Linear(128, 11)
    with pytest.raises(
        ModelLoadError, match=r"does not fit .*2 of another shape \(head\.weight \[10, 128\] in the file, \[11"
    ):
        load(folder, model=wider)


def test_a_factory_is_not_run_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that names a factory runs no code until trust_factory=True says so."""
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nfrom torch import nn\n"
        "def build():\n"
        "    Path('ran').touch()\n"
        "    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))\n"
        "build.example_inputs = __import__('torch').zeros(1, 3, 8, 8)\n"
    )
    monkeypatch.chdir(tmp_path)
    from convsurgeon.cli.app import run

    assert run(["convert", "mine.py:build", "--method", "compconv128", "--weights", "none", "-o", "saved"]) == 0
    Path("ran").unlink()
    with pytest.raises(UsageError, match=r"built by the factory 'mine\.py:build', which is code\. Pass trust_factory"):
        load("saved")
    assert not Path("ran").exists()
    assert load("saved", trust_factory=True)(torch.zeros(1, 3, 8, 8)).shape == (1, 64, 4, 4)
    assert Path("ran").exists()


@pytest.mark.parametrize("name", ["mine.py:build", "mine:build"])
def test_a_factory_is_found_from_the_folder_and_no_other_is_taken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A saved network is built by its own file, wherever load is called; another file of that name is refused."""
    home, away = tmp_path / "home", tmp_path / "away"
    code = (
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))\n"
        "build.example_inputs = __import__('torch').zeros(1, 3, 8, 8)\n"
    )
    for folder, text in ((home, code), (away, f"{code}# not the same\n")):
        folder.mkdir()
        (folder / "mine.py").write_text(text)
    monkeypatch.chdir(home)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    from convsurgeon.cli.app import run

    assert run(["convert", name, "--method", "compconv128", "--weights", "none", "-o", "saved"]) == 0
    assert str(tmp_path) not in (home / "saved" / "convsurgeon.json").read_text()
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    network = load("saved", trust_factory=True)
    monkeypatch.chdir(away)
    assert load(home / "saved", trust_factory=True)
    (home / "mine.py").write_text("def build(): raise RuntimeError('edited')\n")
    with pytest.raises(ModelLoadError, match=r"is another file \(its SHA-256 differs\).*model=.*--original MODEL"):
        load(home / "saved", trust_factory=True)
    assert load(home / "saved", model=nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3)))
    (away / "mine.py").write_text(code)
    again = load(home / "saved", trust_factory=True)
    assert torch.equal(again(torch.ones(1, 3, 8, 8)), network(torch.ones(1, 3, 8, 8)))


def test_a_module_of_a_package_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved network whose module stands in a package is built by it from any folder, with what it imports there."""
    home, name = tmp_path / "a.b", "package_of_saved"
    (home / name).mkdir(parents=True)
    (home / name / "widths.py").write_text("WIDTH = 64\n")
    (home / name / "nets.py").write_text(
        "from torch import nn\nfrom .widths import WIDTH\n"
        f"def build():\n    from {name}.widths import WIDTH\n"
        "    return nn.Sequential(nn.Conv2d(3, WIDTH, 3), nn.Conv2d(WIDTH, WIDTH, 3))\n"
        "build.example_inputs = __import__('torch').zeros(1, 3, 8, 8)\n"
    )
    from convsurgeon.cli.app import run

    def forget() -> None:
        for module in [one for one in sys.modules if one.startswith(name)]:
            del sys.modules[module]

    options = ["--method", "compconv128", "--weights", "none", "-o", "saved"]
    monkeypatch.chdir(home)
    assert run(["convert", f"{name}.nets:build", *options]) == 0
    forget()
    monkeypatch.chdir(tmp_path)
    assert load("a.b/saved", trust_factory=True)
    forget()
    (home / name / "nets.py").rename(home / name / "networks.py")
    with pytest.raises(ModelLoadError, match=rf"converted from '{name}\.nets:build' in .*that file is not there"):
        load("a.b/saved", trust_factory=True)
    forget()


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    """An existing folder is refused; force replaces a saved model, and nothing that is not part of one."""
    done = _converted(Plain())
    folder = done.save(tmp_path / "saved")
    with pytest.raises(OutputExists, match="exists already; choose another -o DIR, or pass --force"):
        done.save(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "mydata").mkdir()
    with pytest.raises(OutputExists, match=r"--force does not replace it: mydata/, notes\.txt\. Move that elsewhere"):
        done.save(folder, force=True)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()
    (folder / "mydata").rmdir()
    assert done.save(folder, force=True) == folder
    assert sorted(path.name for path in folder.iterdir()) == FILES
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.tex").write_text("...")
    with pytest.raises(OutputExists, match="is no saved model, so --force does not replace it"):
        done.save(foreign, force=True)
    assert (foreign / "chapter1.tex").exists()
    (tmp_path / "empty").mkdir()
    assert done.save(tmp_path / "empty", force=True)


@pytest.mark.parametrize("existing", [True, False])
def test_an_interrupted_save_leaves_nothing_half_done(existing: bool, tmp_path: Path) -> None:
    """If writing stops in the middle, the folder is as it was, and nothing is left beside it."""
    folder = tmp_path / "deep" / "saved"
    if existing:
        _converted(Plain()).save(folder)

    def stop(temporary: Path) -> None:
        (temporary / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(folder, stop, force=True, own=SAVED_FILES)
    assert folder.parent.exists() == existing
    assert [path.name for path in tmp_path.glob("*/*")] == (["saved"] if existing else [])
    if existing:
        assert load(folder, model=Plain())


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("convsurgeon.json", "{", "is not JSON"),
        ("convsurgeon.json", '{"format": 2, "rebuild": null, "torch": "2"}', "is damaged or of another version"),
        ("model.safetensors", "nonsense", "is not what was saved there"),
        ("plan.json", "{}", "is not a plan of version 1"),
    ],
)
def test_damaged_files_are_named(file: str, content: str, words: str, tmp_path: Path) -> None:
    """A damaged file of a saved model is named, whichever it is."""
    folder = _converted(Plain()).save(tmp_path / "saved")
    (folder / file).write_text(content)
    with pytest.raises((ModelLoadError, RecipeError), match=f"{file}.*{words}"):
        load(folder, model=Plain())


@pytest.mark.parametrize("file", FILES[:3])
def test_missing_files_are_named(file: str, tmp_path: Path) -> None:
    """A folder without one of its files is no saved model, and the message says which one is missing."""
    folder = _converted(Plain()).save(tmp_path / "saved")
    (folder / file).unlink()
    with pytest.raises((UnknownName, ModelLoadError), match=file):
        load(folder, model=Plain())


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    """Weights of another conversion in the folder do not fit, and are refused."""
    folder = _converted(Plain()).save(tmp_path / "saved")
    other = _converted(Plain(), "igc-l4m2").save(tmp_path / "other")
    for file in ("model.safetensors", "convsurgeon.json"):
        (folder / file).write_bytes((other / file).read_bytes())
    with pytest.raises(ModelLoadError, match=r"does not fit .*8 missing in the file .*7 unknown to the model"):
        load(folder, model=Plain())


def test_a_model_without_values_can_not_be_saved(tmp_path: Path) -> None:
    """A conversion on the meta device plans and counts, but has nothing to save."""
    with torch.device("meta"):
        network = Plain()
    with pytest.raises(ModelLoadError, match="is on the meta device, where tensors have no values"):
        _converted(network).save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_the_report_is_saved_and_read_back(tmp_path: Path) -> None:
    """What was reported is what the folder says; a damaged report is named."""
    done = _converted(Plain())
    folder = done.save(tmp_path / "saved")
    assert read_report(folder) == done.report
    assert json.loads((folder / "convsurgeon.json").read_text())["rebuild"] is None
    (folder / "report.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"report\.json is damaged or of another version"):
        read_report(folder)


def test_a_text_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A text that can't be written leaves the old file as it was, and nothing beside it."""
    path = tmp_path / "deep" / "notes.txt"
    write_whole(path, "äöü")
    assert path.read_text(encoding="utf-8") == "äöü"
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "äöü"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("flipped", [True, False])
def test_a_flipped_bit_is_found(flipped: bool, tmp_path: Path) -> None:
    """Weights that are not those that were saved are refused, whatever they are; the same file loads."""
    network = Residual().eval()
    folder = _converted(network).save(tmp_path / "saved")
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= flipped
    path.write_bytes(bytes(content))
    if not flipped:
        assert load(folder, model=network)
        return
    with pytest.raises(ModelLoadError, match="is not what was saved there: its SHA-256"):
        load(folder, model=network)
    manifest = folder / "convsurgeon.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "weights_sha256": None}))
    assert load(folder, model=network)


@pytest.mark.parametrize("unsaid", ["leak", "latent_gates"])
def test_gates_of_before_load_as_they_were(unsaid: str, tmp_path: Path) -> None:
    """What gated weights left unsaid before is what a new unit has; anything else that is missing is refused."""
    network, x = Residual().eval(), torch.rand(IMAGE)
    done = _converted(network, "dgconv")
    folder = done.save(tmp_path / "saved")
    path, manifest = folder / "model.safetensors", folder / "convsurgeon.json"
    save_file({name: t for name, t in load_file(path).items() if not name.endswith(unsaid)}, path)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "weights_sha256": None}))
    if unsaid == "leak":
        assert torch.equal(load(folder, model=network)(x), done.model.eval()(x))
        return
    with pytest.raises(ModelLoadError, match="missing in the file"):
        load(folder, model=network)


@pytest.mark.parametrize("key", ["aliases", "strides"])
@pytest.mark.parametrize(
    "text", ["null", "[]", '{"x": null}', '{"x": [null]}', '{"x": [-1]}', '{"x": [1e99]}', "[" * 100_000, "{}"]
)
def test_a_header_of_nonsense_is_one_clear_error(key: str, text: str, tmp_path: Path) -> None:
    """Whatever stands in the weights' header, loading refuses it as such; empty entries load."""
    from safetensors.torch import save_file

    folder = _converted(Plain()).save(tmp_path / "saved")
    path, manifest = folder / "model.safetensors", folder / "convsurgeon.json"
    save_file(load_file(path), path, metadata={key: text})
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "weights_sha256": None}))
    if text == "{}":
        assert load(folder, model=Plain())
        return
    with pytest.raises(ModelLoadError, match=r"model\.safetensors can't be read: its header holds no names"):
        load(folder, model=Plain())
