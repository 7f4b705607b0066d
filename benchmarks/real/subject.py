"""What this benchmark has to know of a network: where it comes from, what goes in, and how well it does its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from torch import nn

__all__ = ["Case", "Subject"]


@dataclass(frozen=True)
class Case:
    """A built subject.

    Attributes:
        model: the trained network, in eval mode.
        example_inputs: as ``convsurgeon.convert`` takes them; its MACs are counted on them.
        calibration: unlabelled batches, all that a conversion sees.
        training: unlabelled batches for a recovery, of what ``calibration`` is made from.
        judging: batches that no conversion sees, drawn apart from those.
        measures: from the network's outputs on each batch of ``judging``, in order, to measures by name.
        whole: layers that write the network's outputs, which Torch-Pruning has to be told.
    """

    model: nn.Module
    example_inputs: Any
    calibration: Sequence[Any]
    judging: Sequence[Any]
    measures: Callable[[Sequence[Any]], dict[str, float]]
    whole: tuple[str, ...] = ()
    training: Sequence[Any] = ()


@dataclass(frozen=True)
class Subject:
    """A network with a task.

    Attributes:
        title: its heading in the docs.
        packages: the distributions that hold its code and weights.
        measures: the column's heading for each measure, in the table's order.
        build: reads the weights and draws the inputs; takes seconds, imports the packages.
        shares: of its MACs, what the methods are to keep.
        trains: whether the case has batches to train on; methods that recover are left out where not.
    """

    title: str
    packages: tuple[str, ...]
    measures: Mapping[str, str]
    build: Callable[[], Case]
    shares: tuple[float, ...] = (0.5, 0.25, 0.125)
    trains: bool = False

    def source(self) -> str:
        """Packages and their versions; raises PackageNotFoundError where one is not installed."""
        return ", ".join(f"{package} {version(package)}" for package in self.packages)
