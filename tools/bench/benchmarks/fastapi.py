"""The full service compared with a typical FastAPI implementation of the same task."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial

from sqlalchemy import insert

from tools.bench.datasets import notes
from tools.bench.environment import SERVER_CORE, BenchEnvironment, Engine, check_note, load, promissory_server
from tools.bench.fastapi_peer import app
from tools.bench.fastapi_peer.engine import engine_of
from tools.bench.fastapi_peer.tables import TABLES, note_table
from tools.bench.load.plan import Concurrency, Protocol, Report, Requests
from tools.bench.metric import Metric, at_least, compare, paired, remarks
from tools.bench.processes import run_server

# As many calls in flight as elsewhere: HTTP/1.1 has one per connection.
_MANY = Concurrency(128, 1)

_TARGETS: Mapping[Engine, float] = {Engine.SQLITE: 8, Engine.POSTGRESQL: 4}


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Throughput of the full service / of FastAPI on uvicorn with SQLAlchemy async, both over mTLS."""
    for engine, url in _databases(environment).items():
        asyncio.run(_fill(url, environment.scale.notes))
        ours, theirs = _runs(environment, engine, url)
        ratio, text = compare(ours, theirs, lambda report: report.throughput, "{:,.0f}")
        measured = f"{text} calls/s; {remarks([*ours, *theirs])}"
        yield Metric(
            f"full CheckNote / FastAPI and SQLAlchemy async, {engine}", measured, ratio, at_least(_TARGETS[engine])
        )


def _databases(environment: BenchEnvironment) -> Mapping[Engine, str]:
    database = environment.cluster.database()
    return {
        Engine.SQLITE: f"sqlite+aiosqlite:///{environment.folder / 'peer.db'}",
        Engine.POSTGRESQL: environment.cluster.url(database).replace("+psycopg", "+asyncpg"),
    }


def _runs(environment: BenchEnvironment, engine: Engine, url: str) -> tuple[list[Report], list[Report]]:
    scale, suite = environment.scale, environment.with_notes(engine)
    asked = Requests(Protocol.JSON, app.PATH, [note.as_json() for note in notes.sample_requests(scale.notes)])
    with promissory_server(suite) as full, run_server(app.main, suite.promissory(), url, core=SERVER_CORE) as peer:
        ask = partial(load, caller=suite.caller("setad"), seconds=scale.seconds)
        return paired(scale.rounds, partial(ask, full, check_note(scale)), partial(ask, peer, asked, concurrency=_MANY))


async def _fill(url: str, count: int) -> None:
    columns = note_table.columns.keys()
    engine = engine_of(url)
    async with engine.begin() as connection:
        await connection.run_sync(TABLES.create_all)
        await connection.execute(
            insert(note_table), [{name: row[name] for name in columns} for row in notes.rows(count)]
        )
    await engine.dispose()
