"""The catalogue decides who is admitted: what it derives, a running service follows within moments."""

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from estelam.auth.authorization import Authorizer
from estelam.catalogue.access_source import AccessSource
from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.explain import explain
from estelam.catalogue.loader import CatalogueError, read_catalogue
from estelam.client.channel import ClientIdentity
from estelam.core.clock import TEHRAN, Clock, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Caller
from judiciary.methods import LOOKUPS
from promissory.methods import lookups
from sataad_adapter.methods import VERIFY_NOTE
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, outcome
from tests.unit.catalogue.conftest import COMMITTED, Edit
from tools.env.sandbox import CHECK_NOTE, GET_NOTE_PARTIES, ORGANIZATIONS, Sandbox

CONSENT = "    secretariat_consent: { on: 2021-08-24, reference: R2.0 }\n"
SHUT = (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED)
TODAY = datetime.now(TEHRAN).date()


def clock_on(day: date) -> Clock:
    noon = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    return Clock(micros=lambda: to_micros(noon))


def test_an_explanation_and_the_door_agree_on_everyone_every_method_and_every_day(
    folder: Path, edit: Edit, shared: Sandbox
) -> None:
    edit("grants.yaml", CONSENT, "")  # of G13
    edit("grants.yaml", CONSENT, CONSENT.replace("2021-08-24", "1405-01-10"))  # of G14
    edit("grants.yaml", "method: GetNoteParties\n", "method: GetNoteParties\n    until: 1405-01-09\n")
    edit("grants.yaml", "since: 2021-08-24\n    quota: { rate: 1000", "since: 1405-01-11\n    quota: { rate: 1000")
    catalogue = read_catalogue(folder)
    methods = [*lookups(shared.promissory()), *LOOKUPS, VERIFY_NOTE]
    admitted = set()

    for day in [date(2026, 3, 29) + timedelta(days=number) for number in range(4)] + [date(2021, 8, 23)]:
        access = Authorizer(AccessSource(folder), clock_on(day))
        for party in catalogue.parties:
            for method in methods:
                said = explain(catalogue, consumer=party.slug, method=method.name, day=day)
                try:
                    access.authorize(Caller(party.legal_id or "", "0" * 64), method)
                except Refusal:
                    assert said.denial_reasons
                else:
                    assert not said.denial_reasons
                    admitted.add((party.slug, method.short_name, day.day))

    assert {
        *(("sample-agency", "CheckNote", day) for day in (30, 31, 1)),
        ("setad", "GetNoteParties", 29),
        *(("cbi", "CheckByNationalId", day) for day in (31, 1)),
        *(("cbi", "CheckByTrackingId", day) for day in (29, 30, 31, 1)),
        *(("setad", "VerifyNote", day) for day in (29, 30, 31, 1)),
    } == admitted


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (CONSENT, "", "G13 (R2.1) lacks the secretariat's consent"),
        (CONSENT, CONSENT.replace("2021-08-24", "1470-01-01"), "G13 (R2.1) has the secretariat's consent from 2091"),
        (
            "since: 2021-08-24\n    quota",
            "since: 1470-01-01\n    quota",
            "G13 (R2.1) begins on 2091-03-21 (1470-01-01)",
        ),
        (
            "since: 2021-08-24\n    quota",
            "since: 2021-08-24\n    until: 1402-12-29\n    quota",
            "G13 (R2.1) ended with",
        ),
        ("consumer: setad", "consumer: cra", "no grant names setad for CheckNote"),
    ],
)
def test_why_a_call_would_not_be_admitted_is_said_exactly(
    folder: Path, edit: Edit, old: str, new: str, words: str
) -> None:
    edit("grants.yaml", old, new)

    said = explain(read_catalogue(folder), consumer="setad", method="CheckNote", day=TODAY)

    assert [words] == [why[: len(words)] for why in said.denial_reasons]


@pytest.mark.parametrize(
    ("consumer", "method", "words"),
    [
        ("ecdc", "tax-debt", "no grant names ecdc for tax-debt"),
        ("awqaf", "legal-person-national-id", "no grant names awqaf for legal-person-national-id"),
        ("setda", "CheckNote", "no party is called setda; perhaps setad"),
        ("setad", "CheckNotes", "no method or listed service is called CheckNotes; perhaps CheckNote"),
        ("setad", "promissory-note-inquiry", "no method or listed service is called promissory-note-inquiry"),
        ("executive-agencies", "CheckNote", "executive-agencies is a class, and only a member can ask: sample-agency"),
    ],
)
def test_what_was_never_granted_or_is_not_known_is_said_to_be_so(consumer: str, method: str, words: str) -> None:
    said = explain(read_catalogue(COMMITTED), consumer=consumer, method=method, day=TODAY)

    assert [words] == [why[: len(words)] for why in said.denial_reasons]


def test_a_grant_to_whom_no_certificate_can_name_admits_nobody(folder: Path, edit: Edit) -> None:
    edit("grants.yaml", "consumer: cbi", "consumer: fic")
    catalogue = read_catalogue(folder)

    said = explain(catalogue, consumer="fic", method="CheckByNationalId", day=TODAY)

    assert ("the consumer has no legal id on record, so no certificate can be its own",) == said.denial_reasons
    assert 5 == len(access_table(catalogue).grant)


def test_a_listed_service_is_granted_though_no_process_here_answers_it() -> None:
    said = explain(read_catalogue(COMMITTED), consumer="fic", method="postal-code-address", day=TODAY)

    assert said.admitted
    assert said.grant is not None
    assert ("G10", "R1.3", None) == (said.grant.id, said.grant.clause, said.effective_grant)


def test_a_running_service_follows_a_change_of_the_catalogue_within_moments(
    start: Start, loaded: Sandbox, folder: Path, edit: Edit
) -> None:
    service = start(promissory_opening(loaded, access=folder, shutdown_delay_seconds=0))

    def seconds_until(wanted: object) -> float:
        began = time.monotonic()
        while outcome(ask) != wanted and time.monotonic() < began + 10:
            time.sleep(0.05)
        return time.monotonic() - began

    with caller(loaded, service.address, ClientIdentity.named(loaded.pki, "setad")) as ask:
        first = ask()
        edit("grants.yaml", CONSENT, "")
        shut = seconds_until(SHUT)
        edit("grants.yaml", "method: CheckNote\n", f"method: CheckNote\n{CONSENT}")
        opened = seconds_until(first)
        (folder / "parties.yaml").write_text("parties: [", "utf-8")
        time.sleep(1.2)
        broken = ask()

    assert shut < 5
    assert opened < 5
    assert first == broken


def test_a_certificate_barred_in_the_catalogue_is_barred(folder: Path) -> None:
    barred = "ab" * 32
    line = f"denied:\n  - {{ certificate: {barred}, party: setad, reason: lost key }}\n"
    (folder / "certificates.yaml").write_text(line, "utf-8")

    access = Authorizer(AccessSource(folder), Clock())

    assert access.is_denied(barred)
    assert not access.is_denied("cd" * 32)


def test_no_service_starts_with_a_catalogue_that_does_not_hold(folder: Path, edit: Edit) -> None:
    edit("grants.yaml", "consumer: cra", "consumer: crab")

    with pytest.raises(CatalogueError):
        Authorizer(AccessSource(folder), Clock())


def test_the_last_grants_end_ends_it_though_nothing_is_granted_any_more(folder: Path, edit: Edit) -> None:
    text = (folder / "grants.yaml").read_text("utf-8")
    (folder / "grants.yaml").write_text(text.replace(CONSENT, "").replace(CONSENT.replace("R2", "R3"), ""), "utf-8")

    assert () == access_table(read_catalogue(folder)).grant


def test_a_quota_is_the_grants_own(folder: Path, shared: Sandbox) -> None:
    access = Authorizer(AccessSource(folder), Clock())
    by_name = {method.name: method for method in lookups(shared.promissory())}

    admitted = [
        access.authorize(Caller(ORGANIZATIONS["setad"], ""), by_name[name]) for name in (CHECK_NOTE, GET_NOTE_PARTIES)
    ]

    assert [(200, 400, 20), (100, 200, 1)] == [
        (grant.quota.rate, grant.quota.burst, grant.quota.miss_cost) for grant in admitted
    ]
