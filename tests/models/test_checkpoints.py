"""Checkpoints as trainers write them: the state dict in the file, and its names."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from convsurgeon.base.errors import ModelLoadError, UnknownName, UsageError
from convsurgeon.models.checkpoints import read_checkpoint
from convsurgeon.models.from_file import load_from_file
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.weights import parse_weights

State = dict[str, torch.Tensor]


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def _state(value: float) -> State:
    net = _net()
    nn.init.constant_(net[0].weight, value)
    return net.state_dict()


def _same(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def _under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def _loaded(content: Any, folder: Path, key: str | None = None) -> tuple[float, WeightsOrigin]:
    """What the first weight is after loading a file, and what was read."""
    torch.save(content, folder / "w.bin")
    model, origin = load_from_file(_net(), parse_weights(folder / "w.bin", key), "net")
    return model.state_dict()["0.weight"].flatten()[0].item(), origin


_OPTIMIZER = torch.optim.SGD([nn.Parameter(torch.ones(2))], momentum=0.9).state_dict()


@pytest.mark.parametrize(
    "key", ["state_dict", "model_state_dict", "model", "params", "params_ema", "net", "module", "ema.state_dict"]
)
def test_the_one_state_dict_is_found(key: str, tmp_path: Path) -> None:
    """A state dict is found beside an optimizer and numbers, wherever trainers keep it, and the note says where."""
    inner: Any = _state(1.0)
    for part in reversed(key.split(".")):
        inner = {part: inner, "updates": 3}
    value, origin = _loaded({**inner, "optimizer": _OPTIMIZER, "best": {"a": torch.tensor(1.0)}}, tmp_path)
    assert (value, origin.key, origin.notes) == (1.0, key, (f"the weights are the file's '{key}'",))


def test_the_usual_name_wins_and_the_note_says_over_what(tmp_path: Path) -> None:
    """Other networks beside one under a usual name are passed over, and named."""
    value, origin = _loaded({"discriminator": _state(2.0), "state_dict": _state(1.0)}, tmp_path)
    assert value == 1.0
    assert origin.notes == ("the weights are the file's 'state_dict'; passed over 'discriminator'",)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("state_dict", "state_dict_ema"),
        ("params", "params_ema"),
        ("model", "model_ema"),
        ("model", "ema.state_dict"),
        ("student", "teacher"),
    ],
)
def test_several_state_dicts_are_listed_and_a_key_chooses(first: str, second: str, tmp_path: Path) -> None:
    """Where several state dicts could be meant, nothing is guessed: one error lists them, and a key takes either."""
    content: dict[str, Any] = {first: _state(1.0)}
    outer, _, inner = second.partition(".")
    content[outer] = {inner: _state(2.0)} if inner else _state(2.0)
    with pytest.raises(
        UsageError, match=rf"holds several state dicts: '{first}', '{second}'\. Choose with --weights-key"
    ):
        _loaded(content, tmp_path)
    assert _loaded(content, tmp_path, first)[0] == 1.0
    value, origin = _loaded(content, tmp_path, second)
    assert (value, origin.key) == (2.0, second)
    assert origin.notes == (f"the weights are the file's '{second}'; passed over '{first}'",)
    assert _loaded(content, tmp_path, outer)[1].key == second


def test_a_key_that_leads_nowhere_is_refused_with_those_that_do(tmp_path: Path) -> None:
    """An unknown key is an unknown name, and the message says what the file holds."""
    with pytest.raises(UnknownName, match=r"no state dict at 'ema'\. It holds 'model'"):
        _loaded({"model": _state(1.0), "ema": 3}, tmp_path, "ema")
    with pytest.raises(UnknownName, match=r"no state dict at 'ema'\. It holds one at the top; leave the key out"):
        _loaded(_state(1.0), tmp_path, "ema")


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_key_into_no_dictionary_is_no_place_in_it(kind: type, tmp_path: Path) -> None:
    """A file that holds no state dict anywhere is refused as such, with a key as without; a dictionary has places."""
    with pytest.raises(ModelLoadError, match=rf"holds a {kind.__name__}; expected a state dict"):
        _loaded(kind([_state(1.0)]), tmp_path, "0")
    assert _loaded({"0": _state(1.0)}, tmp_path, "0")[0] == 1.0


def test_the_top_is_not_passed_over_for_what_is_in_it(tmp_path: Path) -> None:
    """A key that is the prefix of all names passes over nothing; one beside another network passes over that."""
    assert "passed over" not in " ".join(_loaded(_under("_orig_mod.", _state(1.0)), tmp_path, "_orig_mod")[1].notes)
    assert "passed over 'b'" in _loaded({"a": _state(1.0), "b": _state(2.0)}, tmp_path, "a")[1].notes[0]


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net."]
)
def test_a_prefix_of_all_names_is_taken_off(prefix: str, tmp_path: Path) -> None:
    """Wrappers' prefixes go, in whatever order they stand, and the notes say which."""
    value, origin = _loaded({"state_dict": _under(prefix, _state(1.0))}, tmp_path)
    notes = " ".join(origin.notes)
    assert value == 1.0
    assert all(f"{part}." in notes for part in prefix.split(".") if part)
    assert "passed over" not in notes


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "model."])
def test_what_stands_beside_a_prefix_is_passed_over(prefix: str, tmp_path: Path) -> None:
    """A network among other tensors of its trainer is taken by its prefix, and the note names the others."""
    beside = {"n_averaged": torch.tensor(3), "loss.weight": torch.ones(4)}
    value, origin = _loaded({**_under(prefix, _state(1.0)), **beside}, tmp_path)
    assert value == 1.0
    assert "2 of the file's tensors are not under it and were passed over (n_averaged, loss.weight)" in origin.notes[-1]


def test_torchs_own_wrappers_are_read(tmp_path: Path) -> None:
    """What torch's averaged, parallel and compiled models save is read as the network's weights, layouts included."""
    net = _net()
    nn.init.constant_(net[0].weight, 3.0)
    for wrapped in (AveragedModel(net), nn.DataParallel(net), torch.compile(net), AveragedModel(torch.compile(net))):
        assert _loaded(wrapped.state_dict(), tmp_path)[0] == 3.0


def test_a_compiled_part_is_read(tmp_path: Path) -> None:
    """A wrapper inside a network is taken out of the middle of its names."""
    net = nn.Sequential(_net(), nn.Conv2d(4, 2, 1))
    state = net.state_dict()
    compiled = {name.replace("0.", "0._orig_mod.", 1) if name[0] == "0" else name: t for name, t in state.items()}
    torch.save(compiled, tmp_path / "w.pth")
    model, _ = load_from_file(nn.Sequential(_net(), nn.Conv2d(4, 2, 1)), parse_weights(tmp_path / "w.pth"), "net")
    assert _same(model.state_dict(), state)


class _Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Conv2d(3, 4, 1)


def test_a_module_named_module_keeps_its_name(tmp_path: Path) -> None:
    """A prefix that is the model's own is not taken off."""
    torch.save(_Holder().state_dict(), tmp_path / "w.pth")
    _, origin = load_from_file(_Holder(), parse_weights(tmp_path / "w.pth"), "net")
    assert origin.notes == ()


def test_the_same_network_under_two_prefixes_is_ambiguous(tmp_path: Path) -> None:
    """Where several prefixes lead to the model's names and shapes, one error lists them, and a key takes either."""
    state = {**_under("model.", _state(1.0)), **_under("teacher.", _state(2.0))}
    with pytest.raises(UsageError, match=r"several times: 'state_dict\.model', 'state_dict\.teacher'\. Choose with"):
        _loaded({"state_dict": state}, tmp_path)
    assert _loaded({"state_dict": state}, tmp_path, "state_dict.teacher")[0] == 2.0
    narrow = {name: tensor[:2] if tensor.dim() else tensor for name, tensor in _state(2.0).items()}
    other = {**_under("model.", _state(1.0)), **_under("teacher.", narrow)}
    assert _loaded({"state_dict": other}, tmp_path)[0] == 1.0


def test_a_misfit_behind_a_prefix_is_told_by_the_models_names(tmp_path: Path) -> None:
    """A wrapped checkpoint that lacks one tensor is refused for that one, not for all of its names."""
    state = _under("module.", _state(1.0))
    del state["module.1.bias"]
    with pytest.raises(ModelLoadError, match=r"does not fit net: 1 missing in the file \(1\.bias\)\. Pass"):
        _loaded(state, tmp_path)


def test_a_trainers_command_line_is_read_with_its_weights(tmp_path: Path) -> None:
    """argparse's Namespace, which trainers save beside the weights, is no reason to refuse them."""
    content = {"state_dict": _state(1.0), "args": argparse.Namespace(lr=0.1)}
    assert _loaded(content, tmp_path)[0] == 1.0


def test_safetensors_are_read(tmp_path: Path) -> None:
    """A .safetensors file gives the tensors that were saved."""
    state = _net().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    assert _same(read_checkpoint(tmp_path / "w.safetensors").state, state)


@pytest.mark.parametrize("name", ["w.bin", "w.pth", "w.safetensors"])
@pytest.mark.parametrize("save", [save_file, torch.save])
def test_a_file_is_what_it_holds(save: Callable[[State, Path], None], name: str, tmp_path: Path) -> None:
    """Safetensors and torch's archives are told by their content, whatever the file is called."""
    state = _net().state_dict()
    save(state, tmp_path / name)
    assert _same(read_checkpoint(tmp_path / name).state, state)


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_pickle_never_runs(save: Callable[[object, Path], None], tmp_path: Path) -> None:
    """A file that would run code when unpickled is refused, and its code does not run."""
    save({"weight": torch.ones(1), "x": _Payload(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(ModelLoadError, match="can't be read as weights") as caught:
        read_checkpoint(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in str(caught.value)
    save({"weight": torch.ones(1)}, tmp_path / "twin.pth")
    if save is torch.save:
        assert read_checkpoint(tmp_path / "twin.pth").state.keys() == {"weight"}


def test_a_pickled_module_is_refused_by_its_class(tmp_path: Path) -> None:
    """A whole pickled module is refused with the name of what is in it and what to save instead."""
    torch.save(_net(), tmp_path / "w.pth")
    with pytest.raises(ModelLoadError, match=r"holds Python objects \(torch.*Sequential\).*model\.state_dict\(\)"):
        read_checkpoint(tmp_path / "w.pth")


def test_other_archives_of_torch_are_named(tmp_path: Path) -> None:
    """A traced module and an exported program are told from weights in words of ours; their state dict is read."""
    x = torch.zeros(2, 3, 4, 4)
    torch.jit.trace(_net(), x).save(str(tmp_path / "w.pth"))  # type: ignore[no-untyped-call]
    with pytest.raises(ModelLoadError, match=r"it is a TorchScript archive.*Expected .*state_dict"):
        read_checkpoint(tmp_path / "w.pth")
    torch.export.save(torch.export.export(_net().eval(), (x,)), tmp_path / "w.pt2")
    with pytest.raises(ModelLoadError, match=r"an archive of torch's, but not of weights, or cut short\. Expected"):
        read_checkpoint(tmp_path / "w.pt2")
    torch.save(_net().state_dict(), tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth").state.keys() == _net().state_dict().keys()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 half a zip"])
def test_a_corrupt_file_is_one_clear_message(name: str, content: bytes, tmp_path: Path) -> None:
    """A file of another kind, or cut short, is refused in one line that names it."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"can't be read as weights: .+ Expected a .safetensors file") as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, torch.ones(1), [1, 2], {"weight": 3}, {1: torch.ones(1)}])
def test_a_file_without_a_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    """Names with tensors are expected; anything else that torch.save wrote is refused."""
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelLoadError, match=r"expected a state dict|expected names and tensors"):
        read_checkpoint(tmp_path / "w.pth")
