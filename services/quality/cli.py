"""`estelam quality`: monthly reports, planned outages, the monitor and the quality store."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete, output
from estelam.cli.serve import Listen, PortFile
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.core.settings import load_settings
from estelam.storage.migrate import migrate as migrate_store
from quality import repository
from quality import service as process
from quality.cli_errors import quality_errors
from quality.monitor import config_check, ledger_collector
from quality.outages import cli as outage
from quality.report import generate, signing
from quality.settings import QualitySettings

app = typer.Typer(no_args_is_help=True)
app.add_typer(outage.app, name="outage")


@app.command()
def migrate(as_json: output.AsJson = False) -> None:
    """Create the quality store, or bring it to the newest schema."""
    with quality_errors(as_json=as_json):
        migrate_store(load_settings(QualitySettings).store, repository.MIGRATIONS)
    output.print_record({"quality": "current"}, as_json=as_json)


@app.command()
def serve(listen: Listen = None, port_file: PortFile = None, as_json: output.AsJson = False) -> None:
    """Monitor all services until SIGTERM: probe each every minute, and collect ledgers and metrics."""
    with quality_errors(as_json=as_json):
        process.main(load_settings(QualitySettings, listen=listen), port_file)


@app.command()
def check(as_json: output.AsJson = False) -> None:
    """Validate rules, agreements and the monitor's settings. Exit 0: all are valid; 1: one is not."""
    with quality_errors(as_json=as_json):
        found = config_check.find_problems(load_settings(QualitySettings), Clock())
    if found:
        fields = [{"field": None, "rule": "quality", "description": text} for text in found]
        output.exit_error("\n".join(found), as_json=as_json, fields=fields)
    output.print_record({"valid": True}, as_json=as_json)


@app.command()
def report(
    month: Annotated[
        str,
        typer.Option(metavar="YYYY-MM", help="The Jalali month, as 1405-08.", autocompletion=complete.months),
    ],
    audience: Annotated[
        list[str],
        typer.Option(
            "--for",
            help="The reader: working-group, provider:NAME or consumer:NAME; may be repeated.",
            autocompletion=complete.audiences,
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace final reports that were issued already.")] = False,
    as_json: output.AsJson = False,
) -> None:
    """Write monthly reports: pages in Persian and English, CSV, JSON, and their signature."""
    with quality_errors(as_json=as_json), output.progress("reports written", as_json=as_json, total=len(audience)):
        written = generate.generate_reports(
            load_settings(QualitySettings), month=month, audiences=audience, clock=Clock(), force=force
        )
    rows = [(one.folder, one.inquiries, one.broken, one.interim) for one in written]
    output.print_rows(("folder", "inquiries", "objectives_broken", "interim"), rows, as_json=as_json)


@app.command()
def collect(as_json: output.AsJson = False) -> None:
    """Collect the new entries of every ledger in the settings; run it every minute, and before a report."""
    with quality_errors(as_json=as_json):
        settings, clock = load_settings(QualitySettings), Clock()
        ledgers = output.track(settings.ledgers, "ledgers collected", as_json=as_json, total=len(settings.ledgers))
        rows = [(service, ledger_collector.collect_ledger(settings, service, clock)) for service in ledgers]
    output.print_rows(("service", "entries"), rows, as_json=as_json)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The report's folder.", autocompletion=complete.files)],
    certificate: Annotated[
        list[Path] | None,
        typer.Option(help="A signing certificate (PEM); default: the settings.", autocompletion=complete.files),
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Verify a report's signature. Exit 0: all files are as signed; 1: they are not."""
    with quality_errors(as_json=as_json):
        keys = verifying_keys(certificate or load_settings(QualitySettings).signing_certificates)
        try:
            files = signing.verify(folder, keys)
        except signing.ReportSignatureError as error:
            output.exit_error(f"INVALID: {folder}: {error}", as_json=as_json)
    output.print_record({"valid": True, "files": ", ".join(files)}, as_json=as_json)
