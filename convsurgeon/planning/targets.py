"""Targets say what is kept at most: ``macs=50%``, ``macs=2.0G``, ``flops=4G``, ``params=12M``, ``latency=60%``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from convsurgeon.base.errors import TargetError
from convsurgeon.families.cost import Cost

__all__ = ["Metric", "Target", "human", "human_ms", "parse_quantity", "parse_targets", "shown"]

Metric = Literal["macs", "params", "latency"]

_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
# Longer numbers can't be meant, and overflow the solver's.
_NUMBER = r"(\d{1,18}(?:\.\d{1,18})?)"
_QUANTITY = re.compile(rf"{_NUMBER}\s*([kmgt]?)", re.IGNORECASE)
_DURATION = re.compile(rf"{_NUMBER}\s*(ns|us|µs|ms|s)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9}
_SHARE = re.compile(rf"{_NUMBER}\s*%")


@dataclass(frozen=True)
class Target:
    """At most this much of ``metric`` is kept: a ``share`` of the original, or ``amount``.

    Amounts are MACs, parameters, or nanoseconds of one forward (latency).
    """

    text: str
    metric: Metric
    share: Fraction | None = None
    amount: int | None = None

    def limit(self, original: Cost, latency_ns: int | None = None) -> int:
        """The largest allowed value, in MACs, parameters or nanoseconds."""
        return self.amount if self.amount is not None else int((self.share or 1) * self.of(original, latency_ns))

    def of(self, cost: Cost, latency_ns: int | None = None) -> int:
        """The value of this target's metric; ``latency_ns`` is the measured latency of what costs ``cost``.

        Raises:
            TargetError: a latency that was not measured.
        """
        if self.metric != "latency":
            return int(getattr(cost, self.metric))
        if latency_ns is None:
            raise TargetError(
                f"target '{self.text}' needs measured latencies, and none were taken here; "
                "give it to 'convert' or 'plan', which time the layers on this machine."
            )
        return latency_ns


def parse_targets(given: str | Target | Iterable[str | Target] | None) -> tuple[Target, ...]:
    """Read one target or several; those that were read before stay as they are.

    Raises:
        TargetError: a text that is no target; the message shows the forms.
    """
    if given is None:
        return ()
    return tuple(map(_parse, given if isinstance(given, Iterable) and not isinstance(given, str) else [given]))


def _parse(text: object) -> Target:
    if isinstance(text, Target):
        return text
    if not isinstance(text, str):
        raise _unreadable(text)
    name, _, value = (part.strip().lower() for part in text.partition("="))
    if name not in ("macs", "flops", "params", "latency") or not value:
        raise _unreadable(text)
    metric: Metric = "params" if name == "params" else "latency" if name == "latency" else "macs"
    if match := _SHARE.fullmatch(value):
        share = Fraction(match[1]) / 100
        if not 0 < share <= 1:
            raise TargetError(f"target '{text}' keeps {value}; expected more than 0 % and at most 100 %.")
        return Target(text, metric, share=share)
    amount = _nanoseconds(value) if metric == "latency" else parse_quantity(value)
    if amount is None or amount <= 0:
        raise _unreadable(text)
    if metric != "latency" and value.isdigit() and amount <= 100:
        raise TargetError(
            f"target '{text}' keeps {value} {metric} in all; for a share of the original write {name}={value}%."
        )
    # FLOPs are 2 × MACs here, so a limit in FLOPs allows half as many MACs.
    return Target(text, metric, amount=amount // 2 if name == "flops" else amount)


def _unreadable(text: object) -> TargetError:
    return TargetError(
        f"target '{text}' can't be read; expected what to keep at most, e.g. macs=50%, macs=2.0G, "
        "flops=4G (2 × MACs), params=12M, latency=60% or latency=12ms."
    )


def _nanoseconds(text: str) -> int | None:
    match = _DURATION.fullmatch(text)
    return int(Fraction(match[1]) * _NANOSECONDS[match[2]]) if match else None


def parse_quantity(text: str) -> int | None:
    """Read ``2.0G``, ``12M``, ``300k`` or a plain number (k/M/G/T = 10³/10⁶/10⁹/10¹²); None if it is none."""
    match = _QUANTITY.fullmatch(text.strip())
    return int(Fraction(match[1]) * _SCALES[match[2].lower()]) if match else None


def human(value: int) -> str:
    """A number with k, M or G and three decimals at most, e.g. ``4.089 G``."""
    for suffix, scale in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= scale:
            return f"{value / scale:.3f} {suffix}"
    return str(value)


def human_ms(nanoseconds: int) -> str:
    """Milliseconds with four significant digits or three decimals, e.g. ``12.34 ms``, ``0.081 ms``, ``0.0001 ms``."""
    value = nanoseconds / 1e6
    if 0 < value < 0.001:
        return f"{value:.1g} ms"
    return f"{value:.1f} ms" if value >= 100 else f"{value:.2f} ms" if value >= 10 else f"{value:.3f} ms"


def shown(metric: Metric, value: int) -> str:
    """A value of a metric for people, with its unit: ``2.045 G macs``, ``12.34 ms``."""
    return human_ms(value) if metric == "latency" else f"{human(value)} {metric}"
