"""Callers of the promissory service: they ask as fast as they are answered, through our own client, and keep all."""

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
    """What a client asked and was told."""

    request: pb.CheckNoteRequest
    reply: pb.CheckNoteResponse

    @property
    def right(self) -> bool:
        """Whether the answer is the right one."""
        return self.reply.answer == (ANSWER_YES if self.request.amount_rials == RIALS else ANSWER_NO)


class LoadClients:
    """Asks from the beginning of a block to its end; *address* names one server, which all share one channel to."""

    def __init__(self, address: str, identity: ClientIdentity, random: Random, *, pause: float = 0.0) -> None:
        self._channel = channel(address, identity)
        self._random = random
        self._pause = pause
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._asking: list[Future[None]] = []
        self._given: list[Acknowledged] = []
        self.failed: list[str] = []
        """The status of each call that came to nothing."""

    def __enter__(self) -> Self:
        dice = [Random(self._random.random()) for _ in range(CLIENTS)]
        self._asking = [self._pool.submit(self._ask, random) for random in dice]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more; what is under way is waited for."""
        self._over.set()
        self._channel.close()
        self._pool.shutdown()
        for client in self._asking:
            client.result()

    def take(self) -> list[Acknowledged]:
        """All that was given and not taken yet."""
        count = len(self._given)
        taken, self._given[:count] = self._given[:count], []
        return taken

    def wait_for_reply(self) -> float:
        """Wait for the next answer; returns how many seconds that took.

        Raises:
            TimeoutError: none comes.
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
