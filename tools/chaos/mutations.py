"""Mutations of valid calls: of the message, the gRPC frame, the headers, and the HTTP/2 frames."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from hpack import Encoder

from conformance.raw_http2 import grpc_message
from tools.chaos import raw_http2
from tools.chaos.raw_http2 import frame

Headers = list[tuple[bytes, bytes]]
NUMBERS = (0, 1, 5, 127, 128, 255, 16384, 65535, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def tag(number: int, kind: int) -> bytes:
    """The tag of a protobuf field."""
    return bytes([number << 3 | kind])


def text(number: int, value: bytes) -> bytes:
    """A length-delimited field of up to 16 KiB."""
    size = len(value)
    return tag(number, 2) + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + value


class Draft(NamedTuple):
    """A valid request, a position in it, and some bytes."""

    good: bytes
    at: int
    some: bytes


MESSAGES: Mapping[str, Callable[[Draft], bytes]] = {
    "a byte changed": lambda d: d.good[: d.at] + d.some[:1] + d.good[d.at + 1 :],
    "bytes put in": lambda d: d.good[: d.at] + d.some + d.good[d.at :],
    "cut short": lambda d: d.good[: d.at],
    "cut out": lambda d: d.good[: d.at] + d.good[d.at + len(d.some) :],
    "repeated": lambda d: d.good + d.good[d.at :],
    "an unknown field": lambda d: d.good + text(15, d.some),
    "an unknown number": lambda d: tag(14, 0) + bytes([d.at & 127]) + d.good,
    "a first field of any bytes": lambda d: d.good + text(1, d.some),
    "a second field of any bytes": lambda d: d.good + text(2, d.some),
    "a text that is no UTF-8": lambda d: d.good + text(1, d.some + b"\xff"),
    "a number for a text": lambda d: d.good + tag(1, 0) + bytes([d.at & 127]),
    "a text for a number": lambda d: d.good + text(4, d.some),
    "a number below nothing": lambda d: d.good + tag(4, 0) + b"\xff" * 9 + b"\x01",
    "a length beyond the end": lambda d: d.good + tag(1, 2) + b"\xff\xff\xff\xff\x07" + d.some,
    "groups in groups": lambda d: d.good + tag(15, 3) * (d.at + 1) * 40,
    "Persian digits": lambda d: d.good + text(1, "۱۲۳۴۵۶۷۸۹۰".encode()),
}
"""Mutations of a message."""


def message(random: Random, good: bytes) -> bytes:
    """*good* with one or a few mutations; sometimes random bytes."""
    if random.random() < 0.05:
        return random.randbytes(random.choice((0, 1, 40, 300, 4096, 4097)))
    mutated = good
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        form = random.choice(list(MESSAGES.values()))
        mutated = form(Draft(mutated, random.randint(0, len(mutated)), random.randbytes(random.randint(0, 40))))
    return mutated[:16000]


class FramedRequest(NamedTuple):
    """The data of one call; `first` is the message in it that a server may answer, if any."""

    data: bytes
    first: bytes | None


FRAMES: Mapping[str, Callable[[Draft], FramedRequest]] = {
    "cut short": lambda d: FramedRequest(grpc_message(d.good)[: d.at], None),
    "a wrong length": lambda d: FramedRequest(grpc_message(d.good, length=d.at), d.good[: d.at]),
    "a length beyond the end": lambda d: FramedRequest(grpc_message(d.good, length=len(d.good) + 1 + d.at), None),
    "a huge length": lambda d: FramedRequest(grpc_message(d.good, length=2**32 - 1 - d.at), None),
    "marked as compressed": lambda d: FramedRequest(grpc_message(d.good, compressed=1 + 2 * (d.at % 128)), None),
    "a second message": lambda d: FramedRequest(grpc_message(d.good) + grpc_message(d.some), d.good),
    "more behind it": lambda d: FramedRequest(grpc_message(d.good) + d.some, d.good),
    "nothing before it": lambda d: FramedRequest(grpc_message(b"") + grpc_message(d.good), b""),
    "any bytes": lambda d: FramedRequest(d.some * 3, None),
}
"""Mutations of the gRPC frame around a message."""


def framed(random: Random, good: bytes) -> FramedRequest:
    """*good* in a mutated gRPC frame."""
    form = random.choice(list(FRAMES.values()))
    return form(Draft(good, random.randrange(len(good)), random.randbytes(random.randint(0, 40))))


VALUES = (
    *(b"", b"0", b"-1", b"1n", b"0S", b"99999999999H", b"gzip", b"identity", b"\xff\xfe", b"a\0b", b"!!!"),
    b"application/grpc",
)
NAMES = (
    *(b"x-inquiry-id", b"x-operator", b"x-other", b"X-Upper", b"", b":odd", b"a b", b"\xff"),
    *(b"grpc-trace-bin", b"grpc-encoding", b"grpc-status", b"grpc-timeout", b"te", b"host", b"cookie"),
)


def headers(random: Random, good: Headers) -> Headers:
    """*good* headers with one or a few mutations."""
    mutated = list(good)
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(mutated))
        way = random.randrange(5)
        if way == 0:
            del mutated[at]
        elif way == 1:
            mutated[at] = (mutated[at][0], _value(random))
        elif way == 2:
            mutated.insert(random.randint(0, len(mutated)), (random.choice(NAMES), _value(random)))
        elif way == 3:
            mutated.append(mutated[at])
        else:
            random.shuffle(mutated)
        if not mutated:
            break
    return mutated


def _value(random: Random) -> bytes:
    if random.random() < 0.5:
        return random.choice(VALUES)
    return random.randbytes(random.choice((1, 3, 64, 65, 2000)))


def frames(random: Random, good: Sequence[bytes]) -> list[bytes]:
    """HTTP/2 frames, most of them invalid; *good*, the frames of a valid call, may be among them."""
    sent = [_frame(random) for _ in range(random.randint(1, 8))]
    if random.random() < 0.5:
        sent[random.randint(0, len(sent)) : 0] = good
    if random.random() < 0.3:
        at = random.randrange(len(sent))
        sent[at] = sent[at][: random.randint(0, len(sent[at]))]
    return sent


def _frame(random: Random) -> bytes:
    kind = random.choice((*range(10), random.randrange(256)))
    stream = random.choice((0, 1, 1, 3, 2, 5, 99, 2**31 - 1, 2**32 - 1))
    flags = random.choice(
        (
            0,
            raw_http2.END_STREAM,
            raw_http2.END_HEADERS,
            5,
            raw_http2.PADDED,
            raw_http2.PRIORITISED,
            random.randrange(256),
        )
    )
    form = PAYLOADS[kind] if kind in PAYLOADS and random.random() < 0.7 else _any_bytes
    length = random.choice(NUMBERS[:8]) if random.random() < 0.1 else None
    return frame(kind, flags, stream, form(random), length)


def _any_bytes(random: Random) -> bytes:
    return random.randbytes(random.choice((0, 1, 4, 5, 8, 40, 1000)))


def _settings(random: Random) -> bytes:
    numbers = [random.choice((*range(8), 65535)) for _ in range(random.randrange(5))]
    return b"".join(number.to_bytes(2) + random.choice(NUMBERS).to_bytes(4) for number in numbers)


def _number(random: Random) -> bytes:
    return random.choice(NUMBERS).to_bytes(4)


def _block(random: Random) -> bytes:
    fields = [(random.choice(NAMES), _value(random)) for _ in range(random.randrange(4))]
    return Encoder().encode(fields) + random.randbytes(random.choice((0, 0, 3)))


PAYLOADS: Mapping[int, Callable[[Random], bytes]] = {
    raw_http2.SETTINGS: _settings,
    raw_http2.WINDOW_UPDATE: _number,
    raw_http2.RST_STREAM: _number,
    raw_http2.PRIORITY: lambda random: _number(random) + random.randbytes(1),
    raw_http2.PING: lambda random: random.randbytes(8),
    raw_http2.HEADERS: _block,
    raw_http2.CONTINUATION: _block,
}
"""A valid payload for each frame type."""
