"""Webhooks as Standard Webhooks describes them (https://www.standardwebhooks.com), signed by HMAC-SHA256.

A notification holds no more than that something is new: what, its receiver reads over its own access. Only the newest
state is ever sent, so that nothing queues up behind a receiver that is down.
"""

import base64
import binascii
import hmac
import json
import random
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import OpenerDirector, Request

from estelam.client.web import direct_opener
from estelam.core.dates import format_utc
from estelam.core.pem import KeyFileError
from estelam.core.settings import Webhook

CHECK_SECONDS = 2.0
TIMEOUT_SECONDS = 5.0
MAX_WAIT_SECONDS = 3600.0
_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)


class WebhookError(Exception):
    """The receiver did not take a notification; the text says why, in words of ours."""


class Receiver(NamedTuple):
    """Where notifications go, and the secret that signs them."""

    url: str
    secret: bytes
    opener: OpenerDirector

    @classmethod
    def of(cls, webhook: Webhook) -> "Receiver":
        """Return the receiver that the settings name.

        Raises:
            KeyFileError: its secret can't be used.
            OSError: a file can't be read.
        """
        text = webhook.secret.read_text("ascii", "replace").strip()
        try:
            secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            secret = b""
        if not text.startswith(_PREFIX) or len(secret) not in _SECRET_BYTES:
            raise KeyFileError(f"{webhook.secret}: must be {_PREFIX} and 24 to 64 bytes in Base64")
        return cls(webhook.url, secret, direct_opener(webhook.ca_certificates))


def signature(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """Return the header webhook-signature of a message that is sent at *seconds* since 1970 (Standard Webhooks, v1)."""
    signed = f"{message_id}.{seconds}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, 'sha256')).decode()}"


def post(receiver: Receiver, message_id: str, kind: str, data: Mapping[str, Any], now: float) -> None:
    """Send a notification.

    Args:
        receiver: Where it goes.
        message_id: Its id, the same for each attempt.
        kind: What it is, as answers.changed.
        data: What it says, as JSON.
        now: The time, in seconds since 1970.

    Raises:
        WebhookError: the receiver does not reply with a status from 200 to 299.
    """
    timestamp = format_utc(datetime.fromtimestamp(now, UTC), "seconds")
    body = json.dumps({"type": kind, "timestamp": timestamp, "data": dict(data)}, separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signature(receiver.secret, message_id, int(now), body),
    }
    try:
        # The settings allow http and https alone.
        request = Request(receiver.url, body, headers, method="POST")  # noqa: S310
        with receiver.opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
            if not 200 <= reply.status < 300:
                raise WebhookError(f"it replies with status {reply.status}")
    except HTTPError as error:
        raise WebhookError(f"it replies with status {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise WebhookError(f"it can't be reached: {type(error).__name__}") from None


def repeat(
    send_due: Callable[[], None],
    report_failure: Callable[[Exception, float], None],
    stopping: threading.Event,
    every: float | None = None,
) -> None:
    """Call *send_due* every so many seconds, until *stopping*.

    After a failure, which *report_failure* gets with the seconds until the next attempt, it waits twice as long, up to
    an hour, of which a random half is left out.
    """
    usual = every or CHECK_SECONDS
    wait = usual
    while not stopping.wait(wait):
        try:
            send_due()
            wait = usual
        except Exception as error:  # noqa: BLE001 - after any error the newest state is still to be sent
            longest = min(2 * wait, MAX_WAIT_SECONDS)
            report_failure(error, longest)
            wait = longest * random.uniform(0.5, 1)  # noqa: S311 - no secret
