"""Lists of changed answers, as the commands ask a service for them: each is verified before it is used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import grpc

from estelam.cli.inquire import call
from estelam.cli.inquiry_options import Options
from estelam.client.channel import ClientIdentity
from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.contract import find_method
from estelam.inquiry.v1 import answer_change_pb2 as pb
from estelam.receipts.own_call import OwnCall
from estelam.receipts.receipt import Verifier

METHOD = f"{pb.DESCRIPTOR.services_by_name['AnswerChangeService'].full_name}/ListChangedAnswers"


@dataclass(frozen=True)
class ChangeSource:
    """A service that tells its caller of changed answers."""

    opened: grpc.Channel
    identity: ClientIdentity
    options: Options
    verifier: Verifier
    clock: Clock = field(default_factory=Clock)

    def page(self, cursor: str) -> Any:
        """Return the reply with the changes after *cursor*.

        Raises:
            grpc.RpcError: there is none.
            InvalidReceipt: it is not proven.
        """
        own = OwnCall(self.identity.organization_id(), self.clock.micros())
        request = pb.ListChangedAnswersRequest(cursor=cursor)
        reply = call(self.opened, find_method(METHOD), request, self.options, own)
        proven = self.verifier.verify(METHOD, request, reply)
        own.check(proven.entry, self.clock.micros(), CLOCK_TOLERANCE)
        return reply

    def pages(self, cursor: str) -> Iterator[Any]:
        """Yield the replies with the changes after *cursor*, up to the one after which no further change is known.

        Raises:
            grpc.RpcError, InvalidReceipt: as `page`.
        """
        while True:
            reply = self.page(cursor)
            yield reply
            if reply.complete:
                return
            cursor = reply.cursor


def described(change: pb.ChangedAnswer) -> Mapping[str, Any]:
    """Return what the commands print of *change*."""
    return {
        "inquiry_id": change.inquiry_id,
        "then": state(change.then),
        "now": state(change.now),
        "cause": pb.ChangeCause.Name(change.cause).removeprefix("CHANGE_CAUSE_"),
        "load": change.load,
        "as_of": change.as_of.ToDatetime(UTC),
    }


def state(value: "pb.AnswerState.ValueType") -> str:
    """Return the word of an answer's state."""
    return pb.AnswerState.Name(value).removeprefix("ANSWER_STATE_")
