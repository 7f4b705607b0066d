"""What a weights option means, the files it may name, and the strict fit into a model."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convsurgeon.base.errors import ModelLoadError, UnknownName
from convsurgeon.models.weights import load_strictly, parse_weights, read_state_dict


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("auto", "auto", ""),
        ("none", "none", ""),
        ("None", "none", ""),
        ("DEFAULT", "named", "DEFAULT"),
        ("default", "named", "DEFAULT"),
        ("IMAGENET1K_V1", "named", "IMAGENET1K_V1"),
        ("ResNet50_Weights.IMAGENET1K_V1", "named", "ResNet50_Weights.IMAGENET1K_V1"),
    ],
)
def test_words_are_read_as_requests(text: str, kind: str, name: str) -> None:
    """auto, none and DEFAULT are words; anything that is no file is the name of pretrained weights."""
    request = parse_weights(text)
    assert (request.kind, request.name) == (kind, name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "no-ending"])
def test_an_existing_file_is_a_file(name: str, tmp_path: Path) -> None:
    """A path that exists is a file, whatever its ending."""
    path = tmp_path / name
    path.touch()
    assert parse_weights(str(path)).path == parse_weights(path).path == path


@pytest.mark.parametrize("text", ["missing.pth", "missing.safetensors", "folder/IMAGENET1K_V1"])
def test_a_missing_file_is_an_unknown_name(text: str) -> None:
    """What looks like a file and does not exist is refused with what was expected."""
    with pytest.raises(UnknownName, match=f"{text} does not exist; expected a state dict"):
        parse_weights(text)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder is refused as one."""
    with pytest.raises(UnknownName, match="is a folder"):
        parse_weights(str(tmp_path))


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def _same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints_are_unwrapped(wrapper: str | None, prefix: str, tmp_path: Path) -> None:
    """A state dict is found under the usual keys of a checkpoint and behind DDP's prefix."""
    state = _net().state_dict()
    content: object = {prefix + key: tensor for key, tensor in state.items()}
    torch.save({wrapper: content, "epoch": 3} if wrapper else content, tmp_path / "w.pth")
    assert _same(read_state_dict(tmp_path / "w.pth"), state)


def test_a_module_named_module_keeps_its_name(tmp_path: Path) -> None:
    """The prefix "module." is stripped only where every key has it."""
    state = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    torch.save(state, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == state.keys()


def test_safetensors_are_read(tmp_path: Path) -> None:
    """A .safetensors file gives the tensors that were saved."""
    state = _net().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    assert _same(read_state_dict(tmp_path / "w.safetensors"), state)


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
        read_state_dict(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in str(caught.value)
    save({"weight": torch.ones(1)}, tmp_path / "twin.pth")
    if save is torch.save:
        assert read_state_dict(tmp_path / "twin.pth").keys() == {"weight"}


def test_a_pickled_module_is_refused_by_its_class(tmp_path: Path) -> None:
    """A whole pickled module is refused with the name of what is in it and what to save instead."""
    torch.save(_net(), tmp_path / "w.pth")
    with pytest.raises(ModelLoadError, match=r"holds Python objects \(torch.*Sequential\).*model\.state_dict\(\)"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 half a zip"])
def test_a_corrupt_file_is_one_clear_message(name: str, content: bytes, tmp_path: Path) -> None:
    """A file of another kind, or cut short, is refused in one line that names it."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"can't be read as weights: .+ Expected a .safetensors file") as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, torch.ones(1), [1, 2], {"weight": 3}, {1: torch.ones(1)}])
def test_a_file_without_a_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    """Names with tensors are expected; anything else that torch.save wrote is refused."""
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelLoadError, match=r"expected a state dict|expected names and tensors"):
        read_state_dict(tmp_path / "w.pth")


def test_a_fitting_state_is_loaded_bit_for_bit() -> None:
    """Every tensor of a state dict that fits is in the model afterwards."""
    source, target = _net(), _net()
    load_strictly(target, source.state_dict(), "w.pth", "net")
    assert _same(target.state_dict(), source.state_dict())


def test_a_mismatch_counts_and_names_the_keys() -> None:
    """Missing, unknown and mis-shaped keys are counted apart, and the first few are shown."""
    state = _net().state_dict()
    del state["1.weight"]
    state["0.weight"] = torch.ones(8, 3, 1, 1)
    state |= {f"head.{i}": torch.ones(1) for i in range(5)}
    with pytest.raises(ModelLoadError) as caught:
        load_strictly(_net(), state, "w.pth", "net")
    assert str(caught.value).startswith(
        "w.pth does not fit net: 1 missing in the file (1.weight); "
        "5 unknown to the model (head.0, head.1, head.2, …); "
        "1 of another shape (0.weight [8, 3, 1, 1] in the file, [4, 3, 1, 1] in the model). Pass weights"
    )


@pytest.mark.parametrize("versions", [True, False])
def test_batch_norms_from_before_the_batch_counter_fit(versions: bool) -> None:
    """A state dict without batch counters loads if it has no layout versions either, and not otherwise."""
    state = _net().state_dict()
    del state["1.num_batches_tracked"]
    if versions:
        with pytest.raises(ModelLoadError, match=r"1 missing in the file \(1\.num_batches_tracked\)"):
            load_strictly(_net(), state, "w.pth", "net")
    else:
        load_strictly(_net(), dict(state), "w.pth", "net")


class _Versioned(nn.Linear):
    _version = 2

    def _load_from_state_dict(self, state, prefix, metadata, *rest):  # type: ignore[no-untyped-def]
        if metadata.get("version") != 2:
            raise ValueError("of an unknown version")
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_layout_version_outlives_the_file(ending: str, tmp_path: Path) -> None:
    """A module that insists on its layout's version loads from both formats; safetensors keeps none."""
    source, path = _Versioned(2, 2), tmp_path / f"w.{ending}"
    torch.save(source.state_dict(), path) if ending == "pth" else save_file(source.state_dict(), path)
    target = _Versioned(2, 2)
    load_strictly(target, read_state_dict(path), "w", "net")
    assert torch.equal(target.weight, source.weight)


def test_a_stated_layout_version_is_believed() -> None:
    """A file's own layout version wins over the model's, so a module can refuse or translate an old one."""
    state = _Versioned(2, 2).state_dict()
    state._metadata[""]["version"] = 1  # type: ignore[attr-defined]
    with pytest.raises(ModelLoadError, match="of an unknown version"):
        load_strictly(_Versioned(2, 2), state, "w.pth", "net")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.0])
def test_weights_that_are_no_numbers_are_named(value: float) -> None:
    """A parameter with NaN or infinity is refused by its name; the same with a number loads, and so does a mask."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model.register_buffer("mask", torch.full((2,), float("-inf")))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["0.weight"][0, 0] = value
    if value == 1.0:
        load_strictly(model, state, "the file", "the model")
        assert float(model[0].weight[0, 0]) == 1.0
        return
    with pytest.raises(ModelLoadError, match=r"not finite \(NaN or infinity\): .*0\.weight"):
        load_strictly(model, state, "the file", "the model")
