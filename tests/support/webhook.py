"""A receiver of webhooks that fails at first."""

import base64
import contextlib
import hashlib
import hmac
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

SECRET = bytes(range(24))


class Message(NamedTuple):
    """A notification as it was received, and the status that it was answered with."""

    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def is_signed(self) -> bool:
        """Whether its signature is that of SECRET."""
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" == self.headers["webhook-signature"]


@contextlib.contextmanager
def receiving() -> Iterator[tuple[str, list[Message]]]:
    """The address of a receiver that answers 503 at first and 204 then, and what it received."""
    received: list[Message] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(Message({k.lower(): v for k, v in self.headers.items()}, body, 204 if received else 503))
            self.send_response(received[-1].status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/changed", received
        server.shutdown()


def write_secret(path: Path) -> Path:
    """Write SECRET to *path*, as settings name it."""
    path.write_text(f"whsec_{base64.b64encode(SECRET).decode()}\n", "ascii")
    return path
