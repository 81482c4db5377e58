"""The officer's page: four facts and an agency in; YES with the parties, NO, or plainly no answer out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
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
from estelam.data_model import openapi
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.pipeline.handler import Handler
from estelam.receipts.receipt import InvalidReceipt
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.web.i18n import CHOICE, View, in_language, language_of
from estelam.web.middleware import ErrorBoundary
from estelam.web.rendering import SiteRenderer
from sataad_adapter.web import csrf, form, problem_details, receipts
from sataad_adapter.web.request_context import Declined, Spoken, bring

MAX_FORM_BYTES = 262_144

Typed = Mapping[str, str]

LOOK = SiteRenderer(__package__, fields=form.FIELDS, instant_of=to_datetime)


class Unnamed(Exception):  # noqa: N818 - reads as what it is
    """The login proxy did not say who the officer is."""


@dataclass(frozen=True, slots=True)
class Office:
    """What the page asks with, and what it checks receipts by."""

    verify: Handler
    certificate: bytes
    """Of the organisation that runs the page: every inquiry from it is that organisation's own."""
    officer_header: str
    keys: Mapping[str, Ed25519PublicKey]
    clock: Clock

    def officer(self, request: Request) -> list[tuple[str, str]]:
        """Who asks, as the metadata that the ministry records a keyed hash of.

        Raises:
            Unnamed: nobody is named where the settings demand it.
        """
        if not self.officer_header:
            return []
        named = request.headers.getlist(self.officer_header)
        if len(named) != 1 or not named[0]:
            raise Unnamed
        return [("x-operator", named[0])]

    async def ask(self, request: Request, asked: pb.VerifyNoteRequest) -> Spoken:
        """The desk's reply.

        Raises:
            Declined: there is no answer.
        """
        metadata, wire = self.officer(request), asked.SerializeToString(deterministic=True)
        return await bring(self.verify, wire, certificate=self.certificate, metadata=metadata)


def page(office: Office, hosts: Sequence[str]) -> ASGIApp:
    """The whole site, in both languages."""
    pages = _Pages(office)
    routes = [
        CHOICE,
        *_both("/{language}/", pages.blank, pages.verify),
        *_both("/{language}/receipt", pages.receipt, pages.check),
        Route("/{language}/receipt/save", in_language(pages.save), methods=["POST"]),
        LOOK.static(),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        exception_handlers={
            404: _missing,
            405: _missing,
            400: _too_much,
            413: _too_much,
            csrf.ForeignForm: _notice("foreign", 403),
            Unnamed: _notice("unnamed", 403),
            Exception: _notice("none", 500),
        },
    )
    return ErrorBoundary(app, PlainTextResponse("پاسخی داده نشد. No answer.", 500))


class _Pages:
    """The site's pages."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def blank(self, request: Request, language: str) -> Response:
        """The empty form."""
        return _show(request, language, "verify.html", typed={})

    async def verify(self, request: Request, language: str) -> Response:
        """Ask, and show what came of it."""
        typed = await _form(request)
        shown: dict[str, Any] = {"typed": form.kept(typed)}
        try:
            asked = form.asked(typed)
        except Refusal as wrong:
            return _show(request, language, "verify.html", status=400, wrong=wrong.violations, **shown)
        try:
            spoken = await self._office.ask(request, asked)
            reply = pb.VerifyNoteResponse.FromString(spoken.reply)
            if reply.answer not in {ANSWER_YES, ANSWER_NO}:
                raise Declined(Refusal(Reason.PROVIDER_UNPROVEN), spoken.trailer)
        except Declined as declined:
            refusal, trailer = declined.refusal, dict(declined.trailer)
            again_at = self._office.clock.now() + timedelta(seconds=refusal.retry_seconds or 0)
            told = {"refusal": refusal, "again_at": again_at, "inquiry_id": trailer.get("estelam-inquiry-id")}
            status, headers = openapi.http_status(refusal.reason), problem_details.retry_header(refusal)
            return _show(request, language, "unanswered.html", status=status, headers=headers, **told, **shown)
        kept = receipts.lines_of(asked, reply)
        shown |= {"asked": asked, "reply": reply, "kept": kept, "answered_at": _answered_at(reply)}
        return _show(request, language, "answer.html", **shown)

    async def receipt(self, request: Request, language: str) -> Response:
        """The form that takes a kept receipt."""
        return _show(request, language, "receipt.html")

    async def check(self, request: Request, language: str) -> Response:
        """Whether a kept receipt proves its reply."""
        try:
            proven = receipts.check((await _form(request)).get("receipt", ""), self._office.keys)
        except InvalidReceipt:
            return _show(request, language, "receipt.html", status=422, proven=None)
        return _show(request, language, "receipt.html", proven=proven)

    async def save(self, request: Request, language: str) -> Response:
        """A kept receipt as a file, if it is one: nothing else is given back."""
        text = (await _form(request)).get("receipt", "").replace("\r\n", "\n")
        try:
            proven = receipts.check(text, self._office.keys)
        except InvalidReceipt:
            return _show(request, language, "receipt.html", status=422, proven=None)
        name = f"estelam-receipt-{proven[0].proven.entry.inquiry_id.hex()}.jsonl"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(text, headers=headers, media_type="application/jsonl")


def _answered_at(reply: pb.VerifyNoteResponse) -> datetime:
    return reply.check_receipt.answered_at.ToDatetime(UTC)


async def _form(request: Request) -> Typed:
    """The fields of this site's own form, an uploaded file among them as its text.

    Raises:
        guard.ForeignForm: another site's.
        HTTPException: 413, or 400 where it can't be read.
    """
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length[:12]) <= MAX_FORM_BYTES):
        raise HTTPException(413)
    typed: dict[str, str] = {}
    async with request.form(max_files=1, max_fields=12, max_part_size=MAX_FORM_BYTES) as sent:
        for name, value in sent.multi_items():
            text = (await value.read()).decode("utf-8", "replace") if isinstance(value, UploadFile) else value
            typed[name] = typed.get(name) or text
    csrf.require_own_form(request, typed.get("token", ""))
    return typed


def _show(
    request: Request,
    language: str,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **told: Any,
) -> Response:
    token = csrf.token(request)
    place = "receipt" if request.url.path.startswith(f"/{language}/receipt") else ""
    response = LOOK.page(template, language, place=place, token=token, status=status, **told)
    response.headers.update(headers or {})
    csrf.remember(request, response, token)
    return response


def _both(path: str, get: View, post: View) -> list[Route]:
    return [
        Route(path, in_language(get), methods=["GET"]),
        Route(path, in_language(post), methods=["POST"]),
    ]


def _notice(words: str, status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def shown(request: Request, _error: Exception) -> Response:
        return _show(request, language_of(request), "notice.html", status=status, words=words)

    return shown


_missing = _notice("missing", 404)
_too_much = _notice("too_much", 413)
