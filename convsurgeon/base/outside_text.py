"""Text from outside on its way out: names, messages and exceptions are shown, and never obeyed.

Each output has its function here. Escapes are JSON's, so a text that is JSON stays the same JSON.
"""

from __future__ import annotations

import codecs
import html
import json
import re

__all__ = [
    "ESCAPING",
    "annotation",
    "annotation_property",
    "code_in_markdown",
    "in_html",
    "in_markdown",
    "in_unicode",
    "on_one_line",
    "visible",
]

# The codec error handler of a stream that can't encode everything.
ESCAPING = "convsurgeon.escaping"

# What a CI runner takes for a command: '::' at the start of a line, and '##[', '##vso[' and the like anywhere.
_COMMAND = re.compile(r"^ *:(?=:)|#(?=#\w*\[)", re.MULTILINE)


def visible(text: str) -> str:
    """The text, line by line, without a sign that a terminal or a CI runner would obey: each is shown escaped.

    Terminals obey control characters, and hide or turn round what stands beside some invisible ones.
    """
    if not text.replace("\n", "").isprintable():
        text = "".join(sign if sign.isprintable() or sign == "\n" else _escaped(sign) for sign in text)
    return _COMMAND.sub(lambda found: found[0][:-1] + _escaped(found[0][-1]), text)


def on_one_line(text: str) -> str:
    """The visible text with spaces for line breaks, for a cell or a sentence that a line break would end."""
    return visible(" ".join(text.splitlines()))


def in_markdown(text: str) -> str:
    """One line that Markdown and HTML leave alone; pipes are the table's concern."""
    return re.sub(r"([\\`*_\[\]~#@])", r"\\\1", in_html(text))


def code_in_markdown(text: str) -> str:
    """One line as inline code, which nothing inside of it ends, nor the table's cell around it."""
    return f"`{re.sub('[`|]', lambda found: _escaped(found[0]), on_one_line(text))}`"


def in_html(text: str) -> str:
    """One line as the text of an HTML element."""
    return html.escape(on_one_line(text), quote=False)


def in_unicode(text: str) -> str:
    """The text for a record, in which what a path holds beside UTF-8 (or the locale's signs) is shown escaped."""
    return text.encode(errors=ESCAPING).decode()


def annotation(text: str) -> str:
    """The message of a GitHub workflow command, which no text can end, nor start another."""
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def annotation_property(text: str) -> str:
    """A property of a GitHub workflow command."""
    return annotation(text).replace(":", "%3A").replace(",", "%2C")


def _escaped(text: str) -> str:
    """As JSON in ASCII escapes it; ASCII's own printable signs by their number."""
    return "".join(f"\\u{ord(sign):04x}" if " " <= sign <= "~" else json.dumps(sign)[1:-1] for sign in text)


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _escaped(error.object[error.start : error.end]), error.end


codecs.register_error(ESCAPING, _escape_unencodable)
