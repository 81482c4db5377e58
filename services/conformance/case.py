"""Schema of the test cases, which are YAML: one requirement each, the calls to make, and the expected results."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from conformance.profile import Profile
from estelam.core.errors import Reason


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Title(_Model):
    """One line of text in each language."""

    en: str = Field(min_length=1)
    fa: str = Field(min_length=1)


class Clause(Title):
    """The text of a clause."""

    profile: Profile = Profile.CORE
    """The profile of the checks under this clause that are made of every reply."""


class Instance(StrEnum):
    """What is tested: the services with the fixtures, and the same software in states that its operator sets up."""

    PROMISSORY = "promissory"
    JUDICIARY = "judiciary"
    SETAD = "setad"
    PROMISSORY_EMPTY = "promissory-empty"
    JUDICIARY_EMPTY = "judiciary-empty"
    PROMISSORY_DOWN = "promissory-down"
    JUDICIARY_DOWN = "judiciary-down"
    SETAD_DOWN = "setad-down"
    SETAD_UNPROVEN = "setad-unproven"
    SETAD_DECEIVED = "setad-deceived"

    @property
    def service(self) -> str:
        """The service of the instance: promissory, judiciary or setad."""
        return self.value.partition("-")[0]


class Stage(StrEnum):
    """When a step runs, by the target's clock, in chronological order."""

    START = "start"
    """At noon in Iran or later that day, when the run starts; all data is complete through noon."""
    BEFORE_MIDNIGHT = "before-midnight"
    """23:45 in Iran: the origin's day there, and the next one four hours east of UTC."""
    AFTER_MIDNIGHT = "after-midnight"
    """00:30 in Iran: a new day there, and not yet in UTC."""
    NEARLY_STALE = "nearly-stale"
    """23:59 hours after noon: the data is just under its maximum age of one day."""
    STALE_EDGE = "stale-edge"
    """24 hours after noon, to the second: the data reaches its maximum age of one day."""
    WINDOW_OPEN = "window-open"
    """23:59:30 hours after the first step of START: every YES given then still permits GetNoteParties."""
    WINDOW_EDGE = "window-edge"
    """24 hours after the YES of each case with a step here, to the second."""
    WINDOW_CLOSED = "window-closed"
    """24:00:30 hours after the last step of START: no YES given then permits anything, and the data is stale."""


class Message(_Model):
    """A request as raw bytes, which need not be a message of the contract."""

    hex: str = Field(pattern="^([0-9a-f]{2})*$")
    padding: int = Field(default=0, ge=0)
    """Number of zero bytes to append."""


class Lie(StrEnum):
    """What the kit's ministry does wrong in a call of the adapter's."""

    OTHER_SIGNER = "other-signer"
    """The receipt is signed with a key that the adapter does not trust."""
    OTHER_QUESTION = "other-question"
    """The receipt is of the same answer about another note."""
    OTHER_ANSWER = "other-answer"
    """The receipt is of the opposite answer."""
    OTHER_METHOD = "other-method"
    """The entry names the ministry's other method."""
    OTHER_COMMITMENT = "other-commitment"
    """The entry's commitment is not that of the receipt's request and reply."""
    NO_RECEIPT = "no-receipt"
    NO_ANSWER = "no-answer"
    """The answer is unspecified."""
    OTHER_OBLIGOR = "other-obligor"
    """The obligor is that of another note, with a valid receipt."""
    OTHER_BENEFICIARY = "other-beneficiary"
    """The beneficiary is that of another note, with a valid receipt."""
    SWAPPED_PARTIES = "swapped-parties"
    NOT_A_REPLY = "not-a-reply"
    """The reply is bytes that are no message."""
    QUOTA_EXHAUSTED = "quota-exhausted"
    LOST = "lost"
    """The call ends as UNAVAILABLE, without details."""
    SLOW = "slow"
    """The reply takes four seconds."""


Lies = Mapping[Literal["CheckNote", "GetNoteParties"], Lie]
"""What the kit's ministry does wrong, by method."""


class WireFault(StrEnum):
    """A call that a library would not make so: a fault in its framing, headers or connection, or no deadline."""

    TRUNCATED_FRAME = "truncated-frame"
    LENGTH_TOO_SMALL = "length-too-small"
    COMPRESSED_FLAG = "compressed-flag"
    NO_MESSAGE = "no-message"
    TWO_MESSAGES = "two-messages"
    METHOD_GET = "method-get"
    WRONG_CONTENT_TYPE = "wrong-content-type"
    NO_TE = "no-te"
    NO_TIMEOUT = "no-timeout"
    GIANT_HEADER = "giant-header"
    RESET_MIDWAY = "reset-midway"
    OVERSIZED_FRAME = "oversized-frame"
    GARBAGE_PREFACE = "garbage-preface"
    HTTP1 = "http1"
    NO_TLS = "no-tls"


class Expected(_Model):
    """The expected result. By default a reply must have a valid receipt, and a refusal the error catalogue's texts."""

    status: tuple[str, ...] = ("OK",)
    """Allowed gRPC statuses, or CLOSED (connection closed without a response) or HTTP (an HTTP error)."""
    reason: tuple[Reason, ...] = ()
    field: str | None = None
    """The one field, or metadata key, that the violations name."""
    answer: Literal["YES", "NO"] | None = None
    reply: Mapping[str, Any] = {}
    """Fields of the reply and their values, in protobuf's JSON mapping."""
    receipt: bool = True
    same_length: str | None = None
    """All replies of the case with the same label here must be equally long, apart from the Merkle path."""
    entries: int | None = None
    """How many entries of the ledger after that of the case's answer before its own must stand, or of concurrent calls
    the last one's; only for `alone`."""
    echoes: bool = False
    """Whether the trailers must have the caller's own x-inquiry-id."""
    quota: Mapping[Literal["limit", "remaining", "reset"], int] = {}
    """Values of the trailers `ratelimit-policy` (limit) and `ratelimit` (remaining, and reset: seconds until it is
    full, less those of the run)."""
    health: Literal["SERVING", "NOT_SERVING", "NOT_FOUND", "SERVICE_UNKNOWN"] | None = None
    counts: Mapping[str, int] = {}
    """Of concurrent calls: how many end with each status, answer or reason, or REFUSED (any but OK); each must also
    match the fields above."""


class Change(_Model):
    """A change of the target's data: the rows with one key are put, corrected or removed."""

    data: Literal["notes", "agencies", "cases"]
    key: str
    """The serial, agency id or case number of the rows."""
    like: str | None = None
    """The key of the fixtures' rows that the new ones are made from; default: the same."""
    set: Mapping[str, str] | None = None
    """The columns to correct, with their values; without it, the rows are removed."""


class Step(_Model):
    """One action: a call or a health check of one caller, a denied certificate, or a change of the data."""

    at: Stage = Stage.START
    caller: str | None = None
    """The client certificate by its name in the PKI folder, or `no-certificate`; default: the case's."""
    target: Instance | None = None
    call: str | None = None
    """A method of the target by its short name, or any method by its full name."""
    request: Mapping[str, Any] | None = None
    message: Message | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    after: float = Field(default=0, ge=0, le=10)
    """Seconds to wait before the step."""
    edge: float | None = Field(default=None, ge=-3, le=3)
    """Of a step at an edge: how many seconds after it to run the step; negative: before. What ends after the edge
    proves nothing about the time before."""
    timeout: float = Field(default=10, gt=0, le=30)
    times: int = Field(default=1, ge=1, le=256)
    """Number of concurrent calls."""
    fault: WireFault | None = None
    ministry: Lies | None = None
    """Of a step of `setad-deceived`: what the kit's ministry does wrong about the step's note, by method."""
    health: str | None = None
    """The service whose health is checked; "" for the whole server."""
    watch: bool = False
    """Whether to ask for the health by Watch, of which the first message counts, and not by Check."""
    deny: str | None = None
    """The certificate to put on the deny list; the steps after it may fail until five seconds later."""
    change: Change | None = None
    """The change to make in the target's data; the steps after it may fail until five seconds later."""
    same_connection: bool = True
    """Whether to reuse the caller's connection of earlier steps."""
    expect: Expected = Expected()

    @model_validator(mode="after")
    def _one_action(self) -> "Step":
        if sum(action is not None for action in (self.call, self.health, self.deny, self.change)) != 1:
            raise ValueError("a step has exactly one of call, health, deny and change")
        if self.call is not None and (self.request is None) == (self.message is None):
            raise ValueError("a call has exactly one of request and message")
        if (self.edge is not None) != (self.at in {Stage.STALE_EDGE, Stage.WINDOW_EDGE}):
            raise ValueError("a step has an edge at the stages of edges, and only there")
        if self.watch and self.health is None:
            raise ValueError("only health can be watched")
        return self


class Case(_Model):
    """One requirement and the steps that test it."""

    id: str = Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")
    clause: str
    """The id of a clause of the resolutions (R2.1) or of a guarantee in the README (P1), as in `clauses.yaml`."""
    profile: Profile
    title: Title
    caller: str = "setad"
    target: Instance
    alone: bool = False
    """Whether to run it while no other case runs, because others would change its state, for example a quota."""
    varies: str = ""
    """What may differ between conforming implementations, in English."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @property
    def needs_steering(self) -> bool:
        """Whether the kit must set the target's clock, deny list or data during the case."""
        return any(
            step.at is not Stage.START or step.deny is not None or step.change is not None for step in self.steps
        )

    @property
    def changes_data(self) -> bool:
        """Whether the target's data must change during the case."""
        return any(step.change is not None for step in self.steps)
