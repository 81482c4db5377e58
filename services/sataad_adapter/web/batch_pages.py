"""The pages of a list of notes: upload it, follow its progress, take the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from estelam.cli.bulk.question import UNANSWERED
from estelam.core.errors import Violation
from estelam.web.i18n import site_root
from estelam.web.middleware import mark_refusal, took_turn
from sataad_adapter.web import form, session
from sataad_adapter.web.batch import (
    BATCH_SECONDS,
    MAX_LIST_BYTES,
    MAX_ROWS,
    NOTES,
    Batch,
    Batches,
    ListError,
    TooManyBatches,
    read_list,
)
from sataad_adapter.web.officer import OfficerUi
from sataad_adapter.web.pages import ExpiredResult, find_result, owner_of, read_form, read_upload, redirect, show_page
from sataad_adapter.web.results import Owner, Results

MAX_BATCHES: Final = 32
KEPT_SECONDS: Final = 3600.0
"""Lists that are kept, and how long from their upload on."""
SHOWN_ROWS: Final = 20
"""Rows without an answer that the page shows; the file has all."""
REFRESH_SECONDS: Final = 3


@dataclass(frozen=True, slots=True)
class RejectedList:
    """A list that was not started, or not sent yet, with what was typed beside it."""

    typed: Mapping[str, str]
    violations: Sequence[Violation] = ()
    problem: str = ""
    """What is wrong with the list."""
    is_busy: bool = False
    """Whether another list must end first."""


class BatchPages:
    """The views of a list of notes."""

    def __init__(self, ui: OfficerUi, batches: Batches) -> None:
        self._ui = ui
        self._batches = batches
        self._results: Results[Batch | RejectedList] = Results(MAX_BATCHES, KEPT_SECONDS, ui.clock.monotonic)

    async def blank(self, request: Request, language: str) -> Response:
        """Show the form that takes a list."""
        return _show_form(request, language, RejectedList({form.AGENCY: session.agency_of(request)}))

    async def start(self, request: Request, _language: str) -> Response:
        """Start a list, and redirect to its progress."""
        typed, content = await read_upload(request, MAX_LIST_BYTES)
        typed |= {form.AGENCY: self._ui.agencies.id_of(typed.get(form.AGENCY, ""))}
        started = self._started(owner_of(request), typed, content)
        if isinstance(started, RejectedList):
            mark_refusal(request)
        response = redirect(request, "batch", self._results, started)
        session.set_agency(request, response, form.normalized_fields(typed)[form.AGENCY])
        return response

    async def keep(self, request: Request, _language: str) -> Response:
        """Keep what is typed, and redirect to the form in the other language; the file has to be chosen again."""
        typed = await read_form(request, MAX_LIST_BYTES)
        before = self._results.find(owner_of(request), typed.get("result", ""))
        kept = RejectedList(typed)
        if isinstance(before, RejectedList):
            still = [each for each in before.violations if typed.get(each.field) == before.typed.get(each.field)]
            kept = RejectedList(typed, still, problem="" if typed.get("list") else before.problem)
        return redirect(request, "batch", self._results, kept)

    async def progress(self, request: Request, language: str) -> Response:
        """Show how far a list is, or its answers; it asks nothing."""
        batch = find_result(request, self._results)
        if isinstance(batch, RejectedList):
            took_turn(request)  # when it was sent
            return _show_form(request, language, batch, request.path_params["address"])
        unanswered = [row for row in batch.output() if row["answer"] == UNANSWERED]
        return show_page(
            request,
            language,
            "batch_progress.html",
            address=request.path_params["address"],
            batch=batch,
            counts=batch.counts,
            unanswered=() if batch.is_running else unanswered[:SHOWN_ROWS],
            case=batch.case,
            refresh_seconds=REFRESH_SECONDS,
        )

    async def stop(self, request: Request, language: str) -> Response:
        """Ask for no more rows, and redirect to the progress."""
        await read_upload(request, MAX_LIST_BYTES)
        self._found(request).stop()
        return RedirectResponse(f"{site_root(request)}{language}/batch/{request.path_params['address']}", 303)

    async def answers(self, request: Request, _language: str) -> Response:
        """Return the answers as a CSV file."""
        return _file("answers.csv", "text/csv; charset=utf-8", self._found(request).answers_csv())

    async def receipts(self, request: Request, _language: str) -> Response:
        """Return the receipts as a file, which `estelam receipt verify` and this site verify."""
        return _file("receipts.jsonl", "application/jsonl", self._found(request).receipts())

    def _started(self, owner: Owner, typed: Mapping[str, str], content: bytes) -> Batch | RejectedList:
        if violations := form.violations(typed, (form.AGENCY, form.CASE)):
            return RejectedList(typed, violations)
        agency = form.normalized_fields(typed)[form.AGENCY]
        try:
            return self._batches.start(owner, read_list(content, self._ui.clock.now()), agency, form.parse_case(typed))
        except ListError as error:
            return RejectedList(typed, problem=str(error))
        except TooManyBatches:
            return RejectedList(typed, is_busy=True)

    def _found(self, request: Request) -> Batch:
        batch = find_result(request, self._results)
        if isinstance(batch, RejectedList):
            raise ExpiredResult
        return batch


def _show_form(request: Request, language: str, rejected: RejectedList, address: str = "") -> Response:
    status = 503 if rejected.is_busy else 400 if rejected.problem or rejected.violations else 200
    return show_page(
        request,
        language,
        "batch.html",
        status=status,
        typed=rejected.typed,
        rejected=rejected,
        result=address,
        columns=tuple(NOTES.fields),
        max_rows=MAX_ROWS,
        minutes=round(BATCH_SECONDS / 60),
        kept_minutes=round(KEPT_SECONDS / 60),
    )


def _file(name: str, media_type: str, text: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="estelam-{name}"'}
    return Response(text, headers=headers, media_type=media_type)
