"""Commands of `estelam quality`: monthly reports, the monitor and the quality store."""

from pathlib import Path

from estelam.cli import output
from estelam.cli.serve import service_errors
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.core.settings import load_settings
from estelam.storage.migrate import migrate as migrate_store
from quality import service as process
from quality.cli_errors import MIGRATE, quality_errors
from quality.monitor import config_check, ledger_collector
from quality.report import generate, signing
from quality.settings import QualitySettings


def serve(listen: str | None, port_file: Path | None, *, as_json: bool) -> None:
    """Monitor all services until SIGTERM."""
    with service_errors(as_json=as_json, migrate=MIGRATE):
        process.main(load_settings(QualitySettings, listen=listen), port_file)


def migrate(*, as_json: bool) -> None:
    """Create the quality store, or bring it to the newest schema."""
    with quality_errors(as_json=as_json):
        migrate_store(load_settings(QualitySettings).store, QualitySettings.MIGRATIONS)
    output.print_record({"quality": "current"}, as_json=as_json)


def check(*, as_json: bool) -> None:
    """Validate rules, agreements and the monitor's settings."""
    with quality_errors(as_json=as_json):
        found = config_check.find_problems(load_settings(QualitySettings), Clock())
    if found:
        fields = [{"field": None, "rule": "quality", "description": text} for text in found]
        output.exit_error("\n".join(found), as_json=as_json, fields=fields)
    output.print_record({"valid": True}, as_json=as_json)


def report(month: str, audience: list[str], *, force: bool, as_json: bool) -> None:
    """Write the reports of *month* for each of *audience*."""
    with quality_errors(as_json=as_json), output.progress("reports written", as_json=as_json, total=len(audience)):
        written = generate.generate_reports(
            load_settings(QualitySettings), month=month, audiences=audience, clock=Clock(), force=force
        )
    rows = [(one.folder, one.inquiries, one.broken, one.interim) for one in written]
    output.print_rows(("folder", "inquiries", "objectives_broken", "interim"), rows, as_json=as_json)


def collect(*, as_json: bool) -> None:
    """Collect the new entries of every ledger in the settings."""
    with quality_errors(as_json=as_json):
        settings, clock = load_settings(QualitySettings), Clock()
        ledgers = output.track(settings.ledgers, "ledgers collected", as_json=as_json, total=len(settings.ledgers))
        rows = [(service, ledger_collector.collect_ledger(settings, service, clock)) for service in ledgers]
    output.print_rows(("service", "entries"), rows, as_json=as_json)


def verify(folder: Path, certificate: list[Path] | None, retired_keys: Path | None, *, as_json: bool) -> None:
    """Verify the signature of the report in *folder*."""
    with quality_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        if certificate:
            keys = verifying_keys(certificate, retired_keys)
        else:
            settings = load_settings(QualitySettings)
            keys = verifying_keys(settings.signing_certificates, retired_keys or settings.retired_keys)
        try:
            files = signing.verify(folder, keys)
        except signing.ReportSignatureError as error:
            output.exit_error(f"INVALID: {folder}: {error}", as_json=as_json)
    output.print_record({"valid": True, "files": ", ".join(files)}, as_json=as_json)
