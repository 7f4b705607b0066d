"""Tables' places in a page of the docs: between ``<!-- rows: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["filled"]

_PLACE = re.compile(r"(<!-- rows: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table, which ends in a newline, in the place of its name; other places stay."""

    def put(place: re.Match[str]) -> str:
        return f"{place[1]}\n{tables[place[2]]}\n{place[3]}" if place[2] in tables else place[0]

    return _PLACE.sub(put, page)
