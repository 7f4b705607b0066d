"""Every convolution of a model as plain data: its shape, its cost over all calls, and where it stands."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import After, observe
from convsurgeon.families.cost import ConvShape, Cost, conv_cost
from convsurgeon.families.family import Refusal
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.families.unit import UNITS, CompactConv
from convsurgeon.survey.altered import computed_by_hook
from convsurgeon.survey.calls import NEVER, Called, Calls
from convsurgeon.survey.counting import CountedOn, count_params, run_on_copy
from convsurgeon.survey.cuttable import CUTTABLE, Cuttable, tied_weights
from convsurgeon.survey.find_streams import find_streams
from convsurgeon.survey.graph import conv_graphs
from convsurgeon.survey.linears import LinearLayer
from convsurgeon.survey.reads import OutsideReads
from convsurgeon.survey.roles import Role, TracedBy, roles_in
from convsurgeon.survey.sources import CONVS, Source, is_linear, source_of
from convsurgeon.survey.streams import Block, Stream
from convsurgeon.survey.usable import refuse_unusable

__all__ = ["Site", "Survey", "survey"]


@dataclass(frozen=True)
class Site:
    """One convolution module, keyed by its first qualified name.

    ``aliases`` are its other names, ``calls`` how often one forward runs it, ``order`` its place in execution,
    ``positions`` the output positions (batch × height × width; of a transposed one the input positions) over all
    calls, ``cost`` what those cost;
    ``input_size`` is the first map it reads, ``output_size`` the smallest one it writes; ``one_size``: all calls read
    maps of one size.
    ``obstacle`` says why no method may touch it; None if one may.
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


@dataclass
class _Calls:
    """What the hooks saw of one convolution."""

    order: int
    calls: int = 0
    positions: int = 0
    input_size: tuple[int, ...] = ()
    output_size: tuple[int, ...] = ()
    one_size: bool = True
    batched: bool = True
    alone: bool = True
    read: bool = False


class _Watch:
    """Forward hooks on the convolutions of the copy that runs."""

    def __init__(self, paths: list[tuple[str, ...]]) -> None:
        self.paths = paths
        self.seen: dict[str, _Calls] = {}
        self.calls = Calls()
        self.reads = OutsideReads()

    def attach(self, copy: nn.Module) -> None:
        """Start anew on this copy."""
        self.seen.clear()
        modules = {names[0]: copy.get_submodule(names[0]) for names in self.paths}
        self.calls.attach(copy)
        self.reads.attach(modules | {name: one for name, one in copy.named_modules() if isinstance(one, CUTTABLE)})
        observe(after=[(module, self._recorder(name, module)) for name, module in modules.items()])

    def _recorder(self, name: str, module: nn.Module) -> After:
        # A transposed convolution's work is done per position that it reads.
        axes, reads = len(conv_kernel(module)), isinstance(module, _ConvTransposeNd)

        def record(args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor) -> None:
            given = (*args, *kwargs.values())
            calls = self.seen.setdefault(name, _Calls(order=len(self.seen)))
            calls.calls += 1
            worked = given[0] if reads else output
            calls.positions += worked.numel() // worked.shape[-axes - 1]
            written = tuple(output.shape[-axes:])
            calls.output_size = tuple(map(min, calls.output_size or written, written))
            calls.batched = calls.batched and output.dim() == axes + 2
            calls.alone = calls.alone and all(value is None for value in given[1:])
            read = tuple(given[0].shape[-axes:])
            calls.input_size = calls.input_size or read
            calls.one_size = calls.one_size and read == calls.input_size

        return record


def survey(model: nn.Module, inputs: Inputs) -> Survey:
    """Find every convolution by one forward in eval mode on a copy; the model is untouched.

    Raises:
        ModelLoadError: the model is wrapped, scripted, compiled, quantised or can't be copied.
        ModelRunError: the model fails on these inputs.
    """
    refuse_unusable(model)
    paths = _conv_paths(model)
    watch = _Watch(paths)
    with watch.reads.watching():
        run = run_on_copy(model, inputs, watch.attach)
    for name in watch.reads.names & watch.seen.keys():
        watch.seen[name].read = True
    called, graphs = watch.calls.detach(), conv_graphs(run.copy)
    roles = roles_in(run.copy, graphs)
    tied = tied_weights(model)
    sites = [_site(names, model.get_submodule(names[0]), watch.seen.get(names[0]), roles, tied) for names in paths]
    if sites and not any(site.stem for site in sites):
        # Without a whole graph, the first convolution to run is the best guess at the stem.
        first = min(range(len(sites)), key=lambda i: (sites[i].calls == 0, sites[i].order))
        sites[first] = replace(sites[first], stem=True)
    sites.sort(key=lambda site: (site.calls == 0, site.order))
    total = Cost(run.macs, count_params(model))
    streams, blocks = find_streams(run.copy, graphs, Cuttable(model, called, watch.reads.names))
    linears = tuple(_linears(model, called))
    return Survey(tuple(sites), total, run.counted_on, inputs.shapes(), run.outputs, streams, blocks, linears)


def _linears(model: nn.Module, called: Mapping[str, Called]) -> Iterator[LinearLayer]:
    for name, module in model.named_modules():
        if is_linear(module):
            seen = called.get(name, NEVER)
            rows = seen.entries // max(1, module.out_features)
            yield LinearLayer(name, module.in_features, module.out_features, module.bias is not None, rows)


def conv_kernel(module: nn.Module) -> tuple[int, ...]:
    """The kernel of a convolution or of a compact one."""
    return tuple(module.kernel_size)  # type: ignore[arg-type]


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
    names: tuple[str, ...], module: nn.Module, calls: _Calls | None, roles: dict[str, Role], tied: set[int]
) -> Site:
    source: Source | Refusal = Refusal("converted already")
    if not isinstance(module, UNITS):
        source = source_of(module, calls.input_size if calls else ())
    shape = source.shape if isinstance(source, Source) else _own_shape(module)
    role = roles.get(names[0], Role(traced_by="hooks"))
    seen = calls or _Calls(order=-1)
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
    cost = conv_cost(
        shape.in_channels,
        shape.out_channels,
        shape.area,
        groups=shape.groups,
        bias=shape.bias,
        positions=positions,
    )
    return Cost(cost.macs, count_params(module))


def _obstacle(module: nn.Module, source: Source | Refusal, seen: _Calls, tied: set[int]) -> str | None:
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
