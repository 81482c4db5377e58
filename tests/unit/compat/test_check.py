"""`estelam compat check`: what is alive stays as published, and no end comes as a surprise."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estelam.catalogue.loader import read_catalogue
from estelam.catalogue.model import Catalogue, Method
from estelam.cli import application
from estelam.compat.baseline import Baseline
from estelam.compat.check import MIN_NOTICE, MIN_OVERLAP, Release, compatibility_violations
from estelam.compat.surface import contract_surface
from estelam.data_model import descriptors
from tools.commands.generate_protos import ROOT

CATALOGUE = read_catalogue(ROOT / "catalogue")
FACTS = contract_surface(descriptors.files())
CHEQUES = "estelam.judiciary.v1"
BY_NATIONAL_ID = f"{CHEQUES}.ChequeCaseInquiryService/CheckByNationalId"
BY_TRACKING_ID = f"{CHEQUES}.ChequeCaseInquiryService/CheckByTrackingId"
TODAY = date(2027, 1, 1)


def published(ends: Mapping[str, date] | None = None) -> Baseline:
    return Baseline(frozenset(FACTS), ends or {})


def living(**lives: Mapping[str, object]) -> Catalogue:
    """The catalogue, with what is said of methods' lives by their names."""

    def changed(method: Method) -> Method:
        return method.model_copy(update=lives.get(method.name, {}))

    services = [
        service.model_copy(update={"methods": [changed(method) for method in service.methods]})
        for service in CATALOGUE.services
    ]
    return CATALOGUE.model_copy(update={"services": services})


def broken_rules(
    known: Baseline, *, facts: Iterable[str] = FACTS, catalogue: Catalogue = CATALOGUE, day: date = TODAY
) -> list[tuple[str, str]]:
    return [
        (found.rule, found.element) for found in compatibility_violations(known, Release(list(facts), catalogue, day))
    ]


def without(text: str) -> list[str]:
    return [fact for fact in FACTS if text not in fact]


def test_what_stands_here_may_go_out() -> None:
    assert [] == compatibility_violations(
        Baseline.read(ROOT / "protos" / "published.txt"), Release(FACTS, CATALOGUE, TODAY)
    )


@pytest.mark.parametrize(
    ("facts", "about"),
    [
        (without("CheckNoteRequest.serial ="), "estelam.promissory.v1.CheckNoteRequest.serial"),
        (without("Answer ANSWER_NO"), "estelam.inquiry.v1.Answer"),
        (without("rule estelam.inquiry.v1.person_id"), "estelam.inquiry.v1.person_id"),
        (without(f"rpc {BY_NATIONAL_ID}"), BY_NATIONAL_ID),
        ([fact.replace("amount_rials = 4 int64", "amount_rials = 4 int32") for fact in without("setad")], ""),
    ],
    ids=["field", "value", "rule", "method", "type"],
)
def test_what_was_published_and_is_no_longer_so_is_refused(facts: list[str], about: str) -> None:
    found = broken_rules(published(), facts=facts)

    assert {"alive-unchanged"} == {rule for rule, _ in found}
    assert not about or [about] == [name for _, name in found]


def test_an_addition_is_welcome_but_not_a_new_demand() -> None:
    free = f"field {CHEQUES}.CheckByNationalIdRequest.purpose = 2 string"

    assert [] == broken_rules(published(), facts=[*FACTS, free])
    demanding = f"{free} [buf.validate.field] {{ required: true }}"
    asked = ("nothing-new-demanded", f"{CHEQUES}.CheckByNationalIdRequest.purpose")
    assert [asked] == broken_rules(published(), facts=[*FACTS, demanding])


def test_a_method_that_the_catalogue_does_not_know_is_refused() -> None:
    method = "estelam.judiciary.v2.ChequeCaseInquiryService/Check"
    fact = f"rpc {method}(estelam.judiciary.v2.CheckRequest) estelam.judiciary.v2.CheckResponse"

    assert [("in-the-catalogue", method)] == broken_rules(published(), facts=[*FACTS, fact])


def test_a_version_may_go_once_all_its_methods_are_past_their_sunset() -> None:
    over = {"notice": TODAY - MIN_NOTICE, "deprecated": TODAY - MIN_NOTICE, "sunset": TODAY}
    told = published({BY_NATIONAL_ID: TODAY, BY_TRACKING_ID: TODAY})
    gone = without(f"{CHEQUES}.")

    assert [] == broken_rules(told, facts=gone, catalogue=living(CheckByNationalId=over, CheckByTrackingId=over))
    half = broken_rules(told, facts=gone, catalogue=living(CheckByNationalId=over))
    assert ("alive-unchanged", BY_TRACKING_ID) in half
    assert ("alive-unchanged", BY_NATIONAL_ID) not in half
    before = living(CheckByNationalId=over, CheckByTrackingId=over)
    assert broken_rules(told, facts=gone, catalogue=before, day=TODAY - timedelta(days=1)) != []


@pytest.mark.parametrize(
    ("life", "kept"),
    [
        ({"notice": TODAY, "deprecated": TODAY, "sunset": TODAY + MIN_NOTICE}, True),
        ({"notice": TODAY, "deprecated": TODAY, "sunset": TODAY + MIN_NOTICE - timedelta(days=1)}, False),
        ({"deprecated": TODAY, "sunset": TODAY + 2 * MIN_NOTICE}, False),
        ({"notice": TODAY, "deprecated": TODAY - timedelta(days=1)}, False),
        ({"notice": TODAY - MIN_NOTICE, "deprecated": TODAY, "sunset": TODAY + timedelta(days=1)}, False),
    ],
    ids=["in time", "a day short", "untold", "deprecated first", "written back"],
)
def test_notice_comes_in_time_and_counts_from_the_release_that_tells_it(
    *, life: Mapping[str, object], kept: bool
) -> None:
    found = broken_rules(published(), catalogue=living(CheckByNationalId=life))

    assert kept == (found == [])
    assert {("notice", BY_NATIONAL_ID)} >= set(found)


def test_a_told_end_comes_later_or_as_told_but_never_sooner() -> None:
    end = TODAY + 2 * MIN_NOTICE
    told = published({BY_NATIONAL_ID: end})

    def moved(days: int) -> list[tuple[str, str]]:
        life = {"notice": TODAY, "deprecated": TODAY, "sunset": end + timedelta(days=days)}
        return broken_rules(told, catalogue=living(CheckByNationalId=life))

    assert [] == moved(0) == moved(30)
    assert [("never-sooner", BY_NATIONAL_ID)] == moved(-1)


@pytest.mark.parametrize(("days", "kept"), [(MIN_OVERLAP.days, True), (MIN_OVERLAP.days - 1, False)])
def test_a_replacement_is_there_for_long_enough_beside_what_it_replaces(*, days: int, kept: bool) -> None:
    end = TODAY + MIN_NOTICE
    old = {"notice": TODAY, "deprecated": TODAY, "sunset": end, "replaced_by": BY_TRACKING_ID}
    new = {"introduced": end - timedelta(days=days)}
    found = broken_rules(published(), catalogue=living(CheckByNationalId=old, CheckByTrackingId=new))

    assert ([] if kept else [("overlap", BY_NATIONAL_ID)]) == found


def test_a_replacement_does_not_end_with_what_it_replaces() -> None:
    life = {"notice": TODAY, "deprecated": TODAY, "sunset": TODAY + MIN_NOTICE}
    old = {**life, "replaced_by": BY_TRACKING_ID}
    found = broken_rules(published(), catalogue=living(CheckByNationalId=old, CheckByTrackingId=life))

    assert [("overlap", BY_NATIONAL_ID)] == found


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    register = tmp_path / "published.txt"
    register.write_bytes((ROOT / "protos" / "published.txt").read_bytes())

    def change(*command: str, catalogue: Path = ROOT / "catalogue") -> tuple[int, str]:
        options = ["--published", str(register), "--catalogue", str(catalogue), "--json"]
        done = CliRunner().invoke(application(), ["compat", *command, *options])
        return done.exit_code, done.output

    return change


def test_check_exits_0_where_a_release_may_go_out_and_1_with_the_rule_where_not(run: Run, tmp_path: Path) -> None:
    code, said = run("check")
    assert (0, True) == (code, json.loads(said)["valid"])

    with (tmp_path / "published.txt").open("a") as file:
        file.write("field estelam.setad.v1.VerifyNoteRequest.gone = 9 string\n")
    code, said = run("check")
    assert 1 == code
    assert ["alive-unchanged"] == [row["rule"] for row in json.loads(said)["fields"]]


def test_publish_takes_in_what_is_new_and_the_ends_that_are_told(run: Run, tmp_path: Path) -> None:
    register = tmp_path / "published.txt"
    register.write_text("".join(f"{fact}\n" for fact in without("postal_code")))

    assert 0 == run("publish")[0]
    assert set(FACTS) == Baseline.read(register).surface
    before = register.read_bytes()
    assert 0 == run("publish")[0]
    assert before == register.read_bytes()


@pytest.mark.parametrize("text", ["end x 2027-13-01\n", "end x\n"])
def test_a_spoilt_register_or_day_is_one_plain_line(run: Run, tmp_path: Path, text: str) -> None:
    assert 1 == run("check", "--on", "1405-13-01")[0]
    (tmp_path / "published.txt").write_text(text)
    code, said = run("check")

    assert 1 == code
    assert set(json.loads(said)) == {"error", "reason", "layer", "address", "fields"}


def test_the_policy_in_words_has_the_rules_and_figures_that_are_checked() -> None:
    policy = (ROOT / "docs" / "change-policy.md").read_text("utf-8")
    code = (ROOT / "services" / "estelam" / "compat" / "check.py").read_text("utf-8")
    rules = {line.split('Breach("')[1].split('"')[0] for line in code.splitlines() if 'Breach("' in line}

    assert {rule for rule in rules if f"`{rule}`" not in policy} == set()
    assert f"{MIN_NOTICE.days} days" in policy
    assert f"{MIN_OVERLAP.days} days" in policy
