"""Raw bytes over grpclib: identity codecs, one message, trailers, the client certificate."""

from collections.abc import Sequence
from typing import Any

from google.rpc.status_pb2 import Status as StatusProto
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.metadata import encode_bin_value, encode_grpc_message
from grpclib.server import Stream

Trailers = Sequence[tuple[str, str]]
Call = Stream[bytes, bytes]


class Plain(CodecBase):
    """Codec that leaves messages as bytes, so that undecodable ones can be refused with the right details."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, _kind: object) -> bytes:
        """Return *message* unchanged."""
        return message

    def decode(self, data: bytes, _kind: object) -> bytes:
        """Return *data* unchanged."""
        return data


class PlainDetails(StatusDetailsCodecBase):
    """Codec that leaves status details as bytes."""

    def encode(self, _status: object, _message: str | None, details: bytes) -> bytes:
        """Return *details* unchanged."""
        return details

    def decode(self, _status: object, _message: str | None, data: bytes) -> bytes:
        """Return *data* unchanged."""
        return data


async def receive(call: Call) -> bytes | None:
    """Return the one message of *call*; None unless it is exactly one complete, uncompressed message."""
    try:
        message = await call.recv_message()
        more = await call._stream.recv_data(1)
    except (AssertionError, NotImplementedError):  # grpclib: truncated; compressed
        return None
    return None if more else message


async def reply(call: Call, message: bytes, trailers: Trailers) -> None:
    """Send the reply and end *call*."""
    await call.send_message(message)
    await call.send_trailing_metadata(metadata=trailers)


async def refuse(call: Call, status: StatusProto, trailers: Trailers) -> None:
    """End *call* with *status*; grpclib itself would drop gRPC trailers that it does not know."""
    headers: list[tuple[str, str]] = [
        (":status", "200"),
        ("content-type", "application/grpc+proto"),
        ("grpc-status", str(status.code)),
        ("grpc-message", encode_grpc_message(status.message)),
        ("grpc-status-details-bin", encode_bin_value(status.SerializeToString()).decode("ascii")),
        *trailers,
    ]
    await call._stream.send_headers(headers, end_stream=True)
    call._send_trailing_metadata_done = True


def certificate(call: Call) -> bytes | None:
    """Return the client certificate (DER) of *call*'s TLS connection."""
    tls: Any = call.peer._transport.get_extra_info("ssl_object")
    certificate_der: bytes | None = tls.getpeercert(binary_form=True)
    return certificate_der
