"""What `estelam catalogue explain` says on the command line, to the last token of a quota."""

from pathlib import Path

import grpc
import pytest

from estelam.client.channel import ClientIdentity
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import plain_channel
from tests.e2e.conftest import NOTE, CommandLine
from tests.unit.catalogue.conftest import Edit
from tools.env.processes import ServiceProcess
from tools.env.sandbox import Sandbox

SLOW = "quota: { rate: 0.001, burst: 40, miss_cost: 6 }"


def test_what_is_left_of_a_quota_by_the_ledger_is_what_the_service_itself_says(
    loaded: Sandbox, folder: Path, edit: Edit
) -> None:
    edit("grants.yaml", "quota: { rate: 200, burst: 400, miss_cost: 20 }", SLOW)
    no = notes.CheckNoteRequest()
    no.CopyFrom(NOTE)
    no.amount_rials += 1
    estelam, said = CommandLine(loaded), ["explain", "--consumer", "setad", "--method", "CheckNote", "--json"]
    left, by_ledger = [], []

    with (
        ServiceProcess("promissory", loaded, environ={"ESTELAM_PROMISSORY_ACCESS": str(folder)}) as service,
        plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel,
    ):
        ask = PromissoryNoteInquiryServiceStub(channel).CheckNote
        for request in (NOTE, no, notes.CheckNoteRequest(), *[no] * 6):
            call = ask.future(request, timeout=10)
            if call.exception() is None or call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                left.append(int(str(dict(call.trailing_metadata())["ratelimit"]).partition("r=")[2][:9]))
                by_ledger.append(estelam("catalogue", *said, "--catalogue", str(folder)).json["quota_left"])

    assert [39, 33, 27, 21, 15, 9, 3, 0] == left
    assert [f"{tokens} of 40, by the ledger" for tokens in left] == by_ledger


def test_a_call_that_would_be_admitted_exits_0_with_grant_clause_and_quota(estelam: CommandLine) -> None:
    said = estelam("catalogue", "explain", "--consumer", "۹۹۰۰۱۱۸۷۸۵۲", "--method", "VerifyNote", "--json")

    assert (0, True, "G18", "R2.0") == (said.code, *(said.json[key] for key in ("admitted", "grant", "clause")))
    assert {"rate": 100.0, "burst": 200, "miss_cost": 1} == said.json["quota"]
    assert "told with each reply (ratelimit)" == said.json["quota_left"]


def test_a_barred_certificate_of_the_consumer_is_told(estelam: CommandLine, folder: Path) -> None:
    line = f"denied: [{{ certificate: {'ab' * 32}, party: setad, reason: lost key }}]"
    (folder / "certificates.yaml").write_text(line, "utf-8")
    words = ("catalogue", "explain", "--catalogue", str(folder), "--method", "CheckNote", "--json", "--consumer")

    barred = {name: estelam(*words, name).json["barred_certificates"] for name in ("setad", "sample-agency")}

    assert {"setad": [f"{'ab' * 32}: lost key"], "sample-agency": None} == barred


def test_a_call_that_would_be_refused_exits_20_and_says_why(estelam: CommandLine) -> None:
    said = estelam("catalogue", "explain", "--consumer", "cbi", "--method", "CheckNote", "--json")
    early = estelam("catalogue", "explain", "--consumer", "cbi", "--method", "CheckByNationalId", "--on", "1400-06-01")

    assert (20, 20) == (said.code, early.code)
    assert ["no grant names cbi for CheckNote: what is not granted is refused"] == said.json["why_not"]
    assert "G16 (R3.1.1) begins on 2021-08-24 (1400-06-02)" in early.out.replace("\n", " ")


@pytest.mark.parametrize("words", ["[/x]", "[red]", "x" * 10_000, "<script>alert(1)</script>", "\x00", "", "\u200f"])
def test_whatever_is_typed_is_a_name_that_nobody_has(estelam: CommandLine, words: str) -> None:
    said = estelam("catalogue", "explain", "--consumer", words, "--method", words)

    assert (20, "") == (said.code, said.err)
    assert "no party is called" in said.out
    assert "x" * 65 not in "".join(part.strip(" │") for part in said.out.splitlines())


def test_a_day_that_is_none_is_refused_in_words(estelam: CommandLine) -> None:
    said = estelam("catalogue", "explain", "--consumer", "cbi", "--method", "CheckNote", "--on", "1400-12-30")

    assert (1, "--on: there is no such day\n") == (said.code, said.err)


def test_the_lists_show_all_that_there_is(estelam: CommandLine) -> None:
    counts = {name: len(estelam("catalogue", name, "--json").json) for name in ("grants", "registries", "show")}

    assert {"grants": 18, "registries": 29, "show": 11} == counts
    assert {"in force"} == {grant["standing"] for grant in estelam("catalogue", "grants", "--json").json}
    assert "nocr" == estelam("catalogue", "show", "natural-person-identity", "--json").json["custodian"]
    assert (1, "nothing in the catalogue is called nothing\n") == (
        (said := estelam("catalogue", "show", "nothing")).code,
        said.err,
    )
