"""Webhooks of changed answers: a party is notified that answers it was given have changed, and lists them then.

A notification says only that something changed, and through which entry of the ledger; what, the party lists over its
own certificate. Each webhook has a thread and a connection of its own, and nothing else waits for it.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from estelam.client import webhooks
from estelam.client.webhooks import Receiver, WebhookError
from estelam.core.exceptions import problem
from estelam.ledger import answer_changes
from estelam.ledger.answer_changes import Notice
from estelam.storage.store import Store
from estelam.telemetry.process_metrics import WebhookState

log = structlog.get_logger()

KIND = "answers.changed"


def send(receiver: Receiver, service: str, notice: Notice, now: float) -> None:
    """Send *notice* of changed answers of *service*, at *now*, in seconds since 1970.

    The message's id is the same for each attempt, and for each worker that sends it.

    Raises:
        WebhookError: the receiver does not take it.
    """
    message_id = f"msg_{hashlib.sha256(f'{service}/{notice.cursor}'.encode()).hexdigest()[:32]}"
    webhooks.post(receiver, message_id, KIND, {"service": service, "through_index": notice.through_index}, now)


def notify(
    caller: str,
    receiver: Receiver,
    service: str,
    store_url: str,
    write: Callable[[Callable[[Connection], None]], object],
    state: WebhookState,
    stopping: threading.Event,
) -> None:
    """Send *receiver* a notification after each comparison that changed answers of *caller*, until *stopping*.

    Args:
        caller: The legal id of its organisation.
        receiver: Where its notifications go.
        service: The service's name.
        store_url: The address of the service's store.
        write: Runs a function in a transaction of the ledger.
        state: Shows whether the receiver took the newest notification.
        stopping: Ends the notifications.
    """
    with contextlib.closing(Store(store_url)) as store:

        def send_due() -> None:
            with store.transaction() as connection:
                notice = answer_changes.due_notice(connection, caller)
            if notice:
                send(receiver, service, notice, time.time())
                write(lambda ledger: answer_changes.store_notice(ledger, caller, notice))
                log.info("webhook.sent", caller=caller, through_index=notice.through_index)
            state.set(caller, delivered=True)

        def report_failure(error: Exception, seconds: float) -> None:
            state.set(caller, delivered=False)
            text = str(error) if isinstance(error, WebhookError) else problem(error)
            log.warning("webhook.failed", caller=caller, error=text or type(error).__name__, retry_seconds=seconds)

        webhooks.repeat(send_due, report_failure, stopping)
