"""One conversion to half of the MACs, or what takes its place: the reachable share, or nothing to convert."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

import convsurgeon
from compatibility.stages import Wrong
from compatibility.witness import wide_convolutions
from convsurgeon.base.errors import NothingToConvert, TargetError

__all__ = ["SHARE", "Attempt", "attempt"]

SHARE = 0.5
_REACHABLE = re.compile(r"macs from .*? \(([0-9.]+)%\)")


@dataclass(frozen=True)
class Attempt:
    """What came of it. ``share`` is the target the conversion was held to; None without a conversion."""

    outcome: Literal["converted", "refused", "nothing"]
    done: convsurgeon.Conversion | None = None
    share: float = SHARE
    reachable: float | None = None
    note: str = ""


def attempt(model: nn.Module, inputs: Any, method: str) -> Attempt:
    """Convert to half of the MACs; a refused target is tried again at the least share its message names.

    Stems and shortcuts are freed where nothing else is there to convert.

    Raises:
        Wrong: a refusal without its range, or nothing converted though wide convolutions exist.
        ConvsurgeonError: any other refusal.
    """
    try:
        return _convert(model, inputs, method, convsurgeon.Rules())
    except NothingToConvert:
        pass
    try:
        freed = _convert(model, inputs, method, convsurgeon.Rules(stem=True, shortcuts=True))
    except NothingToConvert as refusal:
        return Attempt("nothing", note=_justified(model, method, refusal))
    return Attempt(freed.outcome, freed.done, freed.share, freed.reachable, "with stems and shortcuts")


def _convert(model: nn.Module, inputs: Any, method: str, rules: convsurgeon.Rules) -> Attempt:
    def to(share: float) -> convsurgeon.Conversion:
        target = f"macs={share:.4%}"
        return convsurgeon.convert(
            model, inputs, method=method, target=target, rules=rules, random_weights=True, seed=0
        )

    try:
        return Attempt("converted", to(SHARE))
    except TargetError as refusal:
        found = _REACHABLE.search(str(refusal))
        if found is None:
            raise Wrong(f"a refused target without the reachable range: {str(refusal).splitlines()[0]}") from refusal
        reachable = round(float(found[1]) / 100, 4)
    # The message rounds to a tenth of a percent.
    share = math.ceil(reachable * 1000 + 1) / 1000
    return Attempt("refused", to(min(share, 1.0)), min(share, 1.0), reachable)


def _justified(model: nn.Module, method: str, refusal: NothingToConvert) -> str:
    """The reason, where there is really nothing to convert."""
    lines = str(refusal).splitlines()
    wide = wide_convolutions(model, method)
    if not wide:
        return lines[0]
    first = next(iter(wide))
    reason = next((line.strip() for line in lines[1:] if line.strip().startswith(f"{first}:")), lines[0])
    raise Wrong(f"nothing converted, though {len(wide)} wide convolutions exist; {reason}")
