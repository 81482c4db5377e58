"""`estelam catalogue explain` and the lists on the command line."""

from pathlib import Path

import grpc
import pytest

from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import plain_channel
from tests.e2e.conftest import NOTE, CommandLine
from tests.unit.catalogue.conftest import Edit

SLOW_QUOTA = "quota: { rate: 0.001, burst: 40, miss_cost: 6 }"


def test_remaining_quota(loaded: Sandbox, folder: Path, edit: Edit) -> None:
    """The remaining quota computed from the ledger equals the one in the service's own metadata."""
    edit("grants.yaml", "quota: { rate: 200, burst: 400, miss_cost: 20 }", SLOW_QUOTA)
    wrong_amount = notes.CheckNoteRequest()
    wrong_amount.CopyFrom(NOTE)
    wrong_amount.amount_rials += 1
    estelam, explain = CommandLine(loaded), ["explain", "--consumer", "setad", "--method", "CheckNote", "--json"]
    by_service, by_ledger = [], []

    with (
        ServiceProcess("promissory", loaded, environ={"ESTELAM_PROMISSORY_ACCESS": str(folder)}) as service,
        plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel,
    ):
        ask = PromissoryNoteInquiryServiceStub(channel).CheckNote
        for request in (NOTE, wrong_amount, notes.CheckNoteRequest(), *[wrong_amount] * 6):
            call = ask.future(request, timeout=10)
            if call.exception() is None or call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                by_service.append(int(str(dict(call.trailing_metadata())["ratelimit"]).partition("r=")[2][:9]))
                by_ledger.append(estelam("catalogue", *explain, "--catalogue", str(folder)).json["quota_left"])

    assert [39, 33, 26, 20, 14, 8, 2, 0] == by_service
    assert [f"{tokens} of 40, by the ledger" for tokens in by_service] == by_ledger


def test_authorized_call(estelam: CommandLine) -> None:
    """An authorized call exits 0 and shows grant, clause and quota; digits may be Persian."""
    result = estelam("catalogue", "explain", "--consumer", "۹۹۰۰۱۱۸۷۸۵۲", "--method", "VerifyNote", "--json")

    assert (0, True, "G18", "R2.0") == (result.code, *(result.json[key] for key in ("admitted", "grant", "clause")))
    assert {"rate": 100.0, "burst": 200, "miss_cost": 1} == result.json["quota"]
    assert "in the ratelimit metadata of each reply" == result.json["quota_left"]


def test_denied_certificates(estelam: CommandLine, folder: Path) -> None:
    """The consumer's denied certificates are listed, another party's are not."""
    line = f"denied: [{{ key: {'ab' * 32}, party: setad, reason: lost key }}]"
    (folder / "certificates.yaml").write_text(line, "utf-8")
    command = ("catalogue", "explain", "--catalogue", str(folder), "--method", "CheckNote", "--consumer")

    denied = {
        name: estelam(*command, name, "--json").json["denied_certificates"] for name in ("setad", "sample-agency")
    }
    verdict, certificates, *_ = estelam(*command, "setad").out.splitlines()

    assert {"setad": [f"{'ab' * 32}: lost key"], "sample-agency": None} == denied
    assert ["admitted", "only", "with", "a", "certificate", "that", "is", "not", "denied"] == verdict.split()
    assert certificates.startswith("denied certificates")


def test_denied_call(estelam: CommandLine) -> None:
    """A call that would be refused exits 20 and shows the reasons."""
    result = estelam("catalogue", "explain", "--consumer", "cbi", "--method", "CheckNote", "--json")
    early = estelam("catalogue", "explain", "--consumer", "cbi", "--method", "CheckByNationalId", "--on", "1400-06-01")

    assert (20, 20) == (result.code, early.code)
    assert ["no grant names cbi for CheckNote"] == result.json["why_not"]
    assert "G16 (R3.1.1) begins on 1400-06-02 (2021-08-24)" in early.out.replace("\n", " ")


@pytest.mark.parametrize("name", ["[/x]", "[red]", "x" * 10_000, "<script>alert(1)</script>", "\x00", "", "\u200f"])
def test_unknown_names(estelam: CommandLine, name: str) -> None:
    """Any text is safe as a name: it is refused as unknown, cut to 64 characters and not interpreted as markup."""
    result = estelam("catalogue", "explain", "--consumer", name, "--method", name)

    assert (2, "") == (result.code, result.out)
    assert "no party is named" in result.err
    assert "x" * 65 not in result.err


@pytest.mark.parametrize("command", ["grants --consumer", "explain --method CheckNote --consumer", "show"])
def test_unknown_filter(estelam: CommandLine, command: str) -> None:
    """A filter that matches nothing known is refused with the known names: no empty table and no denial."""
    result = estelam("catalogue", *command.split(), "nobody")

    assert (2, "") == (result.code, result.out)
    assert "is named nobody; known: " in result.err
    assert "setad" in result.err


def test_filter_without_matches(estelam: CommandLine) -> None:
    """A party that the catalogue knows and that holds no grant gives an empty list."""
    assert (0, []) == ((result := estelam("catalogue", "grants", "--consumer", "mefa", "--json")).code, result.json)


def test_impossible_day(estelam: CommandLine) -> None:
    """A date that does not exist exits 2 with one line."""
    result = estelam("catalogue", "explain", "--consumer", "cbi", "--method", "CheckNote", "--on", "1400-12-30")

    assert (2, "--on 1400-12-30: is a day that its calendar does not have; check month and day\n") == (
        result.code,
        result.err,
    )


def test_lists(estelam: CommandLine) -> None:
    """The lists show every record of the catalogue."""
    counts = {name: len(estelam("catalogue", name, "--json").json) for name in ("grants", "registries", "show")}

    assert {"grants": 24, "registries": 29, "show": 12} == counts
    staged = {("banks", "staged, not active")}
    listed = {(grant["consumer"], grant["status"]) for grant in estelam("catalogue", "grants", "--json").json}
    assert {"in force"} == {status for _, status in listed - staged}
    assert staged <= listed
    assert "nocr" == estelam("catalogue", "show", "natural-person-identity", "--json").json["custodian"]
