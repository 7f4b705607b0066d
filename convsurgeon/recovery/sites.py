"""Where the converted network differs from its original, and where their features can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.survey.roles import norms_behind

__all__ = ["Sites", "find_sites"]


@dataclass(frozen=True)
class Sites:
    """``replaced``: names of modules of another class than the original's. ``compared``: where features are matched.

    That is the norm right behind a replaced module, or the module itself. Behind the norm, because the closed-form
    fits let the norm's statistics take up a scale and an offset, so that what comes before it may differ on purpose.
    """

    replaced: tuple[str, ...]
    compared: tuple[str, ...]

    def holds(self, parameter: str) -> bool:
        """Whether a parameter belongs to a replaced module."""
        return any(parameter.startswith(f"{name}.") for name in self.replaced)


def find_sites(original: nn.Module, converted: nn.Module) -> Sites:
    """Compare the two networks name by name; the original is in eval mode.

    Raises:
        UsageError: the networks are of different classes, so one was not made from the other.
    """
    if type(original) is not type(converted):
        raise UsageError(
            f"the converted network is a {type(converted).__name__} and the original a {type(original).__name__}; "
            "expected the network that this original was converted to."
        )
    first_names: dict[int, str] = {}
    for name in _differing(original, converted, ""):
        first_names.setdefault(id(converted.get_submodule(name)), name)
    replaced = tuple(first_names.values())
    norms = norms_behind(original)
    behind = Counter(norms.values())
    compared = (norms[name] if name in norms and behind[norms[name]] == 1 else name for name in replaced)
    return Sites(replaced, tuple(compared))


def _differing(original: nn.Module, converted: nn.Module, prefix: str) -> Iterator[str]:
    for name, child in converted.named_children():
        other = original._modules.get(name)
        if other is None:
            continue
        if type(other) is not type(child):
            yield prefix + name
        else:
            yield from _differing(other, child, f"{prefix}{name}.")
