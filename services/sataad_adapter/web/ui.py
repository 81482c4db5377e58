"""The officer's web UI: a form for the note's facts; a result page with YES and the parties, NO, or no answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.core.clock import Clock, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import VerifyingKey
from estelam.core.normalize import normalize_text
from estelam.core.purpose import MAX_CHARACTERS, encode_purpose
from estelam.data_model import openapi
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.receipts.problems import InvalidReceipt, Verdict
from estelam.rest import problem_details
from estelam.rest.request_context import CallRefused, CallReply, CountedHandler, call_handler
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.web.i18n import LANGUAGE_REDIRECT, SLASH_REDIRECT, View, localized, request_language, site_root
from estelam.web.middleware import ErrorBoundary
from estelam.web.rendering import Language, SiteRenderer
from sataad_adapter.web import csrf, form, receipts

MAX_FORM_BYTES = 262_144

Typed = Mapping[str, str]

RENDERER = SiteRenderer(__package__, fields=form.FIELDS, instant_of=to_datetime)


class MissingOfficerHeader(Exception):  # noqa: N818 - names what is wrong
    """The login proxy did not name the officer."""


class OfficerNameTooLong(Exception):  # noqa: N818 - names what is wrong
    """The login proxy named the officer in more than 64 characters."""


@dataclass(frozen=True, slots=True)
class OfficerUi:
    """What the web UI needs: VerifyNote's handler, the client certificate, and the keys that verify receipts."""

    verify: CountedHandler
    """VerifyNote's handler for encoded forms."""
    certificate: bytes
    """PEM certificate of the organisation that runs the web UI, in whose name it inquires."""
    officer_header: str
    keys: Mapping[str, VerifyingKey]
    clock: Clock

    def officer_metadata(self, request: Request) -> list[tuple[str, str]]:
        """Return the officer's name as x-operator metadata, of which the ministry records a keyed hash.

        Raises:
            MissingOfficerHeader: the settings require the header, and the request does not have it exactly once with a
                name.
            OfficerNameTooLong: the name has more than 64 characters.
        """
        if not self.officer_header:
            return []
        values = request.headers.getlist(self.officer_header)
        try:
            (name,) = (normalize_text(_header_text(value)) for value in values)
            if len(name) > MAX_CHARACTERS:
                raise OfficerNameTooLong
            return [("x-operator", encode_purpose(name))]
        except ValueError:
            raise MissingOfficerHeader from None

    def named(self, view: View) -> View:
        """Return *view*, refused to requests that do not name the officer: see `officer_metadata`."""

        async def show(request: Request, language: Language) -> Response:
            self.officer_metadata(request)
            return await view(request, language)

        return show

    async def inquire(self, request: Request, typed: Typed) -> CallReply:
        """Call VerifyNote with the form *typed* and return its reply.

        Raises:
            CallRefused: there is no answer.
            MissingOfficerHeader, OfficerNameTooLong: see `officer_metadata`.
        """
        metadata, body = self.officer_metadata(request), form.encode_form(typed)
        return await call_handler(self.verify, request, body, certificate=self.certificate, metadata=metadata)


def officer_app(ui: OfficerUi, hosts: Sequence[str]) -> ASGIApp:
    """Return the web UI as an application, in both languages, for requests with a Host header of *hosts*."""
    pages = _Pages(ui)
    routes = [
        LANGUAGE_REDIRECT,
        *_routes("/{language}/", ui.named(pages.blank), ui.named(pages.verify)),
        *_routes("/{language}/receipt", ui.named(pages.receipt), ui.named(pages.check)),
        Route("/{language}/receipt/save", localized(ui.named(pages.save)), methods=["POST"]),
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
            Exception: _notice("none", 500),
        },
    )
    return ErrorBoundary(app, PlainTextResponse("پاسخی داده نشد. No answer.", 500))


class _Pages:
    """The views of the web UI."""

    def __init__(self, ui: OfficerUi) -> None:
        self._ui = ui

    async def blank(self, request: Request, language: str) -> Response:
        """Show the empty form."""
        return _show(request, language, "verify.html", typed={})

    async def verify(self, request: Request, language: str) -> Response:
        """Inquire, and show the answer or that there is none."""
        typed = await _form(request)
        values: dict[str, Any] = {"typed": typed}
        try:
            call_reply = await self._ui.inquire(request, typed)
            reply = pb.VerifyNoteResponse.FromString(call_reply.reply)
            if reply.answer not in {ANSWER_YES, ANSWER_NO}:
                raise CallRefused(Refusal(Reason.PROVIDER_UNPROVEN), call_reply.trailer)
        except CallRefused as refused:
            refusal, trailer = refused.refusal, dict(refused.trailer)
            retry_at = self._ui.clock.now() + timedelta(seconds=refusal.retry_seconds or 0)
            values |= {"refusal": refusal, "retry_at": retry_at, "inquiry_id": trailer.get("estelam-inquiry-id")}
            status, headers = openapi.http_status(refusal.reason), problem_details.retry_header(refusal)
            if violations := [found for found in refusal.violations if found.field in form.FIELDS]:
                values |= {"violations": violations, "asked": form.is_valid(typed)}
                return _show(request, language, "verify.html", status=status, headers=headers, **values)
            return _show(request, language, "unanswered.html", status=status, headers=headers, **values)
        inquiry = form.parse_form(typed)
        archive = receipts.archive_lines(inquiry, reply)
        values |= {"inquiry": inquiry, "reply": reply, "archive": archive, "answered_at": _answered_at(reply)}
        return _show(request, language, "answer.html", **values)

    async def receipt(self, request: Request, language: str) -> Response:
        """Show the form that takes a saved receipt."""
        return _show(request, language, "receipt.html")

    async def check(self, request: Request, language: str) -> Response:
        """Verify a saved receipt and show the result."""
        try:
            verified = receipts.verify_archive((await _form(request)).get("receipt", ""), self._ui.keys)
        except InvalidReceipt as error:
            return _show_not_valid(request, language, error)
        return _show(request, language, "receipt.html", verified=verified)

    async def save(self, request: Request, language: str) -> Response:
        """Return a receipt as a file to download, if it is valid; anything else is not echoed."""
        text = (await _form(request)).get("receipt", "").replace("\r\n", "\n")
        try:
            verified = receipts.verify_archive(text, self._ui.keys)
        except InvalidReceipt as error:
            return _show_not_valid(request, language, error)
        name = f"estelam-receipt-{verified[0].receipt.entry.inquiry_id.hex()}.jsonl"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(text, headers=headers, media_type="application/jsonl")


def _header_text(value: str) -> str:
    """Return a header's value as text: UTF-8, as login proxies send names, or Latin-1."""
    raw = value.encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _answered_at(reply: pb.VerifyNoteResponse) -> datetime:
    return reply.check_receipt.answered_at.ToDatetime(UTC)


async def _form(request: Request) -> Typed:
    """Return the fields of a form of this site; an uploaded file is its text.

    Raises:
        csrf.CsrfError: another site sent the form.
        HTTPException: 413 if the form is too large or has no length; 400 if it can't be parsed.
    """
    csrf.require_same_origin(request)
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length[:12]) <= MAX_FORM_BYTES):
        raise HTTPException(413)
    typed: dict[str, str] = {}
    async with request.form(max_files=1, max_fields=12, max_part_size=MAX_FORM_BYTES) as fields:
        for name, value in fields.multi_items():
            text = (await value.read()).decode("utf-8", "replace") if isinstance(value, UploadFile) else value
            typed[name] = typed.get(name) or text
    return typed


def _show_not_valid(request: Request, language: str, error: InvalidReceipt) -> Response:
    """Show the verdict on a receipt and the problem, which repeat no input."""
    status = 400 if error.problem.verdict is Verdict.MALFORMED else 422
    return _show(
        request, language, "receipt.html", status=status, verified=None, problem=error.problem, detail=error.detail
    )


def _show(
    request: Request,
    language: str,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    section = "receipt" if request.url.path.startswith(f"/{language}/receipt") else ""
    response = RENDERER.page(template, language, root=site_root(request), place=section, status=status, **values)
    response.headers.update(headers or {})
    return response


def _routes(path: str, get: View, post: View) -> list[Route]:
    return [
        Route(path, localized(get), methods=["GET"]),
        Route(path, localized(post), methods=["POST"]),
    ]


def _notice(words: str, status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def show(request: Request, _error: Exception) -> Response:
        return _show(request, request_language(request), "notice.html", status=status, message=words)

    return show


_not_found = _notice("missing", 404)
_too_large = _notice("too_large", 413)
