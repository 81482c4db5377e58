"""Domain model shared by all packages: values without behaviour that can fail."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from google.protobuf.message import Message
from uuid_utils import UUID

from estelam.core.errors import Refusal
from estelam.core.subjects import SubjectKind


@dataclass(frozen=True, slots=True)
class Caller:
    """The organisation that makes a call, as its certificate names it."""

    organization_id: str
    """The 11-digit legal id (OID 2.5.4.97)."""


class Subject(NamedTuple):
    """An identifier that an inquiry is about; its kind tells a serial from a tracking id of the same digits."""

    kind: str
    value: str


def person_subject(person_id: str) -> Subject:
    """Return the subject of a person, natural or legal, in any role; the subject report searches for it."""
    return Subject(SubjectKind.PERSON, person_id)


def no_agency(_request: Any) -> str:
    """Return the agency of a request that names none: an empty string."""
    return ""


def no_persons(_reply: Any) -> tuple[Subject, ...]:
    """Return the persons whom a reply discloses that discloses none: an empty tuple."""
    return ()


@dataclass(frozen=True)
class Method:
    """One mandated method: its full name, and what the ledger needs of its request and reply."""

    name: str
    """package.Service/Method"""
    request: type[Message]
    subjects: Callable[[Any], tuple[Subject, ...]]
    """Returns the subjects of a request."""
    agency: Callable[[Any], str] = no_agency
    """Returns the executive agency that a request names."""
    disclosed: Callable[[Any], tuple[Subject, ...]] = no_persons
    """Returns the persons whom a reply names and its request does not."""

    @cached_property
    def service(self) -> str:
        """The service's full name, package.Service."""
        return self.name.partition("/")[0]

    @cached_property
    def short_name(self) -> str:
        """The method's name without its service, as quotas and metrics show it."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Purpose:
    """The purpose of an inquiry: optional metadata, recorded only as keyed hashes."""

    correlation: str = ""
    case_reference: str = ""
    operator: str = ""
    echo: str = ""
    """The correlation id as the caller encoded it, which the reply returns."""


NO_PURPOSE = Purpose()
"""The purpose of an inquiry that states none."""
PURPOSE_KEYS = {"x-inquiry-id": "correlation", "x-case-reference": "case_reference", "x-operator": "operator"}
"""The metadata keys that state an inquiry's purpose, each with its attribute of `Purpose`."""


class Outcome(StrEnum):
    """What a completed look-up found."""

    YES = "YES"
    NO = "NO"
    DISCLOSED = "DISCLOSED"
    LISTED = "LISTED"


class NegativeAnswerPermit:
    """Permission to answer NO, or to list nothing.

    Only `storage.coverage` creates it, after checking that the data covers the question.
    """

    __slots__ = ()


class LookupResult(NamedTuple):
    """A completed look-up: the outcome and the reply, still without its receipt."""

    outcome: Outcome
    reply: Message

    @classmethod
    def yes(cls, reply: Message) -> "LookupResult":
        """A fact was found."""
        return cls(Outcome.YES, reply)

    @classmethod
    def no(cls, reply: Message, _earned: NegativeAnswerPermit) -> "LookupResult":
        """Nothing was found, and the data is known to cover the question."""
        return cls(Outcome.NO, reply)

    @classmethod
    def disclosed(cls, reply: Message) -> "LookupResult":
        """Items of information were disclosed."""
        return cls(Outcome.DISCLOSED, reply)

    @classmethod
    def listed(cls, reply: Message, _earned: NegativeAnswerPermit) -> "LookupResult":
        """The caller's changed answers were listed, all that the data shows, which is known to cover them."""
        return cls(Outcome.LISTED, reply)


@dataclass(slots=True)
class Inquiry:
    """One inquiry and its state in the request pipeline."""

    id: UUID
    """A UUID of version 7."""
    method: Method
    caller: Caller
    received_at: float
    """Monotonic time in seconds."""
    purpose: Purpose = NO_PURPOSE
    nonce: bytes = b""
    """The hash of the nonce that the caller sent; empty without one."""
    is_probe: bool = False
    """Whether a monitor's probe made it; known only where the inquiry is forwarded."""
    request: Any = None
    """The validated request; None before step 3."""
    refusal: Refusal | None = None
    """Set if the inquiry is already refused and only needs to be recorded."""
    traceparent: str = ""
    """The trace context to pass on to other services; empty without one. It is not recorded."""


class Answer(NamedTuple):
    """A serialized reply that carries its receipt, ready to send."""

    outcome: Outcome
    reply: bytes
