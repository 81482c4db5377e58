"""The fixtures: invented people with valid ids, files that our loaders accept, and consistent times."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from conformance import case_loader, fixtures
from conformance.fixtures.grants import CALLERS, ORGANIZATIONS
from conformance.target import NO_CERTIFICATE
from development.sandbox import Sandbox, load_file
from estelam.auth.grants import Grant
from estelam.core.clock import TEHRAN
from estelam.core.keys import key_fingerprint
from judiciary.feeds import CASES
from promissory.feeds import MEMBERS, NOTES
from tests.unit.core.test_identifiers import valid_legal, valid_national

ALWAYS_INVALID = {f"expired-{service}" for service in CALLERS}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixtures")
    fixtures.write(folder, ["ministry.example", "192.0.2.7"])
    return folder


def people() -> Iterator[str]:
    """Yield the id of every person in the notes and cases."""
    for note in fixtures.rows("notes"):
        yield from (note["obligor_id"], note["beneficiary_id"], note["holder_id"])
    yield from (case["national_id"] for case in fixtures.rows("cases") if case["national_id"])


def certificate(written: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((written / "pki" / f"{name}.crt").read_bytes())


def test_ids_are_invented() -> None:
    """Every person and organisation has a valid id in the reserved ranges."""

    def is_valid(person: str) -> bool:
        # Foreign nationals' codes have no known check digit.
        return {10: valid_national, 11: valid_legal, 12: str.isdecimal}[len(person)](person)

    invalid = [person for person in people() if not is_valid(person)]
    invalid += [number for number in ORGANIZATIONS.values() if not valid_legal(number)]
    # No registry office has the code 000, and no register gives legal persons ids that begin so.
    real = [number for number in (*people(), *ORGANIZATIONS.values()) if not number.startswith(("999", "990", "000"))]

    assert ([], []) == (invalid, real)


def test_rows_load(sandbox: Sandbox, written: Path) -> None:
    """Our loaders accept every row with complete coverage through the origin."""
    manifest = json.loads((written / "manifest.json").read_text("utf-8"))
    since, cut_at = date.fromisoformat(manifest["since"]), datetime.fromisoformat(manifest["as_of"])

    load_file(sandbox.promissory(), MEMBERS, written / "data" / "agencies.csv")
    load_file(sandbox.promissory(), NOTES, written / "data" / "notes.csv", cut_at, whole=True)
    load_file(sandbox.judiciary(), CASES, written / "data" / "cases.csv", cut_at, whole=True, complete_since=since)


def test_grants(written: Path) -> None:
    """Every grant is valid, and no caller has two for one method."""
    with (written / "data" / "grants.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    for row in rows:
        quota = {"rate": row["rate"], "burst": row["burst"], "miss_cost": row["miss_cost"]}
        required_metadata = [row["required_metadata"]] if row["required_metadata"] else []
        named = {key: row[key] for key in ("method", "clause", "since")}
        Grant(
            caller=row["organization_id"],
            quota=quota,
            required_metadata=required_metadata,
            until=row["until"] or None,
            **named,
        )
    pairs = [(row["organization_id"], row["method"]) for row in rows]

    assert len(pairs) == len(set(pairs))
    assert {row["clause"] for row in rows} <= set(case_loader.clauses())


@pytest.mark.parametrize("name", ["notes", "cases", "agencies", "grants", "denied"])
def test_json_equals_csv(written: Path, name: str) -> None:
    """JSON and CSV hold the same rows."""
    with (written / "data" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert rows == json.loads((written / "data" / f"{name}.json").read_text("utf-8"))
    assert rows


@pytest.mark.parametrize("hour", range(0, 24, 3))
@pytest.mark.parametrize("month", [1, 7])
def test_origin(month: int, hour: int) -> None:
    """The origin is the latest noon in Iran at least 13 hours past."""
    now = datetime(2026, month, 21, hour, 17, tzinfo=UTC)

    origin = fixtures.origin_before(now)

    assert (12, 0) == (origin.astimezone(TEHRAN).hour, origin.astimezone(TEHRAN).minute)
    assert timedelta(hours=13) <= now - origin < timedelta(hours=37)


def test_initial_offset(tmp_path: Path) -> None:
    """The initial offset sets the target's clock to the origin."""
    now = datetime(2026, 11, 24, 9, 30, 1, tzinfo=UTC)

    fixtures.write(tmp_path, now=now)

    origin = datetime.fromisoformat(json.loads((tmp_path / "manifest.json").read_text("utf-8"))["origin"])
    assert origin == now + timedelta(seconds=int((tmp_path / "steering" / "offset").read_text("ascii")))
    assert not (tmp_path / "steering" / "denied").read_text("ascii")
    assert not (tmp_path / "steering" / "changes").read_text("ascii")


def test_certificates_are_valid_now(written: Path) -> None:
    """Every certificate but the expired one is valid by real time."""
    now, month = datetime.now(UTC), timedelta(days=30)
    names = {path.stem for path in (written / "pki").glob("*.crt")} - ALWAYS_INVALID
    certificates = {name: certificate(written, name) for name in names}

    broken = [
        name
        for name, found in certificates.items()
        if not found.not_valid_before_utc < now < found.not_valid_after_utc - month
    ]

    assert [] == broken
    for name in ALWAYS_INVALID:
        assert certificate(written, name).not_valid_after_utc < fixtures.origin_before(now)


def test_not_yet_valid(written: Path) -> None:
    """The certificates `not-yet-valid` become valid within half an hour after midnight in Iran."""
    origin = datetime.fromisoformat(json.loads((written / "manifest.json").read_text("utf-8"))["origin"])
    midnight = datetime.combine(origin.astimezone(TEHRAN).date() + timedelta(days=1), datetime.min.time(), TEHRAN)

    for service in CALLERS:
        begins = certificate(written, f"not-yet-valid-{service}").not_valid_before_utc
        assert midnight < begins < midnight + timedelta(minutes=30)


def test_denied_and_key_modes(written: Path) -> None:
    """The certificates `denied` are on the deny list, and private keys have mode 0600."""
    keys = [key_fingerprint(certificate(written, f"denied-{service}").public_key()) for service in CALLERS]

    denied = json.loads((written / "data" / "denied.json").read_text("utf-8"))
    modes = {path.stat().st_mode & 0o777 for path in (written / "pki").glob("*.key")}

    assert [{"key_sha256": key} for key in keys] == denied
    assert {0o600} == modes


def test_server_names(written: Path) -> None:
    """Server certificates name the given hosts."""
    names = certificate(written, "judiciary-server").extensions.get_extension_for_class(x509.SubjectAlternativeName)

    assert ["localhost", "ministry.example"] == names.value.get_values_for_type(x509.DNSName)
    assert ["127.0.0.1", "192.0.2.7"] == [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)]


def test_callers_have_certificates(written: Path) -> None:
    """Every caller of a case has a certificate."""
    cases = case_loader.read()
    callers = {
        name for case in cases for step in case.steps for name in (step.caller or case.caller, step.deny) if name
    }

    missing = [name for name in callers - {NO_CERTIFICATE} if not (written / "pki" / f"{name}.key").exists()]

    assert [] == missing
