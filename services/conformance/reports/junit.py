"""Report as JUnit XML, with a test suite for each clause, for CI systems."""

from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from conformance.results import CaseResult, CaseStatus, RunResult
from estelam.core.escape import visible_lines
from estelam.core.files import write_atomic


def write(path: Path, run: RunResult) -> None:
    """Write the report of *run* to *path*: a case that did not pass is a failure, one that could not run an error."""
    root = Element("testsuites", name="estelam conformance")
    for clause, results in groupby(sorted(run.results, key=_clause), key=_clause):
        suite = SubElement(root, "testsuite", name=clause, timestamp=run.began.isoformat(timespec="seconds"))
        for result in results:
            _add(suite, result)
    if run.error:
        suite = SubElement(root, "testsuite", name="run")
        case = SubElement(suite, "testcase", classname="run", name="run")
        SubElement(case, "error", message=visible_lines(run.error))
    for element in (*root, root):
        for tag, name in (("testcase", "tests"), ("failure", "failures"), ("error", "errors")):
            element.set(name, str(len(element.findall(f".//{tag}"))))
        element.set("time", f"{sum(float(case.get('time', 0)) for case in element.iter('testcase')):.3f}")
    indent(root)
    write_atomic(path, tostring(root, encoding="utf-8", xml_declaration=True))


def _clause(result: CaseResult) -> str:
    return result.case.clause


def _add(suite: Element, result: CaseResult) -> None:
    case = SubElement(
        suite, "testcase", classname=result.case.clause, name=result.case.id, time=f"{result.seconds:.3f}"
    )
    if result.status is CaseStatus.PASSED:
        return
    failure = SubElement(case, "error" if result.status is CaseStatus.NOT_RUN else "failure")
    failure.set("type", result.status)
    failure.set("message", result.case.title.en)
    failure.text = "\n".join(
        f"step {one.step}: expected {visible_lines(one.expected)}; actual {visible_lines(one.actual)}"
        for one in result.failures
    )
