"""Instances of a bred reference, kept on sockets in a thread of their own."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

from conformance.case import Case, Instance
from tests.conformance.mutants.build import Bred

PATIENCE_SECONDS = 10


def needed(cases: Collection[Case]) -> set[str]:
    """The instances that *cases* ask, and the ministry's where Setad's must ask it."""
    names = {step.target or case.target for case in cases for step in case.steps}
    if any(name.service == "setad" for name in names):
        names.add(Instance.PROMISSORY)
    return {name.value for name in names}


def set_back(folder: Path) -> None:
    """Make the steering in *folder* as it was at first: it is the origin now, and nobody is barred besides."""
    origin = datetime.fromisoformat(json.loads((folder / "manifest.json").read_text("utf-8"))["origin"])
    offset = round((origin - datetime.now(UTC)).total_seconds())
    (folder / "steering" / "offset").write_text(f"{offset}\n", "ascii")
    (folder / "steering" / "denied").write_text("", "ascii")


@contextlib.contextmanager
def kept(reference: Bred, folder: Path, names: Collection[str]) -> Iterator[Mapping[str, str]]:
    """The instances *names* of *reference* on the fixtures in *folder*; their addresses."""
    addresses: Future[Mapping[str, str]] = Future()
    leave: Future[None] = Future()

    async def serve() -> None:
        async with reference.module("service").running(folder, names) as found:
            addresses.set_result(found)
            await asyncio.wrap_future(leave)

    def run() -> None:
        try:
            if reference.watch is not None:
                reference.watch.begin()
            asyncio.run(serve())
        except (Exception, SystemExit) as fault:  # noqa: BLE001 - told to whoever waits; a mutant may end its server
            if not addresses.done():
                addresses.set_exception(fault)

    thread = threading.Thread(target=run, name=reference.package, daemon=True)
    thread.start()
    try:
        yield addresses.result(PATIENCE_SECONDS)
    finally:
        if not leave.done():  # as it is where a fault has ended the loop
            leave.set_result(None)
        thread.join(PATIENCE_SECONDS)
