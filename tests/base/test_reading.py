"""Text, JSON and TOML: read as people save them, refused with the place of the mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convsurgeon.base.errors import RecipeError
from convsurgeon.base.reading import parse_json, parse_toml, read_text, require_plain


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    """UTF-8 is read with a byte order mark as without; UTF-16 is refused by name."""
    path = tmp_path / "recipe.toml"
    path.write_text("seed = 1\n", encoding="utf-8-sig")
    assert read_text(path) == "seed = 1\n"
    for encoding in ("utf-16", "utf-16-le"):
        path.write_text("seed = 1\n", encoding=encoding)
        with pytest.raises(RecipeError, match=r"recipe\.toml is UTF-16 or no text at all; expected UTF-8"):
            read_text(path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_foreign_byte_is_named_with_its_place(mark: bytes, tmp_path: Path) -> None:
    """Latin-1 is refused with line and byte; the same text in UTF-8 is read."""
    path = tmp_path / "classes.txt"
    path.write_bytes(mark + "cat\nkäse\n".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"classes\.txt is not UTF-8: byte 0xe4 at line 2, byte 2"):
        read_text(path)
    path.write_bytes(mark + "cat\nkäse\n".encode())
    assert read_text(path) == "cat\nkäse\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 1}', "the key 'a' stands twice in one object"),
        ('[{"name": "conv1", "calls": 1, "calls": 2}]', "the key 'calls' stands twice in the object named 'conv1'"),
        ('{"a": [1, 9223372036854775808]}', r"a\.1: a whole number of 64 bits; expected one between −9223372036854775"),
        ('{"a": ' + "9" * 5000 + "}", "value has 5000 digits"),
        ('{"a": 1e999}', "a: inf; expected a finite number"),
        ('{"a": NaN}', "a: nan; expected a finite number"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
        ("", "is not JSON: Expecting value: line 1 column 1"),
    ],
)
def test_json_that_could_be_misread_is_refused(text: str, words: str) -> None:
    """A key given twice, a number beyond 64 bits and endless nesting are refused with their place."""
    with pytest.raises(RecipeError, match=rf"(?s)plan\.json.*{words}"):
        parse_json(text, "plan.json")


def test_json_up_to_the_bounds_is_read() -> None:
    """The largest number, the same key in two objects and ordinary nesting are fine."""
    content: dict[str, Any] = {"a": [{"b": 2**63 - 1}, {"b": -(2**63 - 1)}]}
    assert parse_json(str(content).replace("'", '"'), "plan.json") == content


@pytest.mark.parametrize("value", ["0x" + "f" * 9000, "inf", "1979-05-27", "07:32:00", "[" * 60 + "]" * 60])
def test_toml_that_no_field_takes_is_refused(value: str) -> None:
    """Numbers beyond 64 bits, infinities and dates are refused, whatever the field; a small number is read."""
    with pytest.raises(RecipeError, match=r"recipe\.toml"):
        require_plain(parse_toml(f"a = {value}", "recipe.toml"), "recipe.toml")
    require_plain(parse_toml("a = 1", "recipe.toml"), "recipe.toml")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_toml_that_its_parser_gives_up_on_is_refused(value: str) -> None:
    """Neither endless digits nor endless nesting end in an error of Python's own."""
    with pytest.raises(RecipeError, match=r"recipe\.toml is (not TOML: .*digits|nested too deeply)"):
        parse_toml(f"a = {value}", "recipe.toml")
