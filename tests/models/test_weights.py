"""What a weights option means, and the strict fit into a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convsurgeon.base.errors import ModelLoadError, UnknownName, UsageError
from convsurgeon.models.checkpoints import read_checkpoint
from convsurgeon.models.strict_fit import load_strictly
from convsurgeon.models.weights import parse_weights


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


def test_a_key_needs_a_file(tmp_path: Path) -> None:
    """A place in a file is refused where the weights are no file."""
    path = tmp_path / "w.pth"
    path.touch()
    assert parse_weights(path, "ema").key == "ema"
    with pytest.raises(UsageError, match="'ema' is a place in a file, and the weights 'auto' are none"):
        parse_weights("auto", "ema")


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def _same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


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
    load_strictly(target, read_checkpoint(path).state, "w", "net")
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


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (torch.int8, "weight is int8 in the file, float32 in the model"),
        (torch.uint8, "weight is uint8 in the file"),
        (torch.bool, "weight is bool in the file"),
        (torch.float8_e4m3fn, "weight is float8_e4m3fn in the file"),
        (torch.complex64, "weight is complex64 in the file"),
        (torch.float16, None),
        (torch.bfloat16, None),
        (torch.float64, None),
    ],
)
def test_a_dtype_that_means_something_else_is_refused(saved: torch.dtype, words: str | None) -> None:
    """Integers, bits and scaled numbers are no floating-point weights; another precision is, and a note says so."""
    model, state = _net(), _net().state_dict()
    state["0.weight"] = torch.ones(4, 3, 1, 1).to(saved)
    if words is not None:
        with pytest.raises(
            ModelLoadError, match=rf"means? something else: 0\.{words}.*pass those of the float network"
        ):
            load_strictly(model, state, "w.pth", "net")
        return
    name = str(saved).removeprefix("torch.")
    assert load_strictly(model, state, "w.pth", "net") == (
        f"1 tensors are {name} in the file and float32 in the model",
    )
    assert bool((model[0].weight == 1).all())


@pytest.mark.parametrize(("count", "fits"), [(12.0, True), (float("inf"), False)])
def test_a_counter_in_half_precision_must_be_whole(count: float, fits: bool) -> None:
    """A counter cast to half precision with its state dict is read while it is a number, not when it has overflowed."""
    model, state = _net(), _net().state_dict()
    state["1.num_batches_tracked"] = torch.tensor(count).half()
    if fits:
        load_strictly(model, state, "w.pth", "net")
        assert int(model[1].num_batches_tracked) == 12
        return
    with pytest.raises(ModelLoadError, match=r"1\.num_batches_tracked is float16 in the file, int64 in the model"):
        load_strictly(model, state, "w.pth", "net")
