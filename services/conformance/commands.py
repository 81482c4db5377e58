"""Commands of `estelam conformance`: test an implementation, list the cases, and write the fixtures."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from conformance import case_loader, fixtures, http_channel, known_failures, preflight, runner
from conformance.case import Case, Instance
from conformance.client import open_channel
from conformance.profile import Profile
from conformance.reports import html, junit, signed_json, terminal
from conformance.results import Outcome, RunResult
from conformance.target import Target
from estelam.cli import output
from estelam.cli.options import PaperLanguage
from estelam.core.addresses import check_target
from estelam.core.exceptions import UsageError, UserFacingError, describe_error

EXIT_CODES = {
    Outcome.CONFORMS: 0,
    Outcome.FAILS: 10,
    Outcome.PARTIAL: 11,
    Outcome.NOT_RUN: output.EXIT_UNAVAILABLE,
}


def run(
    pki: Path,
    promissory: str | None,
    judiciary: str | None,
    setad: str | None,
    instance: list[str] | None,
    ministry: str | None,
    steering: Path | None,
    profile: Profile,
    only: list[str] | None,
    junit_file: Path | None,
    report_json: Path | None,
    html_file: Path | None,
    pdf_file: Path | None,
    language: PaperLanguage,
    known_failing: Path | None,
    jobs: int,
    *,
    http: bool,
    without_changes: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Test a target, write the reports, print one, and exit."""
    with _usage_errors(as_json=as_json):
        signature = signed_json.signature_path(report_json) if report_json else None
        for option, path in (
            ("--junit", junit_file),
            ("--report-json", report_json),
            ("--report-json", signature),
            ("--html", html_file),
            ("--pdf", pdf_file),
        ):
            if path:
                output.check_writable(path, option, force=force)
        addresses = _addresses(
            {"promissory": promissory, "judiciary": judiciary, "setad": setad}, instance or (), ministry
        )
        target = Target(addresses, pki, steering, ministry)
        cases = case_loader.read()
        given = in_scope(cases, target, profile)
        scoped = [case for case in given if not http or http_channel.is_applicable(case)]
        chosen = case_loader.select(cases, only or ())
        tested = [case for case in scoped if case in chosen and not (without_changes and case.changes_data)]
        if not tested:
            raise UsageError("no case of the profile tests the services given; see: estelam conformance list")
        excused = _known(known_failing, cases)
        target.validate()
        _warn_without_steering(tested, target, as_json=as_json)
    writers = list(_writers(pki, junit_file, report_json, html_file, pdf_file, language))
    with terminal.Progress(output.err) as progress:
        progress.total(len(tested))
        result = runner.run(
            tested,
            target,
            jobs=jobs,
            progress=progress.done,
            known=excused,
            profile=profile,
            opener=http_channel.open_channel if http else open_channel,
            probe=http_channel.find_problems if http else preflight.find_problems,
        )
    cut = [case for case in scoped if case not in tested]
    not_applicable = len(given) - len(scoped)
    result = replace(result, left_out=len(cases) - len(given), not_applicable=not_applicable, cut=cut)
    if not as_json:
        terminal.show(result, output.out)
    try:
        for write in writers:
            write(result)
    except (OSError, UserFacingError) as error:
        message = f"a report could not be written: {describe_error(error)}"
        output.exit_error(
            message, as_json=as_json, code=output.EXIT_USAGE, more={"report": signed_json.report_content(result)}
        )
    if as_json:
        output.print_record(signed_json.report_content(result), as_json=True)
    raise typer.Exit(EXIT_CODES[result.outcome])


def _writers(
    pki: Path,
    junit_file: Path | None,
    report_json: Path | None,
    html_file: Path | None,
    pdf_file: Path | None,
    language: PaperLanguage,
) -> Iterator[Callable[[RunResult], None]]:
    """Yield what writes each report whose file is given."""
    if junit_file:
        yield lambda result: junit.write(junit_file, result)
    if report_json:
        yield lambda result: signed_json.write(report_json, result, pki)
    if html_file:
        yield lambda result: html.write(html_file, result)
    if pdf_file:
        from conformance.reports import paper  # noqa: PLC0415 - needs the extra pdf

        yield lambda result: paper.write(pdf_file, result, pki, language)


def list_cases(profile: Profile, only: list[str] | None, *, as_json: bool) -> None:
    """Print the cases: id, profile, clause, target and title."""
    with _usage_errors(as_json=as_json):
        found = case_loader.select(case_loader.read(), only or ())
    columns = ["case", "profile", "clause", "target", "title_en", "title_fa"]
    rows = [
        [case.id, case.profile.value, case.clause, case.target.value, case.title.en, case.title.fa]
        for case in found
        if profile.includes(case.profile)
    ]
    output.print_rows(columns, rows, as_json=as_json)


def write_fixtures(folder: Path, host: list[str] | None, *, force: bool, as_json: bool) -> None:
    """Write the fixtures of a target into *folder*."""
    with output.user_errors(as_json=as_json):
        output.check_new_folder(folder, "DIR", force=force)
        fixtures.write(folder, hosts=tuple(host or ()))
    output.print_record({"written_to": folder, "read_first": folder / "README.md"}, as_json=as_json)


def in_scope(cases: Sequence[Case], target: Target, profile: Profile) -> list[Case]:
    """Return the cases of *profile* whose service has an instance."""
    given = {instance.service for instance in target.addresses}
    return [case for case in cases if profile.includes(case.profile) and case.target.service in given]


def _addresses(services: dict[str, str | None], others: Sequence[str], ministry: str | None) -> dict[Instance, str]:
    given = {Instance(name): address for name, address in services.items() if address is not None}
    for other in others:
        role, _, address = other.partition("=")
        if role not in set(Instance):
            raise UsageError(f"--instance {other}: give ROLE=HOST:PORT with a role of {', '.join(Instance)}")
        given[Instance(role)] = address
    if not given:
        raise UsageError("give at least one of --promissory, --judiciary and --setad")
    if alone := next((each for each in given if Instance(each.service) not in given), None):
        raise UsageError(
            f"--instance {alone}={given[alone]}: its service is not given; add --{alone.service} HOST:PORT"
        )
    for address in filter(None, (*given.values(), ministry)):
        try:
            check_target(address)
        except ValueError as error:
            raise UsageError(f"{address}: {error}") from None
    return given


def _warn_without_steering(tested: Sequence[Case], target: Target, *, as_json: bool) -> None:
    lacking = sum(case.needs_steering for case in tested)
    if lacking and target.steering is None and not as_json:
        untested = "nothing is tested of the target's clock"
        output.warn(f"--steering DIR is missing: {lacking} of {len(tested)} cases can't run, and {untested}")


def _known(path: Path | None, cases: Sequence[Case]) -> set[str]:
    if path is None:
        return set()
    excused = set(known_failures.read(path))
    if unknown := excused - {case.id for case in cases}:
        raise UsageError(f"{path}: there is no case {min(unknown)}; see: estelam conformance list")
    return excused


def _usage_errors(*, as_json: bool) -> contextlib.AbstractContextManager[None]:
    return output.user_errors(as_json=as_json, code=output.EXIT_USAGE)
