"""Commands of `estelam quality`: monthly reports and the monitor."""

from functools import partial
from pathlib import Path

from estelam.catalogue.loader import read_catalogue
from estelam.cli import output
from estelam.cli.serve import service_errors
from estelam.cli.signing_keys import named_keys
from estelam.cli.verdicts import EXIT_CODES
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.core.settings import load_settings
from estelam.ledger.errors import LedgerCorruptError
from quality import service as process
from quality import slo
from quality.documents import drafts
from quality.monitor import call_collector, config_check, ledger_collector
from quality.report import generate, signing
from quality.settings import QualitySettings


def serve(listen: str | None, port_file: Path | None, *, as_json: bool) -> None:
    """Monitor all services until SIGTERM."""
    with service_errors(as_json=as_json):
        process.main(partial(load_settings, QualitySettings, listen=listen), port_file)


def check(*, as_json: bool) -> None:
    """Validate rules, agreements and the monitor's settings."""
    with output.user_errors(as_json=as_json):
        found = config_check.find_problems(load_settings(QualitySettings), Clock())
    if found:
        fields = [{"field": None, "rule": "quality", "description": text} for text in found]
        output.exit_error("\n".join(found), as_json=as_json, fields=fields)
    output.print_record({"valid": True}, as_json=as_json)


def report(month: str, audience: list[str], *, pdf: bool, force: bool, as_json: bool) -> None:
    """Write the reports of *month* for each of *audience*."""
    render_paper: generate.RenderPaper | None = None
    if pdf:
        from quality.report.pdf import render_pdf  # noqa: PLC0415 - needs the extra pdf

        render_paper = render_pdf
    with output.user_errors(as_json=as_json), output.progress("reports written", as_json=as_json, total=len(audience)):
        written = generate.generate_reports(
            load_settings(QualitySettings),
            month=month,
            audiences=audience,
            clock=Clock(),
            force=force,
            render_paper=render_paper,
        )
    rows = [(one.folder, one.inquiries, one.broken, one.interim, one.is_complete) for one in written]
    output.print_rows(("folder", "inquiries", "objectives_broken", "interim", "is_complete"), rows, as_json=as_json)


def agreement(number: str, *, as_json: bool) -> None:
    """Print the agreement of that *number* for signature."""
    with output.user_errors(as_json=as_json):
        settings = load_settings(QualitySettings)
        catalogue = read_catalogue(settings.catalogue)
        found = drafts.find_agreement(catalogue, number)
        text = drafts.agreement_text(catalogue, slo.read(settings.rules, catalogue), found)
        signed = {one.party: one.on for one in found.signatures}
    if as_json:
        parties = [{"party": each, "signed": signed.get(each)} for each in drafts.signatories(catalogue, found)]
        output.print_record({"number": number, "parties": parties, "text": text}, as_json=True)
    else:
        output.print_line(text.rstrip())


def collect(*, as_json: bool) -> None:
    """Collect the new entries of every ledger in the settings."""
    with output.user_errors(as_json=as_json):
        settings, clock = load_settings(QualitySettings), Clock()
        ledgers = output.track(settings.ledgers, "ledgers collected", as_json=as_json, total=len(settings.ledgers))
        rows, damaged = [], []
        for service in ledgers:
            try:
                rows.append((service, ledger_collector.collect_ledger(settings, service, clock)))
            except LedgerCorruptError as error:
                damaged.append(f"{service}: {error}")
        call_collector.collect_all(settings, read_catalogue(settings.catalogue))
        if damaged:
            advice = "the other ledgers are collected; ask the provider to run: estelam ledger verify"
            output.exit_error(f"INVALID: {'; '.join(damaged)}; {advice}", as_json=as_json)
        if standing := ledger_collector.standing_alarms(settings):
            text = "; ".join(f"{alarm.service}: {alarm.kind}" for alarm in standing)
            advice = "list and acknowledge them: estelam quality witness alarms"
            output.exit_error(f"ledgers that do not continue what was verified: {text}; {advice}", as_json=as_json)
    output.print_rows(("service", "entries"), rows, as_json=as_json)


def verify(folder: Path, certificate: list[Path] | None, retired_keys: Path | None, *, as_json: bool) -> None:
    """Verify the signature of the report in *folder*."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        output.check_folder(folder)
        keys = named_keys(certificate, retired_keys)
        if keys is None:
            settings = load_settings(QualitySettings)
            keys = verifying_keys(settings.signing_certificates, retired_keys or settings.retired_keys)
        try:
            files = signing.verify(folder, keys)
        except signing.ReportSignatureError as error:
            text = f"{error.verdict}: {folder}: {error}"
            output.exit_error(text, as_json=as_json, code=EXIT_CODES[error.verdict])
    output.print_record({"valid": True, "files": ", ".join(files)}, as_json=as_json)
