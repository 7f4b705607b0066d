"""One-sided 95 % bounds: what a share, a paired difference or a mean is at least, or at most, after so many inputs.

scipy is imported where it is needed: it takes a third of a second, which a report without bounds need not wait for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["CONFIDENCE", "fewest_for_difference", "fewest_for_share", "least_difference", "least_share", "most_ratio"]

CONFIDENCE = 0.95
# The differences between which the bound of a paired one is looked for.
_LOWEST, _HIGHEST = -1 + 1e-9, 1 - 1e-9


def least_share(hits: int, count: int) -> float:
    """The share of all inputs, when ``hits`` of ``count`` were seen: Clopper's and Pearson's exact lower bound."""
    from scipy.stats import beta

    return 0.0 if hits == 0 else float(beta.ppf(1 - CONFIDENCE, hits, count - hits + 1))


def fewest_for_share(share: float) -> int:
    """The inputs that show a share of at least ``share``, in 0…1, when every one of them is a hit."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(share) - 1e-9)


def least_difference(gained: int, lost: int, count: int) -> float:
    """How much more often the second of two classifiers is right, in shares: the lower bound.

    ``gained`` of ``count`` inputs only the second one got right, ``lost`` only the first. Tango's score interval
    (Statistics in Medicine 17, 1998), which at a difference of 0 is McNemar's test.
    """
    from scipy.optimize import brentq

    z = _z()

    def excess(difference: float) -> float:
        return _tango(gained, lost, count, difference) - z

    if excess(_HIGHEST) > 0:
        return _HIGHEST
    return float(brentq(excess, _LOWEST, _HIGHEST)) if excess(_LOWEST) > 0 else -1.0


def _tango(gained: int, lost: int, count: int, difference: float) -> float:
    """The score statistic of a paired difference; it falls as ``difference`` rises."""
    a = 2 * count
    b = -lost - gained + (2 * count - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    only_lost = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = count * (2 * only_lost + difference * (1 - difference))
    return (gained - lost - count * difference) / math.sqrt(max(variance, 1e-300))


def fewest_for_difference(loss: float) -> int:
    """The inputs that show that at most ``loss``, in 0…1, is lost, when no answer differs."""
    return math.ceil(_z() ** 2 * (1 - loss) / loss - 1e-9)


def most_ratio(parts: Sequence[float], wholes: Sequence[float]) -> float:
    """The ratio of sums Σ parts / Σ wholes over all inputs: the upper bound, by Student's t on what each adds to it.

    Infinite for fewer than two inputs, or where the wholes vanish.
    """
    import numpy as np
    from scipy.stats import t

    count, total = len(parts), float(np.sum(wholes))
    if count < 2 or total <= 0:
        return math.inf
    ratio = float(np.sum(parts)) / total
    left = np.asarray(parts) - ratio * np.asarray(wholes)
    spread = float(np.std(left, ddof=1)) * math.sqrt(count) / total
    return ratio + float(t.ppf(CONFIDENCE, count - 1)) * spread


def _z() -> float:
    from scipy.stats import norm

    return float(norm.ppf(CONFIDENCE))
