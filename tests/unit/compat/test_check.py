"""`estelam compat check`: live methods stay as published, and sunsets are announced in time."""

import ast
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estelam.catalogue.loader import read_catalogue
from estelam.catalogue.model import Catalogue, Method
from estelam.cli.root import application
from estelam.compat.baseline import Baseline
from estelam.compat.check import MIN_NOTICE, MIN_OVERLAP, CompatibilityViolation, Release, compatibility_violations
from estelam.compat.surface import contract_surface
from estelam.data_model import descriptors
from tools.commands.generate_protos import ROOT

CATALOGUE = read_catalogue(ROOT / "catalogue")
SURFACE = contract_surface(descriptors.files())
CHEQUES = "estelam.judiciary.v1"
BY_NATIONAL_ID = f"{CHEQUES}.ChequeCaseInquiryService/CheckByNationalId"
BY_TRACKING_ID = f"{CHEQUES}.ChequeCaseInquiryService/CheckByTrackingId"
TODAY = date(2027, 1, 1)


def baseline(sunsets: Mapping[str, date] | None = None) -> Baseline:
    return Baseline(frozenset(SURFACE), sunsets or {})


def catalogue_with(**life_cycles: Mapping[str, object]) -> Catalogue:
    """Return the committed catalogue with changed life cycles, by the methods' short names."""

    def changed(method: Method) -> Method:
        return method.model_copy(update=life_cycles.get(method.name, {}))

    services = [
        service.model_copy(update={"methods": [changed(method) for method in service.methods]})
        for service in CATALOGUE.services
    ]
    return CATALOGUE.model_copy(update={"services": services})


def broken_rules(
    known: Baseline, *, surface: Iterable[str] = SURFACE, catalogue: Catalogue = CATALOGUE, day: date = TODAY
) -> list[tuple[str, str]]:
    return [
        (found.rule, found.element) for found in compatibility_violations(known, Release(list(surface), catalogue, day))
    ]


def without(text: str) -> list[str]:
    return [line for line in SURFACE if text not in line]


def test_current_contract_is_valid() -> None:
    """The contract and catalogue of this repository break no rule."""
    assert [] == compatibility_violations(
        Baseline.read(ROOT / "protos" / "published.txt"), Release(SURFACE, CATALOGUE, TODAY)
    )


@pytest.mark.parametrize(
    ("surface", "element"),
    [
        (without("CheckNoteRequest.serial ="), "estelam.promissory.v1.CheckNoteRequest.serial"),
        (without("Answer ANSWER_NO"), "estelam.inquiry.v1.Answer"),
        (without("rule estelam.inquiry.v1.person_id"), "estelam.inquiry.v1.person_id"),
        (without(f"rpc {BY_NATIONAL_ID}"), BY_NATIONAL_ID),
        ([line.replace("amount_rials = 4 int64", "amount_rials = 4 int32") for line in without("setad")], ""),
    ],
    ids=["field", "value", "rule", "method", "type"],
)
def test_removed_or_changed_element(surface: list[str], element: str) -> None:
    """A removed field, enum value, rule or method and a changed type break the rule `alive-unchanged`."""
    found = broken_rules(baseline(), surface=surface)

    assert {"alive-unchanged"} == {rule for rule, _ in found}
    assert not element or [element] == [name for _, name in found]


def test_added_field() -> None:
    """A new field is valid, a new field with a validation rule in a published message is not."""
    optional = f"field {CHEQUES}.CheckByNationalIdRequest.purpose = 2 string"

    assert [] == broken_rules(baseline(), surface=[*SURFACE, optional])
    required = f"{optional} [buf.validate.field] {{ required: true }}"
    violation = ("nothing-new-demanded", f"{CHEQUES}.CheckByNationalIdRequest.purpose")
    assert [violation] == broken_rules(baseline(), surface=[*SURFACE, required])


def test_method_missing_in_catalogue() -> None:
    """A method without a record in the catalogue is a violation."""
    method = "estelam.judiciary.v2.ChequeCaseInquiryService/Check"
    line = f"rpc {method}(estelam.judiciary.v2.CheckRequest) estelam.judiciary.v2.CheckResponse"

    assert [("in-the-catalogue", method)] == broken_rules(baseline(), surface=[*SURFACE, line])


def test_removed_version() -> None:
    """A version may be removed once all its methods have reached their sunset, not a day earlier."""
    ended = {"notice": TODAY - MIN_NOTICE, "deprecated": TODAY - MIN_NOTICE, "sunset": TODAY}
    announced = baseline({BY_NATIONAL_ID: TODAY, BY_TRACKING_ID: TODAY})
    removed = without(f"{CHEQUES}.")

    assert [] == broken_rules(
        announced, surface=removed, catalogue=catalogue_with(CheckByNationalId=ended, CheckByTrackingId=ended)
    )
    half = broken_rules(announced, surface=removed, catalogue=catalogue_with(CheckByNationalId=ended))
    assert ("alive-unchanged", BY_TRACKING_ID) in half
    assert ("alive-unchanged", BY_NATIONAL_ID) not in half
    both = catalogue_with(CheckByNationalId=ended, CheckByTrackingId=ended)
    assert broken_rules(announced, surface=removed, catalogue=both, day=TODAY - timedelta(days=1)) != []


@pytest.mark.parametrize(
    ("life_cycle", "valid"),
    [
        ({"notice": TODAY, "deprecated": TODAY, "sunset": TODAY + MIN_NOTICE}, True),
        ({"notice": TODAY, "deprecated": TODAY, "sunset": TODAY + MIN_NOTICE - timedelta(days=1)}, False),
        ({"deprecated": TODAY, "sunset": TODAY + 2 * MIN_NOTICE}, False),
        ({"notice": TODAY, "deprecated": TODAY - timedelta(days=1)}, False),
        ({"notice": TODAY - MIN_NOTICE, "deprecated": TODAY, "sunset": TODAY + timedelta(days=1)}, False),
    ],
    ids=["in time", "a day short", "no notice", "deprecated first", "backdated notice"],
)
def test_notice_period(*, life_cycle: Mapping[str, object], valid: bool) -> None:
    """The notice period counts from the notice or, if later, from the first release that announces the sunset."""
    found = broken_rules(baseline(), catalogue=catalogue_with(CheckByNationalId=life_cycle))

    assert valid == (found == [])
    assert {("notice", BY_NATIONAL_ID)} >= set(found)


def test_announced_sunset() -> None:
    """An announced sunset may move to a later date, never to an earlier one."""
    end = TODAY + 2 * MIN_NOTICE
    announced = baseline({BY_NATIONAL_ID: end})

    def moved(days: int) -> list[tuple[str, str]]:
        life_cycle = {"notice": TODAY, "deprecated": TODAY, "sunset": end + timedelta(days=days)}
        return broken_rules(announced, catalogue=catalogue_with(CheckByNationalId=life_cycle))

    assert [] == moved(0) == moved(30)
    assert [("never-sooner", BY_NATIONAL_ID)] == moved(-1)


@pytest.mark.parametrize(("days", "valid"), [(MIN_OVERLAP.days, True), (MIN_OVERLAP.days - 1, False)])
def test_overlap_with_replacement(*, days: int, valid: bool) -> None:
    """A method and its replacement are both in service for the minimum overlap."""
    end = TODAY + MIN_NOTICE
    old = {"notice": TODAY, "deprecated": TODAY, "sunset": end, "replaced_by": BY_TRACKING_ID}
    new = {"introduced": end - timedelta(days=days)}
    found = broken_rules(baseline(), catalogue=catalogue_with(CheckByNationalId=old, CheckByTrackingId=new))

    assert ([] if valid else [("overlap", BY_NATIONAL_ID)]) == found


def test_replacement_without_introduction() -> None:
    """A replacement whose first day in service is not known does not show the minimum overlap."""
    old = {"notice": TODAY, "deprecated": TODAY, "sunset": TODAY + MIN_NOTICE, "replaced_by": BY_TRACKING_ID}

    assert [("overlap", BY_NATIONAL_ID)] == broken_rules(baseline(), catalogue=catalogue_with(CheckByNationalId=old))


def test_replacement_outlives_method() -> None:
    """A replacement can't have the same sunset as the method that it replaces."""
    life_cycle = {"notice": TODAY, "deprecated": TODAY, "sunset": TODAY + MIN_NOTICE}
    old = {**life_cycle, "replaced_by": BY_TRACKING_ID}
    new = {**life_cycle, "introduced": TODAY - MIN_OVERLAP}
    found = broken_rules(baseline(), catalogue=catalogue_with(CheckByNationalId=old, CheckByTrackingId=new))

    assert [("overlap", BY_NATIONAL_ID)] == found


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    published = tmp_path / "published.txt"
    published.write_bytes((ROOT / "protos" / "published.txt").read_bytes())

    def change(*command: str, catalogue: Path = ROOT / "catalogue") -> tuple[int, str]:
        options = ["--published", str(published), "--catalogue", str(catalogue), "--json"]
        result = CliRunner().invoke(application(), ["compat", *command, *options])
        return result.exit_code, result.output

    return change


def test_check_command(run: Run, tmp_path: Path) -> None:
    """`compat check` exits 0 for a valid release; else it lists the broken rules and exits 1."""
    code, output = run("check")
    assert (0, True) == (code, json.loads(output)["valid"])

    with (tmp_path / "published.txt").open("a") as file:
        file.write("field estelam.setad.v1.VerifyNoteRequest.gone = 9 string\n")
    code, output = run("check")
    assert 1 == code
    assert ["alive-unchanged"] == [row["rule"] for row in json.loads(output)["fields"]]


def test_publish_command(run: Run, tmp_path: Path) -> None:
    """`compat publish` adds the new surface to the baseline; a second run changes nothing."""
    published = tmp_path / "published.txt"
    published.write_text("".join(f"{line}\n" for line in without("postal_code")))

    assert 0 == run("publish")[0]
    assert set(SURFACE) == Baseline.read(published).surface
    before = published.read_bytes()
    assert 0 == run("publish")[0]
    assert before == published.read_bytes()


@pytest.mark.parametrize("text", ["end x 2027-13-01\n", "end x 27-01-01\n", "end x 0627-01-01\n", "end x\n"])
def test_invalid_input(run: Run, tmp_path: Path, text: str) -> None:
    """An invalid baseline file exits 21 with one error, an invalid date 2."""
    assert 2 == run("check", "--on", "1405-13-01")[0]
    (tmp_path / "published.txt").write_text(text)
    code, output = run("check")

    assert 21 == code
    assert set(json.loads(output)) == {"error", "reason", "layer", "address", "fields"}


def test_policy_document() -> None:
    """docs/change-policy.md names every rule and both minimum periods of the code."""
    policy = (ROOT / "docs" / "change-policy.md").read_text("utf-8")
    code = ast.parse((ROOT / "services" / "estelam" / "compat" / "check.py").read_text("utf-8"))
    calls = [node for node in ast.walk(code) if isinstance(node, ast.Call) and node.args]
    name = CompatibilityViolation.__name__
    rules = {ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == name}

    assert len(rules) == 6
    assert {rule for rule in rules if f"`{rule}`" not in policy} == set()
    assert f"{MIN_NOTICE.days} days" in policy
    assert f"{MIN_OVERLAP.days} days" in policy
