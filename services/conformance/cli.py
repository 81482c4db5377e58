"""`estelam conformance`: examine an implementation, list the cases, and write the fixtures."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from conformance import case_loader, fixtures, known_failures, runner
from conformance.case import Case, Instance
from conformance.reports import html, junit, signed_json, terminal
from conformance.results import RunResult
from conformance.target import Target, TargetError
from estelam.cli import output

EXIT_CONFORMS = 0
EXIT_FAILS = 10
EXIT_COULD_NOT_RUN = output.EXIT_UNAVAILABLE
EXIT_USAGE = 2

_ADDRESS = re.compile(r"([^\s:]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")

app = typer.Typer(help="Examine an implementation of the contracts, in any language.", no_args_is_help=True)

Address = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where the service is.")]
Only = Annotated[
    list[str] | None, typer.Option(metavar="CLAUSE|CASE", help="Of the cases, these alone, by clause or by id.")
]


@app.command()
def run(
    pki: Annotated[Path, typer.Option(metavar="DIR", help="The fixtures' folder `pki`.")],
    promissory: Address = None,
    judiciary: Address = None,
    setad: Address = None,
    instance: Annotated[
        list[str] | None, typer.Option(metavar="ROLE=HOST:PORT", help="One more, in a state of its own.")
    ] = None,
    steering: Annotated[Path | None, typer.Option(metavar="DIR", help="The fixtures' folder `steering`.")] = None,
    only: Only = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="JUnit XML.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="JSON, signed.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="One page.")] = None,
    known_failing: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Failures that are known, with reason and expiry.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Cases under way at once.")] = 8,
) -> None:
    """Examine a target. Exit 0: it conforms, 10: it does not, 21: it could not be examined, 2: the command is wrong."""
    # gRPC's own log lines would stand among the report's.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    addresses = _addresses({"promissory": promissory, "judiciary": judiciary, "setad": setad}, instance or ())
    target = Target(addresses, pki, steering)
    cases, chosen = _cases(only or ())
    scoped = in_scope(chosen, target)
    if not scoped:
        _wrong("no case is about the services given")
    excused = _known(known_failing, cases)
    try:
        target.validate()
    except TargetError as error:
        _wrong(str(error))
    with terminal.Progress(output.err) as progress:
        progress.total(len(scoped))
        verdict = runner.run(scoped, target, jobs=jobs, progress=progress.done, known=excused)
    verdict = replace(verdict, left_out=len(cases) - len(scoped))
    terminal.show(verdict, output.out)
    try:
        if junit_file:
            junit.write(junit_file, verdict)
        if json_file:
            signed_json.write(json_file, verdict, pki)
        if html_file:
            html.write(html_file, verdict)
    except (OSError, signed_json.SignatureError) as error:
        _wrong(f"a report could not be written: {error}")
    raise typer.Exit(exit_code(verdict))


@app.command("list")
def list_cases(
    only: Only = None,
    as_json: output.AsJson = False,
) -> None:
    """List the cases: id, clause, target and title."""
    _, chosen = _cases(only or ())
    columns = ["case", "clause", "target", "title_en", "title_fa"]
    rows = [[case.id, case.clause, case.target.value, case.title.en, case.title.fa] for case in chosen]
    output.print_rows(columns, rows, as_json=as_json)


@app.command("fixtures")
def write_fixtures(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    host: Annotated[list[str] | None, typer.Option(help="One more name of the target's servers.")] = None,
) -> None:
    """Write what a target is loaded with: data, certificates, the time it begins at, and how."""
    with output.user_errors(as_json=False):
        fixtures.write(folder, hosts=tuple(host or ()))
    output.print_record({"written_to": folder, "read_first": folder / "README.md"}, as_json=False)


def in_scope(cases: Sequence[Case], target: Target) -> list[Case]:
    """The cases about services of which an instance was given."""
    given = {instance.service for instance in target.addresses}
    return [case for case in cases if given >= {(step.target or case.target).service for step in case.steps}]


def exit_code(verdict: RunResult) -> int:
    """How the run command ends: a target that conforms, one that does not, and nothing found out are told apart."""
    if verdict.error:
        return EXIT_COULD_NOT_RUN
    return EXIT_CONFORMS if verdict.conforms else EXIT_FAILS


def _addresses(services: dict[str, str | None], others: Sequence[str]) -> dict[Instance, str]:
    given = {Instance(name): address for name, address in services.items() if address is not None}
    for other in others:
        role, _, address = other.partition("=")
        if role not in set(Instance):
            _wrong(f"--instance {other}: the role is one of {', '.join(Instance)}")
        given[Instance(role)] = address
    if not given:
        _wrong("give at least one of --promissory, --judiciary and --setad")
    for address in given.values():
        found = _ADDRESS.fullmatch(address)
        if found is None or not 0 < int(found[2]) < 65536:
            _wrong(f"{address!r} is no HOST:PORT")
    return given


def _cases(only: Sequence[str]) -> tuple[list[Case], list[Case]]:
    """All cases, and those of them that are wanted."""
    try:
        cases = case_loader.read()
        return cases, case_loader.select(cases, only)
    except (case_loader.CaseError, ValueError) as error:
        _wrong(str(error))


def _known(path: Path | None, cases: Sequence[Case]) -> set[str]:
    if path is None:
        return set()
    try:
        excused = set(known_failures.read(path))
    except known_failures.KnownFailuresError as error:
        _wrong(str(error))
    if strangers := excused - {case.id for case in cases}:
        _wrong(f"{path}: no case is called {min(strangers)}")
    return excused


def _wrong(message: str) -> NoReturn:
    output.exit_error(message, as_json=False, code=EXIT_USAGE)
