"""The monthly report: content, pages, signature and commands."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from pypdf import PdfReader
from typer.testing import CliRunner

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.cli.root import application
from estelam.core.dates import format_jalali
from estelam.core.keys import verifying_keys
from estelam.core.pem import read_certificates
from estelam.core.settings_file import CONFIG
from quality import slo
from quality.attribution import Attribution
from quality.periods import instant_of
from quality.report import signing
from quality.report.generate import GeneratedReport, RenderPaper, ReportExistsError, generate_reports
from quality.report.i18n import Localizer
from quality.report.pdf import render_pdf
from quality.report.signing import ReportSignatureError
from tests.integration.quality.conftest import (
    ABAN,
    CBI,
    CHECK_NOTE,
    NATIONAL_ID,
    SETAD,
    VERIFY_NOTE,
    QualityStore,
    at,
    tally,
)
from tests.support.certificates import DAY, certificate_pem, concatenate, write_retirement
from tools.commands.reference import figures_schema

PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")


def generate(
    quality_store: QualityStore,
    audience: str = "working-group",
    *,
    force: bool = False,
    render_paper: RenderPaper | None = None,
) -> GeneratedReport:
    [found] = generate_reports(
        quality_store.settings,
        month="1405-08",
        audiences=[audience],
        clock=quality_store.clock(),
        force=force,
        render_paper=render_paper,
    )
    return found


@pytest.fixture
def busy_store(quality_store: QualityStore) -> QualityStore:
    quality_store.probe(range(at(3), at(6)), CHECK_NOTE, SETAD)
    quality_store.probe(range(at(4, 3), at(4, 9)), CHECK_NOTE, SETAD, Attribution.PROVIDER)
    for first, end in ((at(3), at(4, 3)), (at(4, 9), at(6))):
        quality_store.observe(range(first, end), CHECK_NOTE, SETAD, tally(5, consumer=1))
    quality_store.observe(range(at(4, 3), at(4, 9)), CHECK_NOTE, SETAD, tally(0, provider=5, consumer=1))
    quality_store.observe(range(at(3), at(4)), NATIONAL_ID, CBI, tally(9))
    return quality_store


def test_pages_are_self_contained(busy_store: QualityStore) -> None:
    """Both pages load nothing, run no script and have the direction of their language."""
    folder = generate(busy_store).folder

    for language, direction in (("fa", "rtl"), ("en", "ltr")):
        page = (folder / f"report.{language}.html").read_text("utf-8")
        assert f'<html lang="{language}" dir="{direction}">' in page
        assert "<script" not in page
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert "https://" not in page
        assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_formats_agree(busy_store: QualityStore) -> None:
    """HTML, CSV and JSON have the same values."""
    folder = generate(busy_store).folder

    figures = json.loads((folder / "figures.json").read_bytes())
    rows = list(csv.DictReader(io.StringIO((folder / "figures.csv").read_text("utf-8-sig"))))
    reported = next(row["value"] for row in rows if (row["scope"], row["figure"]) == ("report", "inquiries"))
    assert int(reported) == figures["counts"]["inquiries"] == 6 * 3 * 1440 + 9 * 1440
    assert f"{int(reported):,}" in (folder / "report.en.html").read_text("utf-8")


def test_paper(busy_store: QualityStore) -> None:
    """The PDF has the figures of the page, and figures.json attached; it is made again alike, and signed."""
    made = generate(busy_store, render_paper=render_pdf).folder
    paper, figures = (made / "report.en.pdf").read_bytes(), (made / "figures.json").read_bytes()
    reader = PdfReader(io.BytesIO(paper))
    text = "\n".join(page.extract_text() for page in reader.pages)
    keys = verifying_keys(busy_store.settings.signing_certificates)

    assert f"{json.loads(figures)['counts']['inquiries']:,}" in text
    assert {"figures.json": [figures]} == dict(reader.attachments)
    assert {"report.en.pdf", "report.fa.pdf"} < set(signing.verify(made, keys))
    generate(busy_store, force=True, render_paper=render_pdf)
    assert paper == (made / "report.en.pdf").read_bytes()


def test_service_without_ledger(busy_store: QualityStore) -> None:
    """A report states that inquiries without a ledger are not measured; no format says 0."""
    folder = generate(busy_store).folder

    figures = json.loads((folder / "figures.json").read_bytes())
    counts = {one["method"]: one["counts"] for one in figures["methods"]}
    days = {one["method"]: {day["counts"] is None for day in one["days"]} for one in figures["methods"]}
    rows = list(csv.DictReader(io.StringIO((folder / "figures.csv").read_text("utf-8-sig"))))
    counted = {row["subject"] for row in rows if (row["scope"], row["figure"]) == ("method", "inquiries")}
    assert (True, False) == (counts[VERIFY_NOTE] is None, counts[CHECK_NOTE] is None)
    assert ({True}, {False, True}) == (days[VERIFY_NOTE], days[CHECK_NOTE])
    assert (True, False) == (CHECK_NOTE in counted, VERIFY_NOTE in counted)
    assert "Not measured: neither calls nor a ledger were collected in this month." in (
        folder / "report.en.html"
    ).read_text("utf-8")


def test_month_before(busy_store: QualityStore) -> None:
    """A report compares itself with the published one of the month before, and with none whose signature is broken."""
    settings, clock = busy_store.settings, busy_store.clock()
    [earlier] = generate_reports(settings, month="1405-07", audiences=["working-group"], clock=clock, force=True)
    before = json.loads((generate(busy_store).folder / "figures.json").read_bytes())["before"]
    (earlier.folder / "figures.csv").write_bytes(b"changed")
    spoiled = json.loads((generate(busy_store, force=True).folder / "figures.json").read_bytes())["before"]

    assert ("1405-07", None) == (before["month"], before["availability"])
    assert spoiled is None


def test_actions(busy_store: QualityStore) -> None:
    """Each objective that was not met asks its owner for an action, in page and figures."""
    folder = generate(busy_store).folder
    figures = json.loads((folder / "figures.json").read_bytes())
    broken = [v["metric"] for one in figures["slo_results"] for v in one["verdicts"] if v["met"] is False]
    actions = [one for one in figures["actions"] if one["kind"] == "objective"]

    assert broken == [one["metric"] for one in actions] != []
    assert {"mefa", "setad", "cbi"} >= {one["owner"]["slug"] for one in actions}
    assert "State the cause and the remedy" in (folder / "report.en.html").read_text("utf-8")


def test_consumer_report_is_isolated(busy_store: QualityStore) -> None:
    """A consumer's report contains nothing of another consumer or of methods that it was not granted."""
    folder = generate(busy_store, "consumer:cbi").folder

    whole = b"".join(path.read_bytes() for path in folder.iterdir())
    assert SETAD.encode() not in whole
    assert b"CheckNote" not in whole


def test_signature(busy_store: QualityStore) -> None:
    """Verification passes for the signed files and fails if one is changed, added or missing."""
    folder = generate(busy_store).folder
    keys = verifying_keys(busy_store.settings.signing_certificates)
    page = folder / "report.fa.html"
    genuine = page.read_bytes()

    assert len(signing.verify(folder, keys)) == 4
    for spoil in (lambda: page.write_bytes(genuine + b" "), page.unlink, (folder / "more").touch):
        spoil()
        with pytest.raises(ReportSignatureError):
            signing.verify(folder, keys)
        page.write_bytes(genuine)


def test_verdicts_on_a_signature(busy_store: QualityStore, tmp_path: Path) -> None:
    """Only what was changed, or signed after the key's retirement, is INVALID; what can't be checked accuses nobody."""
    folder = generate(busy_store).folder
    (certificate,) = busy_store.settings.signing_certificates
    issued = datetime.fromisoformat(json.loads((folder / "figures.json").read_bytes())["issued"]).astimezone(UTC)
    public = read_certificates(certificate)[0].public_key()
    stranger = DevCertificateAuthority.create(tmp_path / "pki").issue_signing("stranger", "99000554330")
    earlier = concatenate(
        tmp_path / "earlier.crt",
        [certificate_pem(tmp_path / "pki", public, since=issued - 9 * DAY, until=issued - DAY)],
    )

    def verdict(*options: Path | str) -> tuple[int, str]:
        done = CliRunner().invoke(application(), ["quality", "verify", *map(str, (folder, *options))])
        return done.exit_code, (done.stderr or done.stdout).split(":")[0]

    def retired(at: datetime, reason: str) -> list[Path | str]:
        file = write_retirement(tmp_path / "list.json", certificate, at, reason)
        return ["--certificate", certificate, "--retired-keys", file]

    assert 0 == verdict("--certificate", certificate)[0]
    for unknown in (["--certificate", stranger], ["--certificate", earlier], retired(issued + DAY, "compromised")):
        assert (21, "NOT CHECKED") == verdict(*unknown)
    assert (1, "INVALID") == verdict(*retired(issued - DAY, "superseded"))
    (folder / "report.fa.html").write_text("")
    assert (1, "INVALID") == verdict("--certificate", certificate)
    (folder / "signature.json").write_text("{")
    assert (2, "MALFORMED") == verdict("--certificate", certificate)


def test_final_report_is_kept(busy_store: QualityStore) -> None:
    """A final report, or one that can't be read, is replaced only with force."""
    final = generate(busy_store).folder
    issued = (final / "figures.json").read_bytes()
    for damage in (issued, b"{", b"{}"):
        (final / "figures.json").write_bytes(damage)
        with pytest.raises(ReportExistsError, match="--force"):
            generate(busy_store)
        assert (final / "figures.json").read_bytes() == damage

    assert generate(busy_store, force=True).folder == final
    assert (final / "figures.json").read_bytes() != b"{}"


def test_month_that_was_not_measured(quality_store: QualityStore) -> None:
    """A month in which nothing was measured has no figure, is not green, and its report is replaced."""
    found = generate(quality_store)
    folder = found.folder
    figures = json.loads((folder / "figures.json").read_bytes())
    rows = list(csv.DictReader(io.StringIO((folder / "figures.csv").read_text("utf-8-sig"))))
    page = (folder / "report.en.html").read_text("utf-8")

    assert (None, None, False) == (found.inquiries, found.broken, found.is_complete)
    assert (None, None) == (figures["counts"], figures["minutes"]["up"])
    assert not [
        row for row in rows if row["figure"] in {"inquiries", "up_minutes", "provider_minutes"} and row["value"]
    ]
    assert "This month was not measured" in page
    assert "No outage was recorded" not in page
    assert 'class="tile good"' not in page
    assert generate(quality_store).folder == folder


def test_schema(busy_store: QualityStore) -> None:
    """The figures of a busy month, and of one that was not measured, follow the published schema."""
    schema = json.loads(figures_schema())
    for month in ("1405-08", "1405-07"):
        [found] = generate_reports(
            busy_store.settings, month=month, audiences=["working-group"], clock=busy_store.clock()
        )
        figures = json.loads((found.folder / "figures.json").read_bytes())
        jsonschema.validate(figures, schema, cls=jsonschema.Draft202012Validator)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(figures | {"version": 1}, schema, cls=jsonschema.Draft202012Validator)


def test_keys_of_rows(busy_store: QualityStore) -> None:
    """Each row of the CSV has a key of its own."""
    busy_store.announce(at(20), at(20, 2), hours=10)
    for audience in ("working-group", "provider:setad", "consumer:setad"):
        text = (generate(busy_store, audience).folder / "figures.csv").read_text("utf-8-sig")
        keys = [tuple(row[:-1]) for row in csv.reader(io.StringIO(text))]
        assert len(keys) == len(set(keys))


def test_interim_report_is_replaced(busy_store: QualityStore) -> None:
    """A report issued during the month is replaced by the next one, and leaves no other files."""
    after, busy_store.after = busy_store.after, at(10)
    first = generate(busy_store).folder
    busy_store.after = after
    (first / "figures.csv").unlink()

    assert generate(busy_store).folder == first
    assert (first / "figures.csv").exists()
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_outage_ended_early(busy_store: QualityStore) -> None:
    """An outage that ended early is listed with its actual and its announced end."""
    busy_store.announce(at(20), at(20, 4), hours=100)
    busy_store.end_early(1, at(20, 1))
    folder = generate(busy_store).folder

    planned = [one for one in json.loads((folder / "figures.json").read_bytes())["outages"] if one["announced"]]
    table = list(csv.reader(io.StringIO((folder / "figures.csv").read_text("utf-8-sig"))))
    ends = instant_of(at(20, 1)).isoformat(), instant_of(at(20, 4)).isoformat()
    assert [ends] == [(one["end"], one["announced_until"]) for one in planned]
    span = f"{instant_of(at(20)).isoformat()}/{ends[0]}"
    assert ["outage", "promissory-note-inquiry", "", span, "planned announced_until", ends[1]] in table
    for language, words in (("en", "announced until"), ("fa", "اعلام‌شده تا")):
        say = Localizer(language)
        page = (folder / f"report.{language}.html").read_text("utf-8")
        both = f"{say.instant(instant_of(at(20, 1)))}<small>{words} {say.instant(instant_of(at(20, 4)))}</small>"
        assert both in page


def test_outage_with_one_end(busy_store: QualityStore) -> None:
    """The page prints one end for an outage that ended as announced or was not announced."""
    busy_store.announce(at(20), at(20, 4), hours=100)
    folder = generate(busy_store).folder

    reported = {one["fault"]: one for one in json.loads((folder / "figures.json").read_bytes())["outages"]}
    assert reported["planned"]["announced_until"] == reported["planned"]["end"]
    assert reported["provider"]["announced_until"] is None
    assert "announced until" not in (folder / "report.en.html").read_text("utf-8")


def test_outage_beyond_month(busy_store: QualityStore) -> None:
    """An outage that extends beyond the month is listed with its announced end."""
    busy_store.announce(at(30, 23), ABAN.end_minute + 120, hours=100)

    [outage] = [one for one in busy_store.report().outages if one.announced]
    assert (outage.end, outage.announced_until) == (instant_of(ABAN.end_minute), instant_of(ABAN.end_minute + 120))


def test_names_are_escaped(busy_store: QualityStore) -> None:
    """Markup in catalogue names is escaped."""
    busy_store.announce(at(20), at(20, 1), hours=100)
    busy_store.edit("parties.yaml", lambda c: [party.update(fa="<script>alert(1)</script>") for party in c["parties"]])

    page = (generate(busy_store).folder / "report.fa.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_ungranted_calls(busy_store: QualityStore) -> None:
    """The minimum rules are not applied to callers that are not in the catalogue."""
    busy_store.observe([at(9)], CHECK_NOTE, "99000079195", tally(0, ungranted=4))

    report = busy_store.report()
    assert report.counts
    assert report.counts.ungranted == 4
    assert {one.consumer.slug for one in report.slo_results if one.kind == "leaving" and one.consumer} == {
        "setad",
        "cbi",
    }


@pytest.mark.parametrize(
    "change",
    [
        ("notice_hours = 72", "notice_hours = -1"),
        ('entering = "minimum-entering"', 'entering = "none"'),
        ('metric = "p95", at_most = 1000', 'metric = "p95", at_most = 1000, at_least = 1'),
        ('metric = "p95", at_most = 1000', 'metric = "beauty", at_most = 1'),
        ("at_most = 2021-03-21", "at_most = 2021-02-30"),
        ("at_most = 2021-03-21", "at_most = 0021-03-21"),
        ("at_most = 2021-03-21", "at_most = '21-03-21'"),
        ("at_most = 2021-03-21", "at_most = 1700-03-21"),
        ("at_most = 2021-03-21", "at_most = 2199-03-21"),
        ("at_most = 2021-03-21", "at_most = 7"),
        ('note-verification = "promissory-note-inquiry"', 'note-verification = "nothing"'),
    ],
)
def test_invalid_rules(quality_store: QualityStore, tmp_path: Path, change: tuple[str, str]) -> None:
    """An invalid rules file raises RulebookError with the file's name."""
    from estelam.catalogue import loader  # noqa: PLC0415

    text = quality_store.settings.rules.read_text("utf-8")
    assert change[0] in text
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text.replace(*change), "utf-8")

    with pytest.raises(slo.RulebookError, match="wrong"):
        slo.read(wrong, loader.read_catalogue(quality_store.settings.catalogue))


@pytest.mark.parametrize("written", ["1400-01-01", "'۱۴۰۰/۰۱/۰۱'", "'2021-03-21'"])
def test_bound_in_either_calendar(quality_store: QualityStore, tmp_path: Path, written: str) -> None:
    """The bound of coverage may be Jalali, as TOML's own date or as text."""
    from estelam.catalogue import loader  # noqa: PLC0415

    text = quality_store.settings.rules.read_text("utf-8")
    file = tmp_path / "rules.toml"
    file.write_text(text.replace("at_most = 2021-03-21", f"at_most = {written}"), "utf-8")

    rules = slo.read(file, loader.read_catalogue(quality_store.settings.catalogue))

    assert date(2021, 3, 21) in {objective.at_most for one in rules.set for objective in one.objectives}


@pytest.fixture
def command(quality_store: QualityStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    s = quality_store.settings
    config = tmp_path / "estelam.toml"
    config.write_text(
        f'[quality]\nstore = "{s.store}"\ncatalogue = "{s.catalogue}"\nrules = "{s.rules}"\n'
        f'signing_key = "{s.signing_key}"\nsigning_certificates = ["{s.signing_certificates[0]}"]\n'
        f'reports = "{s.reports}"\n',
        "utf-8",
    )
    monkeypatch.setenv(CONFIG, str(config))
    return CliRunner()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["report", "--month", "1499-01", "--for", "working-group"], "has not begun"),
        (["report", "--month", "1405-13", "--for", "working-group"], "written YYYY-MM"),
        (["report", "--month", "1405-08", "--for", "consumer:nobody"], "no party is named nobody; known: "),
        (["report", "--month", "1405-08", "--for", "provider:cbi"], "provides no service"),
        (["report", "--month", "1405-08", "--for", "x" * 10_000], "a report is for"),
    ],
)
def test_invalid_arguments(command: CliRunner, words: list[str], why: str) -> None:
    """Invalid arguments exit with a failure and a short message."""
    result = command.invoke(application(), ["quality", *words])

    assert result.exit_code in {1, 2}
    assert why in result.output
    assert len(result.output) < 800


def test_announce_command(command: CliRunner, quality_store: QualityStore) -> None:
    """The announce command stores a future outage and rejects a past one."""
    words = ["--service", "promissory-note-inquiry", "--reason-fa", "نگهداشت", "--reason-en", "maintenance"]
    first, end = (format_jalali(datetime.now(UTC).date() + timedelta(days)) for days in (30, 31))
    later = ["--from", f"{first} 22:00", "--until", f"{end} 02:00".translate(PERSIAN_DIGITS)]

    good = command.invoke(application(), ["quality", "outage", "announce", *words, *later, "--json"])
    past = command.invoke(
        application(),
        ["quality", "outage", "announce", *words, "--from", "1400-01-01 1:00", "--until", "1400-01-01 2:00"],
    )

    reported = json.loads(good.output)
    assert (reported["number"], reported["service"], reported["counted_apart"]) == (1, "promissory-note-inquiry", True)
    assert (past.exit_code, "the end is in the past" in past.output) == (2, True)


def test_missing_store(command: CliRunner, quality_store: QualityStore) -> None:
    """A missing store is reported without a traceback or SQL."""
    for path in Path(quality_store.settings.store.removeprefix("sqlite:///")).iterdir():
        path.unlink()

    result = command.invoke(application(), ["quality", "report", "--month", "1405-01", "--for", "working-group"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "SELECT" not in result.output
