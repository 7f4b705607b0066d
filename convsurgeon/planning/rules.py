"""Which convolutions may be replaced, and by which method: small pure predicates over sites."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from convsurgeon.base.errors import UnknownName, UsageError, did_you_mean
from convsurgeon.base.records import Record
from convsurgeon.planning.words import MethodField

if TYPE_CHECKING:
    from convsurgeon.families.family import Method
    from convsurgeon.survey.sites import Site
    from convsurgeon.survey.streams import Block, Stream

__all__ = ["LayerRule", "Rules", "check_rules", "method_for", "why_block_kept", "why_kept", "why_stream_kept"]

_EXACT, _GLOB, _RE, _TYPE = 4, 3, 2, 1


class LayerRule(Record):
    """Another method for the layers that ``match`` (a pattern as in Rules)."""

    match: str
    method: MethodField

    if TYPE_CHECKING:

        def __init__(self, *, match: str, method: str | Method) -> None: ...


class Rules(Record):
    """Selection of convolutions by pattern.

    A pattern is an exact qualified name, a glob (``layer1.*``), ``re:`` and a regular expression that must match
    the whole name, ``type:Conv2d`` or ``kernel:3x3``. The more specific kind wins, in this order; between equals,
    skip wins over only. Stems (the first convolution) and 1×1 shortcuts stay unless asked for here or named exactly.
    A stream of channels stays where a layer at its ends is skipped, or where ``only`` selects none that writes it; a
    residual branch where a convolution of it is skipped, or where ``only`` does not select all of them.
    """

    only: tuple[str, ...] = Field((), description="Replace only these: name, glob, re:…, type:…, kernel:3x3.")
    skip: tuple[str, ...] = Field((), description="Leave these: name, glob, re:…, type:…, kernel:3x3.")
    stem: bool = Field(False, description="Also replace the first convolution.")
    shortcuts: bool = Field(False, description="Also replace 1×1 residual shortcuts.")
    layers: tuple[LayerRule, ...] = Field((), description="Another method for some layers.")

    def under_target(self) -> Rules:
        """The same rules where a target has to be met by the conversion itself."""
        layers = tuple(LayerRule(match=rule.match, method=rule.method.under_target()) for rule in self.layers)
        return self.model_copy(update={"layers": layers})


def why_kept(site: Site, rules: Rules) -> str | None:
    """The rule that keeps a site as it is, in words; None if it may be replaced."""
    only = _best(rules.only, site)
    if rules.only and only == 0:
        return "not selected by 'only'"
    if _skipped(site, rules):
        return "skipped by rule"
    if only == _EXACT:
        return None
    if site.stem and not rules.stem:
        return "stem: the first convolution stays by default"
    if site.shortcut and not rules.shortcuts:
        return "shortcut: 1×1 on a residual join stays by default"
    return None


def why_stream_kept(stream: Stream, sites: Mapping[str, Site], rules: Rules) -> str | None:
    """The rule that keeps all channels of a stream, in words; None if they may be narrowed.

    A layer that is skipped keeps its shape, depthwise ones included; with ``only``, one of those that write the stream
    has to be selected. ``sites`` are the convolutions, by name.
    """
    for name in stream.members:
        if name in sites and _skipped(sites[name], rules):
            return f"skipped by rule: '{name}'"
    writers = (sites[producer.name] for producer in stream.producers if producer.name in sites)
    if rules.only and not any(_best(rules.only, site) for site in writers):
        return "no layer that writes it is selected by 'only'"
    return None


def why_block_kept(block: Block, sites: Mapping[str, Site], rules: Rules) -> str | None:
    """The rule that keeps a residual branch, in words; None if it may be dropped. ``sites`` as in `why_stream_kept`."""
    for name in block.modules:
        if name in sites and _skipped(sites[name], rules):
            return f"skipped by rule: '{name}'"
        if name in sites and rules.only and not _best(rules.only, sites[name]):
            return f"'{name}' is not selected by 'only'"
    return None


def _skipped(site: Site, rules: Rules) -> bool:
    skip = _best(rules.skip, site)
    return bool(skip) and skip >= _best(rules.only, site)


def method_for(site: Site, rules: Rules) -> Method | None:
    """The method that the most specific layer rule names; None where no rule matches."""
    best = max(rules.layers, key=lambda rule: _rank(rule.match, site), default=None)
    return best.method if best is not None and _rank(best.match, site) else None


def check_rules(rules: Rules, sites: Iterable[Site]) -> None:
    """Refuse patterns that match no convolution.

    Raises:
        UnknownName: a pattern without a match; the message suggests near names.
        UsageError: a regular expression that can't be read.
    """
    known = list(sites)
    names = [name for site in known for name in (site.name, *site.aliases)]
    for pattern in (*rules.only, *rules.skip, *(rule.match for rule in rules.layers)):
        if not any(_rank(pattern, site) for site in known):
            raise UnknownName(
                f"rule '{pattern}' matches none of the {len(known)} convolutions.{did_you_mean(pattern, names)} "
                "'convsurgeon inspect MODEL' lists their names."
            )


def _best(patterns: Iterable[str], site: Site) -> int:
    return max((_rank(pattern, site) for pattern in patterns), default=0)


def _rank(pattern: str, site: Site) -> int:
    """How specifically a pattern names a site; 0 where it does not."""
    kind, _, rest = pattern.partition(":")
    names = (site.name, *site.aliases)
    if kind == "re":
        return _RE if any(_compiled(rest, pattern).fullmatch(name) for name in names) else 0
    if kind == "type":
        return _TYPE if rest == site.kind else 0
    if kind == "kernel":
        return _TYPE if rest == "x".join(map(str, site.shape.kernel)) else 0
    if pattern in names:
        return _EXACT
    return _GLOB if any(fnmatch.fnmatchcase(name, pattern) for name in names) else 0


def _compiled(expression: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise UsageError(f"rule '{pattern}' is no regular expression: {error}.") from error
