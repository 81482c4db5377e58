"""One of our services with all its instances in one process, on a clock that the conformance kit controls."""

import csv
import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import date
from pathlib import Path
from typing import Self

from sqlalchemy import Date, Integer, Table, create_engine, delete, func, insert, make_url, select, text

from conformance.case import Instance
from conformance.fixtures import KEYS
from estelam.core.clock import Clock, monotonic_wall_clock
from estelam.core.files import write_atomic
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.server.process import Listening, wait_for_signal
from estelam.server.service import run_recording_service
from estelam.server.signals import Signals
from estelam.storage.store import AccessMode, Store
from estelam.telemetry import logs
from judiciary.methods import LOOKUPS
from judiciary.recall import CaseRecallSource
from judiciary.repository import case_table
from judiciary.settings import JudiciarySettings
from promissory.methods import lookups
from promissory.recall import NoteRecallSource
from promissory.repository import member_table, note_table
from promissory.settings import PromissorySettings
from sataad_adapter.service import run_adapter
from sataad_adapter.settings import SetadSettings
from tools.env.python_process import PythonProcess

DOWN = (Instance.PROMISSORY_DOWN, Instance.JUDICIARY_DOWN)
TABLES: Mapping[str, Table] = {"notes": note_table, "agencies": member_table, "cases": case_table}
_OFFSET_SECONDS, _FOLLOW_SECONDS = 0.1, 0.5


class ConformanceTarget:
    """All instances of one service, in one process, whose clock, deny list and notes the files in *folder* control."""

    def __init__(self, folder: Path, members: Mapping[Instance, ServingSettings]) -> None:
        service = next(iter(members)).service
        self._members = members
        ready, log = folder / f"{service}.ports", folder / f"{service}.log"
        self._process = PythonProcess(_main, folder, members, ready_file=ready, log=log)

    def addresses(self) -> dict[Instance, str]:
        """The address of each instance, once all listen.

        Raises:
            ProcessError: the process ended instead, or takes too long.
        """
        ports = json.loads(self._process.wait_until_ready())
        return {member: f"127.0.0.1:{ports[member]}" for member in self._members}

    def terminate(self) -> None:
        """Send SIGTERM; the end of the with block waits for the process."""
        self._process.terminate()

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__()


def write_access(folder: Path, table: Path) -> str:
    """Write the access table of the fixtures in *folder*; returns the text of the controlled deny list."""
    steered = (folder / "steering" / "denied").read_text("ascii")
    with (folder / "data" / "denied.csv").open(encoding="utf-8", newline="") as file:
        denied = {row["key_sha256"] for row in csv.DictReader(file)}.union(steered.split())
    with (folder / "data" / "grants.csv").open(encoding="utf-8", newline="") as file:
        lines = [*_grants(csv.DictReader(file))]
    lines += [f'[[deny]]\nkey = "{key}"\nreason = "lost key"\n' for key in sorted(denied)]
    write_atomic(table, "\n".join(lines))
    return steered


def _grants(rows: Iterable[Mapping[str, str]]) -> Iterable[str]:
    for row in rows:
        until = f"until = {row['until']}\n" if row["until"] else ""
        quota = f"{{ rate = {float(row['rate'])}, burst = {row['burst']}, miss_cost = {row['miss_cost']} }}"
        yield (
            f'[[grant]] # {row["certificate"]}\ncaller = "{row["organization_id"]}"\nmethod = "{row["method"]}"\n'
            f'clause = "{row["clause"]}"\nsince = {row["since"]}\n{until}quota = {quota}\n'
            f"required_metadata = {row['required_metadata'].split()}\n"
        )


def _main(folder: Path, members: Mapping[Instance, ServingSettings], ready_file: Path) -> None:
    logs.configure_logging("warning")
    clock = monotonic_wall_clock(Clock(_offset_clock(folder / "steering" / "offset")))
    with ExitStack() as stack:
        servers = {member: stack.enter_context(_open(settings, clock)) for member, settings in members.items()}
        for member, settings in members.items():
            if member in DOWN and isinstance(settings, StoreSettings):
                _remove_store(settings.store)
        _start(_follow_denied_file, folder, next(iter(members.values())).access)
        for main in (Instance.PROMISSORY, Instance.JUDICIARY):
            if isinstance(loaded := members.get(main), StoreSettings):
                _start(_follow_changes, folder, loaded)
        write_atomic(ready_file, json.dumps({member: server.port for member, server in servers.items()}))
        wait_for_signal(Signals(signal.SIGTERM, signal.SIGINT))


def _start(follow: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=follow, args=arguments, daemon=True).start()


def _open(settings: ServingSettings, clock: Clock) -> AbstractContextManager[Listening]:
    match settings:
        case PromissorySettings():
            return run_recording_service(settings, lookups(settings), NoteRecallSource(), clock=clock)
        case JudiciarySettings():
            return run_recording_service(settings, LOOKUPS, CaseRecallSource(), clock=clock)
        case SetadSettings():
            return run_adapter(settings, clock=clock)
        case _:
            raise TypeError("not a service of ours")


def _offset_clock(path: Path) -> Callable[[], int]:
    """The machine's time in microseconds plus the seconds in the file *path*, which is read every tenth of a second."""
    offset, next_look = 0, 0.0

    def micros() -> int:
        nonlocal offset, next_look
        if (now := time.monotonic()) >= next_look:
            next_look = now + _OFFSET_SECONDS
            offset = int(path.read_text("ascii")) * 1_000_000
        return time.time_ns() // 1000 + offset

    return micros


def _follow_denied_file(folder: Path, table: Path) -> None:
    """Rewrite the access table whenever the controlled deny list has changed."""
    before = write_access(folder, table)
    while True:
        time.sleep(_FOLLOW_SECONDS)
        if (folder / "steering" / "denied").read_text("ascii") != before:
            before = write_access(folder, table)


def _follow_changes(folder: Path, settings: StoreSettings) -> None:
    """Make each change of the steering file that concerns this service."""
    done = 0
    while True:
        time.sleep(_FOLLOW_SECONDS)
        lines = (folder / "steering" / "changes").read_text("utf-8").splitlines()
        for line in lines[done:]:
            change = json.loads(line)
            if TABLES[change["data"]] in _tables(settings):
                _change(settings, **change)
        done = len(lines)


def _tables(settings: StoreSettings) -> tuple[Table, ...]:
    """The tables of a service that changes concern."""
    return (case_table,) if isinstance(settings, JudiciarySettings) else (note_table, member_table)


def _change(settings: StoreSettings, data: str, key: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Replace the rows with *key* by *rows*."""
    table = TABLES[data]
    with closing(Store(settings.store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        number = connection.scalar(select(func.max(table.c.load_number)))
        connection.execute(delete(table).where(table.c[KEYS[data]] == key))
        for row in rows:
            connection.execute(insert(table).values({**_stored(table, row), "load_number": number}))


def _stored(table: Table, row: Mapping[str, str]) -> dict[str, object]:
    """Return the values of a row of the fixtures as the table stores them."""
    values: dict[str, object] = {}
    for column in table.columns:
        value = row.get(column.name, "")
        if value == "" and column.nullable:
            values[column.name] = None
        elif isinstance(column.type, Date):
            values[column.name] = date.fromisoformat(value)
        else:
            values[column.name] = int(value) if isinstance(column.type, Integer) and value else value
    return values


def _remove_store(store: str) -> None:
    """Make the store of a running service unreachable."""
    address = make_url(store)
    if address.drivername == "sqlite":
        folder = Path(address.database or "")
        folder.rename(folder.with_name(f"{folder.name}-taken-away"))
        return
    server = create_engine(address.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{address.database}" WITH (FORCE)'))
    server.dispose()
