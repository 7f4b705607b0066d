"""What modules do to the channels of the tensors they read: who writes a stream, who carries it, who reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from convsurgeon.families.unit import CompactConv
from convsurgeon.survey.channels import Group, NotUnderstood, Outside, Value
from convsurgeon.survey.channelwise import adaptive, elementwise, leaves, pooled
from convsurgeon.survey.reshaping import flattened
from convsurgeon.survey.sources import CONVS
from convsurgeon.survey.streams import Producer

__all__ = ["Layer", "convolved", "linear", "normed", "through"]

_MIXING_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d, nn.RMSNorm)


def _classes(names: str) -> tuple[type[nn.Module], ...]:
    return tuple(getattr(nn, name) for name in names.split())


_ELEMENTWISE = _classes(
    "ReLU ReLU6 LeakyReLU ELU SELU CELU SiLU GELU Hardswish Hardsigmoid Hardtanh Mish Softplus Softsign LogSigmoid "
    "Tanhshrink Softshrink Hardshrink Threshold RReLU Sigmoid Tanh Identity "
    "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout"
)
_POOLS = _classes(
    "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d LPPool3d "
    "Upsample UpsamplingNearest2d UpsamplingBilinear2d "
    "ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d CircularPad1d CircularPad2d CircularPad3d "
    "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d"
)
_ADAPTIVE = _classes(
    "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d"
)


@dataclass(frozen=True)
class Layer:
    """A module that the graph calls.

    ``wrote`` is the shape it wrote, () if unknown; ``whole`` says why its channels can't be cut; ``altered``: hooks
    hear of its calls.
    """

    name: str
    module: Any
    wrote: tuple[int, ...]
    whole: str | None
    altered: bool

    def group(self, channels: int) -> Group:
        """A stream that begins here."""
        group = Group(channels, [Producer(self.name)])
        self.closes(group)
        return group

    def closes(self, streams: Group | Value | Outside | None) -> None:
        """Close them where the layer can't be cut."""
        if self.whole is not None and isinstance(streams, Group | Value):
            streams.close(f"'{self.name}' can't be cut: {self.whole}")

    def single(self) -> bool:
        """Whether the map it wrote has one position."""
        return bool(self.wrote) and all(size == 1 for size in self.wrote[2:])


def through(layer: Layer, args: Any, kwargs: Any) -> Any:
    """What the layer gives, from what describes its arguments.

    Raises:
        NotUnderstood: what it does to channels is not known, or not the same for each of them.
    """
    module, given = layer.module, leaves([args, kwargs])
    if isinstance(module, _ELEMENTWISE):
        _refuse_altered(layer)
        return elementwise(*given)
    x = given[0] if len(given) == 1 else None
    if not isinstance(x, Value | Outside):
        raise NotUnderstood(f"'{layer.name}' is called with more than a tensor")
    if isinstance(module, CompactConv):
        layer.closes(x)
        return Outside(f"the output of '{layer.name}', which is converted already")
    if isinstance(module, CONVS):
        return convolved(layer, x)
    if isinstance(module, nn.Linear):
        return linear(layer, x)
    if isinstance(module, _BatchNorm | _InstanceNorm):
        return normed(layer, x)
    if isinstance(module, nn.PReLU):
        return _sloped(layer, x)
    return _mapped(layer, x)


def _refuse_altered(layer: Layer) -> None:
    if layer.altered:
        raise NotUnderstood(f"'{layer.name}' carries hooks or a forward of its own, which may rely on its shape")


def _mapped(layer: Layer, x: Value | Outside) -> Any:
    """Layers without parameters."""
    _refuse_altered(layer)
    module = layer.module
    if isinstance(module, _POOLS):
        return pooled(x, return_indices=getattr(module, "return_indices", False))
    if isinstance(module, _ADAPTIVE):
        return adaptive(x, module.output_size, getattr(module, "return_indices", False))
    if isinstance(module, nn.Flatten):
        return flattened(x, module.start_dim, module.end_dim)
    kind = type(module).__name__
    if isinstance(module, _MIXING_NORMS):
        raise NotUnderstood(f"'{layer.name}' ({kind}) normalises several channels together")
    raise NotUnderstood(f"'{layer.name}' ({kind}) reads it, and what that does to channels is not known")


def convolved(layer: Layer, x: Value | Outside) -> Value | Outside:
    """Behind a convolution: a new stream, or the one it reads where it has one filter for each channel."""
    conv, rank = layer.module, len(layer.module.kernel_size) + 2
    if isinstance(x, Value) and (x.axis != 1 or x.rank != rank or x.span != 1):
        x.close(f"'{layer.name}' reads another axis of it")
        x = Outside("channels on another axis")
    if conv.groups == conv.in_channels == conv.out_channels > 1:
        return _filtered(layer, x)
    group = layer.group(conv.out_channels)
    if layer.wrote and len(layer.wrote) != rank:
        group.close(f"'{layer.name}' writes it without a batch axis")
    if conv.groups > 1:
        group.close(f"'{layer.name}' writes it in {conv.groups} groups")
        if isinstance(x, Value):
            x.close(f"'{layer.name}' reads it in {conv.groups} groups")
    _mixed(layer, x, conv.in_channels)
    return Value((group,), 1, rank, single=layer.single())


def _filtered(layer: Layer, x: Value | Outside) -> Value | Outside:
    if not isinstance(x, Value):
        return x
    x.carried(layer.name, "depthwise", layer.module.in_channels)
    layer.closes(x)
    return replace(x, single=layer.single())


def linear(layer: Layer, x: Value | Outside) -> Value:
    """Behind a linear layer: a new stream on the last axis."""
    rank = len(layer.wrote) or (x.rank if isinstance(x, Value) else 2)
    if isinstance(x, Value) and x.axis != x.rank - 1:
        x.close(f"'{layer.name}' reads another axis of it")
        x = Outside("channels on another axis")
    group = layer.group(layer.module.out_features)
    if rank < 2:
        group.close(f"'{layer.name}' writes it without a batch axis")
    _mixed(layer, x, layer.module.in_features)
    return Value((group,), rank - 1, rank, single=rank == 2)


def _mixed(layer: Layer, x: Value | Outside, entries: int) -> None:
    """The layer's weights mix what it reads."""
    if isinstance(x, Value):
        layer.closes(x)
        try:
            x.read(layer.name, entries)
        except NotUnderstood as lost:
            x.close(str(lost))


def normed(layer: Layer, x: Value | Outside) -> Value | Outside:
    """Behind a norm that treats each channel by itself."""
    if not isinstance(x, Value):
        return x
    channels = layer.module.num_features
    if x.axis != 1:
        raise NotUnderstood(f"'{layer.name}' norms another axis of it")
    if x.span != 1 and x.width() != channels:
        raise NotUnderstood(f"'{layer.name}' norms it flattened")
    x.carried(layer.name, "norm", channels)
    layer.closes(x)
    return replace(x, span=1)


def _sloped(layer: Layer, x: Value | Outside) -> Value | Outside:
    if not isinstance(x, Value) or layer.module.num_parameters == 1:
        return x
    if x.axis != 1 or x.span != 1:
        raise NotUnderstood(f"'{layer.name}' has a slope for each entry of another axis")
    x.carried(layer.name, "prelu", layer.module.num_parameters)
    layer.closes(x)
    return x
