"""The documentation site: pages in Markdown, commands from click, the API from docstrings. Built by scripts/docs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.latency.rows import Row
from benchmarks.latency.table import tables as latency_tables
from compatibility.matrix import Matrix
from compatibility.tables import tables as network_tables
from convsurgeon import __version__

HERE = Path(__file__).parent

project = "convsurgeon"
version = release = __version__
html_title = f"convsurgeon {__version__}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
myst_heading_anchors = 4
autodoc_typehints = "description"
default_role = "code"
smartquotes = False  # -- stays what people type
html_theme = "furo"
html_show_sphinx = False


def _write_rows() -> None:
    """The pages that show the data row by row; nobody reads them but on the site."""
    networks = network_tables(Matrix(HERE / "matrix.jsonl").rows)
    (HERE / "lab" / "matrix-rows.md").write_text(f"# Networks, one by one\n\n{networks}", encoding="utf-8")
    rows = (HERE / "latency.jsonl").read_text(encoding="utf-8").splitlines()
    times = latency_tables([Row.model_validate_json(row) for row in rows])
    (HERE / "lab" / "latency-rows.md").write_text(f"# Latency, row by row\n\n{times}", encoding="utf-8")


_write_rows()
