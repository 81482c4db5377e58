"""Collects what services counted of their calls (`estelam.telemetry.call_journal`), each count once."""

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, build_opener

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from estelam.catalogue.model import Catalogue
from estelam.core.errors import Reason
from estelam.core.exceptions import problem
from estelam.storage.store import AccessMode, Store, StoreError
from estelam.telemetry.call_counts import ANSWERED, CALLER_LEFT
from quality import traffic_store
from quality.attribution import Attribution, attribution_of
from quality.records import SentCalls, Tally
from quality.settings import QualitySettings

log = structlog.get_logger()

TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 16 << 20
MAX_READS = 200
"""So many pages of one source are read in a round; the next one goes on."""

# Counts are on the internal network: proxies of the environment must not be used.
_OPENER = build_opener(ProxyHandler({}))
_LATE = {Reason.ANSWER_LATE, CALLER_LEFT}
_Count = Annotated[int, Field(ge=0, lt=1 << 32)]
_Bucket = Annotated[int, Field(ge=0, lt=1 << 16)]
_Text = Annotated[str, Field(max_length=200)]
_Row = tuple[int, int, _Text, _Text, _Text, bool, list[tuple[_Bucket, _Count]]]
"""Number, minute, method, caller, reason, whether it is of probes, and the number of calls by latency bucket."""


class CountsError(Exception):
    """The counts of a service can't be read."""


class _Page(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Annotated[int, Field(ge=1, le=1)]
    source: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    now_micros: Annotated[int, Field(ge=0, lt=1 << 62)]
    rows: list[_Row]
    more: bool


def collect_all(settings: QualitySettings, catalogue: Catalogue) -> dict[str, int]:
    """Collect the new counts of every service whose metrics are in *settings*; log those that can't be read.

    Returns the clocks of the others, in microseconds since 1970.
    """
    clocks = {}
    for name, url in settings.metrics.items():
        service = catalogue.service(name)
        if service is None or service.wire is None:
            continue
        try:
            clocks[name] = collect_calls(settings.store, url, name, service.wire)
        except (CountsError, StoreError, SQLAlchemyError) as error:
            log.warning("calls.collection_failed", service=name, error=type(error).__name__, problem=problem(error))
    return clocks


def collect_calls(store: str, url: str, service: str, wire: str) -> int:
    """Collect the new counts of *service* from all hosts at *url*, the address of its metrics, into *store*.

    *wire* is its gRPC name, package.Service. Returns its clock, in microseconds since 1970.

    Raises:
        CountsError: they can't be read, or are not the counts of a service.
        SQLAlchemyError, StoreError: the quality store can't be used.
    """
    newest, done = 0, set()
    with contextlib.closing(Store(store, facts=AccessMode.WRITE)) as opened:
        for host in _hosts(url):
            source = _read(host, "").source
            if source in done:
                continue  # another worker of the same host
            done.add(source)
            with opened.transaction() as connection:
                after = traffic_store.position(connection, service, source)
            for _ in range(MAX_READS):
                page = _read(host, f"?after={after}")
                numbers = [row[0] for row in page.rows]
                if page.source != source or numbers != sorted({one for one in numbers if one > after}):
                    raise CountsError("the rows are of another file, or not in order")
                with opened.transaction() as connection:
                    if traffic_store.position(connection, service, source) != after:
                        raise CountsError("another process reads them")
                    traffic_store.add_sent_calls(connection, sent_calls(page.rows, wire))
                    traffic_store.mark_counted(connection, {(row[1], wire) for row in page.rows})
                    after = max(numbers, default=after)
                    traffic_store.save_position(connection, service, source, after, page.now_micros)
                newest = max(newest, page.now_micros)
                if not (page.more and page.rows):
                    break
    return newest


def sent_calls(rows: Iterable[_Row], wire: str) -> Iterator[SentCalls]:
    """Add up *rows* by minute, method and consumer. Probes are no traffic, nor is what is not the service's own.

    A failure of the exchange, which no service can know of, counts as not known.
    """
    tallies: dict[tuple[int, str, str], Tally] = {}
    late: Counter[tuple[int, str, str]] = Counter()
    for _, minute, method, caller, reason, is_probe, latencies in rows:
        if is_probe or method.partition("/")[0] != wire:
            continue
        key = minute, method, caller
        count = sum(number for _, number in latencies)
        fault = None if reason == ANSWERED else attribution_of(reason)
        if fault is Attribution.EXCHANGE:
            fault = Attribution.UNKNOWN
        found = tallies.setdefault(key, Tally())
        found.counts[fault] += count
        late[key] += count if reason in _LATE else 0
        if fault is None:
            found.latencies.update(dict(latencies))
    return (SentCalls(*key, tally, late[key]) for key, tally in tallies.items())


def _hosts(url: str) -> list[str]:
    """Return the address of the counts on each host that the name in *url* stands for."""
    parts = urlsplit(url)
    path = f"{parts.path.rpartition('/')[0]}/calls"
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CountsError(type(error).__name__) from None
    ends = {(str(one[4][0]), int(one[4][1])) for one in found}
    places = sorted(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in ends)
    return [urlunsplit((parts.scheme, place, path, "", "")) for place in places]


def _read(url: str, query: str) -> _Page:
    try:
        with _OPENER.open(f"{url}{query}", timeout=TIMEOUT_SECONDS) as reply:
            return _Page.model_validate(json.loads(reply.read(MAX_RESPONSE_BYTES)))
    except (OSError, HTTPException, ValueError, ValidationError) as error:
        raise CountsError(type(error).__name__) from None
