"""What was found of an int8 file, as a record, and in words."""

from __future__ import annotations

from convsurgeon.base.proportion import interval
from convsurgeon.base.records import Record
from convsurgeon.transfer.agreement import Agreement

__all__ = ["Int8Loss", "Int8Report", "Likeness", "lines"]

_NAMED = 3
_MB = 1e6


class Likeness(Record):
    """How close two networks are on ``inputs`` inputs, which nothing was measured on before where ``held_back``.

    ``output_error`` is ‖o − ô‖² / ‖o − mean(o)‖², ``agreement`` the share of inputs with the same first class.
    """

    inputs: int
    held_back: bool
    output_error: float | None
    agreement: float | None

    @classmethod
    def of(cls, found: Agreement) -> Likeness:
        """The same as a record."""
        return cls(
            inputs=found.images, held_back=found.held_back, output_error=found.output_error, agreement=found.top1
        )


class Int8Loss(Record):
    """What one layer alone in int8 does to the network's outputs, in the measure of ``Likeness.output_error``."""

    layer: str
    output_error: float


class Int8Report(Record):
    """An int8 file beside its float file and the original.

    Sizes in bytes; times of one forward on the example inputs in milliseconds, medians, in turn. ``losses`` begins with
    the layer that loses most; ``in_float`` stayed in float. ``original`` and ``float_to_original`` are None where there
    is no original to compare with.
    """

    calibrated_on: int
    float_bytes: int
    int8_bytes: int
    float_ms: float
    int8_ms: float
    float_file: Likeness
    original: Likeness | None
    float_to_original: Likeness | None
    losses: tuple[Int8Loss, ...]
    in_float: tuple[str, ...]


def lines(report: Int8Report) -> list[str]:
    """The report in sentences."""
    kind = "held-back" if report.float_file.held_back else "calibration (too few to hold any back)"
    found = [
        f"int8, ranges measured on {report.calibrated_on} inputs; compared on {report.float_file.inputs} {kind} inputs",
        f"like the float file: {_words(report.float_file)}",
    ]
    if report.original is not None and report.float_to_original is not None:
        found.append(
            f"like the original: {_words(report.original)}; the float file: {_words(report.float_to_original)}"
        )
    found.append(
        f"size {report.int8_bytes / _MB:.2f} MB instead of {report.float_bytes / _MB:.2f} MB "
        f"({report.int8_bytes / report.float_bytes:.2f})"
    )
    found.append(_time(report))
    worst = ", ".join(f"{loss.layer} {_error(loss.output_error)}" for loss in report.losses[:_NAMED])
    if worst:
        found.append(f"layers that lose most, each alone in int8 (output error): {worst}")
    if report.in_float:
        found.append(f"kept in float: {', '.join(report.in_float)}")
    return found


def _time(report: Int8Report) -> str:
    ratio = report.int8_ms / report.float_ms
    words = f"time {report.int8_ms:.2f} ms instead of {report.float_ms:.2f} ms ({ratio:.2f}), in turn, here"
    return f"{words}: int8 is SLOWER; keep the float file, or try another runtime" if ratio > 1 else words


def _words(likeness: Likeness) -> str:
    parts = []
    if likeness.agreement is not None:
        low, high = interval(likeness.agreement, likeness.inputs)
        parts.append(
            f"the same first class for {100 * likeness.agreement:.1f} % (95 % interval {100 * low:.1f} to "
            f"{100 * high:.1f} %)"
        )
    if likeness.output_error is not None:
        parts.append(f"output error {_error(likeness.output_error)}")
    return ", ".join(parts) or "not comparable, since it returns no numbers that vary"


def _error(share: float) -> str:
    """Two digits of whatever size: errors of single layers are small."""
    return f"{100 * share:.2g} %"
