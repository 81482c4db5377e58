"""Webhooks of the exchange: parties are notified of new outages, changes of the catalogue and monthly reports.

A notification names the feed that has something new, and nothing else; its receiver reads the feed. What was sent last
is in the quality store, so that a restart repeats nothing.
"""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import structlog
from sqlalchemy import Column, Connection, MetaData, Table, Text, select

from estelam.client import webhooks
from estelam.client.webhooks import Receiver, WebhookError
from estelam.core.exceptions import problem
from estelam.core.keys import verifying_keys
from estelam.storage.base import FACTS
from estelam.storage.store import AccessMode, Store
from estelam.telemetry.process_metrics import WebhookState
from quality import repository
from quality.dashboard import change_feed, report_archive
from quality.settings import FeedKind, FeedWebhook, QualitySettings

log = structlog.get_logger()

CHECK_SECONDS = 30.0

_notified = Table(
    "notified",
    MetaData(schema=FACTS),
    Column("party", Text, primary_key=True),
    Column("feed", Text, primary_key=True),
    Column("digest", Text, nullable=False),
)


@contextlib.contextmanager
def running_webhooks(settings: QualitySettings, state: WebhookState, every: float = CHECK_SECONDS) -> Iterator[None]:
    """Notify each party that *settings* name, in a thread of its own, until the end.

    Args:
        settings: The parties, and where the feeds are made from.
        state: Shows whether each party took its newest notification.
        every: Seconds between two looks at the feeds.

    Raises:
        KeyFileError: a secret can't be used.
        OSError: a file can't be read.
    """
    stopping = threading.Event()
    targets = [(webhook, Receiver.of(webhook)) for webhook in settings.webhook]
    digests = _Digests(settings, every)
    threads = [
        threading.Thread(
            target=_notify, args=(settings, webhook, receiver, digests, state, stopping), name=webhook.party
        )
        for webhook, receiver in targets
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


class _Digests:
    """The digest of each feed, which all parties share for *seconds*."""

    def __init__(self, settings: QualitySettings, seconds: float) -> None:
        self.seconds = seconds
        self._settings = settings
        self._lock = threading.Lock()
        self._known: dict[FeedKind, tuple[float, str]] = {}

    def of(self, feed: FeedKind) -> str:
        """Return the digest of *feed*, at most so many seconds old."""
        with self._lock:
            now = time.monotonic()
            if feed not in self._known or now - self._known[feed][0] >= self.seconds:
                self._known[feed] = now, _digest(_ENTRIES[feed](self._settings))
            return self._known[feed][1]


def _notify(
    settings: QualitySettings,
    webhook: FeedWebhook,
    receiver: Receiver,
    digests: _Digests,
    state: WebhookState,
    stopping: threading.Event,
) -> None:
    """Send *receiver* a notification for each feed of *webhook* that has something new, until *stopping*."""

    def send_due() -> None:
        for feed in webhook.feeds:
            _send_if_new(settings, webhook.party, receiver, feed, digests.of(feed))
        state.set(webhook.party, delivered=True)

    def report_failure(error: Exception, seconds: float) -> None:
        state.set(webhook.party, delivered=False)
        text = str(error) if isinstance(error, WebhookError) else problem(error)
        log.warning("webhook.failed", caller=webhook.party, error=text or type(error).__name__, retry_seconds=seconds)

    webhooks.repeat(send_due, report_failure, stopping, digests.seconds)


def _send_if_new(settings: QualitySettings, party: str, receiver: Receiver, feed: FeedKind, digest: str) -> None:
    with _store(settings) as connection:
        before = connection.execute(_last(party, feed)).scalar()
    if digest == before:
        return
    message_id = f"msg_{hashlib.sha256(f'{party}/{feed}/{digest}'.encode()).hexdigest()[:32]}"
    webhooks.post(receiver, message_id, f"{feed}.updated", {"feed": f"{feed}.atom"}, time.time())
    with _store(settings, AccessMode.WRITE) as connection:
        repository.upsert(connection, _notified, [{"party": party, "feed": feed, "digest": digest}])
    log.info("webhook.sent", caller=party, feed=feed)


def _last(party: str, feed: str) -> Any:
    return select(_notified.c.digest).where(_notified.c.party == party, _notified.c.feed == feed)


@contextlib.contextmanager
def _store(settings: QualitySettings, facts: AccessMode = AccessMode.READ) -> Iterator[Connection]:
    with contextlib.closing(Store(settings.store, facts=facts)) as store, store.transaction() as connection:
        yield connection


def _digest(entries: Iterable[tuple[object, ...]]) -> str:
    return hashlib.sha256(json.dumps([*entries], default=str).encode()).hexdigest()


def _outages(settings: QualitySettings) -> Iterable[tuple[object, ...]]:
    with _store(settings) as connection:
        found = repository.all_outages(connection)
    return [(one.number, one.first_minute, one.end_minute, one.announced_end_minute) for one in found]


def _changes(settings: QualitySettings) -> Iterable[tuple[object, ...]]:
    found = change_feed.list_changes(settings)
    return sorted((one.at, one.change.record.kind, one.change.record.key, one.change.action) for one in found)


def _reports(settings: QualitySettings) -> Iterable[tuple[object, ...]]:
    keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
    found = report_archive.list_reports(settings.reports, keys)
    return [(one.name, one.issued) for one in found if one.signature_valid]


_ENTRIES: Mapping[FeedKind, Callable[[QualitySettings], Iterable[tuple[object, ...]]]] = {
    "outages": _outages,
    "changes": _changes,
    "reports": _reports,
}
