"""Calls leave nothing for the garbage collector, which the server lets look for cycles only rarely."""

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from development.sandbox import CHECK_NOTE, GET_NOTE_PARTIES, Sandbox
from estelam.client.channel import ClientIdentity
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from tests.conftest import plain_channel, promissory_opening
from tests.support.service import RunningService

SERIAL = "1404000000000017"
NOTE = {"serial": SERIAL, "obligor_id": "9990000018", "beneficiary_id": "99000554330"}
CALLS = {
    "YES": (CHECK_NOTE, notes.CheckNoteRequest(**NOTE, amount_rials=2_500_000_000), grpc.StatusCode.OK),
    "NO": (CHECK_NOTE, notes.CheckNoteRequest(**NOTE, amount_rials=2_600_000_000), grpc.StatusCode.OK),
    "malformed": (CHECK_NOTE, notes.CheckNoteRequest(serial="x"), grpc.StatusCode.INVALID_ARGUMENT),
    "refused by the look-up": (
        GET_NOTE_PARTIES,
        notes.GetNotePartiesRequest(serial="1404000000000025", executive_agency_id="SETAD-0001"),
        grpc.StatusCode.FAILED_PRECONDITION,
    ),
    "refused, for no data is loaded": (
        CHECK_NOTE,
        notes.CheckNoteRequest(**NOTE, amount_rials=2_700_000_000),
        grpc.StatusCode.FAILED_PRECONDITION,
    ),
}


@contextlib.contextmanager
def kept_garbage() -> Iterator[list[Any]]:
    """Keep what only the garbage collector would free."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize("name", CALLS)
def test_call_leaves_no_garbage(request: pytest.FixtureRequest, name: str) -> None:
    """No object of a call, answered or refused, refers to itself through others."""
    method, question, status = CALLS[name]
    box: Sandbox = request.getfixturevalue("sandbox" if "no data" in name else "loaded")
    with (
        RunningService(promissory_opening(box)) as service,
        plain_channel(service.address, ClientIdentity.named(box.pki, "setad")) as channel,
    ):
        call: Any = channel.unary_unary(f"/{method}")

        def ask() -> grpc.StatusCode:
            try:
                call(question.SerializeToString(), timeout=20)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
            return grpc.StatusCode.OK

        statuses = {ask() for _ in range(3)}
        with kept_garbage() as garbage:
            statuses |= {ask() for _ in range(5)}
            gc.collect()
            ours = {type(each).__qualname__ for each in garbage if type(each).__module__.startswith("estelam")}

    assert {status} == statuses
    assert set() == ours
