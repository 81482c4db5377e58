"""Pages and JSON of the dashboard. A state that is not known is shown as neither up nor down."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import Connection

from estelam.core.exceptions import ServerError
from estelam.web.rendering import messages_for
from quality import ledger_states, repository
from quality.attribution import Attribution, TransportFailure
from quality.periods import Month, instant_of
from quality.records import AlarmKind, Freshness, LedgerAlarm, MetricsSample, Probe
from quality.settings import QualitySettings
from tests.integration.quality.conftest import CHECK_NOTE, NATIONAL_ID, SETAD, VERIFY_NOTE, QualityStore, at
from tests.integration.quality.dashboard.conftest import (
    CASES,
    CONSUMER_METHODS,
    DOWN_MINUTES,
    MINUTES_WITH_TRAFFIC,
    NOTES,
    NOW,
    PARTIES,
    VERIFICATION,
    RunningDashboard,
    open_dashboard,
    probe_all,
)
from tools.commands.report import quality_home

PAGES = (
    "",
    "?days=90",
    "outages",
    "agreements",
    "catalogue",
    "registries",
    "dictionary",
    "duties",
    "changes",
    "reports",
    f"services/{NOTES}",
)


def states(client: httpx.Client) -> dict[str, str]:
    """State of each method in /status.json."""
    services = client.get("/status.json").json()["services"]
    return {method["name"]: method["state"] for service in services for method in service["methods"]}


def test_method_states(client: httpx.Client) -> None:
    """/status.json has the newest state, its start and the availability of each method."""
    found = client.get("/status.json").json()
    down = next(m for s in found["services"] for m in s["methods"] if m["name"] == NATIONAL_ID)

    assert {NATIONAL_ID: "provider", CHECK_NOTE: "up", PARTIES: "up", VERIFY_NOTE: "up"}.items() <= states(
        client
    ).items()
    assert ("provider", False) == (found["state"], found["stale"])
    assert {NOTES: "up", CASES: "provider", VERIFICATION: "up"} == {
        one["service"]["slug"]: one["state"] for one in found["services"]
    }
    assert instant_of(NOW + 1 - DOWN_MINUTES).isoformat() == down["since"]
    assert pytest.approx(100 * (1440 - DOWN_MINUTES) / 1440) == down["availability"]


def test_periods(client: httpx.Client) -> None:
    """A page of 90 days has a bar for each, and the link to the other language keeps the period."""
    page = client.get(f"/en/services/{CASES}?days=90").text
    band = page.partition('<div class="band">')[2].partition("</div>")[0]

    assert 90 == band.count(" x=") - band.count('class="provider"')
    assert f'href="../../en/outages?month={Month.of(instant_of(NOW))}"' in band
    assert f'href="../../fa/services/{CASES}?days=90"' in page


@pytest.mark.parametrize(("path", "status"), [("?days=2", 400), ("?day=7", 400), ("outages?month=1399-01", 404)])
def test_wrong_query(client: httpx.Client, path: str, status: int) -> None:
    """A period that a page does not have is refused in a page."""
    found = client.get(f"/en/{path}")

    assert (status, "text/html; charset=utf-8") == (found.status_code, found.headers["content-type"])


@pytest.mark.parametrize(
    ("search", "parties", "methods"),
    [
        ("", {"setad", "cbi"}, {"promissory-note-inquiry", "cheque-case-inquiry"}),
        ("CheckNote", {"setad"}, {NOTES}),
        ("بانك مركزي", {"cbi"}, {CASES}),
    ],
)
def test_catalogue_search(client: httpx.Client, search: str, parties: set[str], methods: set[str]) -> None:
    """The matrix has the organisations and methods that a search finds, in Arabic letters too."""
    page = client.get("/fa/catalogue", params={"q": search}).text
    table = page.partition('<table class="matrix">')[2].partition("</table>")[0]
    head, body = table.partition("</thead>")[::2]

    assert parties <= set(re.findall(r'scope="row"><a href="[^"]*parties/([^"]+)"', body))
    assert methods <= set(re.findall(r'href="#([^"]+)"', head))
    assert not search or ({"setad", "cbi"} - parties).isdisjoint(re.findall(r'parties/([^"#]+)"', body))


def test_quota_in_words(client: httpx.Client) -> None:
    """An organisation's page states each quota in a sentence; an organisation that does not exist has no page."""
    assert "inquiries a second and, after a pause, up to" in client.get("/en/parties/setad").text
    assert 404 == client.get("/en/parties/nobody").status_code


def test_listed_service(tmp_path: Path) -> None:
    """A listed service shows what its probes found, in page, JSON and headline; one without a probe is not measured."""
    quality_store = QualityStore(quality_home(tmp_path / "quality"), after=NOW)
    probe_all(quality_store, NOW - 60, NOW + 1)
    quality_store.write(
        repository.save_probes,
        *(Probe(minute, "tax-debt", "", Attribution.PROVIDER, "SERVER_ERROR") for minute in range(NOW - 60, NOW + 1)),
    )
    with open_dashboard(quality_store) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text
        outages = client.get("/en/outages").text

    states = {one["name"]: one["state"] for one in found["listed"]}
    assert ("provider", "unmeasured") == (states["tax-debt"], states["academic-degree"])
    assert "provider" in found["states"]
    assert "answered the probe with an error of its own" in page
    assert 5 == page.count('is-unmeasured"><svg')
    assert "Tax debt" in outages


def test_nothing_found(client: httpx.Client) -> None:
    """A search that finds nothing says so, and shows what was searched for as text."""
    page = client.get("/en/catalogue", params={"q": '"><b>'}).text

    assert "No grant matches this search." in page
    assert 'value="&#34;&gt;&lt;b&gt;"' in page


def test_earlier_month(client: httpx.Client) -> None:
    """The outages of an earlier month are on a page of their own."""
    assert '<h2 id="month">Mehr 1405</h2>' in client.get("/en/outages?month=1405-07").text


def test_consumer_fault(client: httpx.Client) -> None:
    """A consumer's own fault is running_dashboard for that consumer, and the method stays up."""
    page = client.get(f"/en/services/{NOTES}").text

    assert "CERTIFICATE_EXPIRED" in page
    assert "Down: consumer" in page
    assert "up" == states(client)[CHECK_NOTE]


def test_traffic(client: httpx.Client) -> None:
    """Traffic is counted by hour and attribution."""
    [service] = [one for one in client.get("/status.json").json()["services"] if one["service"]["slug"] == NOTES]
    [method] = [one for one in service["methods"] if one["name"] == CHECK_NOTE]

    assert 24 == len(method["hours"])
    assert sum(hour["inquiries"] for hour in method["hours"]) == method["day"]["inquiries"] == 4 * MINUTES_WITH_TRAFFIC
    assert (3 * MINUTES_WITH_TRAFFIC, MINUTES_WITH_TRAFFIC) == (method["day"]["answered"], method["day"]["consumer"])


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("fa", "سنجیده نمی‌شود: نه شمار فراخوانی‌ها خوانده می‌شود و نه دفتری"),
        ("en", "Not measured: neither its calls nor its ledger are collected"),
    ],
)
def test_service_without_ledger(client: httpx.Client, language: str, words: str) -> None:
    """The inquiries of a service without a ledger are not measured, which is not 0, in JSON and on every page."""
    methods = {m["name"]: m for s in client.get("/status.json").json()["services"] for m in s["methods"]}
    overview, own, other = (
        client.get(f"/{language}/{page}").text for page in ("", f"services/{VERIFICATION}", f"services/{NOTES}")
    )

    assert (None, []) == (methods[VERIFY_NOTE]["day"], methods[VERIFY_NOTE]["hours"])
    assert methods[CHECK_NOTE]["day"]["inquiries"] > 0
    assert 0 == methods[PARTIES]["day"]["inquiries"]  # of a service with a ledger
    assert [True, True, False] == [words in page for page in (overview, own, other)]


@pytest.mark.parametrize(("language", "words"), [("fa", "سرویسی پاسخ نمی‌دهد"), ("en", "A service does not answer")])
def test_overview(client: httpx.Client, language: str, words: str) -> None:
    """The overview shows the worst state and announced outages in both languages."""
    page = client.get(f"/{language}/").text

    assert f"<h1>{words}</h1>" in page
    assert ("نگهداشت" if language == "fa" else "maintenance") in page


def test_stale_data(observed_day: QualityStore) -> None:
    """Without recent probes every state is unknown."""
    with open_dashboard(observed_day, NOW + 10) as late, late.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text

    assert (1, True) == (found["version"], found["stale"])
    assert {"unmeasured"} == {method["state"] for service in found["services"] for method in service["methods"]}
    assert "The monitor has no current data: the status is unknown" in page
    assert "All services answer" not in page


def test_month_agrees_with_present(quality_store: QualityStore) -> None:
    """The month counts the current minute's failure, and states its time and how much of it was measured."""
    quality_store.after = NOW
    quality_store.probe([NOW], CHECK_NOTE, SETAD, Attribution.PROVIDER)
    with open_dashboard(quality_store) as running, running.client() as client:
        page, outages = client.get("/en/").text, client.get("/en/outages").text

    assert "<strong>\u20660%\u2069</strong>" in page
    assert "share of time measured:" in page
    assert "As of" in page
    assert "As of" in outages


def test_unmeasured_method(tmp_path: Path) -> None:
    """A method that was not measured is not running_dashboard as up."""
    quality_store = QualityStore(quality_home(tmp_path), after=NOW)
    quality_store.probe([NOW], CHECK_NOTE, "99001187852")
    with open_dashboard(quality_store) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text

    assert ("unmeasured", False) == (found["state"], found["stale"])
    assert "The status of some services is unknown" in page


def test_new_method(tmp_path: Path) -> None:
    """A method in its first minute of service is unknown."""
    first = at(10)
    quality_store = QualityStore(quality_home(tmp_path), after=first)
    services = quality_store.settings.catalogue / "services.yaml"
    begun = f"introduced: {instant_of(first):%Y-%m-%d}"
    services.write_text(re.sub("ordered: [0-9-]+", begun, services.read_text("utf-8")), "utf-8")
    with open_dashboard(quality_store, first) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/")

    assert (200, ["stale"]) == (page.status_code, found["states"])


def test_running_outage(tmp_path: Path) -> None:
    """A running announced outage is running_dashboard as planned, with its reason."""
    quality_store = QualityStore(quality_home(tmp_path), after=NOW)
    probe_all(quality_store, NOW - 5, NOW + 1)
    quality_store.announce(NOW - 4, NOW + 60, hours=100)
    quality_store.announce(NOW - 4, NOW + 60, hours=100, service=CASES)
    with open_dashboard(quality_store) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text

    assert "planned" == found["state"]
    assert "An announced outage is running" in page
    assert "maintenance" in page


ALARM = LedgerAlarm(NOTES, AlarmKind.FORK, NOW - 300, "verified", "found", "")


@pytest.mark.parametrize(
    ("problem", "state", "headline"),
    [
        (lambda store: store.write(_raise, ALARM), "alarm", "A service&#39;s ledger is not what was verified before"),
        (
            lambda store: store.write(repository.save_freshness, Freshness(NOW, NOTES, 24 * 60 + 1, None)),
            "outdated",
            "The data of a service is too old",
        ),
        (
            lambda store: store.write(repository.save_metrics_samples, MetricsSample(NOW, NOTES, "NOT_SERVING")),
            "not_serving",
            "A service reports that it is not serving",
        ),
    ],
)
def test_problem_of_answering_service(
    quality_store: QualityStore, problem: Callable[[QualityStore], None], state: str, headline: str
) -> None:
    """While any problem of a service is known, the headline and the service's badge state it, whatever it answers."""
    for method, consumer in CONSUMER_METHODS:
        quality_store.probe([NOW], method, consumer)
    quality_store.write(repository.save_freshness, Freshness(NOW - 1, NOTES, 24 * 60, None))
    with open_dashboard(quality_store) as running, running.client() as client:
        assert "<h1>All services answer</h1>" in client.get("/en/").text
    problem(quality_store)
    with open_dashboard(quality_store) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text

    assert f"<h1>{headline}</h1>" in page
    assert "All services answer" not in page
    assert (state, [state]) == (found["state"], found["states"])
    assert {NOTES: state, CASES: "up", VERIFICATION: "up"} == {
        one["service"]["slug"]: one["state"] for one in found["services"]
    }


def test_several_problems(quality_store: QualityStore) -> None:
    """The headline names every problem, the worst first; an alarm until it is acknowledged, whatever is not known."""
    probe_all(quality_store, NOW - 5, NOW + 1)
    quality_store.write(_raise, ALARM)
    with open_dashboard(quality_store) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text
    with open_dashboard(quality_store, NOW + 10) as late, late.client() as client:
        silent = client.get("/status.json").json()["states"]
    quality_store.write(lambda opened, _: ledger_states.acknowledge(opened, 1, minute=NOW, operator="o", reason="r"))
    with open_dashboard(quality_store) as running, running.client() as client:
        acknowledged = client.get("/status.json").json()["states"]

    assert (["provider", "alarm"], ["alarm", "stale"], ["provider"]) == (found["states"], silent, acknowledged)
    assert "<h1>A service does not answer</h1>" in page
    assert "A service&#39;s ledger is not what was verified before:" in page


def _raise(opened: Connection, alarms: tuple[LedgerAlarm, ...]) -> None:
    for alarm in alarms:
        ledger_states.raise_alarm(opened, alarm)


def test_unreadable_store(tmp_path: Path) -> None:
    """An unreadable store yields 503 without a state or details."""
    settings = quality_home(tmp_path)
    shutil.rmtree(tmp_path / "store")
    with open_dashboard(QualityStore(settings)) as running, running.client() as client:
        pages = [client.get(f"/{language}/") for language in ("fa", "en")]
        data = client.get("/status.json")

    assert [503, 503, 503] == [*(page.status_code for page in pages), data.status_code]
    assert {"refused": "unavailable"} == data.json()
    for page in pages:
        assert not re.search(r"is-up|sqlite|OperationalError|Traceback", page.text)


def test_invalid_catalogue(tmp_path: Path) -> None:
    """An invalid catalogue yields 503 until it is fixed, without a restart."""
    quality_store = QualityStore(quality_home(tmp_path), after=NOW)
    grants = quality_store.settings.catalogue / "grants.yaml"
    kept = grants.read_text("utf-8")
    with open_dashboard(quality_store) as running, running.client() as client:
        grants.write_text("grants: [", "utf-8")
        broken = client.get("/en/catalogue")
        grants.write_text(kept, "utf-8")
        mended = client.get("/en/catalogue")

    assert (503, 200) == (broken.status_code, mended.status_code)


def test_languages(client: httpx.Client) -> None:
    """Every page exists in both languages and links to the other."""
    for page in PAGES:
        for language, other in (("fa", "en"), ("en", "fa")):
            response = client.get(f"/{language}/{page}")

            assert 200 == response.status_code
            assert f'href="{"../" * (1 + page.count("/"))}{other}/{page}"' in response.text
            assert not re.search(r'(href|src|action)="/', response.text)


def test_catalogue(client: httpx.Client) -> None:
    """The catalogue page lists every grant with clause, approvals and quota."""
    page = client.get("/en/catalogue").text

    assert {f"G{number:02}" for number in range(1, 19)} <= set(re.findall(r"<small>(G[0-9]+)</small>", page))
    assert "in force" in page
    assert "R3.1.2" in page
    assert 29 == len(re.findall(r'<th scope="row">', client.get("/fa/registries").text))


def test_incomplete_grant(tmp_path: Path) -> None:
    """A grant without an approval is running_dashboard as incomplete."""
    quality_store = QualityStore(quality_home(tmp_path), after=NOW)
    grants = quality_store.settings.catalogue / "grants.yaml"
    consent = "    secretariat_consent: { on: 2021-08-24, reference: R1.0 }\n"
    grants.write_text(grants.read_text("utf-8").replace(consent, "", 1), "utf-8")
    with open_dashboard(quality_store) as running, running.client() as client:
        page = client.get("/en/catalogue").text

    assert "incomplete" in page
    assert "missing" in page


def test_agreements(client: httpx.Client) -> None:
    """The agreements page shows the results of the month so far."""
    page = client.get("/en/agreements").text

    assert "S01" in page
    assert "✕ Broken" in page
    assert "✓ Met" in page


def test_outages(client: httpx.Client) -> None:
    """The outages page lists outages with attribution and duration."""
    page = client.get("/en/outages").text

    assert f"{DOWN_MINUTES} min" in page  # with the running minute
    assert ">Provider<" in page
    assert "<small>Cheque cases by national number (method one)</small>" in page
    assert "Announced outage:" in page


def test_reports(client: httpx.Client, running_dashboard: RunningDashboard) -> None:
    """Reports are listed, and their files are returned byte for byte."""
    folder = running_dashboard.quality_store.settings.reports / "1405-08-consumer-cbi"
    page = client.get("/en/reports").text
    files = {path.name: client.get(f"/reports/{folder.name}/{path.name}") for path in folder.iterdir()}

    assert "Central Bank of I.R. Iran" in page
    assert "signature valid" in page
    assert {name: (folder / name).read_bytes() for name in files} == {name: one.content for name, one in files.items()}
    assert "default-src 'none'" in files["report.fa.html"].headers["content-security-policy"]
    assert files["figures.csv"].headers["content-disposition"].startswith("attachment")


def test_changed_report(tmp_path: Path, observed_day: QualityStore) -> None:
    """A changed report is listed with an invalid signature."""
    reports = tmp_path / "reports"
    shutil.copytree(observed_day.settings.reports, reports)
    with (reports / "1405-08-working-group" / "figures.csv").open("ab") as file:
        file.write(b"1\r\n")
    with open_dashboard(observed_day, reports=reports) as running, running.client() as client:
        page = client.get("/en/reports").text

    assert 1 == page.count(">signature INVALID</strong>")
    assert 1 == page.count(">signature valid</span>")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_unreadable_report(tmp_path: Path, observed_day: QualityStore, content: bytes) -> None:
    """A report that can't be read is listed with an invalid signature."""
    reports = tmp_path / "reports"
    shutil.copytree(observed_day.settings.reports, reports)
    (reports / "1405-08-working-group" / "figures.json").write_bytes(content)
    with open_dashboard(observed_day, reports=reports) as running, running.client() as client:
        page = client.get("/en/reports")

    assert 200 == page.status_code
    assert 1 == page.text.count(">signature INVALID</strong>")
    assert ">1405-08-working-group</a>" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/reports/1405-08-working-group/..%2f..%2fpki%2fquality-reports.key",
        "/reports/..%2fpki/quality-reports.key",
        "/reports/1405-08-working-group/store.db",
        "/reports/1405-08-nobody/report.fa.html",
        "/de/",
        "/en/services/<script>",
        "/en/nowhere",
        f"/en/services/{'x' * 10_000}",
    ],
)
def test_not_found(client: httpx.Client, path: str) -> None:
    """An unknown path yields 404 with a constant text."""
    response = client.get(path)

    assert 404 == response.status_code
    assert not re.search(r"<script>|xxx|nowhere|PRIVATE", response.text)


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [
        ("?q=%DA%A9%D8%AF+%D9%BE%D8%B3%D8%AA%D9%8A", "estelam.promissory.v1.Party.postal_code", 5),
        ("?q=SERIAL&level=PERSONAL", "estelam.promissory.v1.CheckNoteRequest.serial", 9),
    ],
)
def test_dictionary(client: httpx.Client, query: str, first: str, count: int) -> None:
    """The dictionary finds fields by words of any keyboard and by sensitivity; its old address leads there."""
    found = re.findall(r'<tr id="([^"]+)"', client.get(f"/en/dictionary{query}").text)

    assert first in found
    assert len(found) < count
    assert "سریال سفته" in client.get("/dictionary").text
    assert "سریال سفته" not in client.get("/dictionary", headers={"accept-language": "en-GB"}).text
    assert 400 == client.get("/en/dictionary?level=open").status_code


@pytest.mark.parametrize("language", ["fa", "en"])
def test_page_weight(client: httpx.Client, language: str) -> None:
    """Every page, with its style and its script, is below 100 KiB without the font."""
    shared = sum(
        len(client.get(f"/static/{name}").content) for name in ("tokens.css", "base.css", "site.css", "site.js")
    )

    weights = {page: shared + len(client.get(f"/{language}/{page}").content) for page in PAGES}
    assert {} == {page: weight for page, weight in weights.items() if weight >= 100 * 1024}


def test_read_only(client: httpx.Client) -> None:
    """Every page rejects POST."""
    assert {405} == {client.post(f"/en/{page}").status_code for page in PAGES}


def test_content_security_policy(client: httpx.Client) -> None:
    """Every page has a strict content security policy and no inline script or style."""
    for path in (*(f"/en/{page}" for page in PAGES), "/nowhere/at/all", "/static/site.css"):
        response = client.get(path)

        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "unsafe" not in response.headers["content-security-policy"]
        assert not re.search(
            r"<script(?! src=\"(\.\./)*static/)|<style|\sstyle=|\son\w+=|(?<![a-z:])//[a-z]", response.text
        )


def test_foreign_host_name(client: httpx.Client) -> None:
    """A request for another host name is rejected."""
    assert 400 == client.get("/fa/", headers={"host": "evil.example"}).status_code


def test_listen_address(observed_day: QualityStore, running_dashboard: RunningDashboard) -> None:
    """The dashboard listens on loopback only, and fails if the port is in use."""
    taken = running_dashboard.address.partition("localhost")[2]
    with pytest.raises(ValidationError, match="must be a loopback address"):
        QualitySettings.model_validate(observed_day.settings.model_dump() | {"listen": "0.0.0.0:8081"})
    with (
        pytest.raises(ServerError, match="another program listens there"),
        open_dashboard(observed_day, listen=f"127.0.0.1{taken}"),
    ):
        pass


def test_messages() -> None:
    """Every message exists in both languages."""
    fa, en = (messages_for("quality.dashboard", language) for language in ("fa", "en"))

    assert fa.keys() == en.keys()
    assert all((*fa.values(), *en.values()))
    assert {f"transport_{reason}" for reason in TransportFailure} <= fa.keys()
