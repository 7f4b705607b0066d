"""Reports: the record, and its forms for the terminal, for Markdown and for machines."""

from convsurgeon.report import inspection
from convsurgeon.report.markdown import to_markdown
from convsurgeon.report.record import Fidelity, Report, ReportLayer, make_report
from convsurgeon.report.terminal import render

__all__ = ["Fidelity", "Report", "ReportLayer", "inspection", "make_report", "render", "to_markdown"]
