"""Pages of the dashboard in Persian and English, and the same data as JSON. The site is read-only."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.catalogue.effective_grants import effective_from, grant_status, required_approvals
from estelam.catalogue.registry_labels import registry_labels
from estelam.core import dates
from estelam.core.clock import TEHRAN, Clock
from estelam.core.dates import DateError
from estelam.core.errors import ERROR_CATALOGUE, Reason
from estelam.data_model import model
from estelam.presentation.style import DOCUMENT_POLICY
from estelam.web.i18n import (
    LANGUAGE_REDIRECT,
    SLASH_REDIRECT,
    View,
    language_redirect,
    localized,
    request_language,
    site_root,
)
from estelam.web.listener import Listener, ListenerLimits, run_listener
from estelam.web.middleware import CONTENT_SECURITY_POLICY, ErrorBoundary
from estelam.web.query import QueryError, read_query
from estelam.web.rendering import SiteRenderer, messages_for
from quality.dashboard import feeds, sparklines
from quality.dashboard.catalogue_matrix import matrix
from quality.dashboard.change_feed import RecordedChange
from quality.dashboard.change_texts import ChangeTexts
from quality.dashboard.data import DashboardData, DataUnavailable
from quality.dashboard.dictionary_page import DictionaryPage, Filters
from quality.dashboard.feeds import Entry
from quality.dashboard.history import PERIODS, method_history, months_shown
from quality.dashboard.report_archive import FILES
from quality.dashboard.status import ExchangeStatus
from quality.evaluation.report_model import Report, worst_first
from quality.periods import Month, instant_of, minute_of
from quality.report import charts
from quality.report.i18n import Localizer
from quality.settings import QualitySettings

MAX_CHANGES = 200
"""Changes on one page; `/changes.json` has all of them."""
# The script of a page reloads that page. Reports are self-contained and connect to nothing.
_PAGE_HEADERS = {"content-security-policy": f"{CONTENT_SECURITY_POLICY}; connect-src 'self'"}
_REPORT_HEADERS = {
    "content-security-policy": f"{DOCUMENT_POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

RENDERER = SiteRenderer(
    __package__,
    "quality.report",
    charts=charts,
    sparklines=sparklines,
    effective_from=effective_from,
    grant_status=grant_status,
    required_approvals=required_approvals,
    instant_of=instant_of,
    periods=PERIODS,
    worst_first=worst_first,
    refusals={reason.value: ERROR_CATALOGUE[reason] for reason in Reason},
)


STATUS_VERSION = 1
"""The version of the form of `/status.json`, which grows when a reader of the last one would misread it."""


@contextlib.asynccontextmanager
async def dashboard(settings: QualitySettings, clock: Clock) -> AsyncIterator[Listener]:
    """Serve the dashboard if `settings.listen` is set; otherwise yield a listener with port 0.

    Raises:
        ServerError: the port is in use.
    """
    if not settings.listen:
        yield Listener(0)
        return
    app = create_app(DashboardData(settings, clock), settings.hosts)
    setting = settings.origin("listen")
    async with run_listener("dashboard", settings.listen, app, ListenerLimits(), setting=setting) as listener:
        yield listener


def create_app(data: DashboardData, hosts: Sequence[str]) -> ASGIApp:
    """The ASGI application, which answers only requests for *hosts*."""
    pages = _Pages(data)
    views: dict[str, View] = {
        "": pages.overview,
        "services/{service}": pages.service,
        "outages": pages.outages,
        "agreements": pages.agreements,
        "catalogue": pages.catalogue,
        "parties/{party}": pages.party,
        "registries": pages.registries,
        "dictionary": pages.dictionary,
        "duties": pages.duties,
        "changes": pages.changes,
        "reports": pages.reports,
        "outages.atom": pages.outages_feed,
        "changes.atom": pages.changes_feed,
        "reports.atom": pages.reports_feed,
        "outages.ics": pages.outages_calendar,
    }
    routes = [
        LANGUAGE_REDIRECT,
        Route("/status.json", pages.status_json),
        Route("/ledgers/{service}/checkpoint", pages.checkpoint),
        Route("/changes.json", pages.changes_json),
        Route("/dictionary", language_redirect("dictionary")),
        Route("/reports/{name}/{file}", pages.report_file),
        *(Route(f"/{{language}}/{path}", localized(view)) for path, view in views.items()),
        RENDERER.static(),
        SLASH_REDIRECT,
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        exception_handlers={
            404: _error_page("missing", 404),
            405: _error_page("missing", 405),
            QueryError: _wrong_query,
            DataUnavailable: _error_page("unavailable", 503),
            Exception: _error_page("failed", 500),
        },
    )
    return ErrorBoundary(app, PlainTextResponse("داشبورد با خطا روبه‌رو شد. The dashboard failed.", 500))


class _Pages:
    """Request handlers of the site."""

    def __init__(self, data: DashboardData) -> None:
        self._data = data

    async def overview(self, request: Request, language: str) -> Response:
        """Show the current status of every service and the month's summary."""
        exchange, month, period = await asyncio.gather(self._data.status(), self._data.month(), self._period(request))
        return _render(request, language, "overview.html", exchange=exchange, **period, **_month_context(month))

    async def service(self, request: Request, language: str) -> Response:
        """Show one service by method and consumer."""
        exchange, month, period = await asyncio.gather(self._data.status(), self._data.month(), self._period(request))
        slug = request.path_params["service"]
        found = next((one for one in exchange.services if one.service.slug == slug), None)
        if found is None:
            raise HTTPException(404)
        bounds = month.latency_bounds(slug)
        return _render(request, language, "service.html", exchange=exchange, one=found, bounds=bounds, **period)

    async def outages(self, request: Request, language: str) -> Response:
        """Show announced outages and those measured in the month that is asked for, by default the current one."""
        asked = read_query(request, "month").get("month")
        exchange, current = await asyncio.gather(self._data.status(), self._data.month())
        months = {current.month: current}
        if asked not in {None, current.month}:
            months |= {one.month: one for one in await self._data.past()}
        if (month := months.get(asked or current.month)) is None:
            raise HTTPException(404)
        shown = months_shown(Month.parse(current.month))
        return _render(request, language, "outages.html", exchange=exchange, months=shown, **_month_context(month))

    async def _period(self, request: Request) -> dict[str, Any]:
        """The period that is asked for, and the days of each method in it if it is more than a day."""
        query = read_query(request, "days", "wall")
        asked = query.get("days", str(PERIODS[0]))
        if asked not in map(str, PERIODS):
            raise QueryError(f"days: one of {', '.join(map(str, PERIODS))}")
        if (days := int(asked)) == PERIODS[0]:
            return {"count": days, "history": {}, "is_wall": "wall" in query}
        month, past = await asyncio.gather(self._data.month(), self._data.past())
        today = self._today()
        names = [method.method for method in month.methods]
        history = {name: method_history([month, *past], name, today=today, count=days) for name in names}
        return {"count": days, "history": history, "is_wall": "wall" in query}

    async def agreements(self, request: Request, language: str) -> Response:
        """Show the results of service level agreements and minimum rules for the month so far."""
        return _render(request, language, "agreements.html", **_month_context(await self._data.month()))

    async def catalogue(self, request: Request, language: str) -> Response:
        """Show services, methods and grants with their clauses, and a matrix of those that are searched for."""
        search, catalogue = read_query(request, "q").get("q", ""), await self._data.catalogue()
        context: dict[str, Any] = {"catalogue": catalogue, "search": search, "matrix": matrix(catalogue, search)}
        return _render(request, language, "catalogue.html", today=self._today(), **context)

    async def party(self, request: Request, language: str) -> Response:
        """Show one organisation: what it provides, may call, has agreed to and has to do."""
        read_query(request)
        catalogue = await self._data.catalogue()
        if (party := catalogue.party(request.path_params["party"])) is None:
            raise HTTPException(404)
        context: dict[str, Any] = {"catalogue": catalogue, "party": party, "today": self._today()}
        return _render(request, language, "party.html", **context)

    def _today(self) -> date:
        return self._data.now().astimezone(TEHRAN).date()

    async def registries(self, request: Request, language: str) -> Response:
        """Show the base registries."""
        return _render(request, language, "registries.html", catalogue=await self._data.catalogue())

    async def duties(self, request: Request, language: str) -> Response:
        """Show what the resolutions order, with owners, terms and states."""
        catalogue = await self._data.catalogue()
        return _render(request, language, "duties.html", catalogue=catalogue, today=self._today())

    async def changes(self, request: Request, language: str) -> Response:
        """Show the newest changes of the catalogue."""
        changes, catalogue = await asyncio.gather(self._data.changes(), self._data.catalogue())
        texts = ChangeTexts(catalogue, messages_for(__package__, language), Localizer(language))
        shown, more = changes[:MAX_CHANGES], changes[MAX_CHANGES:]
        return _render(request, language, "changes.html", changes=shown, more=more, texts=texts)

    async def changes_json(self, request: Request) -> Response:
        """Return the changes of the catalogue as JSON: all, or those recorded at or after `since`."""
        given = read_query(request, "since").get("since")
        try:
            since = dates.parse_start(given, self._data.now()) if given is not None else None
        except DateError as error:
            return JSONResponse({"refused": f"since: {error}"}, 400)
        found = [_change_json(one) for one in await self._data.changes() if since is None or one.at >= since]
        return Response(_as_json(found), media_type="application/json")

    async def reports(self, request: Request, language: str) -> Response:
        """List the monthly reports."""
        return _render(request, language, "reports.html", reports=await self._data.reports())

    async def outages_feed(self, request: Request, language: str) -> Response:
        """Return the feed of announced outages."""
        outages, catalogue = await asyncio.gather(self._data.outages(), self._data.catalogue())
        texts, now = messages_for(__package__, language), minute_of(self._data.now())
        entries = feeds.outage_entries(outages, catalogue, texts, Localizer(language), now)
        return self._feed(request, "outages", entries, language)

    async def changes_feed(self, request: Request, language: str) -> Response:
        """Return the feed of changes of the catalogue."""
        changes, catalogue = await asyncio.gather(self._data.changes(), self._data.catalogue())
        texts = messages_for(__package__, language)
        words = ChangeTexts(catalogue, texts, Localizer(language))
        return self._feed(request, "changes", feeds.change_entries(changes, words, language), language)

    async def reports_feed(self, request: Request, language: str) -> Response:
        """Return the feed of monthly reports."""
        texts = messages_for(__package__, language)
        entries = feeds.report_entries(await self._data.reports(), Localizer(language), texts)
        return self._feed(request, "reports", entries, language)

    async def outages_calendar(self, _request: Request, language: str) -> Response:
        """Return the calendar of announced outages."""
        outages, catalogue = await asyncio.gather(self._data.outages(), self._data.catalogue())
        texts, now = messages_for(__package__, language), minute_of(self._data.now())
        content = feeds.calendar(outages, catalogue, texts, Localizer(language), now)
        return Response(content, media_type=feeds.CALENDAR)

    def _feed(self, request: Request, name: str, entries: Iterable[Entry], language: str) -> Response:
        texts = messages_for(__package__, language)
        title = f"{texts['site']}: {texts['nav_' + name]}"
        base = str(request.base_url)
        content = feeds.atom(name, title, entries, base=base, language=language, now=self._data.now())
        return Response(content, media_type=feeds.ATOM)

    async def report_file(self, request: Request) -> Response:
        """Return one file of a report, byte for byte as it was signed."""
        name, file = request.path_params["name"], request.path_params["file"]
        content = await asyncio.to_thread(self._data.file, name, file)
        if content is None:
            raise HTTPException(404)
        headers = {} if file.endswith(".html") else {"content-disposition": f'attachment; filename="{name}-{file}"'}
        return Response(content, headers=_REPORT_HEADERS | headers, media_type=FILES[file])

    async def dictionary(self, request: Request, language: str) -> Response:
        """Show the data dictionary: what matches a search, a sensitivity and a base registry."""
        query = read_query(request, "q", "level", "registry")
        filters = Filters(query.get("q", ""), query.get("level", ""), query.get("registry", ""))
        labels = registry_labels(await self._data.catalogue())
        page = await asyncio.to_thread(DictionaryPage.of, model.load(), labels, filters)
        for name, asked, known in (
            ("level", filters.level, page.levels),
            ("registry", filters.registry, page.registries),
        ):
            if asked and asked not in known:
                raise QueryError(f"{name}: one of {', '.join(known)}")
        return _render(request, language, "dictionary.html", page=page, filters=filters)

    async def checkpoint(self, request: Request) -> Response:
        """Return the newest checkpoint of a ledger that the monitor verified, with its cosignature."""
        slug = request.path_params["service"]
        found = next((one.checkpoint for one in (await self._data.status()).services if one.service.slug == slug), "")
        if not found:
            raise HTTPException(404)
        return PlainTextResponse(found)

    async def status_json(self, request: Request) -> Response:
        """Return the current status as JSON."""
        read_query(request)
        return Response(_as_json(_status_json(await self._data.status())), media_type="application/json")


def _month_context(month: Report) -> dict[str, Any]:
    period = Month.parse(month.month)
    return {"month": month, "period": period, "days": period.days()}


def _status_json(exchange: ExchangeStatus) -> dict[str, Any]:
    content = {"version": STATUS_VERSION, **asdict(exchange)} | {
        "stale": exchange.stale,
        "state": exchange.state,
        "states": exchange.states,
    }
    for one, service in zip(exchange.services, content["services"], strict=True):
        service |= {"state": one.state, "states": one.states}
        for method in service["methods"]:
            del method["minutes"]
    for listed in content["listed"]:
        del listed["minutes"]
    return content


def _change_json(recorded: RecordedChange) -> dict[str, Any]:
    change = recorded.change
    content = {"recorded_at": recorded.at, "entries": recorded.entries, "kind": change.record.kind}
    content |= {"name": change.record.key, "change": change.action}
    return content | {"before": change.before, "after": change.after}


def _as_json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, default=_text)


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value.isoformat())


def _render(request: Request, language: str, template: str, *, status: int = 200, **context: Any) -> Response:
    place = str(request.url).partition(f"/{language}/")[2]
    root, l10n = site_root(request), Localizer(language)
    response = RENDERER.page(template, language, root=root, place=place, status=status, l10n=l10n, **context)
    response.headers.update(_PAGE_HEADERS)
    return response


async def _wrong_query(request: Request, error: Exception) -> Response:
    if request.url.path.endswith(".json"):
        return JSONResponse({"refused": str(error)}, 400)
    return await _error_page("wrong_query", 400)(request, error)


def _error_page(key: str, status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A handler that answers with *status* and the constant message under *key*."""

    async def respond(request: Request, _error: Exception) -> Response:
        if request.url.path.endswith(".json"):
            return JSONResponse({"refused": key}, status)
        language = request_language(request)
        root, l10n = site_root(request), Localizer(language)
        response = RENDERER.page("notice.html", language, root=root, place="", status=status, l10n=l10n, message=key)
        response.headers.update(_PAGE_HEADERS)
        return response

    return respond
