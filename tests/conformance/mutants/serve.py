"""Runs instances of a copy of the reference in a thread."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

from conformance.case import Case, Instance
from tests.conformance.mutants.build import ReferenceCopy, build_reference
from tools.commands.conformance import NOBODY, ministry_address

TIMEOUT_SECONDS = 10


def needed_instances(cases: Collection[Case]) -> set[str]:
    """Return the instances that *cases* call."""
    return {(step.target or case.target).value for case in cases for step in case.steps}


def reset_steering(folder: Path) -> None:
    """Reset the steering files in *folder*: the target's time is the origin, and the lists are empty."""
    origin = datetime.fromisoformat(json.loads((folder / "manifest.json").read_text("utf-8"))["origin"])
    offset = round((origin - datetime.now(UTC)).total_seconds())
    (folder / "steering" / "offset").write_text(f"{offset}\n", "ascii")
    for name in ("denied", "changes"):
        (folder / "steering" / name).write_text("", "ascii")


@contextlib.contextmanager
def serve_reference(reference: ReferenceCopy, folder: Path, names: Collection[str]) -> Iterator[Mapping[str, str]]:
    """Run the instances *names* of *reference* on the fixtures in *folder*; yield their addresses.

    The ministry of an adapter without one among them is the unchanged reference: the fault is the adapter's alone.
    """
    with contextlib.ExitStack() as stack:
        ministry = NOBODY
        if Instance.PROMISSORY not in names and any(Instance(name).service == "setad" for name in names):
            unchanged = stack.enter_context(build_reference(None))
            ministry = stack.enter_context(_serve(unchanged, folder, [Instance.PROMISSORY.value]))["promissory"]
        yield stack.enter_context(_serve(reference, folder, names, ministry))


@contextlib.contextmanager
def _serve(
    reference: ReferenceCopy, folder: Path, names: Collection[str], ministry: str = NOBODY
) -> Iterator[Mapping[str, str]]:
    addresses: Future[Mapping[str, str]] = Future()
    stop: Future[None] = Future()

    async def serve() -> None:
        running = reference.module("service").running(folder, names, ministry, ministry_address(folder))
        async with running as found:
            addresses.set_result(found)
            await asyncio.wrap_future(stop)

    def run() -> None:
        try:
            if reference.watch is not None:
                reference.watch.start()
            asyncio.run(serve())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - passed to the waiting thread; a mutant may end its server
            if not addresses.done():
                addresses.set_exception(error)

    thread = threading.Thread(target=run, name=reference.package, daemon=True)
    thread.start()
    try:
        yield addresses.result(TIMEOUT_SECONDS)
    finally:
        if not stop.done():  # a fault may have ended the loop
            stop.set_result(None)
        thread.join(TIMEOUT_SECONDS)
