"""Closed-loop clients of the promissory service that use our own client and keep all answers."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import NamedTuple, Self

import grpc

from estelam.client.channel import ClientIdentity, channel
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub

CLIENTS = 8
CALL_SECONDS = 30.0
REPLY_TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = 0.01

SERIAL, OBLIGOR, HOLDER, RIALS = "1404000000000017", "9990000018", "99000554330", 2_500_000_000


class Acknowledged(NamedTuple):
    """A request and its acknowledged reply."""

    request: pb.CheckNoteRequest
    reply: pb.CheckNoteResponse

    @property
    def right(self) -> bool:
        """Whether the answer is correct."""
        return self.reply.answer == (ANSWER_YES if self.request.amount_rials == RIALS else ANSWER_NO)


class LoadClients:
    """Clients that call from the beginning to the end of a with block, over one channel to *address*."""

    def __init__(self, address: str, identity: ClientIdentity, random: Random, *, pause: float = 0.0) -> None:
        self._channel = channel(address, identity)
        self._random = random
        self._pause = pause
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._asking: list[Future[None]] = []
        self._given: list[Acknowledged] = []
        self.failed: list[str] = []
        """The status of each failed call."""

    def __enter__(self) -> Self:
        dice = [Random(self._random.random()) for _ in range(CLIENTS)]
        self._asking = [self._pool.submit(self._ask, random) for random in dice]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop calling and wait for the calls in flight."""
        self._over.set()
        self._channel.close()
        self._pool.shutdown()
        for client in self._asking:
            client.result()

    def take(self) -> list[Acknowledged]:
        """Remove and return the answers received so far."""
        count = len(self._given)
        taken, self._given[:count] = self._given[:count], []
        return taken

    def wait_for_reply(self) -> float:
        """Wait for the next answer; returns the seconds waited.

        Raises:
            TimeoutError: no answer within REPLY_TIMEOUT_SECONDS.
        """
        started, before = time.monotonic(), len(self._given)
        while len(self._given) == before:
            if time.monotonic() - started > REPLY_TIMEOUT_SECONDS:
                raise TimeoutError("the service gives no answer")
            time.sleep(0.002)
        return time.monotonic() - started

    def _ask(self, random: Random) -> None:
        stub = PromissoryNoteInquiryServiceStub(self._channel)
        while not self._over.wait(self._pause):
            rials = random.choice((RIALS, random.randint(1, 10**12)))
            request = pb.CheckNoteRequest(serial=SERIAL, obligor_id=OBLIGOR, beneficiary_id=HOLDER, amount_rials=rials)
            try:
                self._given.append(Acknowledged(request, stub.CheckNote(request, timeout=CALL_SECONDS)))
            except grpc.RpcError as error:
                self._fail(error.code().name)
            except ValueError:  # the channel is closed
                self._fail("CLOSED")

    def _fail(self, status: str) -> None:
        if not self._over.is_set():
            self.failed.append(status)
        self._over.wait(PAUSE_SECONDS)
