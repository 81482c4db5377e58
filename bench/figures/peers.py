"""The full service beside the same job as most teams would write it."""

import asyncio
from collections.abc import Iterator
from functools import partial

from sqlalchemy import insert

from bench import notes
from bench.figure import Figure, at_least, compare, paired, remarks
from bench.load.plan import Crowd, Protocol, Questions
from bench.peers import rest
from bench.peers.engine import engine_of
from bench.peers.tables import Base, Note
from bench.processes import running
from bench.world import SERVER_CORE, World, check_note, load, promissory_server

# As many calls under way as elsewhere: HTTP/1.1 bears one on each connection.
_MANY = Crowd(128, 1)


def measure(world: World) -> Iterator[Figure]:
    """Throughput of the full service / of FastAPI, uvicorn and SQLAlchemy async, both on SQLite and over mTLS."""
    scale, suite = world.scale, world.with_notes()
    caller = suite.caller("setad")
    url = f"sqlite+aiosqlite:///{world.folder / 'peer.db'}"
    asyncio.run(_fill(url, scale.notes))
    asked = Questions(Protocol.JSON, rest.PATH, [note.as_json() for note in notes.asked(scale.notes)])
    with (
        promissory_server(suite) as full,
        running(rest.main, suite.promissory(), url, core=SERVER_CORE) as peer,
    ):
        ours, theirs = paired(
            scale.rounds,
            partial(load, full, check_note(scale), caller, seconds=scale.seconds),
            partial(load, peer, asked, caller, seconds=scale.seconds, crowd=_MANY),
        )
    ratio, words = compare(ours, theirs, lambda report: report.throughput, "{:,.0f}")
    yield Figure(
        "full CheckNote / FastAPI, SQLAlchemy async, SQLite, FULL",
        f"{words} calls/s; {remarks([*ours, *theirs])}",
        ratio,
        at_least(3),
    )


async def _fill(url: str, count: int) -> None:
    names = [column.name for column in Note.__table__.columns]
    engine = engine_of(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Note), [{name: row[name] for name in names} for row in notes.rows(count)])
    await engine.dispose()
