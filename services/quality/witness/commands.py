"""Commands of `estelam quality witness`: list and acknowledge the alarms about ledgers."""

import contextlib
from typing import Any

from sqlalchemy import Connection

from estelam.cli import output
from estelam.cli.ledger_notes import check_texts
from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError
from estelam.core.settings import load_settings
from estelam.ledger.errors import LedgerCorruptError, LedgerUncheckedError
from estelam.storage.store import AccessMode, Store
from quality import ledger_states, repository
from quality.periods import instant_of, minute_of
from quality.records import AlarmKind, LedgerAlarm, ObservedHead
from quality.settings import QualitySettings
from quality.witness.continuity import Contradiction, LedgerWitness


def alarms(*, as_json: bool, everything: bool) -> None:
    """Print the standing alarms, or all of them."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = load_settings(QualitySettings)
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            found = ledger_states.all_alarms(connection)
    rows = [_facts(alarm) for alarm in found if everything or alarm.acknowledged_minute is None]
    columns = ("number", "service", "kind", "found_at", "verified", "found", "acknowledged_at", "operator", "reason")
    output.print_rows(columns, [[row[column] for column in columns] for row in rows], as_json=as_json)


def acknowledge(number: int, operator: str, reason: str, *, as_json: bool) -> None:
    """Accept the ledger of the alarm *number* as it is now."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        check_texts(operator=operator, reason=reason)
        settings, clock = load_settings(QualitySettings), Clock()
        now = minute_of(clock.now())
        with (
            contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as store,
            store.transaction() as connection,
        ):
            found = {alarm.number: alarm for alarm in ledger_states.all_alarms(connection)}.get(number)
            if found is None or found.acknowledged_minute is not None:
                raise UsageError(f"{number}: no standing alarm; `estelam quality witness alarms` lists them")
            service = found.service
            if service not in settings.ledgers:
                raise UsageError(f"quality.ledgers has no entry {service}")
            witness = LedgerWitness.of(settings, service, clock)
            verified = ledger_states.verified_ledger(connection, service)
            try:
                with contextlib.closing(Store(settings.ledgers[service])) as source, source.transaction() as ledger:
                    accepted = witness.accept(ledger, verified)
                    again = _contradiction(witness, ledger, found, now)
            except LedgerUncheckedError as error:
                code = output.EXIT_UNAVAILABLE
                output.exit_error(f"NOT CHECKED: the ledger of {service}: {error}", as_json=as_json, code=code)
            except LedgerCorruptError as error:
                output.exit_error(f"INVALID: the ledger of {service}: {error}", as_json=as_json)
            ledger_states.save_verified(connection, accepted)
            repository.save_heads(connection, [ObservedHead(now, service, accepted.tree.size, accepted.tree.root)])
            ledger_states.acknowledge(connection, number, minute=now, operator=operator, reason=reason)
            raised = ledger_states.raise_alarm(connection, again) if again else 0
    if raised:
        output.exit_error(
            f"INVALID: the ledger of {service} changed again after alarm {number}, which is acknowledged; this is "
            f"alarm {raised}: ask the provider again",
            as_json=as_json,
        )
    head = f"{accepted.tree.size}:{accepted.tree.root.hex()}"
    output.print_record({"number": number, "service": service, "goes_on_from": head}, as_json=as_json)


def _contradiction(witness: LedgerWitness, ledger: Connection, alarm: LedgerAlarm, minute: int) -> LedgerAlarm | None:
    """Return the alarm that *ledger* does not even continue what was found with *alarm*; None if it does."""
    if alarm.kind is AlarmKind.DAMAGED:
        return None  # what was found then proves nothing
    try:
        witness.check_end(ledger, alarm.found)
    except Contradiction as again:
        return LedgerAlarm(alarm.service, again.kind, minute, again.seen, again.note, witness="")
    return None


def _facts(alarm: LedgerAlarm) -> dict[str, Any]:
    acknowledged = alarm.acknowledged_minute
    return {
        "number": alarm.number,
        "service": alarm.service,
        "kind": alarm.kind.value,
        "found_at": instant_of(alarm.found_minute),
        "verified": alarm.verified_head,
        "found": alarm.found_head,
        "acknowledged_at": None if acknowledged is None else instant_of(acknowledged),
        "operator": alarm.operator or None,
        "reason": alarm.reason or None,
    }
