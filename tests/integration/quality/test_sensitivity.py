"""Sensitivity of the quality store and the reports: of requests and replies, they contain open values only."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.data_model.model import load
from estelam.inquiry.v1 import data_model_pb2 as pb
from estelam.storage.store import AccessMode, Store
from quality import repository
from quality.periods import Month, minute_of
from quality.records import PlannedOutage
from quality.report.generate import GeneratedReport, generate_reports
from quality.report.i18n import Localizer
from quality.settings import QualitySettings
from sataad_adapter.service import run_adapter
from tests.conftest import judiciary_opening, plain_channel, promissory_opening
from tests.guarantees.test_8_no_identifier_leaks import (
    CALLS,
    CANARIES,
    OBLIGOR,
    OK,
    Call,
    Connections,
    create_sandbox,
    leaks,
)
from tests.integration.quality.monitored_services import (
    CASES,
    NOTES,
    VERIFICATION,
    monitor_rounds,
    probe_results,
    settings_of,
    traffic,
)
from tests.support.sensitivity import FIELDS, stands_in, values
from tests.support.service import RunningService
from tools.commands.report import READERS

pytestmark = pytest.mark.timeout(180)

PAGES = ("figures.csv", "figures.json", "report.en.html", "report.fa.html")


@dataclass(frozen=True)
class Artifacts:
    """A quality store that monitored real services, and its reports for all audiences."""

    messages: list[Message]
    """Requests and replies."""
    settings: QualitySettings
    reports: list[GeneratedReport]

    @property
    def store(self) -> Path:
        return Path(self.settings.store.removeprefix("sqlite:///"))

    def files(self) -> dict[str, bytes]:
        """Content of all files of the store and the reports."""
        found = (path for folder in (self.store, self.settings.reports) for path in folder.rglob("*") if path.is_file())
        return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    sandbox = create_sandbox(tmp_path_factory.mktemp("canaries") / "suite")
    with services(sandbox) as addresses:
        settings = settings_of(
            sandbox,
            sandbox.folder / "quality",
            {NOTES: addresses["promissory"], CASES: addresses["judiciary"], VERIFICATION: addresses["setad"]},
            probe_requests={way.method: MessageToDict(read(way.method, way.request)) for way in reversed(ANSWERED)},
        )
        Connections(sandbox, addresses).make(*CALLS)
        messages = [message for way in ANSWERED for message in ask(sandbox, addresses, way)]
        monitor_rounds(settings, rounds=2)
    return Artifacts(messages, settings, written(settings))


ANSWERED = [way for way in CALLS if way.ends == OK and way.caller != "agency"]  # whose quota is one inquiry


@contextlib.contextmanager
def services(sandbox: Sandbox) -> Iterator[Mapping[str, str]]:
    """The addresses of three running services."""
    with contextlib.ExitStack() as running:
        openings = {
            "promissory": promissory_opening(sandbox, shutdown_delay_seconds=0),
            "judiciary": judiciary_opening(sandbox, shutdown_delay_seconds=0),
        }
        started = {name: running.enter_context(RunningService(opening)) for name, opening in openings.items()}
        front = sandbox.setad(listen="127.0.0.1:0", provider=started["promissory"].address, shutdown_delay_seconds=0)
        started["setad"] = running.enter_context(RunningService(lambda: run_adapter(front)))
        yield {name: service.address for name, service in started.items()}


def ask(sandbox: Sandbox, addresses: Mapping[str, str], way: Call) -> Iterator[Message]:
    """Request and reply of the call *way*."""
    with plain_channel(addresses[way.method.split(".")[1]], ClientIdentity.named(sandbox.pki, way.caller)) as channel:
        rpc: Any = channel.unary_unary(f"/{way.method}")
        reply = rpc(way.request, timeout=20, metadata=list(way.metadata.items()))
    yield read(way.method, way.request)
    yield read(way.method, reply, reply=True)


def read(method: str, messages: bytes, *, reply: bool = False) -> Message:
    service, _, name = method.partition("/")
    kinds = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    return message_factory.GetMessageClass(kinds.output_type if reply else kinds.input_type).FromString(messages)


def written(settings: QualitySettings) -> list[GeneratedReport]:
    """Reports of this month for all audiences, two minutes from now, because the running minute is left out."""
    later = Clock().micros() + 120_000_000
    clock = replace(Clock(), micros=lambda: later)
    return generate_reports(settings, month=str(Month.of(clock.now())), audiences=READERS, clock=clock)


def printed(value: str) -> Iterator[str]:
    """*value* as a report may print it: in the digits of either language, whole or in groups."""
    persian, english = Localizer("fa"), Localizer("en")
    yield from (value, persian.digits(value))
    if value.isdecimal():
        yield from (persian.count(int(value)), english.count(int(value)))


def contains(value: object, content: bytes) -> bool:
    if isinstance(value, bytes):
        return stands_in(value, content)
    return any(stands_in(form, content) for form in printed(str(value)))


def test_inquiries_are_monitored_and_reported(artifacts: Artifacts) -> None:
    """The inquiries of the test are in the store and in the reports, so that the search below is meaningful."""
    methods = {way.method.partition("/")[2] for way in CALLS if way.ends == OK}
    told_in = {Path(name).name for name in artifacts.files()}

    assert methods - {"VerifyNote"} == {method for method, _ in traffic(artifacts.settings)}
    assert methods == {method for method, _ in probe_results(artifacts.settings)}
    assert {"facts.db", *PAGES} <= told_in
    assert len(READERS) == len(artifacts.reports)
    assert all(one.inquiries for one in artifacts.reports)


def test_no_sensitive_values(artifacts: Artifacts) -> None:
    """Neither the store nor a report contains a value whose sensitivity is not open."""
    found = [(field, value) for message in artifacts.messages for field, value in values(message)]
    levels = {field.doc.sensitivity for field, _ in found}
    kept = {
        (name, field.doc.full_name)
        for name, content in artifacts.files().items()
        for field, value in found
        if contains(value, content)
    }

    assert {pb.SENSITIVITY_OFFICIAL, pb.SENSITIVITY_PERSONAL, pb.SENSITIVITY_SECRET} <= levels
    assert set() == {(name, field) for name, field in kept if FIELDS[field].doc.sensitivity != pb.SENSITIVITY_OPEN}


def test_no_identifiers(artifacts: Artifacts) -> None:
    """Neither the store nor a report contains an identifier from an answered or refused inquiry."""
    searched = [form for canary in (*CANARIES, "CANARY") for form in printed(canary)]
    found = {name: leaks(content, searched) for name, content in artifacts.files().items()}

    assert {} == {name: leaked for name, leaked in found.items() if leaked}


def test_search_finds_values(artifacts: Artifacts, tmp_path: Path) -> None:
    """The search finds an identifier in the reason of an announcement, the one free text of a report."""
    shutil.copytree(artifacts.store, tmp_path / "quality")
    moved = {"store": f"sqlite:///{tmp_path / 'quality'}", "reports": tmp_path / "reports"}
    slipped = Artifacts(artifacts.messages, artifacts.settings.model_copy(update=moved), [])
    now = minute_of(Clock().now())
    slip = PlannedOutage(NOTES, now, now - 1, now + 60, Localizer("fa").count(int(OBLIGOR)), OBLIGOR)
    with (
        contextlib.closing(Store(slipped.settings.store, facts=AccessMode.WRITE)) as kept,
        kept.transaction() as opened,
    ):
        repository.insert_outage(opened, slip)
    written(slipped.settings)

    found = {
        Path(name).name.removesuffix("-wal") for name, content in slipped.files().items() if contains(OBLIGOR, content)
    }
    assert {"facts.db", "figures.json", "report.en.html", "report.fa.html"} == found


def test_search_is_complete(artifacts: Artifacts) -> None:
    """The search covers every field of requests and parties that is not open."""
    messages = {method.request for method in load().methods} | {"estelam.promissory.v1.Party"}
    fields = {
        field.doc.full_name
        for message, field in load().fields()
        if message.doc.full_name in messages and not field.type_ref and field.doc.sensitivity != pb.SENSITIVITY_OPEN
    }

    assert fields <= {field.doc.full_name for message in artifacts.messages for field, _ in values(message)}
