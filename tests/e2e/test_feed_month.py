"""One month of a court's feed as people send it: late, repeated, truncated, in two calendars and two encodings.

`pytest -s tests/e2e/test_feed_month.py` prints each command with its output, and the answers in between.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from development.sandbox import ORGANIZATIONS, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core import dates
from estelam.core.clock import TEHRAN, Clock
from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from tests.conftest import judiciary_opening, plain_channel
from tests.e2e.conftest import CommandLine, CommandResult, outcome
from tests.support.service import RunningService
from tools.env.identifiers import natural_id

HEADER = "case_number,kind,filed_on,registered_at,tracking_id,national_id,role\n"
DAYS = 30
HOUR = timedelta(hours=1)


def tracking_id(day: int) -> str:
    """The tracking id of the cheque whose case is filed on *day*."""
    return f"14050801000000{day:04}"


@dataclass
class Court:
    """A court that delivers one file a day, and the judiciary service that loads them, with the clock of that day."""

    sandbox: Sandbox
    folder: Path
    began: datetime
    now: datetime
    stub: Any = None

    @property
    def command(self) -> CommandLine:
        return CommandLine(self.sandbox)

    def run(self, *words: str | Path) -> CommandResult:
        """Run a command and print it with its output."""
        result = self.command(*words)
        shown = " ".join(word.name if isinstance(word, Path) else word for word in words)
        print(f"$ estelam {shown}", f"{result.out}{result.err}".strip(), f"[exit {result.code}]", "", sep="\n")
        return result

    def day(self, number: int) -> None:
        """Set the service's clock to the morning after *number* days."""
        self.now = self.began + timedelta(days=number) + HOUR
        print(f"--- day {number}, {dates.format_both(self.now.astimezone(TEHRAN).date())}")

    def write(self, day: int, *, jalali: bool = False, court: str = "Branch 1") -> Path:
        """Write the file that the court cuts on *day*: the case that was filed that day."""
        filed = (self.began + timedelta(days=day)).astimezone(TEHRAN).date()
        on = dates.format_jalali(filed).replace("-", "/") if jalali else filed.isoformat()
        path = self.folder / f"cases-{day:02}.csv"
        person = natural_id(999_000_100 + day)
        path.write_text(f"{HEADER}14050{day:04},CIVIL,{on},{court},{tracking_id(day)},{person},DRAWER\n", "utf-8")
        return path

    def manifest(self, path: Path, day: int, *more: str) -> CommandResult:
        """Write the manifest of *path*: number *day* + 1 of the feed, cut on that day."""
        cut = (self.began + timedelta(days=day)).isoformat()
        Path(f"{path}.manifest.json").unlink(missing_ok=True)
        return self.run("load", "manifest", path, "--feed", "cases", "--number", str(day + 1), "--cut-at", cut, *more)

    def load(self, path: Path, *more: str) -> CommandResult:
        """Load *path* with its manifest."""
        return self.run("judiciary", "load-cases", path, *more)

    def deliver(self, day: int) -> CommandResult:
        """Write, describe and load the file of *day*."""
        path = self.write(day)
        assert self.manifest(path, day).code == 0
        return self.load(path)

    def answer(self, day: int) -> str:
        """The answer, or the reason of the refusal, about the cheque whose case was filed on *day*."""
        request = pb.CheckByTrackingIdRequest(tracking_id=tracking_id(day))
        found = outcome(lambda: self.stub.CheckByTrackingId(request, timeout=10).answer)
        shown = str(found[1]) if isinstance(found, tuple) else inquiry_pb2.Answer.Name(found).removeprefix("ANSWER_")
        print(f"cheque {tracking_id(day)}: {shown}", "", sep="\n")
        return shown


@pytest.fixture
def court(sandbox: Sandbox, tmp_path: Path) -> Iterator[Court]:
    """A court whose feed began 30 days ago, and a service without data."""
    folder = tmp_path / "files"
    folder.mkdir()
    began = datetime.now(TEHRAN).replace(microsecond=0) - timedelta(days=DAYS) - 2 * HOUR
    made = Court(sandbox, folder, began, began)
    clock = Clock(lambda: int(made.now.timestamp() * 1e6), time.monotonic)
    since, lifetime = began - timedelta(days=1), timedelta(days=2 * DAYS)
    # The sandbox's own authority is not valid yet on these days.
    authority = DevCertificateAuthority.create(tmp_path / "callers", since=since)
    caller = authority.issue("cbi", [ORGANIZATIONS["cbi"]], since=since, lifetime=lifetime)
    identity = ClientIdentity(caller, caller.with_suffix(".key"), sandbox.pki / "ca.crt")
    callers = caller.with_name("ca.crt")
    opening = judiciary_opening(sandbox, clock, shutdown_delay_seconds=0, ca_certificates=callers)
    with RunningService(opening) as service, plain_channel(service.address, identity) as channel:
        made.stub = ChequeCaseInquiryServiceStub(channel)
        yield made


def first_days(court: Court) -> None:
    """The whole register in Jalali dates, and the first delta."""
    court.day(0)
    assert court.answer(1) == "COVERAGE_UNDECLARED"
    whole = court.write(0, jalali=True)
    court.manifest(whole, 0, "--whole", "--since", "1400-01-01", "--tracking-since", "1400/01/01")
    assert court.load(whole).code == 0
    assert (court.answer(0), court.answer(1)) == ("YES", "NO")
    court.day(1)
    assert court.deliver(1).code == 0
    assert court.answer(1) == "YES"


def late_file(court: Court) -> None:
    """The file of day 2 arrives after that of day 3."""
    court.day(3)
    third = court.write(3)
    court.manifest(third, 3)
    early = court.load(third)
    assert (early.code, "expected number 3" in early.err) == (1, True)
    assert court.answer(3) == "DATA_STALE"
    assert court.deliver(2).code == 0
    assert court.load(third).code == 0
    assert (court.answer(2), court.answer(3), court.answer(4)) == ("YES", "YES", "NO")


def repeated_file(court: Court) -> None:
    """The file of day 3 is sent again."""
    court.day(4)
    again = court.load(court.folder / "cases-03.csv")
    assert (again.code, "Already loaded" in again.out) == (0, True)


def file_saved_again(court: Court) -> None:
    """A clerk saves the whole register of day 0 with a spreadsheet, and loads it as that of day 4."""
    court.day(4)
    path = court.folder / "register.csv"
    rows = (court.folder / "cases-00.csv").read_text("utf-8")
    path.write_text(rows.replace(",", ";").replace("\n", "\r\n"), "utf-8-sig")
    cut = ("--replace", "--cut-at", court.now.isoformat(), "--allow-removals", "9")
    refused = court.load(path, *cut)
    assert (refused.code, "already loaded as number 1 of the feed cases" in refused.err) == (1, True)
    court.manifest(path, 4, "--whole")
    refused = court.load(path, "--allow-removals", "9")
    assert (refused.code, "already loaded as number 1 of the feed cases" in refused.err) == (1, True)
    assert (court.answer(3), court.answer(5)) == ("YES", "DATA_STALE")


def truncated_file(court: Court) -> None:
    """The file of day 4 arrives a day late, and cut off."""
    court.day(5)
    path = court.write(4)
    complete = path.read_bytes()
    court.manifest(path, 4)
    path.write_bytes(complete[:-12])
    assert court.load(path).code == 1
    assert court.answer(4) == "DATA_STALE"
    path.write_bytes(complete)
    assert court.load(path).code == 0
    assert court.deliver(5).code == 0
    assert court.answer(4) == "YES"


def file_in_windows_1256(court: Court) -> None:
    """A clerk saves the file of day 6 with a spreadsheet."""
    court.day(6)
    path = court.write(6, court="دادگاه عمومي")
    text = path.read_text("utf-8")
    path.write_text(text, "cp1256")
    refused = court.manifest(path, 6)
    assert (refused.code, "1256" in refused.out + refused.err) == (1, True)
    path.write_text(text, "utf-8")
    court.manifest(path, 6)
    assert court.load(path).code == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_month_of_a_feed(court: Court) -> None:
    """Every file loads once and in order, and between them no question gets a NO that the data does not cover."""
    first_days(court)
    late_file(court)
    repeated_file(court)
    file_saved_again(court)
    truncated_file(court)
    file_in_windows_1256(court)
    for day in range(7, DAYS + 1):
        court.day(day)
        assert court.deliver(day).code == 0

    assert (court.answer(DAYS), court.answer(DAYS + 1)) == ("YES", "NO")
    loads = court.run("load", "list", "judiciary", "--json").json
    assert [load["number"] for load in reversed(loads)] == list(range(1, DAYS + 2))
    assert court.run("ledger", "verify", "judiciary").code == 0
    wrong = court.run("judiciary", "recall", "--since", "1", "--settle", "0", "--json").json
    assert [(found["then"], found["now"]) for found in wrong] == [("NO", "YES")] * 2
