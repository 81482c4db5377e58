"""CheckNote as a typical FastAPI service: uvicorn, SQLAlchemy async, one audit commit per request.

It does less than the full service: TLS alone authorizes, and nothing is signed, chained or hashed.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import bindparam, insert, select

from estelam.core.settings import ServingSettings
from estelam.server.process import write_port
from tools.bench.fastapi_peer.engine import engine_of
from tools.bench.fastapi_peer.tables import audit_table, note_table

PATH = "/check-note"

# Core statements, built once: ORM objects cost another fifth.
_NOTE = select(note_table).where(note_table.c.serial == bindparam("serial"))
_AUDIT = insert(audit_table)

_LEGAL_WEIGHTS = (29, 27, 23, 19, 17) * 2


def _with_check_digit(text: str) -> str:
    digits = [ord(character) - 48 for character in text]
    if len(digits) == 10:
        rest = sum(digit * weight for digit, weight in zip(digits[:9], range(10, 1, -1), strict=True)) % 11
        right = len(set(digits)) > 1 and digits[9] == (rest if rest < 2 else 11 - rest)
    elif len(digits) == 11:
        shift = digits[9] + 2
        rest = sum((digit + shift) * weight for digit, weight in zip(digits[:10], _LEGAL_WEIGHTS, strict=True)) % 11
        right = any(digits[3:9]) and digits[10] == rest % 10
    else:
        right = True
    if not right:
        raise ValueError("wrong check digit")
    return text


PersonId = Annotated[str, Field(pattern="^[0-9]{10,12}$"), AfterValidator(_with_check_digit)]


class CheckNoteRequest(BaseModel):
    """The request body."""

    serial: Annotated[str, Field(pattern="^[0-9]{16}$")]
    obligor_id: PersonId
    beneficiary_id: PersonId
    amount_rials: Annotated[int, Field(gt=0, lt=2**63)]


class CheckNoteResponse(BaseModel):
    """The response body."""

    answer: Literal["YES", "NO"]
    inquiry_id: UUID
    answered_at: datetime


def application(url: str, port_file: Path, port: int) -> FastAPI:
    """The application on the database at *url*."""
    engine = engine_of(url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        write_port(port_file, port)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.post(PATH)
    async def check_note(body: CheckNoteRequest) -> CheckNoteResponse:
        async with engine.begin() as connection:
            note = (await connection.execute(_NOTE, {"serial": body.serial})).first()
            genuine = (
                note is not None
                and note.state == "ISSUED"
                and note.obligor_id == body.obligor_id
                and note.holder_id == body.beneficiary_id
                and note.amount_rials == body.amount_rials
            )
            reply = CheckNoteResponse(
                answer="YES" if genuine else "NO", inquiry_id=uuid4(), answered_at=datetime.now(UTC)
            )
            await connection.execute(_AUDIT, body.model_dump() | reply.model_dump())
        return reply

    return app


def main(settings: ServingSettings, url: str, port_file: Path) -> None:
    """Serve until SIGTERM; write the bound port to *port_file* once ready."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(
        application(url, port_file, listening.getsockname()[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        ssl_ca_certs=str(settings.ca_certificates),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    uvicorn.Server(config).run(sockets=[listening])
