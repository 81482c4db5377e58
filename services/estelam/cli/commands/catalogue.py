"""Commands of `estelam catalogue`: show and validate the services of the exchange and the grants to call them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import typer
from sqlalchemy.exc import SQLAlchemyError

from estelam.auth import grants
from estelam.catalogue.changes import from_notice
from estelam.catalogue.effective_grants import GrantStatus, effective_from, grant_status
from estelam.catalogue.explain import Explanation, explain
from estelam.catalogue.loader import CatalogueError, read_catalogue
from estelam.catalogue.model import Catalogue, Grant, Record
from estelam.cli import output
from estelam.cli.commands import quota_usage
from estelam.cli.commands.ledger import verified_rows_of
from estelam.cli.stores import kinds, settings_of
from estelam.core import dates
from estelam.core.clock import Clock, to_datetime
from estelam.core.keys import verifying_keys
from estelam.core.names import unknown_name
from estelam.core.pem import KeyFileError
from estelam.core.settings import CatalogueSettings, SettingsError, load_settings
from estelam.ledger import search
from estelam.ledger.errors import LedgerCorruptError, LedgerUncheckedError
from estelam.ledger.verified_rows import VerifiedRows
from estelam.storage.store import Store, StoreError


def check(catalogue: Path | None, *, as_json: bool) -> None:
    """Validate the catalogue; exit 1 with each fault by file and line. A file is validated as an access table."""
    if catalogue and catalogue.is_file():
        with output.user_errors(as_json=as_json):
            table = grants.AccessTable.load(catalogue)
        output.print_record({"valid": True, "grants": len(table.grant), "denials": len(table.deny)}, as_json=as_json)
        return
    try:
        found = _read(catalogue, as_json=as_json)
    except CatalogueError as error:
        fields = [
            {
                "field": fault.location,
                "rule": "catalogue",
                "description": fault.message,
                "file": fault.file,
                "line": fault.line,
            }
            for fault in error.issues
        ]
        output.exit_error(str(error), as_json=as_json, fields=fields)
    counts = {name: len(getattr(found, name)) for name in Catalogue.model_fields}
    output.print_record({"valid": True, **counts}, as_json=as_json)


def show(name: str | None, catalogue: Path | None, *, as_json: bool) -> None:
    """Print all services with their methods and grants, or the record *name*."""
    found = _opened(catalogue, as_json=as_json)
    if name is None:
        _show_services(found, as_json=as_json)
        return
    with output.user_errors(as_json=as_json):
        record = next((record for key, record in _named(found) if key == name), None)
        if record is None:
            raise unknown_name("record", name, [key for key, _ in _named(found)])
    facts = record.model_dump(exclude_none=True)
    output.print_record(facts, as_json=as_json, title=name)


def list_grants(consumer: str | None, catalogue: Path | None, *, as_json: bool) -> None:
    """Print the grants of *consumer*, default all, with today's status."""
    found, today = _opened(catalogue, as_json=as_json), _today()
    with output.user_errors(as_json=as_json):
        if consumer and found.party(consumer) is None:
            raise unknown_name("party", consumer, [party.slug for party in found.parties])
    columns = ("id", "clause", "consumer", "service", "since", "until", "status", "quota")
    rows = [_grant_row(found, grant, today) for grant in found.grants if consumer in {None, grant.consumer}]
    output.print_rows(columns, rows, as_json=as_json)


def registries(catalogue: Path | None, *, as_json: bool) -> None:
    """Print the base registries and their custodians."""
    found = _opened(catalogue, as_json=as_json)
    columns = ("n", "slug", "fa", "en", "custodian", "custodian_fa", "custodian_en")
    rows = []
    for registry in found.registries:
        custodian = found.party(registry.custodian)
        names = (custodian.fa, custodian.en) if custodian else ("", "")
        rows.append((registry.n, registry.slug, registry.fa, registry.en, registry.custodian, *names))
    output.print_rows(columns, rows, as_json=as_json)


def duties(owner: str | None, catalogue: Path | None, *, as_json: bool) -> None:
    """Print the duties of *owner*, default all."""
    found = _opened(catalogue, as_json=as_json)
    with output.user_errors(as_json=as_json):
        if owner and found.party(owner) is None:
            raise unknown_name("party", owner, [party.slug for party in found.parties])
    columns = ("id", "clause", "owners", "duty", "registry", "term", "due", "state")
    rows = [
        (duty.id, duty.clause, ", ".join(duty.owners), duty.en, duty.registry, duty.term_en, duty.due, duty.state)
        for duty in found.duties
        if owner is None or owner in duty.owners
    ]
    output.print_rows(columns, rows, as_json=as_json)


def explain_call(consumer: str, method: str, on: str | None, catalogue: Path | None, *, as_json: bool) -> None:
    """Explain by which grant, clause and quota a call would be authorized, or why not; exit 0, 20, or 2."""
    found = _opened(catalogue, as_json=as_json)
    day = _today() if on is None else output.parse_option("--on", on, dates.parse_date, as_json=as_json)
    with output.user_errors(as_json=as_json):
        explained = explain(found, consumer=consumer, method=method, day=day)
    facts = _facts(found, explained, day)
    if not as_json:
        facts["why_not"] = "\n".join(explained.denial_reasons) or None
        if explained.admitted and facts["denied_certificates"]:
            facts["admitted"] = "only with a certificate that is not denied"
    output.print_record(facts, as_json=as_json)
    raise typer.Exit(0 if explained.admitted else output.EXIT_REFUSED)


def changes(
    since: str | None, about: str | None, service: list[str] | None, archive: Path | None, *, as_json: bool
) -> None:
    """Print the changes of the catalogue that the services recorded in their ledgers, oldest first."""
    with output.user_errors(as_json=as_json):
        after = _instant(since, as_json=as_json)
        recorded = [change for name in service or list(kinds()) for change in _recorded(name, archive, as_json=as_json)]
        if about and not any(about in change.names for change in recorded):
            known = sorted({name for change in recorded for name in change.names})
            raise unknown_name("record with recorded changes", about, known)
        seen = [change.row for change in recorded if change.at >= after and about in {None, *change.names}]
    columns = ("noted_at", "service", "entry", "kind", "name", "change", "details")
    output.print_rows(columns, sorted(seen), as_json=as_json)


def _instant(since: str | None, *, as_json: bool) -> datetime:
    if since is None:
        return datetime.fromtimestamp(0, UTC)
    now = Clock().now()
    return output.parse_option("--since", since, lambda text: dates.parse_start(text, now), as_json=as_json)


@dataclass(frozen=True, slots=True)
class _RecordedChange:
    """A change of the catalogue in a ledger: its row in the list, and the names of the records that it is about."""

    at: datetime
    names: frozenset[str]
    row: tuple[datetime | str | int, ...]


def _recorded(service: str, archive: Path | None, *, as_json: bool) -> Iterator[_RecordedChange]:
    with verified_rows_of(service, archive, as_json=as_json) as (connection, rows):
        noted = search.catalogue_notices(connection, rows, from_notice)
    for stored, change in noted:
        at = to_datetime(stored.entry.answered_at_micros)
        record = change.after or change.before or {}
        details = "; ".join(change.details)
        yield _RecordedChange(
            at,
            frozenset({change.record.key, *(record[key] for key in ("consumer", "service") if record.get(key))}),
            (at, service, stored.index, change.record.kind, change.record.key, change.action, details),
        )


def _facts(catalogue: Catalogue, explained: Explanation, day: date) -> dict[str, Any]:
    target, grant, access = explained.target, explained.grant, explained.effective_grant
    denied = [f"{d.name}: {d.reason}" for d in catalogue.denied if d.party == target.party.slug]
    return {
        "admitted": explained.admitted,
        "denied_certificates": denied or None,
        "why_not": list(explained.denial_reasons) or None,
        "day": day,
        "consumer": f"{target.party.slug} ({target.party.legal_id or 'no legal id on record'})",
        "method": target.full_name or f"{target.service.slug}, answered by its provider, not here",
        "provider": target.service.provider,
        "grant": grant and grant.id,
        "clause": grant and grant.clause,
        "in_force_since": grant and effective_from(catalogue, grant),
        "in_force_until": grant and grant.until,
        "quota": access and access.quota.model_dump(),
        "quota_left": access and _left(access),
        "required_metadata": list(access.required_metadata) if access and access.required_metadata else None,
        "deprecated": target.method and target.method.deprecated,
        "sunset": target.method and target.method.sunset,
        "replaced_by": target.method and target.method.replaced_by,
    }


def _left(access: grants.Grant) -> str:
    """Return what is left of the quota, where the ledger of the service can be read from this host."""
    area = access.method.split(".")[1]
    if area not in kinds():
        return "in the ratelimit metadata of each reply"
    try:
        settings = settings_of(area)
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            rows = VerifiedRows.of(connection, verifying_keys(settings.signing_certificates, settings.retired_keys))
            left = quota_usage.remaining(connection, rows, access, Clock().micros())
    except (LedgerCorruptError, LedgerUncheckedError) as error:
        return f"in the ratelimit metadata of each reply; the ledger of {area} is not verified: {error}"
    except (SettingsError, KeyFileError, OSError, StoreError, SQLAlchemyError):
        return f"in the ratelimit metadata of each reply; this host can't read the ledger of {area}"
    return f"{left} of {access.quota.burst}, by the ledger"


_NAMES = {
    "services": "slug",
    "parties": "slug",
    "registries": "slug",
    "grants": "id",
    "agreements": "id",
    "duties": "id",
}


def _named(catalogue: Catalogue) -> Iterator[tuple[str, Record]]:
    """Yield every record by its name; a service comes before a registry of the same name."""
    for kind, key in _NAMES.items():
        yield from ((getattr(record, key), record) for record in getattr(catalogue, kind))


def _show_services(catalogue: Catalogue, *, as_json: bool) -> None:
    rows = []
    for service in catalogue.services:
        for method in service.methods or (None,):
            about = (service.slug, method.name if method else None)
            held = [grant.consumer for grant in catalogue.grants if (grant.service, grant.method) == about]
            shown = method or service
            rows.append((_what(*about), shown.fa, shown.en, shown.clause, service.provider, ", ".join(held)))
    output.print_rows(("service", "fa", "en", "clause", "provider", "consumers"), rows, as_json=as_json)


def _grant_row(catalogue: Catalogue, grant: Grant, today: date) -> tuple[Any, ...]:
    quota = grant.quota
    limit = f"{quota.rate:g}/s, burst {quota.burst}, a NO costs {quota.miss_cost}" if quota else ""
    what = _what(grant.service, grant.method)
    status = _status(catalogue, grant, today)
    return grant.id, grant.clause, grant.consumer, what, grant.since, grant.until, status, limit


def _what(service: str, method: str | None) -> str:
    return f"{service}/{method}" if method else service


def _status(catalogue: Catalogue, grant: Grant, today: date) -> str:
    start = effective_from(catalogue, grant)
    texts = {
        GrantStatus.INCOMPLETE: "an approval is missing",
        GrantStatus.STAGED: "staged, not active",
        GrantStatus.PENDING: f"from {start and dates.format_both(start)}",
        GrantStatus.IN_FORCE: "in force",
        GrantStatus.ENDED: "ended",
    }
    return texts[grant_status(catalogue, grant, today)]


def _today() -> date:
    return dates.today(Clock().now())


def _read(folder: Path | None, *, as_json: bool) -> Catalogue:
    with output.user_errors(as_json=as_json):
        where = folder or load_settings(CatalogueSettings).folder
    return read_catalogue(where)


def _opened(folder: Path | None, *, as_json: bool) -> Catalogue:
    with output.user_errors(as_json=as_json):
        return _read(folder, as_json=as_json)
    raise AssertionError
