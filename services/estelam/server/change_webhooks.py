"""Webhooks: tell a party that answers it was given have changed, so that it lists them at once.

A notification says only that something changed, and through which entry of the ledger; what, the party lists over its
own certificate. It is signed as Standard Webhooks describes (https://www.standardwebhooks.com), by HMAC-SHA256 with a
secret that the party shares. Each webhook has a thread and a connection of its own, and only the newest state is ever
sent, so that nothing queues up behind a receiver that is down, and nothing else waits for it.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import OpenerDirector, Request

import structlog
from sqlalchemy import Connection

from estelam.client.web import direct_opener
from estelam.core.exceptions import problem
from estelam.core.pem import KeyFileError
from estelam.core.settings import ChangeWebhook
from estelam.ledger import answer_changes
from estelam.ledger.answer_changes import Notice
from estelam.storage.store import Store

log = structlog.get_logger()

CHECK_SECONDS = 2.0
TIMEOUT_SECONDS = 5.0
MAX_WAIT_SECONDS = 3600.0
_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)


class WebhookError(Exception):
    """The receiver did not take a notification; the text says why, in words of ours."""


class Receiver(NamedTuple):
    """A party that is notified."""

    caller: str
    """The legal id of its organisation."""
    url: str
    secret: bytes
    opener: OpenerDirector

    @classmethod
    def of(cls, webhook: ChangeWebhook) -> "Receiver":
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
        return cls(webhook.caller, webhook.url, secret, direct_opener(webhook.ca_certificates))


def signature(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """Return the header webhook-signature of a message that is sent at *seconds* since 1970 (Standard Webhooks, v1)."""
    signed = f"{message_id}.{seconds}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, 'sha256')).decode()}"


def send(receiver: Receiver, service: str, notice: Notice, now: float) -> None:
    """Send *notice* of changed answers of *service*, at *now*, in seconds since 1970.

    The message's id is the same for each attempt, and for each worker that sends it.

    Raises:
        WebhookError: the receiver does not reply with a status from 200 to 299.
    """
    content = {
        "type": "answers.changed",
        "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": {"service": service, "through_index": notice.through_index},
    }
    body = json.dumps(content, separators=(",", ":")).encode()
    message_id = f"msg_{hashlib.sha256(f'{service}/{notice.cursor}'.encode()).hexdigest()[:32]}"
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


def notify(
    receiver: Receiver,
    service: str,
    store_url: str,
    write: Callable[[Callable[[Connection], None]], object],
    count_failure: Callable[[str], None],
    stopping: threading.Event,
) -> None:
    """Send *receiver* a notification after each comparison that changed answers of its own, until *stopping*.

    After a failure it waits twice as long, up to an hour, of which a random half is left out, and sends the state then.
    """
    wait = CHECK_SECONDS
    with contextlib.closing(Store(store_url)) as store:
        while not stopping.wait(wait):
            try:
                with store.transaction() as connection:
                    notice = answer_changes.due_notice(connection, receiver.caller)
                if notice:
                    send(receiver, service, notice, time.time())
                    write(lambda ledger, notice=notice: answer_changes.store_notice(ledger, receiver.caller, notice))  # type: ignore[misc]
                    log.info("webhook.sent", caller=receiver.caller, through_index=notice.through_index)
                wait = CHECK_SECONDS
            except Exception as error:  # noqa: BLE001 - after any error the newest state is still to be sent
                wait = min(2 * wait, MAX_WAIT_SECONDS)
                count_failure(receiver.caller)
                text = str(error) if isinstance(error, WebhookError) else problem(error)
                log.warning(
                    "webhook.failed", caller=receiver.caller, error=text or type(error).__name__, retry_seconds=wait
                )
                wait *= random.uniform(0.5, 1)  # noqa: S311 - no secret
