"""Narrowing: channels are taken away from all layers that write, carry and read them; the rest stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from convsurgeon.base.batch_axis import channels_last
from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.survey.sources import CONVS
from convsurgeon.survey.streams import Stream
from convsurgeon.survey.usable import refuse_unusable

__all__ = ["carried_parameters", "narrow", "narrowed_layers"]


def narrow(model: nn.Module, kept: Mapping[Stream, Sequence[int]]) -> nn.Module:
    """A copy of the model in which each stream has its kept channels only; their order stays.

    Several streams at once, since their offsets are those of the whole model.

    Raises:
        ModelLoadError: the model can't be opened or copied.
        UsageError: a stream is closed, or the kept channels are none of its own.
        UnknownName: a stream of another model.
    """
    refuse_unusable(model)
    return duplicate(model, narrowed_layers(model, kept))


def carried_parameters(model: nn.Module, stream: Stream) -> int:
    """How many parameters norms and slopes hold for each channel of a stream.

    Raises:
        UnknownName: a stream of another model.
    """
    names = (carrier.name for carrier in stream.carriers if carrier.kind != "depthwise")
    return sum(len(list(_find(model, name).parameters())) for name in names)


def narrowed_layers(model: nn.Module, kept: Mapping[Stream, Sequence[int]]) -> dict[nn.Module, nn.Module]:
    """What takes the place of each layer of the model that has to do with the streams; errors as in `narrow`.

    Class, device, dtype, memory format, ``requires_grad`` and train flag are the layer's.
    """
    cuts: dict[str, _Cut] = {}
    for stream, channels in kept.items():
        _note(cuts, stream, set(range(stream.channels)) - set(_checked(stream, channels)))
    return {_find(model, name): _without(_find(model, name), name, cut) for name, cut in cuts.items()}


@dataclass
class _Cut:
    """Indices that a layer loses: of its outputs (or of the channels it carries), and of its inputs.

    ``reads`` and ``writes`` are how many inputs and outputs the layer must have at least, for these indices to exist.
    """

    outputs: set[int] = field(default_factory=set)
    inputs: set[int] = field(default_factory=set)
    writes: int = 0
    reads: int = 0


def _checked(stream: Stream, channels: Sequence[int]) -> Sequence[int]:
    if stream.closed is not None:
        raise UsageError(f"the stream '{stream.name}' can't be narrowed: {stream.closed}.")
    if not channels or not set(channels) <= set(range(stream.channels)) or len(set(channels)) != len(channels):
        raise UsageError(
            f"the stream '{stream.name}' was to keep channels {_few(channels)}; "
            f"expected some of 0 to {stream.channels - 1}, each once."
        )
    return channels


def _few(channels: Sequence[int]) -> str:
    return f"{list(channels[:8])[:-1]}…" if len(channels) > 8 else str(list(channels))


def _note(cuts: dict[str, _Cut], stream: Stream, gone: set[int]) -> None:
    for producer in stream.producers:
        cut = cuts.setdefault(producer.name, _Cut())
        cut.outputs |= gone
        cut.writes = stream.channels
    for carrier in stream.carriers:
        cut = cuts.setdefault(carrier.name, _Cut())
        cut.outputs |= {carrier.offset + channel for channel in gone}
        cut.writes = max(cut.writes, carrier.offset + stream.channels)
    for reader in stream.readers:
        cut, span = cuts.setdefault(reader.name, _Cut()), reader.span
        first = (reader.offset + channel for channel in gone)
        cut.inputs |= {channel * span + entry for channel in first for entry in range(span)}
        cut.reads = max(cut.reads, (reader.offset + stream.channels) * span)


def _find(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise UnknownName(f"a stream has to do with '{name}', where this model has nothing.") from None


def _without(layer: nn.Module, name: str, cut: _Cut) -> nn.Module:
    """A copy of the layer without what it loses."""
    sides = _sides(layer)
    if sides is None or any(
        len(gone) >= sides[side].size or least > sides[side].size
        for side, gone, least in (("writes", cut.outputs, cut.writes), ("reads", cut.inputs, cut.reads))
        if gone or least
    ):
        raise UnknownName(f"'{name}' of this model, {layer}, is none that these streams go through.")
    new = duplicate(layer)
    for side, gone in (("writes", cut.outputs), ("reads", cut.inputs)):
        if gone:
            _take_away(new, sides[side], gone)
    return new


@dataclass(frozen=True)
class _Side:
    """One side of a layer: its number of channels, the attributes that hold it, the axis of each tensor."""

    size: int
    attributes: tuple[str, ...]
    axes: Mapping[str, int]


def _sides(layer: Any) -> dict[str, _Side] | None:
    """The sides of a layer; one that carries channels has only the one it writes. None for other kinds of layers."""
    if isinstance(layer, CONVS):
        turned = isinstance(layer, _ConvTransposeNd)
        if layer.groups == layer.in_channels == layer.out_channels > 1:
            names = ("in_channels", "out_channels", "groups")
            return {"writes": _Side(layer.out_channels, names, {"weight": 0, "bias": 0})}
        return {
            "writes": _Side(layer.out_channels, ("out_channels",), {"weight": int(turned), "bias": 0}),
            "reads": _Side(layer.in_channels, ("in_channels",), {"weight": int(not turned)}),
        }
    if isinstance(layer, nn.Linear):
        return {
            "writes": _Side(layer.out_features, ("out_features",), {"weight": 0, "bias": 0}),
            "reads": _Side(layer.in_features, ("in_features",), {"weight": 1}),
        }
    if isinstance(layer, nn.PReLU):
        return {"writes": _Side(layer.num_parameters, ("num_parameters",), {"weight": 0})}
    if hasattr(layer, "num_features"):
        axes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), 0)
        return {"writes": _Side(layer.num_features, ("num_features",), axes)}
    return None


def _take_away(layer: nn.Module, side: _Side, gone: set[int]) -> None:
    left = torch.tensor([index for index in range(side.size) if index not in gone])
    for attribute in side.attributes:
        setattr(layer, attribute, len(left))
    for name, axis in side.axes.items():
        if (parameter := layer._parameters.get(name)) is not None:
            layer._parameters[name] = nn.Parameter(_picked(parameter, axis, left), parameter.requires_grad)
        elif (buffer := layer._buffers.get(name)) is not None:
            layer._buffers[name] = _picked(buffer, axis, left)


def _picked(tensor: Tensor, axis: int, left: Tensor) -> Tensor:
    """The entries that are left, stored with the channels last where the tensor is."""
    picked = tensor.detach().index_select(axis, left.to(tensor.device))
    return picked.contiguous(memory_format=torch.channels_last if channels_last(tensor) else torch.contiguous_format)
