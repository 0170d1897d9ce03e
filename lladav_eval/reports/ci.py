"""A regression for continuous integration: JUnit XML, and the annotations and step summary of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from lladav_eval.reports.escape import annotation_message, annotation_property, escape_xml
from lladav_eval.reports.pairing import run_facts
from lladav_eval.reports.regression import Regression, Row, Settings, fails
from lladav_eval.reports.regression_text import method_line, run_line

CLASS = "lladav_eval.regress"


def junit(regression: Regression) -> str:
    """One test case per row: worse is a failure, can't tell is skipped (or a failure, where that fails), not comparable
    is an error.

    Categories inform only, so a worse one is skipped with its reason rather than failed.
    """
    root, suite = _suite(f"{regression.candidate.label} against {regression.baseline.label}")
    suite.set("timestamp", regression.candidate.date[:19])
    properties = ElementTree.SubElement(suite, "properties")
    for side, run in (("baseline", regression.baseline), ("candidate", regression.candidate)):
        for name, value in run_facts(run).items():
            ElementTree.SubElement(properties, "property", name=f"{side}.{name}", value=escape_xml(str(value)))
    for name, setting in (("alpha", regression.settings.alpha), ("tolerance", regression.settings.tolerance)):
        ElementTree.SubElement(properties, "property", name=name, value=f"{setting:g}")
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    if regression.reasons:
        _not_comparable(suite, "the runs can't be compared", "\n".join(regression.reasons))
        counts["errors"] += 1
    for row in regression.rows:
        case = ElementTree.SubElement(suite, "testcase", classname=CLASS, name=escape_xml(row.name), time="0")
        kind = _kind(row, regression.settings)
        if kind == "failure":
            type_name = "Regression" if row.verdict == "worse" else "Unclear"
            _outcome(case, kind, row.reason, _figures(row), type_name)
            counts["failures"] += 1
        elif kind == "skipped":
            ElementTree.SubElement(case, "skipped", message=escape_xml(f"{row.verdict}: {row.reason}"))
            counts["skipped"] += 1
        ElementTree.SubElement(case, "system-out").text = escape_xml(_figures(row))
    return _document(root, suite, {"tests": len(regression.rows) or 1, **counts})


def error_junit(baseline: str, candidate: str, reason: str) -> str:
    """One test case, an error, where a run can't be read. Runs by the names of their folders."""
    root, suite = _suite(f"{candidate} against {baseline}")
    _not_comparable(suite, reason, reason)
    return _document(root, suite, {"tests": 1, "failures": 0, "errors": 1, "skipped": 0})


def _suite(name: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The root and its one suite."""
    root = ElementTree.Element("testsuites", name="lladav-eval regress")
    return root, ElementTree.SubElement(root, "testsuite", name=escape_xml(name))


def _document(root: ElementTree.Element, suite: ElementTree.Element, counts: Mapping[str, int]) -> str:
    for element in (root, suite):
        element.attrib.update({**{name: str(count) for name, count in counts.items()}, "time": "0"})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _not_comparable(suite: ElementTree.Element, message: str, text: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=CLASS, name="comparable", time="0")
    _outcome(case, "error", message, text, "NotComparable")


def _kind(row: Row, settings: Settings) -> str:
    if fails(row, settings):
        return "failure"
    return "skipped" if row.verdict in ("worse", "can't tell") else "passed"


def _outcome(case: ElementTree.Element, kind: str, message: str, text: str, type_name: str) -> None:
    element = ElementTree.SubElement(case, kind, message=escape_xml(message), type=type_name)
    element.text = escape_xml(text)


def _figures(row: Row) -> str:
    return (
        f"{row.metric}: baseline {row.baseline:.2f}, candidate {row.candidate:.2f}, difference {row.difference:+.2f} "
        f"({row.low:+.2f} to {row.high:+.2f}), n = {row.n}, lost {row.losses}, won {row.wins}, "
        f"{row.test} p = {row.p:.3g}, corrected {row.p_corrected:.3g}: {row.verdict}, {row.reason}"
    )


def annotation_lines(regression: Regression) -> Iterator[str]:
    """One line for each thing that a reviewer should see; nothing in a name or text can start another command."""
    context = f"\n{run_line(regression.candidate)}\nagainst {run_line(regression.baseline)}"
    for reason in regression.reasons:
        yield _command("error", "not comparable", f"{reason}{context}")
    for row in regression.rows:
        if row.verdict == "worse":
            level = "warning" if row.scope == "category" else "error"
            yield _command(level, f"{row.name}: worse", f"{_figures(row)}{context}")
        elif row.verdict == "can't tell" and row.scope != "category":
            level = "error" if fails(row, regression.settings) else "warning"
            yield _command(level, f"{row.name}: can't tell", f"{_figures(row)}{context}")
    if regression.verdict in ("same", "better") and not regression.exit_code:
        yield _command("notice", f"regression: {regression.verdict}", f"{method_line(regression)}{context}")


def error_annotation(reason: str) -> str:
    """The same as one line."""
    return _command("error", "not comparable", reason)


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={annotation_property(title)}::{annotation_message(message)}"
