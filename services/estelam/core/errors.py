"""Error catalogue: every reason to refuse an inquiry, with its status, layer and constant text in Persian and English.

The meaning of a reason never changes. Nothing but this catalogue reaches a caller: no subject, query or exception text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from google.rpc import code_pb2

from estelam.core.rule_texts import RULE_TEXTS, UNKNOWN_RULE, RuleText

DOMAIN = "estelam"


class Layer(StrEnum):
    """The origin of a refusal: the caller, the service or its data store."""

    CALLER = "caller"
    SERVICE = "service"
    STORE = "store"


class Pushback(StrEnum):
    """What a refusal states in grpc-retry-pushback-ms (gRFC A6): when the caller's gRPC library may retry by itself.

    A service that forwards another's answers always forbids it: it has retried already.
    """

    FORBIDDEN = "forbidden"
    """-1."""
    DELAYED = "delayed"
    """Milliseconds, at random between the retry delay and twice that; -1 if it exceeds MAX_PUSHBACK_SECONDS."""
    FREE = "free"
    """No entry: the library retries on its own schedule."""


MAX_PUSHBACK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """Status, layer and texts of one reason, and what else belongs to its refusals."""

    status: int
    """The code of google.rpc.Code."""
    layer: Layer
    en: str
    fa: str
    retry_seconds: float | None = None
    """Seconds after which a retry may help, where that is the same for every refusal."""
    pushback: Pushback = Pushback.FORBIDDEN
    has_fields: bool = False
    """Whether a refusal names each field or metadata key that violates a rule, as BadRequest."""
    has_quota: bool = False
    """Whether a refusal has the state of the caller's quota, as QuotaFailure with the method as its subject."""


class Reason(StrEnum):
    """Why an inquiry was refused."""

    CERTIFICATE_UNUSABLE = "CERTIFICATE_UNUSABLE"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    CERTIFICATE_DENIED = "CERTIFICATE_DENIED"
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED"
    REVOCATION_UNKNOWN = "REVOCATION_UNKNOWN"
    NOT_GRANTED = "NOT_GRANTED"
    METADATA_REQUIRED = "METADATA_REQUIRED"
    METADATA_MALFORMED = "METADATA_MALFORMED"
    REQUEST_MALFORMED = "REQUEST_MALFORMED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    FIELD_UNKNOWN = "FIELD_UNKNOWN"
    FIELD_INVALID = "FIELD_INVALID"
    METHOD_UNKNOWN = "METHOD_UNKNOWN"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    OVERLOADED = "OVERLOADED"
    COVERAGE_UNDECLARED = "COVERAGE_UNDECLARED"
    TRACKING_UNDECLARED = "TRACKING_UNDECLARED"
    DATA_STALE = "DATA_STALE"
    CLOCK_BEHIND = "CLOCK_BEHIND"
    AGENCY_NOT_MEMBER = "AGENCY_NOT_MEMBER"
    NOTE_NOT_CONFIRMED = "NOTE_NOT_CONFIRMED"
    CURSOR_UNKNOWN = "CURSOR_UNKNOWN"
    CHANGES_UNKNOWN = "CHANGES_UNKNOWN"
    ANSWER_LATE = "ANSWER_LATE"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    SERVICE_FAILED = "SERVICE_FAILED"
    OUTAGE_ANNOUNCED = "OUTAGE_ANNOUNCED"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    PROVIDER_UNPROVEN = "PROVIDER_UNPROVEN"
    PROVIDER_CONTRADICTS = "PROVIDER_CONTRADICTS"


ERROR_CATALOGUE: dict[Reason, ErrorSpec] = {
    Reason.CERTIFICATE_UNUSABLE: ErrorSpec(
        code_pb2.UNAUTHENTICATED,
        Layer.CALLER,
        "The client certificate does not name exactly one organisation by its legal id.",
        "گواهی استعلام‌کننده دقیقاً یک سازمان را با شناسه ملی آن معرفی نمی‌کند.",
    ),
    Reason.CERTIFICATE_EXPIRED: ErrorSpec(
        code_pb2.UNAUTHENTICATED,
        Layer.CALLER,
        "The client certificate is not valid at this time.",
        "گواهی استعلام‌کننده در این زمان معتبر نیست.",
    ),
    Reason.CERTIFICATE_DENIED: ErrorSpec(
        code_pb2.UNAUTHENTICATED,
        Layer.CALLER,
        "The client certificate is on the deny list.",
        "گواهی استعلام‌کننده مسدود شده است.",
    ),
    Reason.CERTIFICATE_REVOKED: ErrorSpec(
        code_pb2.UNAUTHENTICATED,
        Layer.CALLER,
        "The client certificate, or an authority above it, has been revoked.",
        "گواهی استعلام‌کننده یا گواهی یکی از مراجع صادرکننده آن باطل شده است.",
    ),
    Reason.REVOCATION_UNKNOWN: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.SERVICE,
        "The service has no current revocation list for the client certificate, so no answer can be given.",
        "سرویس فهرست ابطال معتبری برای گواهی استعلام‌کننده ندارد؛ بنابراین پاسخی داده نمی‌شود.",
        retry_seconds=60,
    ),
    Reason.NOT_GRANTED: ErrorSpec(
        code_pb2.PERMISSION_DENIED,
        Layer.CALLER,
        "This organisation holds no grant for this method today.",
        "این سازمان امروز مجوز استفاده از این متد را ندارد.",
    ),
    Reason.METADATA_REQUIRED: ErrorSpec(
        code_pb2.INVALID_ARGUMENT,
        Layer.CALLER,
        "The grant requires a metadata entry that was not sent.",
        "فراداده‌ای که مجوز آن را الزامی کرده ارسال نشده است.",
        has_fields=True,
    ),
    Reason.METADATA_MALFORMED: ErrorSpec(
        code_pb2.INVALID_ARGUMENT,
        Layer.CALLER,
        "A metadata entry must be given once, as 1 to 64 characters, percent-encoded except 0-9 A-Z a-z . _ ~ : / -",
        "هر فراداده باید یک بار و با ۱ تا ۶۴ نویسه، با کدگذاری درصدی UTF-8، ارسال شود.",
        has_fields=True,
    ),
    Reason.REQUEST_MALFORMED: ErrorSpec(
        code_pb2.INVALID_ARGUMENT,
        Layer.CALLER,
        "The request can't be read as the request message of this method.",
        "ساختار درخواست با پیام ورودی این متد مطابقت ندارد.",
    ),
    Reason.REQUEST_TOO_LARGE: ErrorSpec(
        code_pb2.INVALID_ARGUMENT,
        Layer.CALLER,
        "The request is larger than 4096 bytes.",
        "درخواست از ۴۰۹۶ بایت بزرگ‌تر است.",
    ),
    Reason.FIELD_UNKNOWN: ErrorSpec(
        code_pb2.INVALID_ARGUMENT,
        Layer.CALLER,
        "The request has a field that this method does not define.",
        "درخواست فیلدی دارد که در این متد تعریف نشده است.",
    ),
    Reason.FIELD_INVALID: ErrorSpec(
        code_pb2.INVALID_ARGUMENT,
        Layer.CALLER,
        "A field of the request violates a rule of the contract.",
        "یکی از فیلدهای درخواست با قواعد قرارداد سازگار نیست.",
        has_fields=True,
    ),
    Reason.METHOD_UNKNOWN: ErrorSpec(
        code_pb2.UNIMPLEMENTED,
        Layer.CALLER,
        "This service has no such method.",
        "این سرویس چنین متدی ندارد.",
        pushback=Pushback.FREE,
    ),
    Reason.QUOTA_EXHAUSTED: ErrorSpec(
        code_pb2.RESOURCE_EXHAUSTED,
        Layer.CALLER,
        "The quota of this organisation for this method is used up for now.",
        "سهمیه این سازمان برای این متد فعلاً تمام شده است.",
        pushback=Pushback.DELAYED,
        has_quota=True,
    ),
    Reason.OVERLOADED: ErrorSpec(
        code_pb2.RESOURCE_EXHAUSTED,
        Layer.SERVICE,
        "The service has more inquiries waiting than it can answer in time.",
        "استعلام‌های در انتظار از توان پاسخ به‌موقع سرویس بیشتر است.",
        retry_seconds=1,
        pushback=Pushback.DELAYED,
    ),
    Reason.COVERAGE_UNDECLARED: ErrorSpec(
        code_pb2.FAILED_PRECONDITION,
        Layer.STORE,
        "The period that the data covers has not been declared, so no answer can be given.",
        "دوره پوشش داده اعلام نشده است؛ بنابراین پاسخی داده نمی‌شود.",
    ),
    Reason.TRACKING_UNDECLARED: ErrorSpec(
        code_pb2.FAILED_PRECONDITION,
        Layer.STORE,
        "The data does not declare since when cases are linked to certificates, so no answer can be given.",
        "آغاز پیوند پرونده‌ها با گواهینامه‌های عدم پرداخت اعلام نشده است؛ بنابراین پاسخی داده نمی‌شود.",
    ),
    Reason.DATA_STALE: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.STORE,
        "The data is older than allowed, so no answer can be given.",
        "داده‌ها از حد مجاز قدیمی‌ترند؛ بنابراین پاسخی داده نمی‌شود.",
        retry_seconds=60,
    ),
    Reason.CLOCK_BEHIND: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.SERVICE,
        "The service's clock is behind what has been recorded already, so no answer can be given.",
        "ساعت سرویس از آنچه پیش‌تر ثبت شده عقب‌تر است؛ بنابراین پاسخی داده نمی‌شود.",
        retry_seconds=60,
    ),
    Reason.AGENCY_NOT_MEMBER: ErrorSpec(
        code_pb2.FAILED_PRECONDITION,
        Layer.CALLER,
        "The executive agency is not a registered member of Setad.",
        "دستگاه اجرایی عضو ثبت‌شده سامانه ستاد نیست.",
    ),
    Reason.NOTE_NOT_CONFIRMED: ErrorSpec(
        code_pb2.FAILED_PRECONDITION,
        Layer.CALLER,
        "Call CheckNote for this note first; this method requires a recent YES about its four facts as they are now.",
        "نخست صحت این سفته را با متد یک استعلام کنید؛ این متد تنها پس از پاسخ «بلی» اخیر درباره مشخصات کنونی سفته "
        "قابل استفاده است.",
    ),
    Reason.CURSOR_UNKNOWN: ErrorSpec(
        code_pb2.FAILED_PRECONDITION,
        Layer.CALLER,
        "The cursor is not one that this service gave this organisation; list the changed answers from the beginning.",
        "این نشانگر را این سرویس به این سازمان نداده است؛ پاسخ‌های تغییریافته را از آغاز دریافت کنید.",
    ),
    Reason.CHANGES_UNKNOWN: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.STORE,
        "Past answers have not been compared with the newest data yet, so it is not known which have changed.",
        "پاسخ‌های پیشین هنوز با تازه‌ترین داده مقایسه نشده‌اند؛ بنابراین معلوم نیست کدام تغییر کرده است.",
        retry_seconds=1,
        pushback=Pushback.DELAYED,
    ),
    Reason.ANSWER_LATE: ErrorSpec(
        code_pb2.DEADLINE_EXCEEDED,
        Layer.SERVICE,
        "No answer could be given within the deadline.",
        "در مهلت مقرر پاسخی آماده نشد.",
        retry_seconds=1,
    ),
    Reason.STORE_UNAVAILABLE: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.STORE,
        "The data store cannot be reached, so no answer can be given.",
        "پایگاه داده در دسترس نیست؛ بنابراین پاسخی داده نمی‌شود.",
        retry_seconds=1,
        pushback=Pushback.FREE,
    ),
    Reason.SERVICE_FAILED: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.SERVICE,
        "The service could not complete the inquiry, so no answer can be given.",
        "سرویس نتوانست استعلام را کامل کند؛ بنابراین پاسخی داده نمی‌شود.",
        retry_seconds=1,
        pushback=Pushback.FREE,
    ),
    # The time to retry depends on the outage, so each refusal carries its own.
    Reason.OUTAGE_ANNOUNCED: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.SERVICE,
        "The service is in an announced outage, so no answer can be given.",
        "سرویس در بازه‌ای که از پیش اعلام شده از دسترس خارج است؛ بنابراین پاسخی داده نمی‌شود.",
    ),
    Reason.PROVIDER_UNAVAILABLE: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.SERVICE,
        "The ministry's service cannot be reached, so no answer can be given.",
        "سرویس وزارت امور اقتصادی و دارایی در دسترس نیست؛ بنابراین پاسخی داده نمی‌شود.",
        retry_seconds=1,
    ),
    Reason.PROVIDER_UNPROVEN: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.SERVICE,
        "The ministry's reply does not carry a valid receipt, so no answer can be given.",
        "پاسخ وزارت امور اقتصادی و دارایی رسید معتبری ندارد؛ بنابراین پاسخی داده نمی‌شود.",
    ),
    Reason.PROVIDER_CONTRADICTS: ErrorSpec(
        code_pb2.UNAVAILABLE,
        Layer.SERVICE,
        "The ministry confirmed the note and returned other parties, so no answer can be given.",
        "وزارت امور اقتصادی و دارایی سفته را تأیید کرد و طرفین دیگری بازگرداند؛ بنابراین پاسخی داده نمی‌شود.",
    ),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A field or metadata key that violates a rule."""

    field: str
    rule: str
    description: str
    """What the rule demands, for programs: of a rule of the contract, its message there."""

    @classmethod
    def of(cls, field: str, rule: str) -> "Violation":
        """Return the violation by *field* of a rule that is not the contract's, but of `RULE_TEXTS` alone."""
        return cls(field, rule, RULE_TEXTS[rule].en)

    @property
    def text(self) -> RuleText:
        """What the rule demands, for people, in both languages."""
        return RULE_TEXTS.get(self.rule, UNKNOWN_RULE)


@dataclass(frozen=True, slots=True)
class QuotaState:
    """The state of a quota, as its caller sees it."""

    policy: str
    limit: int
    remaining: int
    reset_seconds: int
    retry_seconds: float = 0.0


class Refusal(Exception):  # noqa: N818 - the domain's word: a refusal is an outcome, not a fault
    """An inquiry is refused for one reason of the catalogue.

    Args:
        reason: The reason.
        violations: The fields or metadata keys that violate a rule.
        quota: The state of the quota, if the reason is its exhaustion.
        retry_seconds: Seconds after which a retry may help; without it, those of the quota or of the catalogue.
    """

    def __init__(
        self,
        reason: Reason,
        violations: Sequence[Violation] = (),
        *,
        quota: QuotaState | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.violations = tuple(violations)
        self.quota = quota
        self.retry_seconds = retry_seconds
        if retry_seconds is None:
            self.retry_seconds = quota.retry_seconds if quota else self.spec.retry_seconds

    @property
    def spec(self) -> ErrorSpec:
        """The catalogue's entry for the reason."""
        return ERROR_CATALOGUE[self.reason]

    def summary(self) -> str:
        """Return one line with the reason and its English text or, if there are violations, those in both languages."""
        found = "; ".join(f"{each.field} {each.description} / {each.text.fa}" for each in self.violations)
        return f"{self.reason}: {found or self.spec.en}"


def with_field(refusal: Refusal) -> Refusal:
    """Return *refusal* with the field that it is about, for faces on which people ask.

    Over gRPC AGENCY_NOT_MEMBER has no BadRequest: the request itself is well formed.
    """
    if refusal.reason is not Reason.AGENCY_NOT_MEMBER:
        return refusal
    return Refusal(refusal.reason, [Violation.of("executive_agency_id", "agency.member")])
