"""Webhooks of the exchange: a party is notified once of each new state of a feed, until its receiver takes it."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from estelam.telemetry.process_metrics import WebhookState
from quality.monitor.monitor_metrics import MonitorMetrics
from quality.notifications import running_webhooks
from quality.settings import FeedWebhook, QualitySettings
from tests.integration.quality.conftest import QualityStore, at
from tests.support.webhook import Message, receiving, write_secret

SOON = 0.05


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def taken(received: list[Message]) -> list[str]:
    """The kinds of the notifications that the receiver took."""
    return [json.loads(one.body)["type"] for one in received if one.status == 204]


def test_notified_once(quality_store: QualityStore, tmp_path: Path) -> None:
    """Each state of a feed is notified once, signed, over failures and restarts; the message names the feed alone."""
    with receiving() as (url, received):
        webhook = FeedWebhook(
            party="mefa", url=url, secret=write_secret(tmp_path / "secret"), feeds=("outages", "reports")
        )
        settings = quality_store.settings.model_copy(update={"webhook": (webhook,)})
        with running_webhooks(settings, MonitorMetrics().webhooks, every=SOON):
            until(lambda: sorted(taken(received)) == ["outages.updated", "reports.updated"])
        with running_webhooks(settings, MonitorMetrics().webhooks, every=SOON):
            quality_store.announce(at(20), at(20, 2), hours=90)
            until(lambda: taken(received).count("outages.updated") == 2)

    assert 3 == len(taken(received))
    assert 503 == received[0].status
    assert received[0].headers["webhook-id"] == received[1].headers["webhook-id"]
    assert all(one.is_signed for one in received)
    assert {"feed": "outages.atom"} == json.loads(received[-1].body)["data"]


def test_receiver_is_down(quality_store: QualityStore, tmp_path: Path) -> None:
    """The metrics show a party that does not take its notifications, until it does."""
    registry, shown = CollectorRegistry(), []

    class Observed(WebhookState):
        def set(self, caller: str, *, delivered: bool) -> None:
            super().set(caller, delivered=delivered)
            shown.append(registry.get_sample_value("estelam_webhook_undelivered", {"caller": caller}))

    with receiving() as (url, _):
        webhook = FeedWebhook(party="mefa", url=url, secret=write_secret(tmp_path / "secret"), feeds=("reports",))
        settings = quality_store.settings.model_copy(update={"webhook": (webhook,)})
        with running_webhooks(settings, Observed(registry), every=SOON):
            until(lambda: len(shown) > 1)

    assert [1.0, 0.0] == shown[:2]


def test_two_webhooks_of_one_party(quality_store: QualityStore, tmp_path: Path) -> None:
    """A party has one webhook: what it was sent last is stored by its name."""
    webhook = FeedWebhook(party="mefa", url="https://mefa.example/", secret=tmp_path / "secret")
    given = quality_store.settings.model_dump() | {"webhook": (webhook.model_dump(),) * 2}
    with pytest.raises(ValidationError, match="two webhooks are of the same party"):
        QualitySettings.model_validate(given)
