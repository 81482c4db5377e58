"""The catalogue decides who is authorized: explanations agree with it, and running services follow its changes."""

import re
import shutil
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from development.sandbox import CHECK_NOTE, GET_NOTE_PARTIES, ORGANIZATIONS, Sandbox
from estelam.auth.authorization import Authorizer
from estelam.auth.certificate import ClientCertificate
from estelam.catalogue.access_source import AccessSource
from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.explain import explain
from estelam.catalogue.loader import CatalogueError, read_catalogue
from estelam.client.channel import ClientIdentity
from estelam.core.clock import TEHRAN, Clock, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Caller
from estelam.core.names import UnknownNameError
from estelam.core.reload import FileReloader
from judiciary.methods import LOOKUPS
from promissory.methods import lookups
from sataad_adapter.methods import VERIFY_NOTE
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, outcome
from tests.unit.catalogue.conftest import COMMITTED, Edit

ORDER = "    ordered_by: { on: 2021-08-24, reference: R2.0 }\n"
OWN = "    service: note-verification\n"
"""The service of Setad that Setad itself calls, without an approval."""
NOT_GRANTED = (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED)
TODAY = datetime.now(TEHRAN).date()


def clock_on(day: date) -> Clock:
    """Return a clock fixed at 08:00 UTC (11:30 in Tehran) of *day*."""
    noon = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    return Clock(micros=lambda: to_micros(noon))


def test_explanation_matches_authorization(folder: Path, edit: Edit, shared: Sandbox) -> None:
    """`explain` and `Authorizer` agree for every party, every method and the days around each change."""
    edit("grants.yaml", ORDER, "")  # of G13
    edit("grants.yaml", ORDER, ORDER.replace("2021-08-24", "1405-01-10"))  # of G14
    edit("grants.yaml", "method: GetNoteParties\n", "method: GetNoteParties\n    until: 1405-01-09\n")
    edit("grants.yaml", "since: 2021-08-24\n    quota: { rate: 1000", "since: 1405-01-11\n    quota: { rate: 1000")
    catalogue = read_catalogue(folder)
    methods = [*lookups(shared.promissory()), *LOOKUPS, VERIFY_NOTE]
    admitted = set()

    for day in [date(2026, 3, 29) + timedelta(days=number) for number in range(4)] + [date(2021, 8, 23)]:
        authorizer = Authorizer(AccessSource(folder), clock_on(day))
        for party in catalogue.parties:
            for method in methods:
                explanation = explain(catalogue, consumer=party.slug, method=method.name, day=day)
                try:
                    authorizer.authorize(Caller(party.legal_id or ""), method)
                except Refusal:
                    assert explanation.denial_reasons
                else:
                    assert not explanation.denial_reasons
                    admitted.add((party.slug, method.short_name, day.day))

    assert {
        *(("sample-agency", "CheckNote", day) for day in (30, 31, 1)),
        ("setad", "GetNoteParties", 29),
        *(("cbi", "CheckByNationalId", day) for day in (31, 1)),
        *(("cbi", "CheckByTrackingId", day) for day in (29, 30, 31, 1)),
        *(("setad", "VerifyNote", day) for day in (29, 30, 31, 1)),
    } == admitted


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (ORDER, ORDER.replace("ordered_by", "provider_agreement"), "G13 (R2.1) lacks the secretariat's consent"),
        (ORDER, ORDER.replace("ordered_by", "secretariat_consent"), "G13 (R2.1) lacks the provider's agreement"),
        (
            ORDER,
            ORDER.replace("2021-08-24", "1470-01-01"),
            "G13 (R2.1) has the resolution that orders it only from 1470",
        ),
        (
            "since: 2021-08-24\n    quota",
            "since: 1470-01-01\n    quota",
            "G13 (R2.1) begins on 1470-01-01 (2091-03-21)",
        ),
        (
            "since: 2021-08-24\n    quota",
            "since: 2021-08-24\n    until: 1402-12-29\n    quota",
            "G13 (R2.1) ended on",
        ),
        ("consumer: setad", "consumer: cra", "no grant names setad for CheckNote"),
    ],
)
def test_denial_reasons(folder: Path, edit: Edit, old: str, new: str, reason: str) -> None:
    """Each missing approval, period or grant is named as the only reason of a denial."""
    edit("grants.yaml", old, new)

    explanation = explain(read_catalogue(folder), consumer="setad", method="CheckNote", day=TODAY)

    assert [reason] == [found[: len(reason)] for found in explanation.denial_reasons]


@pytest.mark.parametrize(
    ("consumer", "method", "reason"),
    [
        ("ecdc", "tax-debt", "no grant names ecdc for tax-debt"),
        ("awqaf", "legal-person-national-id", "no grant names awqaf for legal-person-national-id"),
        ("executive-agencies", "CheckNote", "executive-agencies is a class; name one of its members: sample-agency"),
    ],
)
def test_ungranted(consumer: str, method: str, reason: str) -> None:
    """A party to which the method is not granted is named in the reason."""
    explanation = explain(read_catalogue(COMMITTED), consumer=consumer, method=method, day=TODAY)

    assert [reason] == [found[: len(reason)] for found in explanation.denial_reasons]


@pytest.mark.parametrize(
    ("consumer", "method", "message"),
    [
        ("setda", "CheckNote", "no party is named setda; did you mean setad?"),
        ("", "CheckNote", "no party is named ; known: "),
        ("setad", "CheckNotes", "no method or listed service is named CheckNotes; did you mean CheckNote?"),
        ("setad", "promissory-note-inquiry", "no method or listed service is named promissory-note-inquiry; known: "),
    ],
)
def test_unknown_name(consumer: str, method: str, message: str) -> None:
    """An unknown party or method is refused with the closest known name, or with all of them."""
    with pytest.raises(UnknownNameError, match=f"^{re.escape(message)}"):
        explain(read_catalogue(COMMITTED), consumer=consumer, method=method, day=TODAY)


def test_consumer_without_legal_id(folder: Path, edit: Edit) -> None:
    """A grant to a party without a legal id gives no access, and the explanation says why."""
    edit("grants.yaml", "consumer: cbi", "consumer: fic")
    catalogue = read_catalogue(folder)

    explanation = explain(catalogue, consumer="fic", method="CheckByNationalId", day=TODAY)

    assert (
        "the consumer has no legal id in the catalogue, so no certificate matches it",
    ) == explanation.denial_reasons
    assert 8 == len(access_table(catalogue).grant)


def test_listed_service() -> None:
    """A grant of a service that is listed only is explained without an effective grant."""
    explanation = explain(read_catalogue(COMMITTED), consumer="fic", method="postal-code-address", day=TODAY)

    assert explanation.admitted
    assert explanation.grant is not None
    assert ("G10", "R1.3", None) == (explanation.grant.id, explanation.grant.clause, explanation.effective_grant)


def test_running_service_reloads(start: Start, loaded: Sandbox, folder: Path, edit: Edit) -> None:
    """A running service applies a changed catalogue within 5 s and keeps the last valid one if a file breaks."""
    service = start(promissory_opening(loaded, access=folder, shutdown_delay_seconds=0))

    def seconds_until(expected: object) -> float:
        began = time.monotonic()
        while outcome(ask) != expected and time.monotonic() < began + 10:
            time.sleep(0.05)
        return time.monotonic() - began

    with caller(loaded, service.address, ClientIdentity.named(loaded.pki, "setad")) as ask:
        first = ask()
        edit("grants.yaml", ORDER, "")
        revoked = seconds_until(NOT_GRANTED)
        edit("grants.yaml", "method: CheckNote\n", f"method: CheckNote\n{ORDER}")
        restored = seconds_until(first)
        (folder / "parties.yaml").write_text("parties: [", "utf-8")
        time.sleep(1.2)
        broken = ask()

    assert revoked < 5
    assert restored < 5
    assert first == broken


def certificate(key: str) -> ClientCertificate:
    return ClientCertificate(key, frozenset({key}), (), None, 0, 0)


def test_denied_certificate(folder: Path) -> None:
    """A certificate denied in the catalogue is on the deny list, another is not."""
    denied = "ab" * 32
    line = f"denied:\n  - {{ key: {denied}, party: setad, reason: lost key }}\n"
    (folder / "certificates.yaml").write_text(line, "utf-8")

    authorizer = Authorizer(AccessSource(folder), Clock())

    assert authorizer.is_denied(certificate(denied))
    assert not authorizer.is_denied(certificate("cd" * 32))


def test_watches_every_file(folder: Path) -> None:
    """Every file of a catalogue is watched: a change of any may change who is authorized."""
    assert set(folder.glob("*.yaml")) == set(AccessSource(folder).files())


@pytest.mark.parametrize("name", [path.name for path in sorted(COMMITTED.glob("*.yaml"))])
def test_change_of_any_file_is_loaded(folder: Path, name: str) -> None:
    """A change of any file of the catalogue is read at the next check: one that breaks it is noticed."""
    source = AccessSource(folder)
    failures: list[Exception] = []
    reloader = FileReloader(source.files, source.load, failed=failures.append)
    reloader.refresh()
    (folder / name).write_text("[", "utf-8")

    assert not reloader.refresh()
    assert isinstance(failures[0], CatalogueError)
    assert name in str(failures[0])


def test_switch_to_table(folder: Path, shared: Sandbox) -> None:
    """After a catalogue is replaced by an access table, no catalogue is in force, whose changes would be recorded."""
    source = AccessSource(folder)
    source.load()
    assert source.catalogue is not None
    shutil.rmtree(folder)
    shutil.copy(shared.access, folder)

    assert source.load().grant
    assert source.catalogue is None
    assert [folder] == list(source.files())


def test_invalid_catalogue_at_start(folder: Path, edit: Edit) -> None:
    """An authorizer can't be created from an invalid catalogue."""
    edit("grants.yaml", "consumer: cra", "consumer: crab")

    with pytest.raises(CatalogueError):
        Authorizer(AccessSource(folder), Clock())


def test_empty_access_table(folder: Path, edit: Edit) -> None:
    """A catalogue whose grants all lack an approval yields an empty access table, not an error."""
    text = (folder / "grants.yaml").read_text("utf-8")
    for old, new in ((ORDER, ""), (ORDER.replace("R2.0", "R3.1"), ""), (f"setad\n{OWN}", f"cbi\n{OWN}")):
        text = text.replace(old, new)
    (folder / "grants.yaml").write_text(text, "utf-8")

    assert () == access_table(read_catalogue(folder)).grant


@pytest.mark.parametrize("since", ["2027-03-21", "1406-01-01", '"1406/01/01"'])
def test_grant_begins_on_its_jalali_day(tmp_path: Path, since: str) -> None:
    """A grant of an access table whose first day is Jalali begins on that day, not centuries ago."""
    cbi, method = Caller(ORGANIZATIONS["cbi"]), next(iter(LOOKUPS))
    path = tmp_path / "access.toml"
    path.write_text(
        f'[[grant]]\ncaller = "{cbi.organization_id}"\nmethod = "{method.name}"\nclause = "R3.1.1"\n'
        f"since = {since}\nuntil = 1406-12-29\nquota = {{ rate = 1, burst = 1 }}\n",
        "utf-8",
    )

    def admitted(day: date) -> bool:
        try:
            Authorizer(AccessSource(path), clock_on(day)).authorize(cbi, method)
        except Refusal:
            return False
        return True

    days = [date(2027, 3, 20), date(2027, 3, 21), date(2028, 3, 19), date(2028, 3, 20)]
    assert [False, True, True, False] == [admitted(day) for day in days]


def test_quota_of_a_grant(folder: Path, shared: Sandbox) -> None:
    """An authorized call carries the quota of its own grant."""
    authorizer = Authorizer(AccessSource(folder), Clock())
    by_name = {method.name: method for method in lookups(shared.promissory())}

    admitted = [
        authorizer.authorize(Caller(ORGANIZATIONS["setad"]), by_name[name]) for name in (CHECK_NOTE, GET_NOTE_PARTIES)
    ]

    assert [(200, 400, 20), (100, 200, 1)] == [
        (grant.quota.rate, grant.quota.burst, grant.quota.miss_cost) for grant in admitted
    ]
