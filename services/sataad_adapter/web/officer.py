"""The officer and the inquiry: who asks, and one call of VerifyNote in the organisation's name."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import VerifyingKey
from estelam.core.normalize import normalize_text
from estelam.core.purpose import MAX_CHARACTERS, check_purpose, encode_purpose
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.rest.request_context import CallRefused, CountedHandler, Pairs, call_handler
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.web.i18n import View
from estelam.web.rendering import Language
from sataad_adapter.web import form
from sataad_adapter.web.agencies import Agencies
from sataad_adapter.web.pages import Typed

CASE_METADATA = "x-case-reference"


class MissingOfficerHeader(Exception):  # noqa: N818 - names what is wrong
    """The login proxy did not name the officer."""


class OfficerNameTooLong(Exception):  # noqa: N818 - names what is wrong
    """The login proxy named the officer in more than 64 characters."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A form that was sent, with its outcome: the reply with the answer, or the refusal if there is none."""

    typed: Typed
    ended_at: datetime
    outcome: pb.VerifyNoteResponse | Refusal
    inquiry_id: str | None
    """The ministry's id of the inquiry; None if it did not receive it."""


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

    async def inquire(self, typed: Typed, officer: str) -> Inquiry:
        """Call VerifyNote with the form *typed* in the name of *officer*; return the inquiry."""
        try:
            reply, trailer = await self.call(typed, officer)
        except CallRefused as refused:
            return Inquiry(typed, self.clock.now(), refused.refusal, _inquiry_id(refused.trailer))
        return Inquiry(typed, self.clock.now(), reply, _inquiry_id(trailer))

    async def call(self, typed: Typed, officer: str) -> tuple[pb.VerifyNoteResponse, Pairs]:
        """Call VerifyNote; return its reply, which is YES or NO, and the trailing metadata.

        Raises:
            CallRefused: there is no answer.
        """
        metadata = [("x-operator", encode_purpose(officer))] if officer else []
        with contextlib.suppress(ValueError):  # a case reference that no metadata can hold is refused with the form
            metadata += [(CASE_METADATA, encode_purpose(case))] if (case := form.parse_case(typed)) else []
        encoded = form.encode_form(typed)
        call_reply = await call_handler(self.verify, encoded, certificate=self.certificate, metadata=metadata)
        reply = pb.VerifyNoteResponse.FromString(call_reply.reply)
        if reply.answer not in {ANSWER_YES, ANSWER_NO}:
            raise CallRefused(Refusal(Reason.PROVIDER_UNPROVEN), call_reply.trailer)
        return reply, call_reply.trailer


def _inquiry_id(trailer: Pairs) -> str | None:
    return dict(trailer).get("estelam-inquiry-id")


def _header_text(value: str) -> str:
    """Return a header's value as text: UTF-8, as login proxies send names, or Latin-1."""
    raw = value.encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return value
