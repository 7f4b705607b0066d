"""Whether this processor multiplies int8 numbers in instructions made for it."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["INT8", "no_int8_instructions"]

# The precision's name, beside those of torch's dtypes.
INT8 = "int8"

_CPUINFO = Path("/proc/cpuinfo")
# x86: dot products of bytes (VNNI) and of tiles of them (AMX); Arm: dot products and products of matrices.
_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm")


def no_int8_instructions(cpuinfo: Path = _CPUINFO) -> str | None:
    """Why int8 does not pay on this processor; None where it has the instructions, or the system does not tell."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    if found is None or not set(found[1].split()).isdisjoint(_INSTRUCTIONS):
        return None
    return (
        f"this processor has no instructions for int8 (none of {', '.join(_INSTRUCTIONS)}): such a network is slow "
        "here and overflows where others do not, so that nothing could be compared."
    )
