"""The page in a real browser, where there is one: quiet, without requests, and no wider than a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convsurgeon.report.page.conversion import to_html
from tests.report.reports import HOSTILE, everything

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[browser]'")
BROWSER = os.environ.get("CONVSURGEON_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium: install one, or name it with CONVSURGEON_CHROMIUM"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_quietly_at_every_width(browser: Any, scheme: str, tmp_path: Path) -> None:
    """No message on the console, no request beyond the file, no error, and nothing wider than the window."""
    file = tmp_path / "page.html"
    file.write_text(to_html(everything(20, HOSTILE + "x" * 200)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme=scheme)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(file.as_uri())
    for width in (360, 800, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert heard == [file.as_uri()]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.close()
