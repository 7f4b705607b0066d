"""Every stream and every residual block of a model, from the graphs of its parts."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from functools import partial

from torch import fx, nn

from convsurgeon.survey.blocks import find_blocks
from convsurgeon.survey.cuttable import Cuttable
from convsurgeon.survey.graph import conv_graphs
from convsurgeon.survey.streams import Block, Stream
from convsurgeon.survey.walk import Traced, Walk

__all__ = ["find_streams"]


def find_streams(
    copy: nn.Module, graphs: Mapping[str, fx.Graph], lists: Container[str], cuttable: Cuttable
) -> tuple[tuple[Stream, ...], tuple[Block, ...]]:
    """Streams and blocks in the order in which they begin; ``graphs`` are those of the copy's parts in eval mode.

    ``lists`` names the Sequentials that are taken for lists.
    """
    streams: list[Stream] = []
    blocks: list[Block] = []
    names = _names(copy)
    for part, graph in graphs.items():
        traced = Traced(
            part,
            copy.get_submodule(part),
            graph,
            names,
            cuttable.seen,
            partial(cuttable.why_whole, part=part),
            cuttable.altered,
        )
        walk = Walk(traced)
        walk.run()
        streams += walk.streams()
        blocks += find_blocks(walk, partial(cuttable.why_kept, part=part))
    if cuttable.unused():
        streams = _open_in_training(streams, copy, lists, cuttable)
    return tuple(streams), tuple(blocks)


def _names(model: nn.Module) -> dict[nn.Module, str]:
    return {module: name for name, module in model.named_modules()}


def _open_in_training(
    streams: list[Stream], copy: nn.Module, lists: Container[str], cuttable: Cuttable
) -> list[Stream]:
    """Streams that training reads elsewhere, too (auxiliary heads do), are closed. The copy is in training after it."""
    # Not by ``train``, which may be code of its own.
    for module in copy.modules():
        module.training = True
    names, training = _names(copy), {}
    for part, graph in conv_graphs(copy, lists).items():
        traced = Traced(part, copy.get_submodule(part), graph, names, cuttable.seen, lambda _: None, lambda _: False)
        walk = Walk(traced)
        walk.run()
        training.update({stream.name: stream for stream in walk.streams()})
    return [_as_in_training(stream, training.get(stream.name)) for stream in streams]


def _as_in_training(stream: Stream, twin: Stream | None) -> Stream:
    if stream.closed is not None or twin == stream:
        return stream
    if twin is None:
        return replace(stream, closed="in training mode it can't be followed")
    more = [f"'{name}'" for name in twin.members if name not in stream.members]
    also = f"{', '.join(more)} reads or writes it, too" if more else "it goes another way"
    return replace(stream, closed=f"in training mode {also}")
