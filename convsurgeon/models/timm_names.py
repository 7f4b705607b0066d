"""The names of timm's models, read from its files: importing it, and torch with it, takes seconds."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PREFIX", "timm_names"]

PREFIX = "timm:"
# timm registers a model by decorating the function that bears its name.
_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def timm_names() -> list[str]:
    """All of them, with their prefix; none where timm is not installed."""
    found = find_spec("timm")
    if found is None or found.origin is None:
        return []
    files = sorted((Path(found.origin).parent / "models").rglob("*.py"))
    names = {name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))}
    return [f"{PREFIX}{name}" for name in sorted(names)]
