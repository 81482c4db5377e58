"""What the views of the web UI share: forms that are read, results that are kept and found, pages that are shown."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from estelam.core.clock import to_datetime
from estelam.web.i18n import request_language, site_root
from estelam.web.rendering import SiteRenderer
from sataad_adapter.web import csrf, form, session
from sataad_adapter.web.agencies import Agencies
from sataad_adapter.web.number_words import amount_lines, word_table
from sataad_adapter.web.results import Owner, Results

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


class ExpiredResult(Exception):  # noqa: N818 - names what is wrong
    """No result is kept for the browser and the officer at this address, or no more."""


def owner_of(request: Request) -> Owner:
    """Return the browser and the officer of *request*; a browser without a cookie is a new one."""
    state = request.state
    if not hasattr(state, "browser"):
        state.browser = session.browser_of(request) or session.new_browser()
    return Owner(state.browser, state.officer)


def redirect(request: Request, folder: str, results: Results[T], result: T) -> Response:
    """Keep *result* for the browser and the officer of *request*, and redirect to its address below *folder*."""
    owner = owner_of(request)
    address = results.keep(owner, result)
    language = request.path_params["language"]
    response = RedirectResponse(f"{site_root(request)}{language}/{folder}/{address}", 303)
    session.set_browser(request, response, owner.browser)
    return response


def find_result(request: Request, results: Results[T]) -> T:
    """Return the result that the address of *request* names.

    Raises:
        ExpiredResult: there is none, or it is another browser's or officer's.
    """
    found = results.find(owner_of(request), request.path_params["address"])
    if found is None:
        raise ExpiredResult
    return found


async def read_form(request: Request, at_most: int) -> dict[str, str]:
    """Return the fields of a form of this site, of *at_most* so many bytes; an uploaded file is its text.

    Raises:
        csrf.CsrfError: another site sent the form.
        HTTPException: 413 if the form is too large or has no length; 400 if it can't be parsed.
    """
    typed: dict[str, str] = {}
    async for name, value in _fields(request, at_most):
        typed[name] = typed.get(name) or (value if isinstance(value, str) else value.decode("utf-8", "replace"))
    return typed


async def read_upload(request: Request, at_most: int) -> tuple[dict[str, str], bytes]:
    """Return the fields of a form of this site as `read_form` does, and the content of its file.

    Raises:
        csrf.CsrfError, HTTPException: see `read_form`.
    """
    typed, content = {}, b""
    async for name, value in _fields(request, at_most):
        if isinstance(value, str):
            typed[name] = value
        else:
            content = value
    return typed, content


async def _fields(request: Request, at_most: int) -> AsyncIterator[tuple[str, str | bytes]]:
    csrf.require_same_origin(request)
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length[:12]) <= at_most):
        raise HTTPException(413)
    async with request.form(max_files=1, max_fields=12, max_part_size=at_most) as fields:
        for name, value in fields.multi_items():
            yield name, await value.read() if isinstance(value, UploadFile) else value


def show_page(request: Request, language: str, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page with *values*, and what every page shows of the officer and the agency."""
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


def notice(words: str, status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return a handler of errors that shows the messages *words*."""

    async def show(request: Request, _error: Exception) -> Response:
        return show_page(request, request_language(request), "notice.html", status=status, message=words)

    return show
