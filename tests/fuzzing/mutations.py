"""Damage that files take: seeded, so that every failure can be had again."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

__all__ = ["mutated"]

_NONSENSE = (
    *(b"-1", b"0", b"1e999", b"NaN", b"null", b"true", b'"x"', b"[]", b"{}", b'""', b"9" * 30, b"9" * 5000),
    *(b"1.5", b"[" * 60 + b"]" * 60, b"[" * 100_000, b'{"a": 1, "a": 2}', b"18446744073709551616", b"1979-05-27"),
)
_TOKEN = re.compile(rb'-?\b\d+(?:\.\d+)?\b|"[^"\n]*"|true|false|null|[\[\]{}:,=]')


def mutated(content: bytes, seed: str) -> bytes:
    """The content with one to three mutations."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 2, 3))):
        content = chance.choice(_MUTATIONS)(content, chance)
    return content


def _place(content: bytes, chance: random.Random) -> int:
    """Anywhere, or near the start, where binary files have their headers."""
    reach = len(content) if chance.random() < 0.5 else min(len(content), 600)
    return chance.randrange(reach) if reach else 0


def _token(content: bytes, chance: random.Random) -> bytes:
    found = list(_TOKEN.finditer(content))
    if not found:
        return content
    token = chance.choice(found)
    return content[: token.start()] + chance.choice(_NONSENSE) + content[token.end() :]


def _flip(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + bytes([(content[at] if content else 0) ^ (1 << chance.randrange(8))]) + content[at + 1 :]


def _insert(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + chance.randbytes(chance.choice((1, 4, 40))) + content[at:]


def _cut(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + content[at + chance.choice((1, 8, 200)) :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    at = chance.randrange(len(lines)) if lines else 0
    return b"".join((*lines[: at + 1], *lines[at:]))


def _end(content: bytes, chance: random.Random) -> bytes:
    return content[: _place(content, chance)]


def _marked(content: bytes, _chance: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + content


def _wide(content: bytes, chance: random.Random) -> bytes:
    return content.decode("latin-1").encode(chance.choice(("utf-16", "utf-16-le", "utf-32")))


# Tokens most: what parses is what reaches the code behind the parser.
_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_token,) * 6,
    *(_flip, _flip, _insert, _cut, _repeat, _end, _marked, _wide),
)
