"""Where the converted network differs from its original, and where their features can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass

from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.families.unit import UNITS
from convsurgeon.survey.roles import norms_behind

__all__ = ["Sites", "find_sites"]


_EXPECTED = "expected the network that this original was converted to."


@dataclass(frozen=True)
class Sites:
    """``replaced``: names of modules of another class than the original's, or with fewer channels. ``compared``: where
    features are matched.

    That is the norm right behind a replaced module, or the module itself, where it gives as many channels as the
    original's. Behind the norm, because the closed-form fits let the norm's statistics take up a scale and an offset,
    so that what comes before it may differ on purpose.
    """

    replaced: tuple[str, ...]
    compared: tuple[str, ...]

    def holds(self, parameter: str) -> bool:
        """Whether a parameter belongs to a replaced module."""
        return any(parameter.startswith(f"{name}.") for name in self.replaced)


def find_sites(original: nn.Module, converted: nn.Module, narrowed: Container[str] = ()) -> Sites:
    """Compare the two networks name by name; the original is in eval mode. Layers that were ``narrowed`` have fewer
    channels.

    Raises:
        UsageError: the networks are of different classes, or what was not replaced has other parameters, so one was
            not made from the other.
    """
    if not _same_class(original, converted):
        raise UsageError(
            f"the converted network is a {type(converted).__name__} and the original a {type(original).__name__}; "
            f"{_EXPECTED}"
        )
    _refuse_other_shapes(original, converted, "")
    first_names: dict[int, str] = {}
    for name in _differing(original, converted, narrowed, ""):
        first_names.setdefault(id(converted.get_submodule(name)), name)
    replaced = tuple(first_names.values())
    norms = norms_behind(original)
    behind = Counter(norms.values())
    whole = [name for name in replaced if _as_many_outputs(original.get_submodule(name), converted.get_submodule(name))]
    compared = (norms[name] if name in norms and behind[norms[name]] == 1 else name for name in whole)
    return Sites(replaced, tuple(compared))


def _as_many_outputs(original: nn.Module, converted: nn.Module) -> bool:
    """Of layers that mix channels; what only carries them has nothing to be compared by itself."""
    ours, theirs = (
        getattr(module, "out_channels", getattr(module, "out_features", None)) for module in (original, converted)
    )
    return ours is not None and ours == theirs


def _differing(original: nn.Module, converted: nn.Module, narrowed: Container[str], prefix: str) -> Iterator[str]:
    for name, child in converted.named_children():
        other = original._modules.get(name)
        if other is None:
            continue
        if not _same_class(other, child) or (prefix + name in narrowed and _narrower(other, child)):
            yield prefix + name
        else:
            _refuse_other_shapes(other, child, prefix + name)
            yield from _differing(other, child, narrowed, f"{prefix}{name}.")


def _same_class(original: nn.Module, converted: nn.Module) -> bool:
    """By name: a file that is run twice, as factories are, makes each of its classes twice."""
    ours, theirs = type(original), type(converted)
    return ours is theirs or (ours.__qualname__ == theirs.__qualname__ and not issubclass(theirs, UNITS))


def _narrower(original: nn.Module, converted: nn.Module) -> bool:
    """Whether a layer has fewer channels than the original's, and nothing else about it differs."""
    ours, theirs = (dict(module.named_parameters(recurse=False)) for module in (original, converted))
    if ours.keys() != theirs.keys() or all(ours[key].shape == theirs[key].shape for key in ours):
        return False
    return all(
        ours[key].dim() == theirs[key].dim()
        and all(less <= more for less, more in zip(theirs[key].shape[:2], ours[key].shape[:2], strict=True))
        and theirs[key].shape[2:] == ours[key].shape[2:]
        for key in ours
    )


def _refuse_other_shapes(original: nn.Module, converted: nn.Module, name: str) -> None:
    ours, theirs = (
        {key: tuple(value.shape) for key, value in module.named_parameters(recurse=False)}
        for module in (original, converted)
    )
    if ours != theirs:
        raise UsageError(
            f"'{name}' has the parameters {theirs} in the converted network and {ours} in the original; {_EXPECTED}"
        )
