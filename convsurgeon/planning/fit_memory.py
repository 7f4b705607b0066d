"""Layers whose fit would take more memory than there may be: left as they are, with the numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from convsurgeon.base.machine_memory import memory_at_hand
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.problems import unknowns_of
from convsurgeon.planning.options import Choices

__all__ = ["fit_bytes", "memory_limit", "over_memory", "within_memory"]

# The covariance of a site's unfolded inputs in float64, and its copies while it is gathered and solved: resident memory
# of a 3×3 convolution over 512 channels rose by 3.7 (IGC) to 5.0 of them (all families measured).
_COPIES = 5
_DEFAULT_SHARE = 0.5
_GIB = 1 << 30


def fit_bytes(shape: ConvShape) -> int:
    """About how many bytes fitting a unit to a convolution takes, on inputs or on the weights alone."""
    return 8 * (_COPIES + shape.groups - 1) * unknowns_of(shape) ** 2


def within_memory(choices: Iterable[Choices], limit_gib: float | None) -> tuple[Choices, ...]:
    """The same choices without those that can't be fitted in ``limit_gib`` (half of the memory at hand for None).

    Units that learn stay: they start as the convolution itself, which takes no fit.
    """
    limit = memory_limit(limit_gib)
    return tuple(_within(choice, limit) for choice in choices)


def memory_limit(limit_gib: float | None) -> int:
    """Bytes that a fit may take: so many GiB, or half of the memory at hand for None."""
    return int(memory_at_hand() * _DEFAULT_SHARE) if limit_gib is None else int(limit_gib * _GIB)


def over_memory(shape: ConvShape, limit: int) -> str | None:
    """Why a layer can't be fitted within so many bytes; None if it can."""
    needed = fit_bytes(shape)
    if needed <= limit:
        return None
    return (
        f"fitting its {unknowns_of(shape):,} unknowns per output takes about {needed / _GIB:.1f} GiB of memory, more "
        f"than the limit of {limit / _GIB:.1f} GiB (--fit-memory GIB)"
    )


def _within(choice: Choices, limit: int) -> Choices:
    reason = over_memory(choice.site.shape, limit)
    if reason is None or not choice.options:
        return choice
    learning = tuple(option for option in choice.options if option.spec.learns)
    if learning:
        return replace(choice, options=learning)
    return Choices(choice.site, (), reason, refused=True)
