"""Bytes to and from the wire: codecs that leave them as they are, one whole message, trailers, the certificate."""

from collections.abc import Sequence
from typing import Any

from google.rpc.status_pb2 import Status as Words
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.metadata import encode_bin_value, encode_grpc_message
from grpclib.server import Stream

Trailers = Sequence[tuple[str, str]]
Call = Stream[bytes, bytes]


class Plain(CodecBase):
    """Messages as they come: what can't be decoded is to be declined in the table's words."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, _kind: object) -> bytes:
        """As it is."""
        return message

    def decode(self, data: bytes, _kind: object) -> bytes:
        """As it is."""
        return data


class PlainDetails(StatusDetailsCodecBase):
    """Status details as they come."""

    def encode(self, _status: object, _message: str | None, details: bytes) -> bytes:
        """As they are."""
        return details

    def decode(self, _status: object, _message: str | None, data: bytes) -> bytes:
        """As they are."""
        return data


async def receive(call: Call) -> bytes | None:
    """The one message that *call* sends; None where it is not one whole plain message."""
    try:
        message = await call.recv_message()
        more = await call._stream.recv_data(1)
    except (AssertionError, NotImplementedError):  # how grpclib says: cut short; compressed
        return None
    return None if more else message


async def reply(call: Call, message: bytes, trailers: Trailers) -> None:
    """End *call* well."""
    await call.send_message(message)
    await call.send_trailing_metadata(metadata=trailers)


async def decline(call: Call, words: Words, trailers: Trailers) -> None:
    """End *call* with *words*: grpclib itself would send no trailer of gRPC's own that it does not know."""
    headers: list[tuple[str, str]] = [
        (":status", "200"),
        ("content-type", "application/grpc+proto"),
        ("grpc-status", str(words.code)),
        ("grpc-message", encode_grpc_message(words.message)),
        ("grpc-status-details-bin", encode_bin_value(words.SerializeToString()).decode("ascii")),
        *trailers,
    ]
    await call._stream.send_headers(headers, end_stream=True)
    call._send_trailing_metadata_done = True


def certificate(call: Call) -> bytes | None:
    """The client certificate of *call*'s connection (DER), from TLS itself."""
    tls: Any = call.peer._transport.get_extra_info("ssl_object")
    shown: bytes | None = tls.getpeercert(binary_form=True)
    return shown
