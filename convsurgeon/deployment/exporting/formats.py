"""The file formats; this list is the only place that names them all."""

from __future__ import annotations

from pathlib import Path

from convsurgeon.base.errors import UnknownName, did_you_mean
from convsurgeon.deployment.exporting.coreml_file import CoreMlFile
from convsurgeon.deployment.exporting.executorch_file import ExecuTorchFile
from convsurgeon.deployment.exporting.format import Format
from convsurgeon.deployment.exporting.litert_file import LiteRtFile
from convsurgeon.deployment.exporting.onnx_file import OnnxFile
from convsurgeon.deployment.exporting.openvino_file import OpenVinoFile
from convsurgeon.deployment.exporting.pt2_file import Pt2File

__all__ = ["FORMATS", "format_for"]

FORMATS: tuple[Format, ...] = (Pt2File(), OnnxFile(), OpenVinoFile(), LiteRtFile(), ExecuTorchFile(), CoreMlFile())


def format_for(path: Path, name: str | None = None) -> Format:
    """The format with that name, or else the one that the file's suffix says.

    Raises:
        UnknownName: no format has that name or suffix, or the two contradict each other.
    """
    names, suffixes = [f.name for f in FORMATS], [f.suffix for f in FORMATS]
    found = next((f for f in FORMATS if (f.suffix == path.suffix if name is None else f.name == name)), None)
    if found is None and name is not None:
        raise UnknownName(f"unknown format '{name}'; expected {', '.join(names)}.{did_you_mean(name, names)}")
    if found is None:
        raise UnknownName(f"'{path.name}' does not say its format; expected a name that ends in {', '.join(suffixes)}.")
    if path.suffix != found.suffix:
        raise UnknownName(f"'{path.name}' is to hold {found.name}; expected a name that ends in {found.suffix}.")
    return found
