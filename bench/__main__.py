"""Measure the full service beside a bare handler: `python -m bench`. Nothing is asserted; a table is printed."""

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

import promissory.__main__
from bench import bare, machine, sandbox
from bench.figures import Contest, Crowd, Pair, captured_reply
from bench.processes import running
from bench.table import table
from estelam.promissory.v1 import note_inquiry_pb2 as pb

SERVER_CORE = 0
MANY = Crowd(8, 16)
ONE = Crowd(1, 1)


class Reply(StrEnum):
    """What the bare handler always says."""

    RECEIPT = "receipt"
    ANSWER = "answer"


def main(
    seconds: Annotated[float, typer.Option(help="Measured seconds of each run.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Pairs of runs; medians are printed.")] = 5,
    notes: Annotated[int, typer.Option(help="Notes on record.")] = 10_000,
    reply: Annotated[Reply, typer.Option(help="The bare handler's: as long as the full one's, or no receipt.")] = (
        Reply.RECEIPT
    ),
    folder: Annotated[Path | None, typer.Option(help="Where to put the store; default: the temporary folder.")] = None,
) -> None:
    """Print what a recorded, signed answer costs beside a bare handler of the same contract."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="estelam-bench-", dir=folder) as name:
        world = sandbox.build(Path(name), notes=notes)
        with running(promissory.__main__.main, world.settings, core=SERVER_CORE) as full:
            said = pb.CheckNoteResponse.FromString(captured_reply(world, full))
            if reply is Reply.ANSWER:
                said.ClearField("receipt")
            with running(bare.main, world.settings, said.SerializeToString(), core=SERVER_CORE) as plain:
                contest = Contest(world, plain, full, seconds)
                pairs: dict[Crowd, list[Pair]] = {MANY: [], ONE: []}
                runs = [(crowd, turn) for crowd in pairs for turn in range(rounds)]
                for crowd, turn in track(runs, "measuring", console=console, transient=True):
                    pairs[crowd].append(contest.pair(crowd, turn))
        facts = machine.describe(Path(name))
    console.print(table(many=pairs[MANY], one=pairs[ONE], reply_bytes=said.ByteSize()))
    console.print(*(f"{fact}: {value}" for fact, value in facts.items()), sep="\n", highlight=False)


if __name__ == "__main__":
    typer.run(main)
