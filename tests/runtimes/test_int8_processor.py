"""Processors without int8 instructions are refused, others are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsurgeon.runtimes.int8_processor import no_int8_instructions


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("processor : 0\nflags\t\t: fpu sse avx2 avx512f\n", True),
        ("processor : 0\nflags\t\t: fpu sse avx2 avx512f avx512_vnni\n", False),
        ("processor : 0\nFeatures\t: fp asimd crc32\n", True),
        ("processor : 0\nFeatures\t: fp asimd crc32 asimddp\n", False),
        ("hart : 0\nisa : rv64imafdc\n", False),
    ],
)
def test_the_flags_decide(tmp_path: Path, text: str, refused: bool) -> None:
    """x86 needs VNNI or AMX, Arm dot products; where the system does not tell, nothing is refused."""
    (tmp_path / "cpuinfo").write_text(text)
    reason = no_int8_instructions(tmp_path / "cpuinfo")
    assert (reason is not None) is refused
    assert no_int8_instructions(tmp_path / "absent") is None
