"""The fixtures: people who live nowhere under right ids, files that our own loaders take, and a time that fits."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from conformance import case_loader, fixtures
from conformance.fixtures.grants import ORGANIZATIONS
from estelam.auth.grants import Grant
from estelam.core.clock import TEHRAN
from estelam.loading.feed import CoverageDeclaration
from judiciary.feeds import CASES
from promissory.feeds import MEMBERS, NOTES
from tests.unit.core.test_identifiers import legal_is_right, national_is_right
from tools.env.sandbox import Sandbox, load_file

ALWAYS_BROKEN = {"expired"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixtures")
    fixtures.write(folder, ["ministry.example", "192.0.2.7"])
    return folder


def people() -> Iterator[str]:
    """Every person named in the notes and cases."""
    for note in fixtures.rows("notes"):
        yield from (note["obligor_id"], note["beneficiary_id"], note["holder_id"])
    yield from (case["national_id"] for case in fixtures.rows("cases") if case["national_id"])


def certificate(written: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((written / "pki" / f"{name}.crt").read_bytes())


def test_every_person_and_organisation_is_invented_under_a_right_id() -> None:
    def is_right(person: str) -> bool:
        # No check digit of foreign nationals' codes is known.
        return {10: national_is_right, 11: legal_is_right, 12: str.isdecimal}[len(person)](person)

    wrong = [person for person in people() if not is_right(person)]
    wrong += [number for number in ORGANIZATIONS.values() if not legal_is_right(number)]
    real = [number for number in (*people(), *ORGANIZATIONS.values()) if not number.startswith(("999", "990"))]

    assert ([], []) == (wrong, real)


def test_the_loaders_take_every_row_and_the_feed_is_complete_through_the_origin(
    sandbox: Sandbox, written: Path
) -> None:
    manifest = json.loads((written / "manifest.json").read_text("utf-8"))
    complete = CoverageDeclaration(date.fromisoformat(manifest["since"]), datetime.fromisoformat(manifest["as_of"]))

    load_file(sandbox.promissory(), MEMBERS, written / "data" / "agencies.csv")
    load_file(sandbox.promissory(), NOTES, written / "data" / "notes.csv", complete)
    load_file(sandbox.judiciary(), CASES, written / "data" / "cases.csv", complete)


def test_grants_are_those_of_an_access_table_and_no_caller_holds_one_twice(written: Path) -> None:
    with (written / "data" / "grants.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    for row in rows:
        quota = {"rate": row["rate"], "burst": row["burst"], "miss_cost": row["miss_cost"]}
        demands = [row["demands"]] if row["demands"] else []
        named = {key: row[key] for key in ("method", "clause", "since")}
        Grant(caller=row["organization_id"], quota=quota, demands=demands, until=row["until"] or None, **named)
    pairs = [(row["organization_id"], row["method"]) for row in rows]

    assert len(pairs) == len(set(pairs))
    assert {row["clause"] for row in rows} <= set(case_loader.clauses())


@pytest.mark.parametrize("name", ["notes", "cases", "agencies", "grants", "denied"])
def test_json_says_what_csv_says(written: Path, name: str) -> None:
    with (written / "data" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert rows == json.loads((written / "data" / f"{name}.json").read_text("utf-8"))
    assert rows


@pytest.mark.parametrize("hour", range(0, 24, 3))
@pytest.mark.parametrize("month", [1, 7])
def test_the_origin_is_the_latest_noon_in_iran_that_is_half_a_day_past(month: int, hour: int) -> None:
    now = datetime(2026, month, 21, hour, 17, tzinfo=UTC)

    origin = fixtures.origin_before(now)

    assert (12, 0) == (origin.astimezone(TEHRAN).hour, origin.astimezone(TEHRAN).minute)
    assert timedelta(hours=13) <= now - origin < timedelta(hours=37)


def test_the_clock_begins_at_the_origin(tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, 9, 30, 1, tzinfo=UTC)

    fixtures.write(tmp_path, now=now)

    origin = datetime.fromisoformat(json.loads((tmp_path / "manifest.json").read_text("utf-8"))["origin"])
    assert origin == now + timedelta(seconds=int((tmp_path / "steering" / "offset").read_text("ascii")))
    assert not (tmp_path / "steering" / "denied").read_text("ascii")


def test_every_certificate_passes_the_real_handshake_today_but_those_that_must_not(written: Path) -> None:
    now, month = datetime.now(UTC), timedelta(days=30)
    names = {path.stem for path in (written / "pki").glob("*.crt")} - ALWAYS_BROKEN
    certificates = {name: certificate(written, name) for name in names}

    broken = [
        name
        for name, found in certificates.items()
        if not found.not_valid_before_utc < now < found.not_valid_after_utc - month
    ]

    assert [] == broken
    assert certificate(written, "expired").not_valid_after_utc < fixtures.origin_before(now)


def test_a_certificate_is_not_valid_yet_on_the_day_of_the_origin_and_is_after_midnight(written: Path) -> None:
    origin = datetime.fromisoformat(json.loads((written / "manifest.json").read_text("utf-8"))["origin"])
    midnight = datetime.combine(origin.astimezone(TEHRAN).date() + timedelta(days=1), datetime.min.time(), TEHRAN)

    begins = certificate(written, "not-yet-valid").not_valid_before_utc

    assert midnight < begins < midnight + timedelta(minutes=30)


def test_the_barred_certificate_is_denied_and_keys_are_nobody_elses_to_read(written: Path) -> None:
    fingerprint = certificate(written, "barred").fingerprint(SHA256()).hex()

    denied = json.loads((written / "data" / "denied.json").read_text("utf-8"))
    modes = {path.stat().st_mode & 0o777 for path in (written / "pki").glob("*.key")}

    assert [{"fingerprint": fingerprint}] == denied
    assert {0o600} == modes


def test_servers_are_known_by_the_names_that_were_asked_for(written: Path) -> None:
    names = certificate(written, "judiciary-server").extensions.get_extension_for_class(x509.SubjectAlternativeName)

    assert ["localhost", "ministry.example"] == names.value.get_values_for_type(x509.DNSName)
    assert ["127.0.0.1", "192.0.2.7"] == [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)]


def test_every_caller_of_the_book_has_its_certificate(written: Path) -> None:
    cases = case_loader.read()
    callers = {name for case in cases for step in case.steps for name in (step.caller or case.caller, step.bar) if name}

    missing = [name for name in callers if not (written / "pki" / f"{name}.key").exists()]

    assert [] == missing
