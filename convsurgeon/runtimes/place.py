"""Where something was timed, as a record."""

from __future__ import annotations

from convsurgeon.base.records import Record
from convsurgeon.runtimes.int8_processor import INT8

__all__ = ["Place"]


class Place(Record):
    """Where and how something was timed.

    ``precision`` is the number format of the arithmetic: ``float32``, or ``float32 (TF32)`` where a GPU rounds what
    convolutions multiply, which is PyTorch's default (``torch.backends.cudnn.allow_tf32``).
    """

    runtime: str
    precision: str
    device: str
    threads: int
    torch: str

    def runtime_in_words(self) -> str:
        """E.g. ``onnxruntime int8``: quantised networks are others than those that a runtime takes by itself."""
        return f"{self.runtime} {INT8}" if self.precision == INT8 else self.runtime

    def describe(self) -> str:
        """E.g. ``eager, float32, 2 threads, Intel(R) Xeon(R) Processor, torch 2.9.0``."""
        count = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.runtime}, {self.precision}, {count}, {self.device}, torch {self.torch}"
