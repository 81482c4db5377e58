"""The officer's web UI: a form for the note's facts; a result page with YES and the parties, NO, or no answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.core.errors import Reason, Refusal, Violation
from estelam.data_model import openapi
from estelam.receipts import checkpoint
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem, Verdict
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.web.i18n import LANGUAGE_REDIRECT, SLASH_REDIRECT, View, localized, site_root
from estelam.web.middleware import ErrorBoundary, mark_refusal, took_turn
from sataad_adapter.web import csrf, form, receipts, session
from sataad_adapter.web.batch import Batches
from sataad_adapter.web.batch_pages import BatchPages
from sataad_adapter.web.officer import CASE_METADATA, Inquiry, MissingOfficerHeader, OfficerNameTooLong, OfficerUi
from sataad_adapter.web.pages import (
    MAX_RESULTS,
    RENDERER,
    RESULT_SECONDS,
    ExpiredResult,
    Typed,
    find_result,
    notice,
    owner_of,
    read_form,
    read_upload,
    redirect,
    show_page,
)
from sataad_adapter.web.results import Results

MAX_INQUIRY_BYTES = 16_384
MAX_ARCHIVE_BYTES = 262_144
MAX_CERTIFICATE_BYTES = 2_097_152
"""The greatest length of a form with an inquiry, of one with a saved receipt, and of one that may have a PDF."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A form in which somebody was typing, with what is wrong in it as the page stated; nothing was asked."""

    typed: Typed
    violations: Sequence[Violation]
    asked: bool
    """Whether the inquiry that had these violations was made."""


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A saved receipt that was verified: the replies that it proves, or the problem."""

    verified: Sequence[receipts.VerifiedReply] = ()
    problem: ReceiptProblem | None = None
    detail: str = ""


def officer_app(ui: OfficerUi, running: Batches, hosts: Sequence[str]) -> ASGIApp:
    """Return the web UI as an application, in both languages, for requests with a Host header of *hosts*."""
    pages, batches = _Pages(ui), BatchPages(ui, running)

    def view(path: str, show: View, method: str = "GET") -> Route:
        return Route(f"/{{language}}/{path}", localized(ui.named(show)), methods=[method])

    routes = [
        LANGUAGE_REDIRECT,
        view("", pages.blank),
        view("", pages.ask, "POST"),
        view("answers/{address}", pages.answer),
        view("answers/{address}/typed", pages.keep_beside, "POST"),
        view("typed", pages.keep, "POST"),
        view("typed/{address}", pages.typed),
        view("batch", batches.blank),
        view("batch", batches.start, "POST"),
        view("batch/typed", batches.keep, "POST"),
        view("batch/{address}", batches.progress),
        view("batch/{address}/stop", batches.stop, "POST"),
        view("batch/{address}/answers.csv", batches.answers),
        view("batch/{address}/receipts.jsonl", batches.receipts),
        view("receipt", pages.receipt),
        view("receipt", pages.check, "POST"),
        view("receipt/save", pages.save, "POST"),
        view("receipt/{address}", pages.checked),
        RENDERER.static(),
        SLASH_REDIRECT,
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        exception_handlers={
            404: _not_found,
            405: _not_found,
            400: _too_large,
            413: _too_large,
            csrf.CsrfError: notice("csrf", 403),
            MissingOfficerHeader: notice("unnamed", 403),
            OfficerNameTooLong: notice("long_name", 403),
            ExpiredResult: notice("expired", 410),
            Exception: notice("none", 500),
        },
    )
    app.state.agencies = ui.agencies
    return ErrorBoundary(app, PlainTextResponse("پاسخی داده نشد. No answer.", 500))


class _Pages:
    """The views of the web UI. A form that is sent is answered by a redirect to its result."""

    def __init__(self, ui: OfficerUi) -> None:
        self._ui = ui
        self._inquiries: Results[Inquiry] = Results(MAX_RESULTS, RESULT_SECONDS, ui.clock.monotonic)
        self._drafts: Results[Draft] = Results(MAX_RESULTS, RESULT_SECONDS, ui.clock.monotonic)
        self._receipts: Results[CheckedReceipt] = Results(MAX_RESULTS, RESULT_SECONDS, ui.clock.monotonic)
        self._certificate_turn = asyncio.Lock()

    async def blank(self, request: Request, language: str) -> Response:
        """Show the empty form."""
        return show_page(request, language, "verify.html", typed={form.AGENCY: session.agency_of(request)})

    async def ask(self, request: Request, _language: str) -> Response:
        """Inquire, and redirect to the result."""
        typed = await read_form(request, MAX_INQUIRY_BYTES)
        typed |= {form.AGENCY: self._ui.agencies.id_of(typed.get(form.AGENCY, ""))}
        took_turn(request)
        inquiry = await self._ui.inquire(typed, request.state.officer)
        response = redirect(request, "answers", self._inquiries, inquiry)
        session.set_agency(request, response, form.normalized_fields(typed)[form.AGENCY])
        return response

    async def answer(self, request: Request, language: str) -> Response:
        """Show the result of an inquiry that was made: the answer, or that there is none. It asks nothing."""
        inquiry = find_result(request, self._inquiries)
        took_turn(request)  # when it was made
        draft = self._drafts.find(owner_of(request), request.query_params.get("typed", ""))
        typed = draft.typed if draft else inquiry.typed
        if isinstance(inquiry.outcome, Refusal):
            return _show_refused(request, language, inquiry, inquiry.outcome, self._ui.clock.now(), typed)
        return _show_answered(request, language, inquiry, inquiry.outcome, typed)

    async def keep_beside(self, request: Request, language: str) -> Response:
        """Keep what is typed below a result, and redirect to both in the other language. It asks nothing."""
        typed = await read_form(request, MAX_INQUIRY_BYTES)
        find_result(request, self._inquiries)
        draft = self._drafts.keep(owner_of(request), Draft(typed, (), asked=False))
        return RedirectResponse(f"{site_root(request)}{language}/answers/{_address(request)}?typed={draft}", 303)

    async def keep(self, request: Request, _language: str) -> Response:
        """Keep what is typed, and redirect to the form in the other language. It asks nothing."""
        typed = await read_form(request, MAX_INQUIRY_BYTES)
        return redirect(request, "typed", self._drafts, self._draft(request, typed))

    async def typed(self, request: Request, language: str) -> Response:
        """Show the form with what was typed in it."""
        draft = find_result(request, self._drafts)
        shown: dict[str, Any] = {"violations": draft.violations, "asked": draft.asked}
        return show_page(request, language, "verify.html", typed=draft.typed, result=_address(request), **shown)

    def _draft(self, request: Request, typed: Typed) -> Draft:
        """Return what is typed, with what the page said of the fields that have not been changed since."""
        owner, address = owner_of(request), typed.get("result", "")
        if draft := self._drafts.find(owner, address):
            before, violations, asked = draft.typed, draft.violations, draft.asked
        elif (inquiry := self._inquiries.find(owner, address)) and isinstance(inquiry.outcome, Refusal):
            before, violations, asked = inquiry.typed, _violations(inquiry.outcome), _is_asked(inquiry)
        else:
            return Draft(typed, (), asked=False)
        still = [each for each in violations if typed.get(each.field) == before.get(each.field)]
        return Draft(typed, still, asked=asked)

    async def receipt(self, request: Request, language: str) -> Response:
        """Show the form that takes a saved receipt."""
        return show_page(request, language, "receipt.html")

    async def check(self, request: Request, _language: str) -> Response:
        """Verify a saved receipt, and redirect to the result."""
        typed, content = await read_upload(request, MAX_CERTIFICATE_BYTES)
        if receipts.is_pdf(content):  # its pages are made again, which takes a while: one at a time
            async with self._certificate_turn:
                checked = await asyncio.to_thread(self._checked, content)
        elif len(text := typed.get("receipt") or content.decode("utf-8", "replace")) > MAX_ARCHIVE_BYTES:
            raise HTTPException(413)
        else:
            checked = self._checked(text)
        return self._keep_checked(request, checked)

    async def checked(self, request: Request, language: str) -> Response:
        """Show the result of a verification."""
        checked = find_result(request, self._receipts)
        took_turn(request)  # when it was checked
        return _show_checked(request, language, checked)

    async def save(self, request: Request, _language: str) -> Response:
        """Return a receipt as a file to download, if it is valid; anything else is not echoed."""
        text = (await read_form(request, MAX_ARCHIVE_BYTES)).get("receipt", "").replace("\r\n", "\n")
        checked = self._checked(text)
        if checked.problem:
            return self._keep_checked(request, checked)
        name = f"estelam-receipt-{checked.verified[0].receipt.entry.inquiry_id.hex()}.jsonl"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(text, headers=headers, media_type="application/jsonl")

    def _keep_checked(self, request: Request, checked: CheckedReceipt) -> Response:
        if checked.problem:
            mark_refusal(request)
        return redirect(request, "receipt", self._receipts, checked)

    def _checked(self, saved: str | bytes) -> CheckedReceipt:
        try:
            if isinstance(saved, bytes):
                return CheckedReceipt(receipts.verify_certificate(saved, self._ui.keys))
            return CheckedReceipt(receipts.verify_archive(saved, self._ui.keys))
        except InvalidReceipt as error:
            return CheckedReceipt(problem=error.problem, detail=error.detail)


def _show_answered(
    request: Request, language: str, inquiry: Inquiry, reply: pb.VerifyNoteResponse, typed: Typed
) -> Response:
    """Show YES and the parties, or NO, and below it the form with *typed*."""
    sent = form.parse_form(inquiry.typed)
    return show_page(
        request,
        language,
        "answer.html",
        typed=typed,
        is_changed=_is_changed(inquiry, typed),
        sent=sent,
        case=form.parse_case(inquiry.typed),
        reply=reply,
        archive=receipts.archive_lines(sent, reply),
        checkpoint=receipts.CheckpointCode.of(checkpoint.parse(reply.check_receipt.checkpoint).checkpoint),
        answered_at=reply.check_receipt.answered_at.ToDatetime(UTC),
    )


def _show_refused(
    request: Request, language: str, inquiry: Inquiry, refusal: Refusal, now: datetime, typed: Typed
) -> Response:
    """Show that there is no answer, and below it the form with *typed*; the form with its mistakes if there are any."""
    retry_at = inquiry.ended_at + timedelta(seconds=refusal.retry_seconds or 0)
    wait_seconds = max(0, ceil((retry_at - now).total_seconds()))
    violations = _violations(refusal)
    response = show_page(
        request,
        language,
        "verify.html" if violations else "unanswered.html",
        status=openapi.http_status(refusal.reason),
        typed=typed,
        sent=inquiry.typed,
        is_changed=_is_changed(inquiry, typed),
        violations=violations,
        asked=_is_asked(inquiry),
        result=_address(request),
        refusal=refusal,
        inquiry_id=inquiry.inquiry_id,
        ended_at=inquiry.ended_at,
        case=inquiry.typed.get(form.CASE, ""),
        retry_at=retry_at,
        wait_seconds=wait_seconds if _may_help_to_wait(refusal) else None,
    )
    if refusal.retry_seconds is not None:
        response.headers["retry-after"] = str(wait_seconds)
    return response


def _is_changed(inquiry: Inquiry, typed: Typed) -> bool:
    """Whether the form below a result holds something else than what was sent."""
    return any(typed.get(name, "") != inquiry.typed.get(name, "") for name in form.INPUTS)


def _violations(refusal: Refusal) -> list[Violation]:
    """Return what *refusal* says of fields of the form."""
    fields = ((form.CASE if found.field == CASE_METADATA else found.field, found) for found in refusal.violations)
    return [replace(found, field=field) for field, found in fields if field in form.INPUTS]


def _is_asked(inquiry: Inquiry) -> bool:
    """Return whether the form was right, so that the inquiry was made."""
    return not form.violations(inquiry.typed)


def _address(request: Request) -> str:
    return str(request.path_params["address"])


def _may_help_to_wait(refusal: Refusal) -> bool:
    """Whether the same inquiry may be answered later: a note that changed between the two calls, at once."""
    return refusal.retry_seconds is not None or refusal.reason is Reason.NOTE_NOT_CONFIRMED


def _show_checked(request: Request, language: str, checked: CheckedReceipt) -> Response:
    """Show what a receipt proves, or the verdict on it and the problem, which repeat no input."""
    if (problem := checked.problem) is None:
        return show_page(request, language, "receipt.html", verified=checked.verified)
    status = 400 if problem.verdict is Verdict.MALFORMED else 422
    return show_page(
        request, language, "receipt.html", status=status, verified=None, problem=problem, detail=checked.detail
    )


_not_found = notice("missing", 404)
_too_large = notice("too_large", 413)
