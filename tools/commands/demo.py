"""A whole story told through the real command line: `make demo`. Every step says what should come out, and what did."""

import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from tools.env import sandbox as suite
from tools.env.processes import SERVICES, ServiceProcess, free_ports, run_command


@dataclass(slots=True)
class DemoContext:
    """Where the story is played: the suite, its services, and what earlier steps left for later ones."""

    sandbox: suite.Sandbox
    services: dict[str, ServiceProcess]
    words: dict[str, str] = field(default_factory=dict)
    """What {name} in a command stands for."""


def flip_a_byte(stage: DemoContext) -> str:
    """Copy the receipt, one bit of one byte in its middle turned over."""
    kept = bytearray((stage.sandbox.folder / RECEIPT).read_bytes())
    kept[len(kept) // 2] ^= 1
    (stage.sandbox.folder / FLIPPED).write_bytes(kept)
    return "DONE"


def kill_and_restart(stage: DemoContext) -> str:
    """Kill the promissory service with SIGKILL, and start it again."""
    service = stage.services["promissory"]
    service.kill()
    before = service.exit_status
    service.start()
    return f"ENDED BY {-before}" if before else "ENDED BY ITSELF"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what happens, the command or the deed that makes it happen, and what must come out."""

    narration: str
    does: str | Callable[[DemoContext], str]
    expected: str


RECEIPT, FLIPPED = "receipt.json", "flipped.json"
LIVE = "--serial 1404000000000017 --obligor 9990000018 --beneficiary 99000554330 --amount 2500000000"
SETTLED = "--serial 1404000000000025 --obligor 9990000026 --beneficiary 99000554330 --amount 900000000"
ENDORSED = "--serial 1404000000000033 --obligor 99000158381 --beneficiary 9990000042 --amount 12000000000"
MISTYPED = "--serial 1404000000000017 --obligor 9990000019 --beneficiary 99000554330 --amount 2500000000"
PARTIES = "promissory parties --serial 1404000000000017 --agency SETAD-0001"

STORY = (
    Step("Nobody sees the parties of a note unasked", PARTIES, "NOTE_NOT_CONFIRMED"),
    Step("A note that is genuine and live", f"promissory check {LIVE} --save-receipt {RECEIPT}", "YES"),
    Step("After that yes, its parties", PARTIES, "TOLD"),
    Step("A note that is settled", f"promissory check {SETTLED}", "NO"),
    Step("An organisation without a grant", f"promissory check {LIVE} --as stranger", "NOT_GRANTED"),
    Step("A check digit mistyped", f"promissory check {MISTYPED}", "FIELD_INVALID"),
    Step("The kept receipt, checked offline", f"receipt verify {RECEIPT}", "VALID"),
    Step("One bit of a copy of it turned over", flip_a_byte, "DONE"),
    Step("The copy proves nothing any more", f"receipt verify {FLIPPED}", "INVALID"),
    Step("The whole ledger, its head noted", "ledger verify promissory", "VALID"),
    Step("A buyer in Setad: both methods in one", f"setad verify {ENDORSED} --agency SETAD-0001", "YES"),
    Step("A drawer with a case over a cheque", "judiciary check-person --national-id 9990000050", "YES"),
    Step("A person with none", "judiciary check-person --national-id 9990000042", "NO"),
    Step("A case of 1399, while data begins in 1400", "judiciary check-person --national-id 9990000085", "NO"),
    Step("The data is deepened to 1399", "judiciary load-cases {cases} --since 1399-01-01 --through now", "LOADED"),
    Step("The same person again", "judiciary check-person --national-id 9990000085", "YES"),
    Step("The promissory service killed, then restarted", kill_and_restart, "ENDED BY 9"),
    Step("The receipt from before the kill", f"receipt verify {RECEIPT}", "VALID"),
    Step("The head from before it is in the chain", "ledger verify promissory --head {head}", "VALID"),
    Step("The service answers as before", f"promissory check {LIVE}", "YES"),
    Step("Who asked about this obligor", "ledger subject-report promissory 9990000018", "2 ENTRIES"),
)


def play(stage: DemoContext, step: Step) -> tuple[str, str]:
    """What *step* did, in words, and what came out."""
    if not isinstance(step.does, str):
        return (step.does.__doc__ or "").rstrip("."), step.does(stage)
    command = step.does.format(**stage.words)
    done = run_command(stage.sandbox, *shlex.split(command), "--json", folder=stage.sandbox.folder)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        return f"$ estelam {command}", f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}"
    if isinstance(said, dict) and "head" in said:
        stage.words["head"] = said["head"]
    return f"$ estelam {command}", outcome(done.returncode, said)


def outcome(code: int, said: Any) -> str:
    """One word for what a command said and how it exited; the two must agree."""
    match code, said:
        case 0, list(rows):
            word = f"{len(rows)} ENTRIES"
        case (0, {"answer": "YES"}) | (10, {"answer": "NO"}):
            word = said["answer"]
        case 20, {"answer": None, "reason": str(reason)}:
            word = reason
        case 0, {"obligor": _, "beneficiary": _}:
            word = "TOLD"
        case 0, {"valid": True}:
            word = "VALID"
        case 0, {"loaded": int(rows), "rejected": 0} if rows:
            word = "LOADED"
        case 1, {"error": str(error)} if error.startswith("INVALID"):
            word = "INVALID"
        case _:
            word = f"exit {code}: {json.dumps(said, ensure_ascii=False)}"
    return word


def run_story(console: Console) -> int:
    """Play the story; returns how many steps came out otherwise than told."""
    with tempfile.TemporaryDirectory(prefix="estelam-demo-") as folder:
        sandbox = suite.create_sandbox(Path(folder), ports=free_ports(*SERVICES))
        suite.load_samples(sandbox)
        services = {name: ServiceProcess(name, sandbox) for name in SERVICES}
        stage = DemoContext(sandbox, services, {"cases": str(suite.SAMPLES / "cases.csv")})
        try:
            for service in services.values():
                service.launch()
            for service in services.values():
                service.wait()
            return sum(not show(console, number, step, stage) for number, step in enumerate(STORY, start=1))
        finally:
            for service in reversed(services.values()):
                service.stop()


def show(console: Console, number: int, step: Step, stage: DemoContext) -> bool:
    """Play one step and print it in one line; whether it came out as told."""
    did, came = play(stage, step)
    same = came == step.expected
    mark = "[green]✓[/]" if same else "[bold red]✗[/]"
    colour = "green" if same else "bold red"
    verdict = f"told {step.expected:18} came out [{colour}]{escape(came):18}[/]"
    console.print(f"{number:2} {mark} {step.narration:46} {verdict} [dim]{escape(did)}[/]")
    return same


def main() -> None:
    """Exit 0 where every step came out as told."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Three services on free ports, in a temporary folder.[/]\n")
    failed = run_story(console)
    if failed:
        console.print(f"\n[bold red]{failed} of {len(STORY)} steps did not come out as told: those marked ✗.[/]")
    else:
        console.print(f"\n[bold green]All {len(STORY)} steps came out as told.[/]")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
