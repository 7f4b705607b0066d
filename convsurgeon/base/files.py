"""Text files that are there whole or not at all, whoever else writes them at the same moment."""

from __future__ import annotations

import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write beside the old file and take its place; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: a fixed one would be shared by programs that write at the same time.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.close()
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
