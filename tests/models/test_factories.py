"""Models built by the user's own code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from convsurgeon.base.errors import ModelLoadError, UnknownName, UsageError
from convsurgeon.models.loading import build_model, default_inputs, is_factory, load_model

CODE = """
import torch
from torch import nn
from dataclasses import dataclass
from sibling_of_nets import WIDTH

@dataclass
class Settings:
    width: int = WIDTH

def tiny():
    return nn.Conv2d(3, Settings().width, 3)

def tabular(width=5):
    return nn.Linear(width, 2)

tabular.example_inputs = (torch.ones(1, 5),)

def hollow():
    with torch.device("meta"):
        return tiny()

def double():
    return nn.Conv2d(3, 4, 3).double()

def raising():
    raise RuntimeError("no such disk\\nat all")

def exiting():
    raise SystemExit(4)

def none():
    return None

def needy(width, *, depth):
    return nn.Linear(width, depth)

class Net(nn.Sequential):
    @classmethod
    def small(cls):
        return cls(nn.Conv2d(3, 4, 1))

instance = nn.Identity()
number = 3
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with nets.py and its sibling, which is the current one."""
    (tmp_path / "nets.py").write_text(CODE)
    (tmp_path / "sibling_of_nets.py").write_text("WIDTH = 6\n")
    (tmp_path / "net.onnx").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("nets", "sibling_of_nets"):
        sys.modules.pop(name, None)
    yield
    # Tests of other folders have modules of these names, too.
    for name in ("nets", "sibling_of_nets"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("where", ["nets", "nets.py", "./nets.py"])
def test_modules_and_files_are_found_with_their_siblings(where: str) -> None:
    """A factory is found by module and by file, may import what lies beside it, and leaves sys.path as it was."""
    before = list(sys.path)
    loaded = load_model(f"{where}:tiny")
    assert (loaded.spec, loaded.model.weight.shape[0]) == (f"{where.removeprefix('./')}:tiny", 6)
    assert loaded.example_inputs.shapes() == ((1, 3, 224, 224),)
    assert not loaded.model.training
    assert sys.path == before


def test_a_module_is_imported_from_the_folder_in_front_of_it(tmp_path: Path) -> None:
    """A module behind a folder is imported from there, and never another one of its name."""
    (tmp_path / "a.b").mkdir()
    for name in ("nets.py", "sibling_of_nets.py"):
        (tmp_path / name).rename(tmp_path / "a.b" / name)
    assert load_model("a.b/nets:tiny").spec == "a.b/nets:tiny"
    with pytest.raises(UnknownName, match=r"no module 'nets' in .* to find a factory in"):
        build_model("a.c/nets:tiny")
    (tmp_path / "nets.py").write_text(CODE)
    with pytest.raises(ModelLoadError, match=r"'nets' is to come from .*another one of that name is imported already"):
        build_model("./../" + tmp_path.name + "/nets:tiny")


def test_a_class_and_its_methods_are_factories() -> None:
    """Any callable without required arguments counts, also a class or one of its methods."""
    assert isinstance(build_model("nets:Net"), nn.Sequential)
    assert len(build_model("nets:Net.small")) == 1


def test_example_inputs_of_a_factory_count() -> None:
    """The factory's attribute is what its model is called with, unless an input shape is asked for."""
    assert default_inputs("nets:tabular").shapes() == ((1, 5),)
    assert default_inputs("nets:tabular", input_shape="2,5").shapes() == ((2, 5),)
    loaded = load_model("nets:tabular")
    assert loaded.example_inputs.call(loaded.model).shape == (1, 2)


def test_inputs_follow_the_dtype() -> None:
    """Example inputs have the model's own floating-point type."""
    loaded = load_model("nets:double", input_shape=[1, 3, 8, 8])
    assert loaded.example_inputs.call(loaded.model).dtype == torch.float64


def test_the_weights_of_a_factory_are_the_callers() -> None:
    """A factory's own weights count as the caller's; none calls them random; a file replaces them."""
    assert load_model("nets:tiny").weights.origin == "caller"
    assert load_model("nets:tiny", weights="none").weights.origin == "random"
    state = {"weight": torch.ones(6, 3, 3, 3), "bias": torch.zeros(6)}
    torch.save(state, "w.pth")
    loaded = load_model("nets:tiny", weights="w.pth")
    assert (loaded.weights.origin, loaded.weights.detail) == ("file", "w.pth")
    assert torch.equal(loaded.model.weight, state["weight"])


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_a_factory_has_no_weights_by_name(weights: str) -> None:
    """DEFAULT and named weights belong to torchvision and timm; a factory is refused."""
    with pytest.raises(UsageError, match=f"nets:tiny has no weights '{weights}'"):
        load_model("nets:tiny", weights=weights)


def test_a_foreign_file_is_refused() -> None:
    """A file that does not fit the factory's model is refused by both names."""
    torch.save({"weight": torch.ones(1)}, "w.pth")
    with pytest.raises(ModelLoadError, match=r"w\.pth does not fit nets:tiny: 1 missing in the file \(bias\)"):
        load_model("nets:tiny", weights="w.pth")


def test_the_seed_reaches_the_factory() -> None:
    """Random weights of a factory follow the seed, and torch's global generator is left alone."""
    before = torch.get_rng_state()
    first, again, other = (load_model("nets:tiny", seed=seed).model.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_factory_builds_on_meta() -> None:
    """A factory's model is built without memory on the meta device."""
    assert build_model("nets:tiny", device="meta").weight.is_meta


@pytest.mark.parametrize("weights", ["auto", "w.pth"])
def test_a_model_without_numbers_is_refused(weights: str) -> None:
    """What a factory itself builds on the meta device is filled by no file; built elsewhere it is."""
    torch.save({"weight": torch.ones(6, 3, 3, 3), "bias": torch.zeros(6)}, "w.pth")
    with pytest.raises(ModelLoadError, match=r"on the meta device, where 2 tensors \(weight, …\) hold no numbers"):
        load_model("nets:hollow", weights=weights)
    assert load_model("nets:tiny", weights=weights)


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        ("nets:tyni", UnknownName, r"nets has no 'tyni'\. Did you mean tiny"),
        ("nets.py:zzz", UnknownName, r"Its callables: .*tiny, tabular"),
        ("nowhere:tiny", UnknownName, "no module 'nowhere'"),
        ("nets.deeper:tiny", UnknownName, "no module 'nets.deeper'"),
        ("nowhere.py:tiny", UnknownName, r"no file nowhere\.py"),
        ("nets:", UsageError, "names no factory"),
        (":tiny", UsageError, "names no factory"),
        ("nets.py", UsageError, r"say which function in it builds the model: nets\.py:FUNCTION"),
        ("net.onnx", UsageError, r"net\.onnx is a file, and surgery works on .*FUNCTION.*--weights FILE"),
        ("nets:number", UsageError, "is a int; expected a function"),
        ("nets:instance", UsageError, "is a Identity; expected a function"),
        ("nets:needy", UsageError, r"needs arguments \(width, depth\)"),
        ("nets:raising", ModelLoadError, r"nets:raising raises RuntimeError: no such disk\.$"),
        ("nets:exiting", ModelLoadError, "nets:exiting raises SystemExit: 4"),
        ("nets:none", ModelLoadError, "returns a NoneType; expected a torch.nn.Module"),
    ],
)
def test_what_is_no_factory_is_refused(spec: str, kind: type[Exception], words: str) -> None:
    """A name, module or file that is missing is an unknown name; code that fails is quoted in one line."""
    with pytest.raises(kind, match=words) as caught:
        load_model(spec)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["import not_installed_anywhere", "1 / 0", "def f(:", "raise SystemExit(2)"])
@pytest.mark.parametrize("where", ["broken", "broken.py"])
def test_a_module_that_fails_is_quoted(where: str, code: str) -> None:
    """A module or file that raises while it is imported can't be loaded, and its words are kept."""
    Path("broken.py").write_text(f"{code}\ndef tiny(): ...\n")
    with pytest.raises(ModelLoadError, match=r"broken(\.py)? can't be (run|imported): \w+Error|SystemExit"):
        load_model(f"{where}:tiny")
    assert "broken" not in sys.modules


@pytest.mark.parametrize(
    ("spec", "own_code"),
    [
        ("nets:tiny", True),
        ("a/b.py:f", True),
        ("resnet50", False),
        ("timm:resnet50", False),
        ("nets.py", False),
    ],
)
def test_factories_are_told_from_names(spec: str, own_code: bool) -> None:
    """A factory is recognised by its name alone, without running it."""
    assert is_factory(spec) is own_code
