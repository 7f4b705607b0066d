"""Exporting: a network as a file for a deployment runtime, compared with the network each time."""

from convsurgeon.deployment.exporting.file import Exported, export
from convsurgeon.deployment.exporting.formats import FORMATS, format_for
from convsurgeon.deployment.quantising.settings import Int8

__all__ = ["FORMATS", "Exported", "Int8", "export", "format_for"]
