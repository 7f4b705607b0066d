"""Links between pages, and the way from the index to each of them; no generator is asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import convsurgeon
from tests.docs.pages import PAGES, ROOT, anchors, blocks, links, name_of

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_inside_lead_somewhere(page: Path) -> None:
    """Each names a file of the repository and, behind ``#``, a heading of it."""
    lost = []
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_each_page_is_in_one_table_of_contents() -> None:
    """What the index leads to, directly or by another page, is every page, once; what the site makes aside."""
    listed = [
        (page.parent / f"{line}.md").relative_to(DOCS).as_posix()
        for page in PAGES
        for block in blocks(page)
        if block.language == "" and block.text.startswith(":caption:")
        for line in block.text.splitlines()
        if re.fullmatch(r"[\w/-]+", line)
    ]
    made = {"lab/latency-rows.md", "lab/matrix-rows.md"}
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | made
    assert sorted(listed) == sorted(pages - {"index.md"})


def test_the_reference_names_the_whole_api() -> None:
    """A public name that is on no page fails here."""
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto\w+:: convsurgeon\.(\w+)$", text, re.MULTILINE))
    assert named == set(convsurgeon.__all__) - {"__version__"}
