"""Report as JUnit XML, with a test suite for the verdicts and one for each clause, for CI systems."""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from conformance import case_loader
from conformance.reports.labels import sent_texts, verdict_text
from conformance.results import CaseResult, CaseStatus, RunResult
from estelam.core.escape import visible_lines
from estelam.core.files import write_atomic


def write(path: Path, run: RunResult) -> None:
    """Write the report of *run* to *path*.

    A case stands in the suite of its clause and in that of each other clause that it was found to violate: as a failure
    or, if it could not run, an error. The first suite has the verdict on each profile as a property, so that only cases
    are counted as tests, and an error if the whole run could not start.
    """
    root = Element("testsuites", name="estelam conformance")
    _add_profiles(root, run)
    for clause in case_loader.clauses():
        results = [result for result in run.results if clause in result.clauses]
        if results:
            suite = SubElement(root, "testsuite", name=clause, timestamp=run.began.isoformat(timespec="seconds"))
            for result in results:
                _add(suite, clause, result)
    for element in (*root, root):
        for tag, name in (("testcase", "tests"), ("failure", "failures"), ("error", "errors")):
            element.set(name, str(len(element.findall(f".//{tag}"))))
        element.set("time", f"{sum(float(case.get('time', 0)) for case in element.iter('testcase')):.3f}")
    indent(root)
    write_atomic(path, tostring(root, encoding="utf-8", xml_declaration=True))


def _add_profiles(root: Element, run: RunResult) -> None:
    suite = SubElement(root, "testsuite", name="profiles", timestamp=run.began.isoformat(timespec="seconds"))
    properties = SubElement(suite, "properties")
    for profile, verdict in run.verdicts.items():
        SubElement(properties, "property", name=profile, value=verdict_text(verdict))
    if run.not_applicable:
        SubElement(properties, "property", name="not applicable over HTTP", value=str(run.not_applicable))
    if run.error:
        case = SubElement(suite, "testcase", classname="profile", name=run.profile)
        SubElement(case, "error", message=visible_lines(run.error))


def _add(suite: Element, clause: str, result: CaseResult) -> None:
    case = SubElement(suite, "testcase", classname=clause, name=result.case.id)
    case.set("time", f"{result.seconds if clause == result.case.clause else 0:.3f}")
    if result.passes_clause(clause):
        return
    failure = SubElement(case, "error" if result.status is CaseStatus.NOT_RUN else "failure")
    failure.set("type", result.status)
    failure.set("message", result.case.title.en)
    failure.text = "\n".join(
        f"step {one.step}: {' '.join(sent_texts(result.case, one.step))}; "
        f"expected {visible_lines(one.expected)}; actual {visible_lines(one.actual)}"
        for one in result.failures_of(clause)
    )
