"""The pages of the documentation as data: their code blocks with what is said about running them, and their links.

A block of commands or Python runs with the suite. A comment before it says otherwise: ``<!-- slow -->`` runs with
``scripts/docs --run`` only, ``<!-- not run: REASON -->`` never; ``<!-- commands not run: REASON -->`` holds for a page.
A block whose first line is a comment with a file's name (``# net.py``) is that file.

``python -m tests.docs.pages`` lists what the pages link to outside, which no test visits.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OURS", "PAGES", "ROOT", "Block", "anchors", "blocks", "links", "name_of", "prose"]

# What runs this project's commands, installed or from a checkout.
OURS = ("convsurgeon", "scripts/convsurgeon")
ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(
    r"^(?P<fence>```+)(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL
)
_MARK = re.compile(r"<!-- (slow|not run: [^\n]+) -->\n+\Z")
_PAGE_MARK = re.compile(r"^<!-- commands (not run: .+) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_RUNNABLE = ("sh", "console", "python")


@dataclass(frozen=True)
class Block:
    """A code block: its page, the line that it begins at, and its ``mark`` ("" where it runs with the suite)."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def file_name(self) -> str | None:
        """The file that the block is, where it says so."""
        found = re.match(r"# ([\w-]+\.(?:py|toml))\n", self.text)
        return found[1] if found else None

    @property
    def runnable(self) -> bool:
        """Whether somebody would type it, and not read or keep it."""
        return self.language in _RUNNABLE and self.file_name is None

    def commands(self) -> list[list[str]]:
        """The words of each command; of a console only what stands behind a prompt."""
        text = self.text.replace("\\\n", " ")
        lines = text.splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found = [shlex.split(line, comments=True) for line in lines]
        return [words for words in found if words]


def name_of(page: Path) -> str:
    """How tests call a page."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    of_page = _PAGE_MARK.search(text)
    found = []
    for match in _FENCE.finditer(text):
        own = _MARK.search(text, 0, match.start())
        mark = own[1] if own else of_page[1] if of_page else ""
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match["language"], match["text"], mark))
    return found


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """What a page links to, outside of code."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have in links, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


if __name__ == "__main__":
    print("\n".join(sorted({link for page in PAGES for link in links(page) if "://" in link})))
