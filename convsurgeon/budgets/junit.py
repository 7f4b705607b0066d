"""The report as JUnit XML, which GitLab, Jenkins and others show as test results."""

from __future__ import annotations

from xml.etree import ElementTree

from convsurgeon.base.outside_text import visible
from convsurgeon.budgets import cells
from convsurgeon.budgets.record import CheckReport, Figure, Row

__all__ = ["to_junit"]


def to_junit(report: CheckReport) -> str:
    """One suite; one case per limit, named by its metric, in a class named by its entry.

    Over the budget is a failure, a model that can't be used an error, an entry that is off skipped; a warning
    passes, with its words as the case's output.
    """
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", name="convsurgeon")
    for row in report.rows:
        for case in _cases(row, report.config):
            suite.append(case)
    counts = {
        "tests": len(suite),
        "failures": len(suite.findall("*/failure")),
        "errors": len(suite.findall("*/error")),
        "skipped": len(suite.findall("*/skipped")),
    }
    for name, count in counts.items():
        suite.set(name, str(count))
    suite.set("time", "0")
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _cases(row: Row, config: str) -> list[ElementTree.Element]:
    if row.status == "off":
        case = _case(row, "model")
        ElementTree.SubElement(case, "skipped", message="level is off")
        return [case]
    if row.problem is not None:
        case = _case(row, "model")
        _verdict(case, "error", row.problem, "")
        return [case, *(_judged(row, figure, config) for figure in row.figures if figure.limit is not None)]
    return [_judged(row, figure, config) for figure in row.figures if figure.limit is not None] or [_case(row, "model")]


def _judged(row: Row, figure: Figure, config: str) -> ElementTree.Element:
    case = _case(row, figure.metric)
    words = {f.metric: text for f, text in row.verdicts(config)}.get(figure.metric, figure.sentence())
    if figure.status == "over":
        _verdict(case, "failure", words, "\n".join(cells.why(row)))
    else:
        ElementTree.SubElement(case, "system-out").text = visible(words)
    return case


def _case(row: Row, name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname=visible(row.name), name=name, time="0")


def _verdict(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    ElementTree.SubElement(case, kind, message=visible(message), type=kind).text = visible(text)
