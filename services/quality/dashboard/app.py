"""The board's pages, in Persian and English, and the same as JSON: it only shows, and changes nothing."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.catalogue.effective_grants import effective_from, grant_status
from estelam.catalogue.registry_labels import registry_labels
from estelam.core import normalize
from estelam.core.clock import TEHRAN, Clock
from estelam.core.errors import ERROR_CATALOGUE, Reason
from estelam.data_model import export, model
from estelam.web.i18n import LANGUAGE_REDIRECT, View, localized, request_language
from estelam.web.listener import Listener, ListenerLimits, run_listener
from estelam.web.middleware import CONTENT_SECURITY_POLICY, ErrorBoundary
from estelam.web.rendering import SiteRenderer
from quality.dashboard import sparklines
from quality.dashboard.change_feed import Noted
from quality.dashboard.data import Blind, Sight
from quality.dashboard.report_archive import FILES
from quality.dashboard.status import Present
from quality.evaluation.report_model import Figures
from quality.periods import Month, instant_of
from quality.report import charts
from quality.report.i18n import Wording
from quality.settings import QualitySettings

MOST_CHANGES = 200
"""So many are on the page; all are in the feed for machines."""
# A page's own script fetches it anew; a report's page and the dictionary stand by themselves.
_LIVE = {"content-security-policy": f"{CONTENT_SECURITY_POLICY}; connect-src 'self'"}
_REPORT = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
}

LOOK = SiteRenderer(
    __package__,
    "quality.report",
    charts=charts,
    drawing=sparklines,
    beginning=effective_from,
    standing=grant_status,
    instant_of=instant_of,
    refusals={reason.value: ERROR_CATALOGUE[reason] for reason in Reason},
)


@contextlib.asynccontextmanager
async def board(settings: QualitySettings, clock: Clock) -> AsyncIterator[Listener]:
    """The board where the settings want one; else it listens at port 0, which is nowhere.

    Raises:
        ServerError: the port is taken.
    """
    if not settings.listen:
        yield Listener(0)
        return
    async with run_listener(
        "board", settings.listen, site(Sight(settings, clock), settings.hosts), ListenerLimits()
    ) as place:
        yield place


def site(sight: Sight, hosts: Sequence[str]) -> ASGIApp:
    """The whole site."""
    pages = _Pages(sight)
    views: dict[str, View] = {
        "": pages.overview,
        "services/{service}": pages.service,
        "outages": pages.outages,
        "agreements": pages.agreements,
        "catalogue": pages.catalogue,
        "registries": pages.registries,
        "changes": pages.changes,
        "reports": pages.reports,
    }
    routes = [
        LANGUAGE_REDIRECT,
        Route("/board.json", pages.data),
        Route("/changes.json", pages.feed),
        Route("/dictionary", pages.dictionary),
        Route("/reports/{name}/{file}", pages.file),
        *(Route(f"/{{language}}/{place}", localized(view)) for place, view in views.items()),
        LOOK.static(),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        exception_handlers={
            404: _notice("missing", 404),
            405: _notice("missing", 405),
            Blind: _notice("blind", 503),
            Exception: _notice("failed", 500),
        },
    )
    return ErrorBoundary(app, PlainTextResponse("تابلو چیزی نمی‌بیند. The board sees nothing.", 500))


class _Pages:
    """The site's pages."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    async def overview(self, request: Request, language: str) -> Response:
        """How everything stands, at a glance."""
        present, month = await asyncio.gather(self._sight.present(), self._sight.month())
        return _show(request, language, "overview.html", present=present, **_of_month(month))

    async def service(self, request: Request, language: str) -> Response:
        """One service, method by method and way by way."""
        present = await self._sight.present()
        wanted = request.path_params["service"]
        found = next((one for one in present.services if one.service.slug == wanted), None)
        if found is None:
            raise HTTPException(404)
        return _show(request, language, "service.html", present=present, one=found)

    async def outages(self, request: Request, language: str) -> Response:
        """What is announced, and what the month has seen."""
        present, month = await asyncio.gather(self._sight.present(), self._sight.month())
        return _show(request, language, "outages.html", present=present, **_of_month(month))

    async def agreements(self, request: Request, language: str) -> Response:
        """What was promised, held against the month so far."""
        return _show(request, language, "agreements.html", **_of_month(await self._sight.month()))

    async def catalogue(self, request: Request, language: str) -> Response:
        """What is offered, to whom, by which clause."""
        today = self._sight.now().astimezone(TEHRAN).date()
        return _show(request, language, "catalogue.html", today=today, catalogue=await self._sight.catalogue())

    async def registries(self, request: Request, language: str) -> Response:
        """The base registries."""
        return _show(request, language, "registries.html", catalogue=await self._sight.catalogue())

    async def changes(self, request: Request, language: str) -> Response:
        """The catalogue's newest changes."""
        changes = await self._sight.changes()
        return _show(request, language, "changes.html", changes=changes[:MOST_CHANGES], more=changes[MOST_CHANGES:])

    async def feed(self, request: Request) -> Response:
        """The catalogue's changes, for machines: all, or those noted from `since` on."""
        given = request.query_params.get("since")
        try:
            since = normalize.parse_start(given, self._sight.now()) if given is not None else None
        except ValueError:
            return JSONResponse({"refused": "since: give a day, or an instant with its zone"}, 400)
        found = [_change(one) for one in await self._sight.changes() if since is None or one.at >= since]
        return Response(_as_json(found), media_type="application/json")

    async def reports(self, request: Request, language: str) -> Response:
        """The monthly reports."""
        return _show(request, language, "reports.html", reports=await self._sight.reports())

    async def file(self, request: Request) -> Response:
        """A file of a report, as it was signed."""
        name, wanted = request.path_params["name"], request.path_params["file"]
        content = await asyncio.to_thread(self._sight.file, name, wanted)
        if content is None:
            raise HTTPException(404)
        headers = {} if wanted.endswith(".html") else {"content-disposition": f'attachment; filename="{name}-{wanted}"'}
        return Response(content, headers=_REPORT | headers, media_type=FILES[wanted])

    async def dictionary(self, _request: Request) -> Response:
        """The data dictionary, as `estelam data-model export` writes it."""
        registries = registry_labels(await self._sight.catalogue())
        text = await asyncio.to_thread(export.render_page, model.load(), registries)
        return HTMLResponse(text, headers={"content-security-policy": export.content_security_policy()})

    async def data(self, _request: Request) -> Response:
        """The overview's figures, for machines."""
        return Response(_as_json(_overview(await self._sight.present())), media_type="application/json")


def _of_month(month: Figures) -> dict[str, Any]:
    period = Month.parse(month.month)
    return {"month": month, "period": period, "days": period.days()}


def _overview(present: Present) -> dict[str, Any]:
    plain = asdict(present) | {"blind": present.blind, "state": present.state}
    for one, service in zip(present.services, plain["services"], strict=True):
        service["state"] = one.state
        for method in service["methods"]:
            del method["minutes"]
    return plain


def _change(noted: Noted) -> dict[str, Any]:
    change = noted.change
    told = {"noted_at": noted.at, "entries": noted.entries, "kind": change.record.kind, "name": change.record.key}
    return told | {"change": change.action, "before": change.before, "after": change.after}


def _as_json(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False, default=_text)


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value.isoformat())


def _show(request: Request, language: str, template: str, *, status: int = 200, **told: Any) -> Response:
    place = request.url.path.partition(f"/{language}/")[2]
    say = Wording(language)
    response = LOOK.page(template, language, place=place, status=status, say=say, **told)
    response.headers.update(_LIVE)
    return response


def _notice(words: str, status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def shown(request: Request, _error: Exception) -> Response:
        if request.url.path.endswith(".json"):
            return JSONResponse({"refused": words}, status)
        language = request_language(request)
        response = LOOK.page("notice.html", language, place="", status=status, say=Wording(language), words=words)
        response.headers.update(_LIVE)
        return response

    return shown
