"""`make demo`: a scenario through the real command line; each step prints the expected and the actual outcome."""

import base64
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from development import sandbox as suite
from development.files import SAMPLES
from development.processes import SERVICES, ServiceProcess, free_ports, run_command
from estelam.inquiry.v1.inquiry_pb2 import Receipt
from estelam.receipts.receipt import canonical


@dataclass(slots=True)
class DemoContext:
    """The sandbox, its services, and values that earlier steps leave for later ones."""

    sandbox: suite.Sandbox
    services: dict[str, ServiceProcess]
    values: dict[str, str] = field(default_factory=dict)
    """The values of {name} placeholders in commands."""


def write_cases_of_1399(context: DemoContext) -> str:
    """Write a file of the sample's cases that were filed in 1399."""
    header, *rows = (SAMPLES / "cases.csv").read_text("utf-8").splitlines()
    old = [row for row in rows if row.split(",")[FILED_ON] < "2021-03-21"]
    (context.sandbox.folder / OLD_CASES).write_text("\n".join([header, *old, ""]), "utf-8")
    context.values["now"] = datetime.now(UTC).isoformat(timespec="seconds")
    return "DONE"


def cut_off_the_register(context: DemoContext) -> str:
    """Write the first 17 rows of the sample's cases, as of a file that was cut off."""
    rows = (SAMPLES / "cases.csv").read_text("utf-8").splitlines(keepends=True)
    (context.sandbox.folder / CUT_OFF).write_text("".join(rows[:18]), "utf-8")
    return "DONE"


def flip_a_bit(context: DemoContext) -> str:
    """Copy the receipt with one bit of its salt flipped."""
    saved = json.loads((context.sandbox.folder / RECEIPT).read_text("ascii"))
    receipt = Receipt.FromString(base64.b64decode(saved["receipt"]))
    receipt.salt = bytes([receipt.salt[0] ^ 1]) + receipt.salt[1:]
    saved["receipt"] = base64.b64encode(canonical(receipt)).decode("ascii")
    (context.sandbox.folder / FLIPPED).write_text(json.dumps(saved) + "\n", "ascii")
    return "DONE"


def kill_and_restart(context: DemoContext) -> str:
    """Kill the promissory service with SIGKILL, and start it again."""
    service = context.services["promissory"]
    service.kill()
    before = service.exit_status
    service.start()
    return f"ENDED BY {-before}" if before else "ENDED BY ITSELF"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its title, the command or function to run, and the expected outcome."""

    narration: str
    does: str | Callable[[DemoContext], str]
    expected: str


RECEIPT, FLIPPED = "receipt.json", "flipped.json"
OLD_CASES, CUT_OFF = "cases-of-1399.csv", "cases-cut-off.csv"
FILED_ON = 2  # the column
MANIFEST = "--feed cases --number 2 --cut-at {now} --since 1399-01-01"
LIVE = "--serial 1404000000000017 --obligor 9990000018 --beneficiary 99000554330 --amount 2500000000"
SETTLED = "--serial 1404000000000025 --obligor 9990000026 --beneficiary 99000554330 --amount 900000000"
ENDORSED = "--serial 1404000000000033 --obligor 99000158381 --beneficiary 9990000042 --amount 12000000000"
MISTYPED = "--serial 1404000000000017 --obligor 9990000019 --beneficiary 99000554330 --amount 2500000000"
PARTIES = "promissory parties --serial 1404000000000017 --agency SETAD-0001"

STORY = (
    Step("Parties are not disclosed before a YES", PARTIES, "NOTE_NOT_CONFIRMED"),
    Step("A note that is genuine and live", f"promissory check {LIVE} --save-receipt {RECEIPT}", "YES"),
    Step("After that YES, its parties", PARTIES, "DISCLOSED"),
    Step("A note that is settled", f"promissory check {SETTLED}", "NO"),
    Step("An organisation without a grant", f"promissory check {LIVE} --as stranger", "NOT_GRANTED"),
    Step("A mistyped check digit", f"promissory check {MISTYPED}", "FIELD_INVALID"),
    Step("The saved receipt, verified offline", f"receipt verify {RECEIPT}", "VALID"),
    Step("A copy of it with one bit flipped", flip_a_bit, "DONE"),
    Step("The copy is not valid", f"receipt verify {FLIPPED}", "INVALID"),
    Step("The whole ledger; its head is kept", "ledger verify promissory", "VALID"),
    Step(
        "A procurement officer in Setad: both methods in one call",
        f"setad verify {ENDORSED} --agency SETAD-0001",
        "YES",
    ),
    Step("A drawer with a case over a cheque", "judiciary check-person --national-id 9990000050", "YES"),
    Step("A person who is the drawer in none", "judiciary check-person --national-id 9990000042", "NO"),
    Step("A case of 1399, while coverage begins in 1400", "judiciary check-person --national-id 9990000085", "NO"),
    Step("The courts deliver these cases", write_cases_of_1399, "DONE"),
    Step("... with a manifest", f"load manifest {OLD_CASES} {MANIFEST}", "WRITTEN"),
    Step("Coverage is extended to 1399", f"judiciary load-cases {OLD_CASES}", "LOADED"),
    Step("The same file again", f"judiciary load-cases {OLD_CASES}", "ALREADY LOADED"),
    Step("A register of which the end is missing", cut_off_the_register, "DONE"),
    Step(
        "... must not remove all other cases", f"judiciary load-cases {CUT_OFF} --replace --cut-at {{now}}", "REFUSED"
    ),
    Step("The same person again", "judiciary check-person --national-id 9990000085", "YES"),
    Step("The promissory service killed, then restarted", kill_and_restart, "ENDED BY 9"),
    Step("The receipt from before the kill", f"receipt verify {RECEIPT}", "VALID"),
    Step("The earlier head is in the ledger", "ledger verify promissory --head {head}", "VALID"),
    Step("The service answers again", f"promissory check {LIVE}", "YES"),
    Step("Inquiries about this obligor, and disclosures", "ledger subject-report promissory 9990000018", "3 ENTRIES"),
)


def play(context: DemoContext, step: Step) -> tuple[str, str]:
    """Run *step*; returns its description and its outcome."""
    if not isinstance(step.does, str):
        return (step.does.__doc__ or "").rstrip("."), step.does(context)
    command = step.does.format(**context.values)
    done = run_command(context.sandbox, *shlex.split(command), "--json", folder=context.sandbox.folder)
    try:
        output = json.loads(done.stdout)
    except ValueError:
        return f"$ estelam {command}", f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}"
    if isinstance(output, dict) and "head" in output:
        context.values["head"] = output["head"]
    return f"$ estelam {command}", outcome(done.returncode, output)


def outcome(code: int, output: Any) -> str:
    """One word for a command's output and exit code, which must agree."""
    match code, output:
        case 0, {"inquiries": list(rows)}:
            word = f"{len(rows)} ENTRIES"
        case (0, {"answer": "YES"}) | (10, {"answer": "NO"}):
            word = output["answer"]
        case 20, {"answer": None, "reason": str(reason)}:
            word = reason
        case 0, {"obligor": _, "beneficiary": _}:
            word = "DISCLOSED"
        case 0, {"valid": True}:
            word = "VALID"
        case 1, {"error": str(error)} if error.startswith("INVALID"):
            word = "INVALID"
        case _:
            word = _outcome_of_load(code, output) or f"exit {code}: {json.dumps(output, ensure_ascii=False)}"
    return word


def _outcome_of_load(code: int, output: Any) -> str | None:
    match code, output:
        case 0, {"manifest": _}:
            return "WRITTEN"
        case 0, {"already_loaded": True}:
            return "ALREADY LOADED"
        case 0, {"loaded": int(rows), "rejected": 0} if rows:
            return "LOADED"
        case 1, {"error": str(error)} if "--allow-removals" in error:
            return "REFUSED"
    return None


def run_story(console: Console) -> int:
    """Run all steps; returns the number of steps with an unexpected outcome."""
    with tempfile.TemporaryDirectory(prefix="estelam-demo-") as folder:
        sandbox = suite.create_sandbox(Path(folder), ports=free_ports(*SERVICES))
        suite.load_samples(sandbox)
        services = {name: ServiceProcess(name, sandbox) for name in SERVICES}
        context = DemoContext(sandbox, services)
        try:
            for service in services.values():
                service.launch()
            for service in services.values():
                service.wait()
            return sum(not show(console, number, step, context) for number, step in enumerate(STORY, start=1))
        finally:
            for service in reversed(services.values()):
                service.stop()


def show(console: Console, number: int, step: Step, context: DemoContext) -> bool:
    """Run one step and print it on one line; returns whether the outcome was the expected one."""
    did, came = play(context, step)
    same = came == step.expected
    mark = "[green]✓[/]" if same else "[bold red]✗[/]"
    colour = "green" if same else "bold red"
    verdict = f"expected {step.expected:18} got [{colour}]{escape(came):18}[/]"
    console.print(f"{number:2} {mark} {step.narration:46} {verdict} [dim]{escape(did)}[/]")
    return same


def main() -> None:
    """Exit 0 if every step had the expected outcome."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Three services on free ports, in a temporary folder.[/]\n")
    failed = run_story(console)
    if failed:
        console.print(f"\n[bold red]{failed} of {len(STORY)} steps had an unexpected outcome: those marked ✗.[/]")
    else:
        console.print(f"\n[bold green]All {len(STORY)} steps had the expected outcome.[/]")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
