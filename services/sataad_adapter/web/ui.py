"""The officer's web UI: a form for the note's facts; a result page with YES and the parties, NO, or no answer."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.core.clock import Clock, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import VerifyingKey
from estelam.core.normalize import normalize_text
from estelam.core.purpose import MAX_CHARACTERS, check_purpose, encode_purpose
from estelam.data_model import openapi
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem, Verdict
from estelam.rest.request_context import CallRefused, CountedHandler, Pairs, call_handler
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.web.i18n import LANGUAGE_REDIRECT, SLASH_REDIRECT, View, localized, request_language, site_root
from estelam.web.middleware import ErrorBoundary, took_turn
from estelam.web.rendering import Language, SiteRenderer
from sataad_adapter.web import csrf, form, receipts, session
from sataad_adapter.web.agencies import Agencies
from sataad_adapter.web.number_words import amount_lines, word_table
from sataad_adapter.web.results import Owner, Results

MAX_INQUIRY_BYTES = 16_384
MAX_ARCHIVE_BYTES = 262_144
"""The greatest length of a form with an inquiry, and of one with a saved receipt."""
RESULT_SECONDS = 1800.0
"""How long a result can be read again."""
MAX_RESULTS = 2000
"""Most results of each kind that are kept."""

T = TypeVar("T")
Typed = Mapping[str, str]

RENDERER = SiteRenderer(
    __package__,
    fields=form.FIELDS,
    inputs=form.INPUTS,
    instant_of=to_datetime,
    typed_amount=form.typed_amount,
    amount_lines=amount_lines,
    word_table=word_table,
)
_CASE_METADATA = "x-case-reference"


class MissingOfficerHeader(Exception):  # noqa: N818 - names what is wrong
    """The login proxy did not name the officer."""


class OfficerNameTooLong(Exception):  # noqa: N818 - names what is wrong
    """The login proxy named the officer in more than 64 characters."""


class ExpiredResult(Exception):  # noqa: N818 - names what is wrong
    """No result is kept for the browser and the officer at this address, or no more."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A form that was sent, with its outcome: the reply with the answer, or the refusal if there is none."""

    typed: Typed
    ended_at: datetime
    outcome: pb.VerifyNoteResponse | Refusal
    inquiry_id: str | None
    """The ministry's id of the inquiry; None if it did not receive it."""


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A saved receipt that was verified: the replies that it proves, or the problem."""

    verified: Sequence[receipts.VerifiedReply] = ()
    problem: ReceiptProblem | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OfficerUi:
    """What the web UI needs: VerifyNote's handler, the client certificate, and the keys that verify receipts."""

    verify: CountedHandler
    """VerifyNote's handler for encoded forms."""
    certificate: bytes
    """PEM certificate of the organisation that runs the web UI, in whose name it inquires."""
    officer_header: str
    keys: Mapping[str, VerifyingKey]
    agencies: Agencies
    clock: Clock

    def officer(self, request: Request) -> str:
        """Return the officer's name as the login proxy states it; empty if the settings name no header.

        Raises:
            MissingOfficerHeader: the settings require the header, and the request does not have it exactly once with a
                name.
            OfficerNameTooLong: the name has more than 64 characters.
        """
        if not self.officer_header:
            return ""
        values = request.headers.getlist(self.officer_header)
        try:
            (name,) = (normalize_text(_header_text(value)) for value in values)
            if len(name) > MAX_CHARACTERS:
                raise OfficerNameTooLong
            return check_purpose(name)
        except ValueError:
            raise MissingOfficerHeader from None

    def named(self, view: View) -> View:
        """Return *view*, refused to requests that do not name the officer: see `officer`."""

        async def show(request: Request, language: Language) -> Response:
            request.state.officer = self.officer(request)
            return await view(request, language)

        return show

    async def inquire(self, request: Request, typed: Typed) -> Inquiry:
        """Call VerifyNote with the form *typed* in the name of the request's officer; return the inquiry."""
        officer = request.state.officer
        metadata = [("x-operator", encode_purpose(officer))] if officer else []
        with contextlib.suppress(ValueError):  # a case reference that no metadata can hold is refused with the form
            metadata += [(_CASE_METADATA, encode_purpose(case))] if (case := form.parse_case(typed)) else []
        call = call_handler(
            self.verify, request, form.encode_form(typed), certificate=self.certificate, metadata=metadata
        )
        try:
            call_reply = await call
        except CallRefused as refused:
            return Inquiry(typed, self.clock.now(), refused.refusal, _inquiry_id(refused.trailer))
        reply = pb.VerifyNoteResponse.FromString(call_reply.reply)
        outcome = reply if reply.answer in {ANSWER_YES, ANSWER_NO} else Refusal(Reason.PROVIDER_UNPROVEN)
        return Inquiry(typed, self.clock.now(), outcome, _inquiry_id(call_reply.trailer))


def officer_app(ui: OfficerUi, hosts: Sequence[str]) -> ASGIApp:
    """Return the web UI as an application, in both languages, for requests with a Host header of *hosts*."""
    pages = _Pages(ui)

    def view(path: str, show: View, method: str = "GET") -> Route:
        return Route(f"/{{language}}/{path}", localized(ui.named(show)), methods=[method])

    routes = [
        LANGUAGE_REDIRECT,
        view("", pages.blank),
        view("", pages.ask, "POST"),
        view("answers/{address}", pages.answer),
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
            csrf.CsrfError: _notice("csrf", 403),
            MissingOfficerHeader: _notice("unnamed", 403),
            OfficerNameTooLong: _notice("long_name", 403),
            ExpiredResult: _notice("expired", 410),
            Exception: _notice("none", 500),
        },
    )
    app.state.agencies = ui.agencies
    return ErrorBoundary(app, PlainTextResponse("پاسخی داده نشد. No answer.", 500))


class _Pages:
    """The views of the web UI. A form that is sent is answered by a redirect to its result."""

    def __init__(self, ui: OfficerUi) -> None:
        self._ui = ui
        self._inquiries: Results[Inquiry] = Results(MAX_RESULTS, RESULT_SECONDS, ui.clock.monotonic)
        self._receipts: Results[CheckedReceipt] = Results(MAX_RESULTS, RESULT_SECONDS, ui.clock.monotonic)

    async def blank(self, request: Request, language: str) -> Response:
        """Show the empty form."""
        return _show(request, language, "verify.html", typed={form.AGENCY: session.agency_of(request)})

    async def ask(self, request: Request, _language: str) -> Response:
        """Inquire, and redirect to the result."""
        typed = await _form(request, MAX_INQUIRY_BYTES)
        typed |= {form.AGENCY: self._ui.agencies.id_of(typed.get(form.AGENCY, ""))}
        response = _redirect(request, "answers", self._inquiries, await self._ui.inquire(request, typed))
        session.set_agency(request, response, form.normalized_fields(typed)[form.AGENCY])
        return response

    async def answer(self, request: Request, language: str) -> Response:
        """Show the result of an inquiry that was made: the answer, or that there is none. It asks nothing."""
        inquiry = _find(request, self._inquiries)
        took_turn(request)  # when it was made
        if isinstance(inquiry.outcome, Refusal):
            return _show_refused(request, language, inquiry, inquiry.outcome, self._ui.clock.now())
        return _show_answered(request, language, inquiry, inquiry.outcome)

    async def receipt(self, request: Request, language: str) -> Response:
        """Show the form that takes a saved receipt."""
        return _show(request, language, "receipt.html")

    async def check(self, request: Request, _language: str) -> Response:
        """Verify a saved receipt, and redirect to the result."""
        text = (await _form(request, MAX_ARCHIVE_BYTES)).get("receipt", "")
        return _redirect(request, "receipt", self._receipts, self._checked(text))

    async def checked(self, request: Request, language: str) -> Response:
        """Show the result of a verification."""
        return _show_checked(request, language, _find(request, self._receipts))

    async def save(self, request: Request, _language: str) -> Response:
        """Return a receipt as a file to download, if it is valid; anything else is not echoed."""
        text = (await _form(request, MAX_ARCHIVE_BYTES)).get("receipt", "").replace("\r\n", "\n")
        checked = self._checked(text)
        if checked.problem:
            return _redirect(request, "receipt", self._receipts, checked)
        name = f"estelam-receipt-{checked.verified[0].receipt.entry.inquiry_id.hex()}.jsonl"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(text, headers=headers, media_type="application/jsonl")

    def _checked(self, text: str) -> CheckedReceipt:
        try:
            return CheckedReceipt(receipts.verify_archive(text, self._ui.keys))
        except InvalidReceipt as error:
            return CheckedReceipt(problem=error.problem, detail=error.detail)


def _redirect(request: Request, folder: str, results: Results[T], result: T) -> Response:
    """Keep *result* for the browser and the officer of *request*, and redirect to its address below *folder*."""
    browser = session.browser_of(request) or session.new_browser()
    address = results.keep(Owner(browser, request.state.officer), result)
    language = request.path_params["language"]
    response = RedirectResponse(f"{site_root(request)}{language}/{folder}/{address}", 303)
    session.set_browser(request, response, browser)
    return response


def _find(request: Request, results: Results[T]) -> T:
    """Return the result that the address of *request* names.

    Raises:
        ExpiredResult: there is none, or it is another browser's or officer's.
    """
    browser = session.browser_of(request)
    owner = browser and Owner(browser, request.state.officer)
    found = results.find(owner, request.path_params["address"]) if owner else None
    if found is None:
        raise ExpiredResult
    return found


def _inquiry_id(trailer: Pairs) -> str | None:
    return dict(trailer).get("estelam-inquiry-id")


def _header_text(value: str) -> str:
    """Return a header's value as text: UTF-8, as login proxies send names, or Latin-1."""
    raw = value.encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return value


async def _form(request: Request, at_most: int) -> dict[str, str]:
    """Return the fields of a form of this site, of *at_most* so many bytes; an uploaded file is its text.

    Raises:
        csrf.CsrfError: another site sent the form.
        HTTPException: 413 if the form is too large or has no length; 400 if it can't be parsed.
    """
    csrf.require_same_origin(request)
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length[:12]) <= at_most):
        raise HTTPException(413)
    typed: dict[str, str] = {}
    async with request.form(max_files=1, max_fields=12, max_part_size=at_most) as fields:
        for name, value in fields.multi_items():
            text = (await value.read()).decode("utf-8", "replace") if isinstance(value, UploadFile) else value
            typed[name] = typed.get(name) or text
    return typed


def _show_answered(request: Request, language: str, inquiry: Inquiry, reply: pb.VerifyNoteResponse) -> Response:
    """Show YES and the parties, or NO."""
    sent = form.parse_form(inquiry.typed)
    return _show(
        request,
        language,
        "answer.html",
        typed=inquiry.typed,
        sent=sent,
        case=form.parse_case(inquiry.typed),
        reply=reply,
        archive=receipts.archive_lines(sent, reply),
        checkpoint=receipts.CheckpointCode.of(reply.check_receipt),
        answered_at=reply.check_receipt.answered_at.ToDatetime(UTC),
    )


def _show_refused(request: Request, language: str, inquiry: Inquiry, refusal: Refusal, now: datetime) -> Response:
    """Show that there is no answer; the form with its mistakes if there are any."""
    retry_at = inquiry.ended_at + timedelta(seconds=refusal.retry_seconds or 0)
    wait_seconds = max(0, ceil((retry_at - now).total_seconds()))
    fields = ((form.CASE if found.field == _CASE_METADATA else found.field, found) for found in refusal.violations)
    violations = [replace(found, field=field) for field, found in fields if field in form.INPUTS]
    response = _show(
        request,
        language,
        "verify.html" if violations else "unanswered.html",
        status=openapi.http_status(refusal.reason),
        typed=inquiry.typed,
        violations=violations,
        asked=form.is_valid(inquiry.typed),
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


def _may_help_to_wait(refusal: Refusal) -> bool:
    """Whether the same inquiry may be answered later: a note that changed between the two calls, at once."""
    return refusal.retry_seconds is not None or refusal.reason is Reason.NOTE_NOT_CONFIRMED


def _show_checked(request: Request, language: str, checked: CheckedReceipt) -> Response:
    """Show what a receipt proves, or the verdict on it and the problem, which repeat no input."""
    if (problem := checked.problem) is None:
        return _show(request, language, "receipt.html", verified=checked.verified)
    status = 400 if problem.verdict is Verdict.MALFORMED else 422
    return _show(
        request, language, "receipt.html", status=status, verified=None, problem=problem, detail=checked.detail
    )


def _show(request: Request, language: str, template: str, *, status: int = 200, **values: Any) -> Response:
    agencies: Agencies = request.app.state.agencies
    agency = session.agency_of(request)
    values |= {
        "officer": getattr(request.state, "officer", ""),
        "agency": agency,
        "agency_name": agencies.name,
        "suggested": agencies.suggested(values.get("typed", {}).get(form.AGENCY, "")),
    }
    place = request.url.path.partition(f"/{language}/")[2]
    return RENDERER.page(template, language, root=site_root(request), place=place, status=status, **values)


def _notice(words: str, status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def show(request: Request, _error: Exception) -> Response:
        return _show(request, request_language(request), "notice.html", status=status, message=words)

    return show


_not_found = _notice("missing", 404)
_too_large = _notice("too_large", 413)
