"""The board tells how everything stands, and where it does not know it says so: neither up nor down."""

import re
import shutil
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from estelam.core.exceptions import ServerError
from estelam.web.rendering import messages_for
from quality.attribution import TransportFailure
from quality.periods import instant_of
from quality.settings import QualitySettings
from tests.integration.quality.conftest import CHECK_NOTE, NATIONAL_ID, VERIFY_NOTE, QualityStore, at
from tests.integration.quality.dashboard.conftest import (
    CASES,
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

PAGES = ("", "outages", "agreements", "catalogue", "registries", "changes", "reports", f"services/{NOTES}")


def states(client: httpx.Client) -> dict[str, str]:
    """By method, what /status.json says it is."""
    services = client.get("/status.json").json()["services"]
    return {method["name"]: method["state"] for service in services for method in service["methods"]}


def test_each_method_stands_as_it_was_measured_last(reader: httpx.Client) -> None:
    found = reader.get("/status.json").json()
    down = next(m for s in found["services"] for m in s["methods"] if m["name"] == NATIONAL_ID)

    assert {NATIONAL_ID: "provider", CHECK_NOTE: "up", PARTIES: "up", VERIFY_NOTE: "up"}.items() <= states(
        reader
    ).items()
    assert ("provider", False) == (found["state"], found["stale"])
    assert {NOTES: "up", CASES: "provider", VERIFICATION: "up"} == {
        one["service"]["slug"]: one["state"] for one in found["services"]
    }
    assert instant_of(NOW + 1 - DOWN_MINUTES).isoformat() == down["since"]
    assert pytest.approx(100 * (1440 - DOWN_MINUTES) / 1440) == down["availability"]


def test_a_consumers_own_fault_is_its_own_and_the_method_stays_up(reader: httpx.Client) -> None:
    page = reader.get(f"/en/services/{NOTES}").text

    assert "CERTIFICATE_EXPIRED" in page
    assert "Down: consumer" in page
    assert "up" == states(reader)[CHECK_NOTE]


def test_traffic_is_counted_by_the_hour_and_by_cause(reader: httpx.Client) -> None:
    [service] = [one for one in reader.get("/status.json").json()["services"] if one["service"]["slug"] == NOTES]
    [method] = [one for one in service["methods"] if one["name"] == CHECK_NOTE]

    assert 24 == len(method["hours"])
    assert sum(hour["inquiries"] for hour in method["hours"]) == method["day"]["inquiries"] == 4 * MINUTES_WITH_TRAFFIC
    assert (3 * MINUTES_WITH_TRAFFIC, MINUTES_WITH_TRAFFIC) == (method["day"]["answered"], method["day"]["consumer"])


@pytest.mark.parametrize(("language", "words"), [("fa", "سرویسی پاسخ نمی‌دهد"), ("en", "A service does not answer")])
def test_the_overview_says_in_both_languages_what_is_down_and_what_is_to_come(
    reader: httpx.Client, language: str, words: str
) -> None:
    page = reader.get(f"/{language}/").text

    assert f"<h1>{words}</h1>" in page
    assert ("نگهداشت" if language == "fa" else "maintenance") in page


def test_a_silent_watch_is_neither_up_nor_down(watch_over: QualityStore) -> None:
    with open_dashboard(watch_over, NOW + 10) as late, late.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text

    assert found["stale"]
    assert {"unmeasured"} == {method["state"] for service in found["services"] for method in service["methods"]}
    assert "The monitor has no current data: the status is unknown" in page
    assert "All services answer" not in page


def test_a_method_that_was_not_measured_is_not_called_up(tmp_path: Path) -> None:
    watch = QualityStore(quality_home(tmp_path), after=NOW)
    watch.probe([NOW], CHECK_NOTE, "99001187852")
    with open_dashboard(watch) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text

    assert ("unmeasured", False) == (found["state"], found["stale"])
    assert "The status of some services is unknown" in page


def test_a_method_in_its_first_minute_of_service_is_not_known_yet(tmp_path: Path) -> None:
    first = at(10)
    watch = QualityStore(quality_home(tmp_path), after=first)
    services = watch.settings.catalogue / "services.yaml"
    begun = f"introduced: {instant_of(first):%Y-%m-%d}"
    services.write_text(re.sub("introduced: [0-9-]+", begun, services.read_text("utf-8")), "utf-8")
    with open_dashboard(watch, first) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/")

    assert (200, "unmeasured") == (page.status_code, found["state"])


def test_an_announced_outage_that_runs_is_shown_as_one(tmp_path: Path) -> None:
    watch = QualityStore(quality_home(tmp_path), after=NOW)
    probe_all(watch, NOW - 5, NOW + 1)
    watch.announce(NOW - 4, NOW + 60, hours=100)
    watch.announce(NOW - 4, NOW + 60, hours=100, service=CASES)
    with open_dashboard(watch) as running, running.client() as client:
        found, page = client.get("/status.json").json(), client.get("/en/").text

    assert "planned" == found["state"]
    assert "An announced outage is running" in page
    assert "maintenance" in page


def test_a_store_that_cannot_be_read_is_no_news_of_the_services(tmp_path: Path) -> None:
    settings = quality_home(tmp_path)
    shutil.rmtree(tmp_path / "store")
    with open_dashboard(QualityStore(settings)) as running, running.client() as client:
        pages = [client.get(f"/{language}/") for language in ("fa", "en")]
        data = client.get("/status.json")

    assert [503, 503, 503] == [*(page.status_code for page in pages), data.status_code]
    assert {"refused": "unavailable"} == data.json()
    for page in pages:
        assert not re.search(r"is-up|sqlite|OperationalError|Traceback", page.text)


def test_a_broken_catalogue_is_told_as_blindness_and_mended_without_a_restart(tmp_path: Path) -> None:
    watch = QualityStore(quality_home(tmp_path), after=NOW)
    grants = watch.settings.catalogue / "grants.yaml"
    kept = grants.read_text("utf-8")
    with open_dashboard(watch) as running, running.client() as client:
        grants.write_text("grants: [", "utf-8")
        broken = client.get("/en/catalogue")
        grants.write_text(kept, "utf-8")
        mended = client.get("/en/catalogue")

    assert (503, 200) == (broken.status_code, mended.status_code)


def test_every_page_is_there_in_both_languages_and_leads_to_its_twin(reader: httpx.Client) -> None:
    for page in PAGES:
        for language, other in (("fa", "en"), ("en", "fa")):
            response = reader.get(f"/{language}/{page}")

            assert 200 == response.status_code
            assert f'href="/{other}/{page}"' in response.text


def test_the_catalogue_shows_each_grant_with_clause_assents_and_quota(reader: httpx.Client) -> None:
    page = reader.get("/en/catalogue").text

    assert {f"G{number:02}" for number in range(1, 19)} <= set(re.findall(r"<small>(G[0-9]+)</small>", page))
    assert "in force" in page
    assert "R3.1.2" in page
    assert 29 == len(re.findall(r'<th scope="row">', reader.get("/fa/registries").text))


def test_a_grant_that_lacks_an_assent_is_not_shown_in_force(tmp_path: Path) -> None:
    watch = QualityStore(quality_home(tmp_path), after=NOW)
    grants = watch.settings.catalogue / "grants.yaml"
    consent = "    secretariat_consent: { on: 2021-08-24, reference: R1.0 }\n"
    grants.write_text(grants.read_text("utf-8").replace(consent, "", 1), "utf-8")
    with open_dashboard(watch) as running, running.client() as client:
        page = client.get("/en/catalogue").text

    assert "incomplete" in page
    assert "missing" in page


def test_promises_are_held_against_the_month_so_far(reader: httpx.Client) -> None:
    page = reader.get("/en/agreements").text

    assert "S01" in page
    assert "✕ Broken" in page
    assert "✓ Met" in page


def test_outages_are_told_with_cause_and_length(reader: httpx.Client) -> None:
    page = reader.get("/en/outages").text

    assert f"{DOWN_MINUTES - 1} min" in page  # the minute that runs is not over
    assert ">Provider<" in page
    assert "Announced outage:" in page


def test_reports_are_listed_and_handed_out_as_they_were_signed(reader: httpx.Client, shown: RunningDashboard) -> None:
    folder = shown.watch.settings.reports / "1405-08-consumer-cbi"
    page = reader.get("/en/reports").text
    files = {path.name: reader.get(f"/reports/{folder.name}/{path.name}") for path in folder.iterdir()}

    assert "Central Bank of I.R. Iran" in page
    assert "signature valid" in page
    assert {name: (folder / name).read_bytes() for name in files} == {name: one.content for name, one in files.items()}
    assert "default-src 'none'" in files["report.fa.html"].headers["content-security-policy"]
    assert files["figures.csv"].headers["content-disposition"].startswith("attachment")


def test_a_changed_report_is_called_so(tmp_path: Path, watch_over: QualityStore) -> None:
    reports = tmp_path / "reports"
    shutil.copytree(watch_over.settings.reports, reports)
    with (reports / "1405-08-working-group" / "figures.csv").open("ab") as file:
        file.write(b"1\r\n")
    with open_dashboard(watch_over, reports=reports) as running, running.client() as client:
        page = client.get("/en/reports").text

    assert 1 == page.count("signature INVALID")
    assert 1 == page.count("signature valid")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_report_whose_figures_cannot_be_read_does_not_vanish(
    tmp_path: Path, watch_over: QualityStore, content: bytes
) -> None:
    reports = tmp_path / "reports"
    shutil.copytree(watch_over.settings.reports, reports)
    (reports / "1405-08-working-group" / "figures.json").write_bytes(content)
    with open_dashboard(watch_over, reports=reports) as running, running.client() as client:
        page = client.get("/en/reports")

    assert 200 == page.status_code
    assert 1 == page.text.count("signature INVALID")
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
def test_what_is_not_there_is_told_in_constant_words(reader: httpx.Client, path: str) -> None:
    response = reader.get(path)

    assert 404 == response.status_code
    assert not re.search(r"<script>|xxx|nowhere|PRIVATE", response.text)


def test_the_dictionary_stands_by_itself_under_a_policy_of_its_own(reader: httpx.Client) -> None:
    response = reader.get("/dictionary")

    assert "سریال سفته" in response.text
    assert "script-src 'sha256-" in response.headers["content-security-policy"]


def test_nothing_can_be_changed_through_the_board(reader: httpx.Client) -> None:
    assert {405} == {reader.post(f"/en/{page}").status_code for page in PAGES}


def test_a_browser_is_held_to_strict_rules_on_every_page(reader: httpx.Client) -> None:
    for path in (*(f"/en/{page}" for page in PAGES), "/nowhere/at/all", "/static/site.css"):
        response = reader.get(path)

        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "unsafe" not in response.headers["content-security-policy"]
        assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|(?<![a-z:])//[a-z]", response.text)


def test_another_name_for_this_host_is_refused(reader: httpx.Client) -> None:
    assert 400 == reader.get("/fa/", headers={"host": "evil.example"}).status_code


def test_the_board_listens_on_this_host_alone_and_needs_its_port(
    watch_over: QualityStore, shown: RunningDashboard
) -> None:
    taken = shown.address.partition("localhost")[2]
    with pytest.raises(ValidationError, match="must be a loopback address"):
        QualitySettings.model_validate(watch_over.settings.model_dump() | {"listen": "0.0.0.0:8081"})
    with (
        pytest.raises(ServerError, match="is another server there"),
        open_dashboard(watch_over, listen=f"127.0.0.1{taken}"),
    ):
        pass


def test_every_word_is_there_in_both_languages() -> None:
    fa, en = (messages_for("quality.dashboard", language) for language in ("fa", "en"))

    assert fa.keys() == en.keys()
    assert all((*fa.values(), *en.values()))
    assert {f"transport_{reason}" for reason in TransportFailure} <= fa.keys()
