"""A run as JUnit XML: a suite for each clause, for the machinery that shows test results."""

from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from conformance.reports.labels import shown
from conformance.results import Result, Standing, Verdict


def write(path: Path, verdict: Verdict) -> None:
    """Write *verdict* to *path*. What keeps it from conforming is a failure there; what could not run, an error."""
    root = Element("testsuites", name="estelam conformance")
    for clause, results in groupby(sorted(verdict.results, key=_clause), key=_clause):
        suite = SubElement(root, "testsuite", name=clause, timestamp=verdict.began.isoformat(timespec="seconds"))
        for result in results:
            _add(suite, result)
    if verdict.trouble:
        suite = SubElement(root, "testsuite", name="run")
        case = SubElement(suite, "testcase", classname="run", name="run")
        SubElement(case, "error", message=shown(verdict.trouble))
    for element in (*root, root):
        for tag, name in (("testcase", "tests"), ("failure", "failures"), ("error", "errors")):
            element.set(name, str(len(element.findall(f".//{tag}"))))
        element.set("time", f"{sum(float(case.get('time', 0)) for case in element.iter('testcase')):.3f}")
    indent(root)
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _clause(result: Result) -> str:
    return result.case.clause


def _add(suite: Element, result: Result) -> None:
    case = SubElement(
        suite, "testcase", classname=result.case.clause, name=result.case.id, time=f"{result.seconds:.3f}"
    )
    if result.standing is Standing.PASSED:
        return
    fault = SubElement(case, "error" if result.standing is Standing.NOT_RUN else "failure")
    fault.set("type", result.standing)
    fault.set("message", result.case.title.en)
    fault.text = "\n".join(
        f"step {one.step}: expected {shown(one.expected)}; seen {shown(one.seen)}" for one in result.complaints
    )
