"""The table of refusals: complete, in both languages, and the same on both ends of the wire."""

import grpc
import pytest
from google.rpc import error_details_pb2

from estelam.core.errors import ERROR_CATALOGUE, Layer, QuotaState, Reason, Refusal, Violation
from estelam.core.grpc_status import from_grpc, retry_delay, to_grpc, to_status


def declined(refusal: Refusal) -> grpc.aio.AioRpcError:
    """What a caller's gRPC raises for a refusal."""
    status = to_grpc(refusal)
    trailing = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, details=status.details)


def has_persian(text: str) -> bool:
    return any("\u0600" <= character <= "\u06ff" for character in text)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_in_both_languages_a_status_and_a_layer(reason: Reason) -> None:
    words = ERROR_CATALOGUE[reason]

    assert words.en.isascii()
    assert words.en.endswith(".") or words.en.endswith("-")
    assert has_persian(words.fa)
    assert words.status in {3, 4, 7, 8, 9, 12, 14, 16}
    assert words.layer in Layer


def test_no_two_reasons_say_the_same() -> None:
    assert (
        len(ERROR_CATALOGUE)
        == len({words.en for words in ERROR_CATALOGUE.values()})
        == len({words.fa for words in ERROR_CATALOGUE.values()})
    )


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_arrives_as_it_was_sent(reason: Reason) -> None:
    sent = Refusal(reason, [Violation("serial", "string.note_serial", "must be 16 ASCII digits")])

    arrived = from_grpc(declined(sent))

    assert arrived is not None
    assert (arrived.reason, arrived.violations, arrived.retry_seconds) == (reason, sent.violations, sent.retry_seconds)


def test_a_quota_refusal_says_limit_remaining_reset_and_when_to_come_back() -> None:
    quota = QuotaState(policy="CheckNote", limit=100, remaining=0, reset_seconds=50, retry_seconds=0.5)
    details = to_status(Refusal(Reason.QUOTA_EXHAUSTED, quota=quota)).details
    failure, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()

    assert any(detail.Unpack(failure) for detail in details)
    assert any(detail.Unpack(retry) for detail in details)
    assert failure.violations[0].subject == "CheckNote"
    assert failure.violations[0].description == "limit 100, remaining 0, full again in 50 s"
    assert retry.retry_delay.ToMilliseconds() == 500


def test_a_stale_store_and_an_unreachable_one_ask_for_a_retry_a_bad_field_does_not() -> None:
    assert Refusal(Reason.DATA_STALE).retry_seconds == 60
    assert Refusal(Reason.STORE_UNAVAILABLE).retry_seconds == 1
    assert Refusal(Reason.FIELD_INVALID).retry_seconds is None


@pytest.mark.parametrize(("pushback", "seconds"), [("1500", 1.5), ("0", 0), ("-1", None), ("soon", None)])
def test_a_proxys_pushback_is_heard_where_there_are_no_words_of_ours(pushback: str, seconds: float | None) -> None:
    trailing = grpc.aio.Metadata(("grpc-retry-pushback-ms", pushback), ("grpc-status-details-bin", b"\xff"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), trailing)

    assert from_grpc(error) is None
    assert seconds == retry_delay(error)
