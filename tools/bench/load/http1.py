"""JSON over one keep-alive HTTP/1.1 connection."""

import ssl
from collections.abc import Iterator

from tools.bench.load.connection import Connection, Framed, ProtocolError
from tools.bench.load.plan import Plan, Tally

_END_OF_HEADERS = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "

# The beginning of a body whose first member is the answer.
_ANSWERS = {b'{"answer":"YES"': "YES", b'{"answer":"NO",': "NO"}
_BEGINNING = 15


class JsonConnection(Connection):
    """One HTTP/1.1 connection with one call at a time."""

    def __init__(self, plan: Plan, tls: ssl.SSLContext, tally: Tally, requests: Iterator[Framed]) -> None:
        if plan.concurrency.streams != 1:
            raise ProtocolError("HTTP/1.1 allows one call at a time per connection")
        super().__init__(plan, tls, tally, requests)
        self._since: float | None = None
        self._inbox = b""

    @staticmethod
    def framed(plan: Plan, request: bytes) -> Framed:
        """*request* in wire format; HTTP/1.1 has no stream numbers."""
        head = (
            f"POST {plan.requests.path} HTTP/1.1\r\nhost: {plan.host}:{plan.port}\r\n"
            f"content-type: application/json\r\nuser-agent: estelam-bench\r\ncontent-length: {len(request)}"
        )
        return head.encode("ascii") + _END_OF_HEADERS, request

    @property
    def in_flight(self) -> int:
        """The number of calls in flight: 0 or 1."""
        return self._since is not None

    def send(self, since: float) -> None:
        """Put the next call into the outbox; its latency counts from *since*."""
        self._since = since
        self._outbox += next(self._requests)

    def take(self, chunk: bytes, now: float) -> None:
        """Parse the reply once it is complete."""
        inbox = self._inbox = self._inbox + chunk
        head = inbox.find(_END_OF_HEADERS)
        if head < 0:
            return
        found = inbox.find(_LENGTH, 0, head)
        if found < 0:
            raise ProtocolError("a reply without a length")
        found += len(_LENGTH)
        body = head + len(_END_OF_HEADERS)
        if len(inbox) >= body + int(inbox[found : inbox.index(b"\r", found)]):
            self._inbox = b""
            self._end(inbox[9:12], inbox[body : body + _BEGINNING], now)

    def _end(self, status: bytes, beginning: bytes, now: float) -> None:
        since, self._since = self._since, None
        if since is None:
            raise ProtocolError("a reply without a request")
        if status == b"200" and (answer := _ANSWERS.get(beginning)):
            self._tally.answered(answer, now - since)
        else:
            self._tally.endings[f"status {status.decode('ascii')}"] += 1
        if self.refill:
            self.send(now)
