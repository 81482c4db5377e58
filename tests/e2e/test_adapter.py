"""The Setad adapter with the real promissory service: proven answers are forwarded, an outage is never a NO."""

from collections.abc import Iterator

import pytest

from development import sandbox as suite
from development.processes import ServiceProcess, free_ports
from development.sandbox import Sandbox
from tests.e2e.conftest import ENDORSED, LIVE, SETTLED, CommandLine, options
from tests.e2e.test_serving import until

VERIFY = ("setad", "verify", "--json")
NOTE = options(**ENDORSED, agency="SETAD-0001")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox whose promissory store has no data."""
    return suite.create_sandbox(tmp_path_factory.mktemp("empty"), ports=free_ports("promissory", "setad"))


@pytest.fixture(scope="module")
def ministry(empty: Sandbox) -> Iterator[ServiceProcess]:
    """The promissory service; a test that stops it must start it again."""
    with ServiceProcess("promissory", empty) as service:
        yield service


@pytest.fixture(scope="module")
def adapter(empty: Sandbox, ministry: ServiceProcess) -> Iterator[CommandLine]:
    """The command line on an adapter that calls *ministry*."""
    with ServiceProcess("setad", empty):
        yield CommandLine(empty)


@pytest.mark.slow
def test_provider_refusal_is_forwarded(estelam: CommandLine, adapter: CommandLine) -> None:
    """The adapter forwards a refusal of the Ministry's service with its reason."""
    no_member = estelam(*VERIFY, *options(**ENDORSED, agency="setad-0001"))
    nothing_loaded = adapter(*VERIFY, *NOTE)

    assert (20, "AGENCY_NOT_MEMBER") == (no_member.code, no_member.json["reason"])
    assert [("executive_agency_id", "agency.member")] == [(f["field"], f["rule"]) for f in no_member.json["fields"]]
    assert "upper and lower case" in no_member.json["fields"][0]["description"]
    assert (20, "COVERAGE_UNDECLARED") == (nothing_loaded.code, nothing_loaded.json["reason"])


def test_malformed_request_is_refused_by_adapter(estelam: CommandLine) -> None:
    """The adapter itself refuses a malformed request, without calling the Ministry's service."""
    result = estelam(*VERIFY, *options(**{**LIVE, "obligor": "9990000019"}, agency="SETAD-0001"))

    assert (20, "FIELD_INVALID") == (result.code, result.json["reason"])


def test_no_discloses_no_party(estelam: CommandLine) -> None:
    """A NO of the Ministry's service is the adapter's NO and discloses no party."""
    result = estelam(*VERIFY, *options(**SETTLED, agency="SETAD-0001"))

    assert (10, "NO") == (result.code, result.json["answer"])
    assert not {"obligor", "beneficiary"} & set(result.json)


def test_provider_outage_is_an_error(adapter: CommandLine, ministry: ServiceProcess) -> None:
    """An outage of the Ministry's service is an error, never a NO, and ends when the outage ends."""
    ministry.kill()
    outage = adapter(*VERIFY, *NOTE)
    ministry.start()

    assert (20, None, "PROVIDER_UNAVAILABLE") == (outage.code, outage.json["answer"], outage.json["reason"])
    # The adapter's channel reconnects after a backoff.
    assert until(lambda: adapter(*VERIFY, *NOTE, "--timeout", "10").json["reason"] == "COVERAGE_UNDECLARED")


@pytest.mark.slow
def test_receipt_with_unknown_key_is_refused(running: Sandbox) -> None:
    """An answer whose receipt is signed with an unknown key is refused."""
    trusted = {"ESTELAM_SETAD_PROVIDER_CERTIFICATES": str(running.pki / "judiciary-receipts.crt")}

    with ServiceProcess("setad", running, listen="127.0.0.1:0", environ=trusted) as doubting:
        refused = [
            CommandLine(running)(*VERIFY, *options(**note, agency="SETAD-0001"), "--address", doubting.address)
            for note in (ENDORSED, SETTLED)
        ]

    assert [(20, "PROVIDER_UNPROVEN")] * 2 == [(result.code, result.json["reason"]) for result in refused]
