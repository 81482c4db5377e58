"""A case: one promise, who asks what in which steps, and what must be seen. Cases are data; this is their schema."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from estelam.core.errors import Reason


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Title(_Words):
    """What a case is about, in one line of each language."""

    en: str = Field(min_length=1)
    fa: str = Field(min_length=1)


class Instance(StrEnum):
    """What is examined: services on the fixtures, and the same software in a state that only its keeper can make."""

    PROMISSORY = "promissory"
    JUDICIARY = "judiciary"
    SETAD = "setad"
    PROMISSORY_EMPTY = "promissory-empty"
    JUDICIARY_EMPTY = "judiciary-empty"
    PROMISSORY_DOWN = "promissory-down"
    JUDICIARY_DOWN = "judiciary-down"
    SETAD_DOWN = "setad-down"
    SETAD_UNPROVEN = "setad-unproven"

    @property
    def service(self) -> str:
        """The service that it is an instance of: promissory, judiciary or setad."""
        return self.value.partition("-")[0]


class Stage(StrEnum):
    """When a step is taken, by the target's own clock, in the order of time."""

    START = "start"
    """At noon in Iran, or whenever later that day the run begins; all data is complete through noon."""
    AFTER_MIDNIGHT = "after-midnight"
    """Half past midnight in Iran: a new day there, and not yet in Greenwich."""
    NEARLY_STALE = "nearly-stale"
    """23:59 hours after noon: the data may be a day old, and is not yet."""
    WINDOW_OPEN = "window-open"
    """23:59:30 hours after the first step at the start: every yes of then still opens method two."""
    WINDOW_CLOSED = "window-closed"
    """24:00:30 hours after the last step at the start: no yes of then opens anything, and the data is stale."""


class Message(_Words):
    """A request's bytes as they are, and not what the contract would make of any message."""

    hex: str = Field(pattern="^([0-9a-f]{2})*$")
    padding: int = Field(default=0, ge=0)
    """So many bytes more, each 0."""


class Trick(StrEnum):
    """What is done to a call below gRPC."""

    TRUNCATED_FRAME = "truncated-frame"
    LONGER_THAN_SAID = "longer-than-said"
    COMPRESSED_FLAG = "compressed-flag"
    NO_MESSAGE = "no-message"
    TWO_MESSAGES = "two-messages"
    METHOD_GET = "method-get"
    WRONG_CONTENT_TYPE = "wrong-content-type"
    NO_TE = "no-te"
    GIANT_HEADER = "giant-header"
    RESET_MIDWAY = "reset-midway"
    OVERSIZED_FRAME = "oversized-frame"
    GARBAGE_PREFACE = "garbage-preface"
    HTTP1 = "http1"
    NO_TLS = "no-tls"


class Expected(_Words):
    """What must be seen. Unless told otherwise, a receipt proves the reply, and a refusal bears its table's words."""

    status: tuple[str, ...] = ("OK",)
    """It must be one of these gRPC statuses, or CLOSED (nothing was said) or HTTP (another protocol's no)."""
    reason: tuple[Reason, ...] = ()
    field: str | None = None
    """The one field, or metadata key, that is complained about."""
    answer: Literal["YES", "NO"] | None = None
    reply: Mapping[str, Any] = {}
    """Fields of the reply and their values, in protobuf's JSON."""
    receipt: bool = True
    same_length: str | None = None
    """All replies that bear the same word here are equally long, the Merkle path left aside."""
    echoes: bool = False
    """The caller's own x-inquiry-id comes back."""
    quota: Mapping[Literal["limit", "remaining"], int] = {}
    """What the trailer `ratelimit` says."""
    health: Literal["SERVING", "NOT_SERVING", "NOT_FOUND"] | None = None
    counts: Mapping[str, int] = {}
    """Of calls made at once: how many ended with each status or answer; for the rest, each must be as said above."""


class Step(_Words):
    """One thing done at one time, by one caller."""

    at: Stage = Stage.START
    caller: str | None = None
    """The certificate shown, by its name in the PKI folder; the case's own where it is left out."""
    target: Instance | None = None
    call: str | None = None
    """A method of the target by its short name, or any full name."""
    request: Mapping[str, Any] | None = None
    message: Message | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    after: float = Field(default=0, ge=0, le=10)
    """So many seconds are let pass first."""
    timeout: float = Field(default=10, gt=0, le=30)
    times: int = Field(default=1, ge=1, le=256)
    """How many of these are under way at once."""
    trick: Trick | None = None
    health: str | None = None
    """The service whose health is asked for; "" for the whole server."""
    bar: str | None = None
    """The certificate that is put on the deny-list, and given five seconds to be known."""
    same_connection: bool = True
    """Whether the caller's connection of the steps before is used."""
    expect: Expected = Expected()

    @model_validator(mode="after")
    def _one_thing(self) -> "Step":
        if sum(thing is not None for thing in (self.call, self.health, self.bar)) != 1:
            raise ValueError("a step is one call, one look at health or one barred certificate")
        if self.call is not None and (self.request is None) == (self.message is None):
            raise ValueError("a call has a request or a message")
        return self


class Case(_Words):
    """One promise and how it is put to the proof."""

    id: str = Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")
    clause: str
    """A clause of the resolutions (R2.1) or a promise of the README (P1), as `clauses.yaml` has it."""
    title: Title
    caller: str = "setad"
    target: Instance
    alone: bool = False
    """It counts on what others would change, a quota for instance, and runs when no other does."""
    varies: str = ""
    """What may differ between implementations that are all right, in English."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
