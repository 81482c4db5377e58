"""Error catalogue: complete, in both languages, and equal on both ends of the wire."""

import grpc
import pytest
from google.rpc import error_details_pb2

from estelam.core.errors import ERROR_CATALOGUE, Layer, QuotaState, Reason, Refusal, Violation
from estelam.core.grpc_status import from_grpc, retry_delay, to_grpc, to_status


def rpc_error(refusal: Refusal) -> grpc.aio.AioRpcError:
    """The error that gRPC raises in a client for *refusal*."""
    status = to_grpc(refusal)
    trailing = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, details=status.details)


def has_persian(text: str) -> bool:
    return any("\u0600" <= character <= "\u06ff" for character in text)


@pytest.mark.parametrize("reason", Reason)
def test_catalogue_is_complete(reason: Reason) -> None:
    """Every reason has texts in both languages, a status and a layer."""
    spec = ERROR_CATALOGUE[reason]

    assert spec.en.isascii()
    assert spec.en.endswith(".") or spec.en.endswith("-")
    assert has_persian(spec.fa)
    assert spec.status in {3, 4, 7, 8, 9, 12, 14, 16}
    assert spec.layer in Layer


def test_texts_are_unique() -> None:
    """No two reasons share a text."""
    assert (
        len(ERROR_CATALOGUE)
        == len({spec.en for spec in ERROR_CATALOGUE.values()})
        == len({spec.fa for spec in ERROR_CATALOGUE.values()})
    )


@pytest.mark.parametrize("reason", Reason)
def test_round_trip(reason: Reason) -> None:
    """A refusal arrives with the reason, violations and retry delay that were sent."""
    sent = Refusal(reason, [Violation("serial", "string.note_serial", "must be 16 ASCII digits")])

    arrived = from_grpc(rpc_error(sent))

    assert arrived is not None
    assert (arrived.reason, arrived.violations, arrived.retry_seconds) == (reason, sent.violations, sent.retry_seconds)


def test_violation_is_localized() -> None:
    """A violation carries its rule's Persian text in a LocalizedMessage beside the contract's English message."""
    fields = error_details_pb2.BadRequest()
    sent = Refusal(Reason.FIELD_INVALID, [Violation("serial", "string.note_serial", "must be 16 ASCII digits")])

    assert any(detail.Unpack(fields) for detail in to_status(sent).details)
    found = fields.field_violations[0]
    assert (found.field, found.reason, found.description) == ("serial", "string.note_serial", "must be 16 ASCII digits")
    assert (found.localized_message.locale, found.localized_message.message) == ("fa", "باید ۱۶ رقم باشد")


def test_quota_details() -> None:
    """A refusal for its quota carries limit, remainder, reset and retry delay."""
    quota = QuotaState(policy="CheckNote", limit=100, remaining=0, reset_seconds=50, retry_seconds=0.5)
    details = to_status(Refusal(Reason.QUOTA_EXHAUSTED, quota=quota)).details
    failure, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()

    assert any(detail.Unpack(failure) for detail in details)
    assert any(detail.Unpack(retry) for detail in details)
    assert failure.violations[0].subject == "CheckNote"
    assert failure.violations[0].description == "limit 100, remaining 0, full again in 50 s"
    assert retry.retry_delay.ToMilliseconds() == 500


def test_retry_delay_by_reason() -> None:
    """Stale data and an unreachable store suggest a retry; an invalid field does not."""
    assert Refusal(Reason.DATA_STALE).retry_seconds == 60
    assert Refusal(Reason.STORE_UNAVAILABLE).retry_seconds == 1
    assert Refusal(Reason.FIELD_INVALID).retry_seconds is None


@pytest.mark.parametrize(("pushback", "seconds"), [("1500", 1.5), ("0", 0), ("-1", None), ("soon", None)])
def test_proxy_pushback(pushback: str, seconds: float | None) -> None:
    """Without details of ours, the retry delay is the one in the pushback header."""
    trailing = grpc.aio.Metadata(("grpc-retry-pushback-ms", pushback), ("grpc-status-details-bin", b"\xff"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), trailing)

    assert from_grpc(error) is None
    assert seconds == retry_delay(error)
