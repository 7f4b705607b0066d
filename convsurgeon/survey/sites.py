"""Every convolution of a model as plain data: its shape, its cost over all calls, and where it stands."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.families.cost import ConvShape, Cost
from convsurgeon.families.family import Refusal
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.families.unit import UNITS, CompactConv
from convsurgeon.survey.altered import computed_by_hook
from convsurgeon.survey.calls import NEVER, Called
from convsurgeon.survey.conv_calls import ConvCalls, ConvWatch
from convsurgeon.survey.counting import CountedOn, count_params, run_on_copy
from convsurgeon.survey.cuttable import Cuttable, tied_weights
from convsurgeon.survey.find_streams import find_streams
from convsurgeon.survey.graph import conv_graphs
from convsurgeon.survey.linears import LinearLayer
from convsurgeon.survey.roles import Role, TracedBy, roles_in
from convsurgeon.survey.sources import CONVS, Source, is_linear, source_of
from convsurgeon.survey.streams import Block, Stream
from convsurgeon.survey.usable import refuse_unusable

__all__ = ["Site", "Survey", "survey"]


@dataclass(frozen=True)
class Site:
    """One convolution module.

    Attributes:
        name: its first qualified name; ``aliases`` are the others.
        kind: its class's name.
        shape: the plain convolution that it computes, or its own attributes where that is not known.
        calls: how often one forward runs it.
        order: its place in execution, from 0; −1 where it never runs.
        input_size: (H, W) of the first map that it reads; ``one_size``: all calls read maps of that size.
        output_size: (H, W) of the smallest map that it writes.
        positions: batch × height × width of what it writes (a transposed one: reads), summed over all calls.
        cost: MACs of all calls, and parameters.
        stem, shortcut, norm, activation: see `Role`; ``stem`` is its ``first``.
        traced_by: whether a graph ("fx") or only hooks tell where it stands.
        obstacle: why no method may touch it; None if one may.
    """

    name: str
    aliases: tuple[str, ...]
    kind: str
    shape: ConvShape
    calls: int
    order: int
    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    one_size: bool
    positions: int
    cost: Cost
    stem: bool
    shortcut: bool
    traced_by: TracedBy
    norm: str | None
    activation: str | None
    obstacle: str | None


@dataclass(frozen=True)
class Survey:
    """All sites in execution order (uncalled ones last), streams and residual blocks, linear layers, and the cost of
    the whole model.

    ``total.macs`` counts conv, linear and matmul of one forward on the example inputs. ``counted_on`` is
    "device" where the model needs real numbers to run, so that its cost may depend on the data.
    """

    sites: tuple[Site, ...]
    total: Cost
    counted_on: CountedOn
    input_shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[str, ...]
    streams: tuple[Stream, ...]
    blocks: tuple[Block, ...]
    linears: tuple[LinearLayer, ...] = ()

    def fingerprint(self) -> str:
        """A hash of names and shapes: two models with the same one take the same plans."""
        lines = sorted(f"{site.name} {site.kind} {site.shape.model_dump_json()}" for site in self.sites)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def norms(self) -> dict[str, str]:
        """The name of the norm right behind each convolution that has one, by the convolution's name."""
        return {site.name: site.norm for site in self.sites if site.norm is not None}


def survey(model: nn.Module, inputs: Inputs) -> Survey:
    """Find every convolution by one forward in eval mode on a copy; the model is untouched.

    Raises:
        ModelLoadError: the model is wrapped, scripted, compiled, quantised or can't be copied.
        ModelRunError: the model fails on these inputs.
    """
    refuse_unusable(model)
    paths = _conv_paths(model)
    watch = ConvWatch(paths)
    with watch.reads.watching():
        run = run_on_copy(model, inputs, watch.attach)
    for name in watch.reads.names & watch.seen.keys():
        watch.seen[name].read = True
    called = watch.detach()
    lists = watch.calls.lists
    graphs = conv_graphs(run.copy, lists)
    roles = roles_in(run.copy, graphs)
    tied = tied_weights(model)
    sites = [_site(names, model.get_submodule(names[0]), watch.seen.get(names[0]), roles, tied) for names in paths]
    if sites and not any(site.stem for site in sites):
        # Without a whole graph, the first convolution to run is the best guess at the stem.
        first = min(range(len(sites)), key=lambda i: (sites[i].calls == 0, sites[i].order))
        sites[first] = replace(sites[first], stem=True)
    sites.sort(key=lambda site: (site.calls == 0, site.order))
    total = Cost(run.macs, count_params(model))
    streams, blocks = find_streams(run.copy, graphs, lists, Cuttable(model, called, watch.reads.names))
    linears = tuple(_linears(model, called))
    return Survey(tuple(sites), total, run.counted_on, inputs.shapes(), run.outputs, streams, blocks, linears)


def _linears(model: nn.Module, called: Mapping[str, Called]) -> Iterator[LinearLayer]:
    for name, module in model.named_modules():
        if is_linear(module):
            seen = called.get(name, NEVER)
            rows = seen.entries // max(1, module.out_features)
            yield LinearLayer(name, module.in_features, module.out_features, module.bias is not None, rows)


def _conv_paths(model: nn.Module) -> list[tuple[str, ...]]:
    """The qualified names of each convolution module, first name first; compact ones count as a whole."""
    paths: dict[int, list[str]] = defaultdict(list)

    def walk(module: nn.Module, name: str) -> None:
        if isinstance(module, (*CONVS, CompactConv)):
            paths[id(module)].append(name)
            return
        for child_name, child in module._modules.items():
            if child is not None:
                walk(child, f"{name}.{child_name}" if name else child_name)

    walk(model, "")
    return [tuple(names) for names in paths.values()]


def _site(
    names: tuple[str, ...], module: nn.Module, calls: ConvCalls | None, roles: dict[str, Role], tied: set[int]
) -> Site:
    source: Source | Refusal = Refusal("converted already")
    if not isinstance(module, UNITS):
        source = source_of(module, calls.input_size if calls else ())
    shape = source.shape if isinstance(source, Source) else _own_shape(module)
    role = roles.get(names[0], Role(traced_by="hooks"))
    seen = calls or ConvCalls(order=-1)
    return Site(
        name=names[0],
        aliases=names[1:],
        kind=type(module).__name__,
        shape=shape,
        calls=seen.calls,
        order=seen.order,
        input_size=seen.input_size,
        output_size=seen.output_size,
        one_size=seen.one_size,
        positions=seen.positions,
        cost=_cost(module, shape, seen.positions),
        stem=role.first and role.traced_by == "fx" and seen.calls > 0,
        shortcut=role.shortcut,
        traced_by=role.traced_by,
        norm=role.norm,
        activation=role.activation,
        obstacle=_obstacle(module, source, seen, tied),
    )


def _own_shape(module: Any) -> ConvShape:
    return module.shape if isinstance(module, CompactConv) else conv_shape(module)


def _cost(module: nn.Module, shape: ConvShape, positions: int) -> Cost:
    if isinstance(module, CompactConv):
        return module.spec.cost(shape, positions)
    return Cost(shape.cost(positions).macs, count_params(module))


def _obstacle(module: nn.Module, source: Source | Refusal, seen: ConvCalls, tied: set[int]) -> str | None:
    """Why no method may replace the module; None if one may."""
    if isinstance(module, UNITS):
        return "converted already"
    if seen.calls == 0:
        return "never called as a module in this forward (eval mode)"
    if not seen.batched:
        return "called on inputs without a batch axis"
    if not seen.alone:
        return "called with more than its input"
    if seen.read:
        return "the model's forward reads its weight directly, which a replacement would not have"
    if any(parameter.is_complex() for parameter in module.parameters()):
        return "complex weights"
    if (computed := computed_by_hook(module)) is not None:
        return computed
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        return "carries hooks, which a replacement would lose"
    if any(id(parameter) in tied for parameter in module.parameters()):
        return "its weight is shared with another module"
    if isinstance(source, Refusal):
        return source.reason
    if source.shape.groups == source.shape.in_channels > 1:
        return "depthwise: one input channel per group already"
    return None
