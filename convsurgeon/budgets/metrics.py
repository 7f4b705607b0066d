"""What can be budgeted, in which unit, and how amounts are read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from typing import Literal

from convsurgeon.planning.targets import human, parse_quantity

__all__ = ["METRICS", "Metric", "MetricInfo", "exact", "paste", "read_amount", "short"]

Metric = Literal["macs", "flops", "params", "weights_size", "activation_memory", "latency"]
Unit = Literal["count", "bytes", "ms"]


@dataclass(frozen=True)
class MetricInfo:
    """``title`` for tables, ``noun`` for behind exact numbers, ``example`` for messages.

    ``exact`` says that the number is the same on every machine.
    """

    title: str
    noun: str
    unit: Unit
    example: str
    exact: bool = True


METRICS: dict[Metric, MetricInfo] = {
    "macs": MetricInfo("MACs", "MACs", "count", "4.2G"),
    "flops": MetricInfo("FLOPs (2 × MACs)", "FLOPs", "count", "8.4G"),
    "params": MetricInfo("params", "params", "count", "26M"),
    "weights_size": MetricInfo("weights' size", "bytes", "bytes", "100MB"),
    "activation_memory": MetricInfo("activation memory", "bytes", "bytes", "50MiB"),
    "latency": MetricInfo("latency", "ms", "ms", "20ms", exact=False),
}

_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_MILLISECONDS = {"us": Fraction(1, 1000), "µs": Fraction(1, 1000), "ms": Fraction(1), "s": Fraction(1000)}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)", re.IGNORECASE)


def read_amount(metric: Metric, text: str) -> Fraction | None:
    """Read an absolute amount (a number, bytes or milliseconds); None if it is none.

    Counts take k, M, G, T; bytes B, kB, MB, GB (10³) or KiB, MiB, GiB (2¹⁰); times µs, ms, s. Only times need a unit.
    """
    unit = METRICS[metric].unit
    if unit == "count" or (unit == "bytes" and text.strip().isdigit()):
        number = parse_quantity(text)
        return None if number is None else Fraction(number)
    match = _AMOUNT.fullmatch(text.strip())
    scales = {name: Fraction(scale) for name, scale in (_BYTES if unit == "bytes" else _MILLISECONDS).items()}
    if match is None or match[2].lower() not in scales:
        return None
    return Fraction(match[1]) * scales[match[2].lower()]


def short(metric: Metric, value: float) -> str:
    """For tables, three decimals at most: ``4.089 G``, ``102.549 MB``, ``12.31 ms``."""
    unit = METRICS[metric].unit
    if unit == "ms":
        return f"{value:.2f} ms"
    text = human(int(value))
    return text if unit == "count" else f"{text}B" if " " in text else f"{text} B"


def exact(metric: Metric, value: float) -> str:
    """For messages, nothing rounded away: ``4,089,184,256 MACs``, ``102,549,160 bytes``, ``12.314 ms``."""
    unit = METRICS[metric].unit
    if unit == "ms":
        return f"{value:.3f} ms"
    return f"{int(value):,} {METRICS[metric].noun}"


def paste(metric: Metric, value: float) -> str:
    """A limit just above today's value, three digits long and readable by ``read_amount``: ``4.09G``, ``103MB``."""
    unit = METRICS[metric].unit
    if unit == "ms":
        return f"{_three_digits_up(value)}ms"
    suffix, scale = next(
        ((s, n) for s, n in (("G", 10**9), ("M", 10**6), ("k", 10**3)) if value >= n),
        ("", 1),
    )
    return f"{_three_digits_up(Decimal(int(value)) / scale)}{suffix}{'B' if unit == 'bytes' else ''}"


def _three_digits_up(value: float | Decimal) -> Decimal:
    number = Decimal(value)
    step = Decimal(1).scaleb(max(number.adjusted(), 0) - 2)
    rounded = number.quantize(step, ROUND_CEILING) if step <= 1 else number.to_integral_value(ROUND_CEILING)
    return rounded.to_integral_value() if rounded == rounded.to_integral_value() else rounded.normalize()
