"""Setad's adapter before a real ministry: it passes on what was said and proven, and an outage is never a no."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ENDORSED, LIVE, SETTLED, CommandLine, options
from tests.e2e.test_serving import until
from tools.env import sandbox as suite
from tools.env.processes import ServiceProcess, free_ports
from tools.env.sandbox import Sandbox

VERIFY = ("setad", "verify", "--json")
NOTE = options(**ENDORSED, agency="SETAD-0001")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A suite whose ministry has loaded nothing yet."""
    return suite.create_sandbox(tmp_path_factory.mktemp("empty"), ports=free_ports("promissory", "setad"))


@pytest.fixture(scope="module")
def ministry(empty: Sandbox) -> Iterator[ServiceProcess]:
    """The ministry's service, which tests may stop if they start it again."""
    with ServiceProcess("promissory", empty) as service:
        yield service


@pytest.fixture(scope="module")
def adapter(empty: Sandbox, ministry: ServiceProcess) -> Iterator[CommandLine]:
    """The command line before an adapter that asks *ministry*."""
    with ServiceProcess("setad", empty):
        yield CommandLine(empty)


def test_the_adapter_passes_on_the_ministrys_refusal_by_its_reason(estelam: CommandLine, adapter: CommandLine) -> None:
    no_member = estelam(*VERIFY, *options(**ENDORSED, agency="SETAD-9999"))
    nothing_loaded = adapter(*VERIFY, *NOTE)

    assert (20, "AGENCY_NOT_MEMBER") == (no_member.code, no_member.json["reason"])
    assert (20, "COVERAGE_UNDECLARED") == (nothing_loaded.code, nothing_loaded.json["reason"])


def test_the_adapter_refuses_a_malformed_question_itself(estelam: CommandLine) -> None:
    said = estelam(*VERIFY, *options(**{**LIVE, "obligor": "9990000019"}, agency="SETAD-0001"))

    assert (20, "FIELD_INVALID") == (said.code, said.json["reason"])


def test_the_ministrys_no_is_the_adapters_no_and_discloses_nobody(estelam: CommandLine) -> None:
    said = estelam(*VERIFY, *options(**SETTLED, agency="SETAD-0001"))

    assert (10, "NO") == (said.code, said.json["answer"])
    assert not {"obligor", "beneficiary"} & set(said.json)


def test_an_outage_of_the_ministry_is_an_error_never_a_no_and_ends_with_it(
    adapter: CommandLine, ministry: ServiceProcess
) -> None:
    ministry.kill()
    outage = adapter(*VERIFY, *NOTE)
    ministry.start()

    assert (20, None, "PROVIDER_UNAVAILABLE") == (outage.code, outage.json["answer"], outage.json["reason"])
    # The adapter's connection to the ministry comes back in its own time.
    assert until(lambda: adapter(*VERIFY, *NOTE, "--timeout", "10").json["reason"] == "COVERAGE_UNDECLARED")


def test_an_answer_whose_receipt_is_signed_by_an_unknown_key_is_no_answer(running: Sandbox) -> None:
    trusted = {"ESTELAM_SETAD_PROVIDER_CERTIFICATES": str(running.pki / "judiciary-receipts.crt")}

    with ServiceProcess("setad", running, listen="127.0.0.1:0", environ=trusted) as doubting:
        refused = [
            CommandLine(running)(*VERIFY, *options(**note, agency="SETAD-0001"), "--address", doubting.address)
            for note in (ENDORSED, SETTLED)
        ]

    assert [(20, "PROVIDER_UNPROVEN")] * 2 == [(said.code, said.json["reason"]) for said in refused]
