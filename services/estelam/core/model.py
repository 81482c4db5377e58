"""The words that the house speaks: values only, no behaviour that can fail."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from google.protobuf.message import Message
from uuid_utils import UUID

from estelam.core.errors import Refusal


@dataclass(frozen=True, slots=True)
class Caller:
    """An asking organisation, as its certificate names it."""

    organization_id: str
    """The 11-digit legal id (OID 2.5.4.97)."""
    certificate: str
    """SHA-256 of the certificate, hexadecimal: what a deny-list bars."""


class Subject(NamedTuple):
    """One identifier asked about; its kind keeps a serial from ever matching a tracking id of the same digits."""

    kind: str
    value: str


def person_subject(person_id: str) -> Subject:
    """A person of any kind, whatever part they have in the question: what "who asked about me" looks for."""
    return Subject("person", person_id)


def no_agency(_request: Any) -> str:
    """The agency of a method whose request names none."""
    return ""


@dataclass(frozen=True)
class Method:
    """One mandated method: its wire name and what the ledger needs to know of its request."""

    name: str
    """package.Service/Method"""
    request: type[Message]
    subjects: Callable[[Any], tuple[Subject, ...]]
    agency: Callable[[Any], str] = no_agency

    @cached_property
    def service(self) -> str:
        """The service's name on the wire, package.Service."""
        return self.name.partition("/")[0]

    @cached_property
    def short_name(self) -> str:
        """The method's name alone, as quotas and metrics show it."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Purpose:
    """Who and what an inquiry is for: optional metadata, recorded only as keyed hashes."""

    correlation: str = ""
    case_reference: str = ""
    operator: str = ""


PURPOSE_KEYS = {"x-inquiry-id": "correlation", "x-case-reference": "case_reference", "x-operator": "operator"}
"""The metadata keys that state an inquiry's purpose, each with its attribute of `Purpose`."""


class Outcome(StrEnum):
    """What a completed look-up found."""

    YES = "YES"
    NO = "NO"
    DISCLOSED = "DISCLOSED"


class NegativeAnswerPermit:
    """Permission to answer NO. Only `storage.coverage` creates it, after checking that the data covers the question."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LookupResult:
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
        """Information items were given."""
        return cls(Outcome.DISCLOSED, reply)


@dataclass(slots=True)
class Inquiry:
    """One inquiry on its way through the house."""

    id: UUID
    """Of version 7."""
    method: Method
    caller: Caller
    received_at: float
    """Monotonic seconds."""
    purpose: Purpose = field(default_factory=Purpose)
    request: Any = None
    """The well-formed request; None until step 3 is passed."""
    refusal: Refusal | None = None
    """Set where the house has already declined, and only the record is still owed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What may be spoken: a reply that carries its receipt."""

    outcome: Outcome
    reply: bytes
