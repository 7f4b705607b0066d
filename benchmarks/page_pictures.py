"""The pictures of a page in the docs: ``python -m benchmarks.page_pictures`` (``pip install '.[browser]'``, Chromium).

The demonstration's network is cut to half of its MACs, fitted and recovered; its page is photographed in a wide window
and on a phone, in light and in dark. CONVSURGEON_CHROMIUM names the browser where it is not found by itself.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

import convsurgeon
from convsurgeon.base.inputs import as_inputs
from convsurgeon.conversion.quick_timing import quick_timing
from convsurgeon.demo.data import Epochs, digits
from convsurgeon.demo.net import trained
from convsurgeon.report.page.conversion import to_html
from convsurgeon.report.record import Report

DOCS = Path(__file__).parents[1] / "docs"
# Name, width and height of the window, colours.
PICTURES = (("page.png", 1000, 1000, "light"), ("page-phone.png", 360, 1000, "dark"))


def recovered() -> Report:
    """A conversion with everything that a page can show but times of single layers."""
    train, test = digits()
    original, images = trained(), list(torch.split(train.images[:384], 128))
    done = convsurgeon.convert(
        original, train.images[:1], method="dgconv", target="macs=50%", calibration=images, progress=False
    )
    settings = convsurgeon.RecoverSettings(steps=88, evaluate_every=8)
    result = convsurgeon.recover(
        original,
        done,
        Epochs(train.images, 64, 0),
        evaluation=test.batches(128),
        settings=settings,
        device="cpu",
        progress=False,
    )
    assert result.conversion is not None
    timing = quick_timing(original, result.model, as_inputs(train.images[:64]))
    plan = result.conversion.plan.model_copy(update={"model": "digits"})
    return result.conversion.report.model_copy(update={"plan": plan, "timing": timing, "errors": done.report.errors})


def main() -> None:
    """Write the pictures."""
    browser = os.environ.get("CONVSURGEON_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "page.html"
        page_file.write_text(to_html(recovered()), encoding="utf-8")
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, width, height, colours in PICTURES:
            page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
            page.goto(page_file.as_uri())
            page.screenshot(path=DOCS / name)
        chromium.close()


if __name__ == "__main__":
    main()
