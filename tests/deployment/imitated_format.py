"""A format of files that takes no time: networks are kept in memory, and int8 is imitated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsurgeon.base.free_axes import FreeAxes
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.exporting.format import Format, Reader, ToQuantise, Wanted, Written
from convsurgeon.deployment.quantising.rounding import RoundedNetwork
from convsurgeon.runtimes.closeness import as_tensors


@dataclass(frozen=True)
class ImitatedFormat(Format):
    """Its files hold nothing but as many bytes as weights take."""

    name: str = "imitated"
    suffix: str = ".imitated"
    free: FreeAxes = ("batch",)
    held: dict[str, Any] = field(default_factory=dict)
    written_with: list[tuple[str, ...]] = field(default_factory=list)

    def missing(self) -> str | None:
        """Nothing."""
        return None

    def write(self, model: nn.Module, inputs: Inputs, path: Path, wanted: Wanted) -> Written:
        """Keep the network."""
        self.held[path.name] = model
        path.write_bytes(bytes(4 * sum(p.numel() for p in model.parameters())))
        return Written(self.free)

    def read(self, path: Path) -> Reader:
        """Run the network that was kept."""
        model = self.held[path.name]
        return lambda inputs: as_tensors(inputs.call(model))

    def write_int8(self, source: ToQuantise, path: Path) -> Written:
        """Keep the network, rounded but for some layers."""
        rounding = RoundedNetwork(source.network, source.calibration)
        rounded = [name for name in rounding.layers if name not in source.in_float]

        def run(*args: Any, **kwargs: Any) -> Any:
            with torch.no_grad(), rounding.rounding(rounded) as network:
                return network(*args, **kwargs)

        self.written_with.append(tuple(source.in_float))
        self.held[f"int8 {path.name}"] = run
        path.write_bytes(bytes(sum(p.numel() for p in source.network.parameters())))
        return Written(self.free)

    def read_int8(self, path: Path) -> Reader:
        """Run the network that was kept."""
        run = self.held[f"int8 {path.name}"]
        return lambda inputs: as_tensors(inputs.call(run))
