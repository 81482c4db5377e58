"""kill -9 of the promissory service under load: no answer that a caller was given may be missing from the ledger.

A round: 1 clients ask, 2 the service is killed at an instant nobody chose, 3 it is started again, 4 every answer that a
client was given, in this round or before, is looked for in the ledger, and the whole chain is verified.
"""

import hashlib
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

import grpc
from scripts import sandbox as suite
from scripts.processes import Service

from estelam import chain, receipt
from estelam.client import Identity, channel
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.keys import verifying_keys
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.store import Store
from torture.nursery import Nursery, Nursling
from torture.trial import Result, Task, Trial

CLIENTS = 8
LOAD_SECONDS = (0.02, 0.3)
ANSWER_SECONDS = 10.0
# Two services at a time, each with a store of its own: one alone would leave a core idle while it starts.
VICTIMS = 2
# So often is one store's service killed before another takes its place: looking costs more the longer its ledger is.
KILLS = 25

SERIAL, OBLIGOR, HOLDER, RIALS = "1404000000000017", "9990000018", "99000554330", 2_500_000_000


class Acknowledged(NamedTuple):
    """What a client asked and was told."""

    request: pb.CheckNoteRequest
    reply: pb.CheckNoteResponse


class Sealed(NamedTuple):
    """The block that a receipt names: its number and its hash."""

    block: int
    hash: bytes


@dataclass(slots=True)
class Victim:
    """A promissory service that is killed, and what its clients may hold it to."""

    sandbox: suite.Sandbox
    service: Service
    random: Random
    owed: Counter[Sealed] = field(default_factory=Counter)
    """Where each acknowledged answer must stand, for ever."""


def torture(victim: Victim, rounds: int) -> Iterator[Result]:
    """Kill *victim* under load *rounds* times; one result for each."""
    victim.service.start()
    try:
        for _ in range(rounds):
            given = _ask_and_kill(victim)  # 1, 2
            victim.service.start()  # 3
            yield look(victim, given)  # 4
    finally:
        victim.service.kill()


def _ask_and_kill(victim: Victim) -> list[Acknowledged]:
    given: list[Acknowledged] = []
    over = threading.Event()
    caller = Identity.named(victim.sandbox.pki, "setad")
    dice = [Random(victim.random.random()) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as clients, channel(victim.service.address, caller) as opened:
        asking = [clients.submit(_ask, opened, random, given, over) for random in dice]
        try:
            _wait_for_an_answer(given)
            time.sleep(victim.random.uniform(*LOAD_SECONDS))
        finally:
            victim.service.kill()
            over.set()
    for client in asking:
        client.result()
    return given


def _ask(opened: grpc.Channel, random: Random, given: list[Acknowledged], over: threading.Event) -> None:
    stub = PromissoryNoteInquiryServiceStub(opened)
    while not over.is_set():
        rials = random.choice((RIALS, random.randint(1, 10**12)))
        request = pb.CheckNoteRequest(serial=SERIAL, obligor_id=OBLIGOR, beneficiary_id=HOLDER, amount_rials=rials)
        try:
            given.append(Acknowledged(request, stub.CheckNote(request, timeout=ANSWER_SECONDS)))
        except (grpc.RpcError, ValueError):  # ValueError: the channel is closed
            over.wait(0.01)


def _wait_for_an_answer(given: list[Acknowledged]) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while not given:
        if time.monotonic() > deadline:
            raise TimeoutError("the service gives no answer")
        time.sleep(0.002)


def look(victim: Victim, given: list[Acknowledged]) -> Result:
    """Look for every answer that is owed: it is lost where the chain has another block, or none, in its place.

    A receipt proves that its entry, sequence and every byte, lies in a block of a certain hash; `chain.verify` proves
    that the entries in the store are those that each block sealed. So the entry is there if that very block is.
    """
    settings = victim.sandbox.promissory()
    keys = verifying_keys(settings.signing_certificates)
    result = Result(rounds=1, checked=len(given))
    for request, reply in given:
        proven = receipt.verify(suite.CHECK_NOTE, request, reply, keys)
        victim.owed[Sealed(proven.block.number, hashlib.sha256(reply.receipt.block_header).digest())] += 1
        if reply.answer != (ANSWER_YES if request.amount_rials == RIALS else ANSWER_NO):
            result.losses.append("kill: a wrong answer")
    with closing(Store(settings.store)) as store, store.transaction() as connection:
<<<<<<< HEAD:scripts/torture.py
        whole = {Sealed(head.number, head.hash) for head in chain.verify(connection, keys)}
    lost = sum(victim.owed.pop(sealed) for sealed in list(victim.owed) if sealed not in whole)
    return Tally(rounds=1, acknowledged=len(given), lost=lost, wrong=wrong)
=======
        whole = {Sealed(head.number, head.hash) for head in chain.verify(connection, keys)}
    for sealed in [sealed for sealed in victim.owed if sealed not in whole]:
        result.losses += [f"kill: an answer is missing, block {sealed.block}"] * victim.owed.pop(sealed)
    return result
>>>>>>> 0ee15bb (Torture as a package: kill -9 with services born ready, and random histories held against an oracle):torture/kill.py


def run(task: Task) -> Result:
    """Torture several victims at a time, *rounds* in all."""
    template = suite.create(task.folder / "template", rate=1e6, burst=10**6)
    suite.load_samples(template)
    kills = min(KILLS, -(-task.rounds // VICTIMS))
    lives = [range(first, min(first + kills, task.rounds)) for first in range(0, task.rounds, kills)]
    over = threading.Event()

    def live(kills: range) -> Result:
        total = Result()
        home = suite.Sandbox(Path(shutil.copytree(template.folder, task.folder / f"victim-{kills.start}")))
        victim = Victim(home, Nursling(nursery, "promissory", home), Random(f"{task.seed} {kills.start}"))
        try:
            for result in torture(victim, len(kills)):
                total.add(result)
                task.told(1)
                if over.is_set():
                    break
        except (chain.BrokenLedger, receipt.InvalidReceipt) as error:
            total.losses.append(f"kill: {error}")
        finally:
            shutil.rmtree(home.folder)
        return total

    total = Result()
    with Nursery() as nursery, ThreadPoolExecutor(VICTIMS) as pool:
        try:
            for result in pool.map(live, lives):
                total.add(result)
        finally:
            over.set()
    total.remarks.append(f"{total.checked / max(1, total.rounds):.0f} answers a round, all of them there")
    return total


<<<<<<< HEAD:scripts/torture.py
def main(
    rounds: Annotated[int, typer.Argument(min=1, help="How many times a service is killed.")] = 200,
    seed: Annotated[int, typer.Option(help="What moments and questions are drawn from.")] = 1,
) -> None:
    """Kill the service under load and look for lost answers. Exit 0: none; 1: some, or a broken chain."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="estelam-torture-") as folder, Progress(console=console) as bar:
        task = bar.add_task("kill -9", total=rounds)
        try:
            total = run(Path(folder), rounds, seed, lambda _tally: bar.advance(task))
        except (chain.BrokenLedger, receipt.InvalidReceipt) as error:
            console.print(f"[bold red]broken[/]: {error}")
            raise typer.Exit(1) from None
    counted = f"rounds {total.rounds}, acknowledged {total.acknowledged}, lost {total.lost}, wrong {total.wrong}"
    console.print(f"{counted} (seed {seed})", highlight=False)
    raise typer.Exit(1 if total.lost or total.wrong else 0)


if __name__ == "__main__":
    typer.run(main)
=======
TRIAL = Trial("kill", "kill -9 of the service under load", 30, 1000, run)
>>>>>>> 0ee15bb (Torture as a package: kill -9 with services born ready, and random histories held against an oracle):torture/kill.py
