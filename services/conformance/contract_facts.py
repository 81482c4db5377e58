"""What the protos can't say, as data: every reason to refuse, metadata key and limit; `errors.json` beside them.

An implementation in any language reads that file; the checks of every reply use the forms of the metadata here.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from inspect import signature
from typing import Any

from google.rpc import code_pb2

from buf.validate import validate_pb2
from estelam.auth.grants import MAX_SHOWN
from estelam.auth.rate_limit import Throttle
from estelam.core.errors import DOMAIN, ERROR_CATALOGUE, MAX_PUSHBACK_SECONDS, ErrorSpec, Reason
from estelam.core.purpose import MAX_CHARACTERS, PATTERN
from estelam.core.rule_texts import RULE_TEXTS
from estelam.core.settings import MAX_CONFIRMATION_WINDOW, ServingSettings, StoreSettings
from estelam.core.validation import MAX_REQUEST_BYTES
from estelam.inquiry.v1 import identifiers_pb2
from estelam.pipeline.metadata import TRACEPARENT, TRACEPARENT_PATTERN
from estelam.pipeline.pacer import MAX_DELAY_SECONDS
from estelam.receipts.own_call import NONCE, NONCE_PATTERN
from estelam.server.completion_queue import MAX_OPEN_CALLS
from estelam.server.grpc_server import MAX_METADATA_BYTES, MAX_RECEIVED_BYTES, MAX_SENT_BYTES, MAX_STREAMS

NUMBER = f"[0-9]{{{len(str(MAX_SHOWN))}}}"
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class MetadataKey:
    """A metadata key, and what its value looks like."""

    key: str
    sent: str
    """By whom, with what: request, or trailers of each answer, of each refusal, or of both."""
    form: str
    """The value, as a regular expression for the whole of it; METHOD is the method's short name."""
    meaning: str
    meaning_fa: str


METADATA = (
    MetadataKey("x-inquiry-id", "request", PATTERN, "the caller's own correlation id", "شناسه پیگیری خود استعلام‌کننده"),
    MetadataKey(
        "x-case-reference",
        "request",
        PATTERN,
        "the tender or file that the inquiry serves",
        "مناقصه یا پرونده‌ای که استعلام برای آن است",
    ),
    MetadataKey(
        "x-operator",
        "request",
        PATTERN,
        "the person or system behind the caller",
        "شخص یا سامانه‌ای که پشت استعلام‌کننده است",
    ),
    MetadataKey(
        NONCE,
        "request",
        NONCE_PATTERN,
        "random characters, new for each call, whose SHA-256 the entry then holds",
        "نویسه‌های تصادفی و یک‌بارمصرف که چکیده SHA-256 آن در سطر دفتر می‌آید",
    ),
    MetadataKey(
        TRACEPARENT,
        "request",
        TRACEPARENT_PATTERN,
        "the caller's trace context (W3C Trace Context), which spans continue; an invalid one is ignored",
        "شناسه ردگیری استعلام‌کننده (W3C Trace Context) که سرویس آن را ادامه می‌دهد؛ مقدار نادرست نادیده گرفته می‌شود",
    ),
    MetadataKey(
        "estelam-inquiry-id",
        "answer, refusal",
        f"^{_UUID}$",
        "the service's id of the inquiry, a UUID of version 7; absent before the caller and the method are known",
        "شناسه استعلام نزد سرویس (UUID نسخه ۷)؛ پیش از شناخته شدن استعلام‌کننده و متد نمی‌آید",
    ),
    MetadataKey(
        "x-inquiry-id",
        "answer, refusal",
        PATTERN,
        "the caller's own id as it was sent, if it was sent and is well formed",
        "شناسه خود استعلام‌کننده، همان‌گونه که فرستاده شده، اگر درست باشد",
    ),
    MetadataKey(
        "ratelimit-policy",
        "answer, refusal",
        '^"METHOD";q=[0-9]+;w=[0-9]+$',
        "the caller's quota for the method: q tokens, regained in w seconds; sent from authorization on",
        "سهمیه استعلام‌کننده برای متد: q واحد که در w ثانیه پر می‌شود؛ پس از احراز مجوز می‌آید",
    ),
    MetadataKey(
        "ratelimit",
        "answer, refusal",
        f'^"METHOD";r={NUMBER};t={NUMBER}(?:;p=[0-9]{{{2 * len(str(MAX_SHOWN))}}})?$',
        "r whole tokens remain, and the bucket is full in t seconds; p is padding that makes lengths on the wire equal",
        "r واحد مانده و سهمیه در t ثانیه پر می‌شود؛ p تنها طول پاسخ‌ها را برابر می‌کند",
    ),
    MetadataKey(
        "deprecation",
        "answer, refusal",
        "^@[0-9]+$",
        "of a deprecated method only: since when, in seconds since 1970 (RFC 9745)",
        "تنها برای متدی که کنار گذاشته می‌شود: از چه زمانی (RFC 9745)",
    ),
    MetadataKey(
        "sunset",
        "answer, refusal",
        "^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$",
        "of a deprecated method only: from when on it may be removed (RFC 8594)",
        "تنها برای متدی که کنار گذاشته می‌شود: از چه زمانی ممکن است برداشته شود (RFC 8594)",
    ),
    MetadataKey(
        "grpc-retry-pushback-ms",
        "refusal",
        "^-1$|^[1-9][0-9]*$",
        "when the caller's gRPC library may retry by itself (gRFC A6); see the reason's pushback",
        "زمانی که کتابخانه gRPC استعلام‌کننده می‌تواند خودکار دوباره تلاش کند (gRFC A6)",
    ),
    MetadataKey(
        "grpc-status-details-bin",
        "refusal",
        "",
        "google.rpc.Status with the same code and message, and the reason's details",
        "google.rpc.Status با همان کد و متن، و جزئیات دلیل",
    ),
)
PUSHBACK = {
    "forbidden": "-1",
    "delayed": "milliseconds between the RetryInfo's delay and twice that; -1 if the delay is longer than "
    f"{MAX_PUSHBACK_SECONDS:g} seconds",
    "free": "no entry",
    "of a service that forwards": "always -1",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit, and what happens beyond it."""

    name: str
    value: float
    unit: str
    beyond: str


def limits() -> tuple[Limit, ...]:
    """Return every limit that a caller can meet."""
    throttle = signature(Throttle).parameters
    gap, burst = throttle["gap_seconds"].default, throttle["burst"].default
    timeout = ServingSettings.model_fields["request_timeout_seconds"].default
    staleness = StoreSettings.model_fields["max_staleness"].default.total_seconds()
    return (
        Limit("request", MAX_REQUEST_BYTES, "bytes", "REQUEST_TOO_LARGE"),
        Limit("request on the wire", MAX_RECEIVED_BYTES, "bytes", "RESOURCE_EXHAUSTED by gRPC itself, without details"),
        Limit("reply", MAX_SENT_BYTES, "bytes", "no reply is longer"),
        Limit("all metadata of a call", MAX_METADATA_BYTES, "bytes", "RESOURCE_EXHAUSTED by gRPC itself"),
        Limit("text of a metadata entry, decoded", MAX_CHARACTERS, "characters", "METADATA_MALFORMED"),
        Limit("open calls of a connection", MAX_STREAMS, "calls", "further ones wait in the caller's library"),
        Limit("open calls of a service", MAX_OPEN_CALLS, "calls", "OVERLOADED, for the caller with most"),
        Limit("answer", timeout, "seconds", "ANSWER_LATE; the caller's own deadline if it is sooner"),
        Limit("refusals at once to one caller", burst, "refusals", "each further one is delayed"),
        Limit("further refusals to one caller", 1 / gap, "per second", "each is delayed until its turn"),
        Limit("delay of a refusal", MAX_DELAY_SECONDS, "seconds", "it is sent"),
        Limit("delay that a retry pushback states", MAX_PUSHBACK_SECONDS, "seconds", "-1"),
        Limit("YES permits GetNoteParties", MAX_CONFIRMATION_WINDOW.total_seconds(), "seconds", "NOTE_NOT_CONFIRMED"),
        Limit("age of the data for a NO", staleness, "seconds", "DATA_STALE"),
        Limit("a denied certificate is refused within", 5, "seconds", "CERTIFICATE_DENIED"),
        Limit("r and t in ratelimit", MAX_SHOWN, "", "they state this number"),
    )


def facts() -> dict[str, Any]:
    """Return the content of `errors.json`."""
    return {
        "domain": DOMAIN,
        "reasons": [_reason(reason, spec) for reason, spec in ERROR_CATALOGUE.items()],
        "rules": _rules(),
        "pushback": PUSHBACK,
        "metadata": [asdict(key) for key in METADATA],
        "limits": [asdict(limit) for limit in limits()],
    }


def text() -> str:
    """Return `errors.json` as it is written."""
    return json.dumps(facts(), ensure_ascii=False, indent=1) + "\n"


def trailer_forms(method: str) -> dict[str, str]:
    """Return the form of each trailer that a reply or refusal of *method* may have, by its key."""
    return {key.key: key.form.replace("METHOD", method) for key in METADATA if key.sent != "request"}


@cache
def rule_texts() -> Mapping[str, tuple[str, str]]:
    """Return the texts of each rule that a BadRequest may name, in English and Persian."""
    return {rule["rule"]: (rule["en"], rule["fa"]) for rule in _rules()}


def _reason(reason: Reason, spec: ErrorSpec) -> dict[str, Any]:
    return {
        "reason": reason.value,
        "status": code_pb2.Code.Name(spec.status),
        "code": spec.status,
        "layer": spec.layer.value,
        "en": spec.en,
        "fa": spec.fa,
        "retry_seconds": spec.retry_seconds,
        "pushback": spec.pushback.value,
        "details": _details(reason, spec),
    }


def _details(reason: Reason, spec: ErrorSpec) -> dict[str, str]:
    """Return what each of the reason's details holds, by the message of google.rpc."""
    details = {
        "ErrorInfo": f"domain {DOMAIN}, reason {reason.value}, metadata layer={spec.layer.value}",
        "LocalizedMessage": "two: locale en with the text `en`, locale fa with the text `fa`",
    }
    if spec.has_fields:
        details["BadRequest"] = (
            "one violation for each rule that a field or metadata key breaks: field its name, reason the rule, "
            "description and localized_message (locale fa) the rule's texts"
        )
    if spec.has_quota:
        details["QuotaFailure"] = (
            "one violation: subject the method's short name, as in ratelimit-policy, description "
            "'limit N, remaining 0, full again in N s'; not of a service that forwards"
        )
        details["RetryInfo"] = "the time until the next token, more than 0 and at most the time until the quota is full"
    elif reason is Reason.OUTAGE_ANNOUNCED:
        details["RetryInfo"] = "the time until the outage ends"
    elif spec.retry_seconds is not None:
        details["RetryInfo"] = f"{spec.retry_seconds:g} s"
    return details


def _rules() -> list[dict[str, str]]:
    """Return the rules that a BadRequest names, with their texts there."""
    descriptions = {"int64.gt": "must be greater than 0"} | {
        rule.id: rule.message
        for extension in identifiers_pb2.DESCRIPTOR.extensions_by_name.values()
        for rule in extension.GetOptions().Extensions[validate_pb2.predefined].cel
    }
    descriptions |= {name: text.en for name, text in RULE_TEXTS.items() if name.startswith("metadata.")}
    return [{"rule": name, "en": english, "fa": RULE_TEXTS[name].fa} for name, english in descriptions.items()]
