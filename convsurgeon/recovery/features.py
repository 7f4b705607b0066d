"""Features inside a network, kept of the original and compared in the student while each of them runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from convsurgeon.base.observe import After, observed

__all__ = ["Features", "comparing", "keeping", "squared_distance"]

# What each call of a module returned, by the module's name.
Features = dict[str, list[Tensor]]


def squared_distance(wanted: Tensor, found: Tensor) -> Tensor:
    """‖found − wanted‖²."""
    return (found - wanted).square().sum()


@contextmanager
def keeping(model: nn.Module, names: Sequence[str]) -> Iterator[Features]:
    """Yields the outputs of the named modules, which come while the block runs."""
    features: Features = defaultdict(list)

    def keep(name: str, y: Tensor) -> None:
        # What runs behind (ReLU in place) may write into it.
        features[name].append(y.detach().float().clone())

    with _reading(model, names, keep):
        yield features


@contextmanager
def comparing(model: nn.Module, names: Sequence[str], wanted: Features) -> Iterator[dict[str, Tensor]]:
    """Yields squared distances to the original's features by name, summed over calls, which come as the block runs.

    They are taken right in the hooks, before anything writes into the features.
    """
    errors: dict[str, Tensor] = {}
    calls: dict[str, int] = defaultdict(int)

    def add(name: str, y: Tensor) -> None:
        originals = wanted.get(name, [])
        at, calls[name] = calls[name], calls[name] + 1
        if at < len(originals) and originals[at].shape == y.shape:
            error = squared_distance(originals[at], y.float())
            errors[name] = errors[name] + error if name in errors else error

    with _reading(model, names, add):
        yield errors


@contextmanager
def _reading(model: nn.Module, names: Sequence[str], read: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Pass the output of every call of the named modules to ``read``."""

    def reader(name: str) -> After:
        def hook(_args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
            if isinstance(output, Tensor):
                read(name, output)

        return hook

    with observed(after=[(model.get_submodule(name), reader(name)) for name in names]):
        yield
