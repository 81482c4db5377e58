"""HPACK header blocks (RFC 7541): those of our requests, and grpc-status in replies."""

from hpack import Decoder, Encoder

Strings = list[tuple[str, str]]


def request_blocks(method: str, authority: str) -> tuple[bytes, bytes]:
    """The header blocks of a connection's first call and of all later ones.

    The first fills the server's dynamic table; later ones are constant references into it.
    """
    headers: Strings = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", f"/{method}"),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "10S"),
        ("user-agent", "estelam-bench"),
    ]
    encoder = Encoder()
    return encoder.encode(headers), encoder.encode(headers)


class StatusReader:
    """Finds grpc-status in the header blocks of one connection, all of which must be passed in order.

    Full decoding costs as much as the rest of a call. So a block that does not change the dynamic table is only
    scanned; any other goes to the real decoder.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        # Blocks of indexed fields only, valid until the table changes.
        self._known: dict[bytes, str] = {}

    def read(self, block: bytes) -> str:
        """The grpc-status in *block*, or "" if it has none."""
        if (known := self._known.get(block)) is not None:
            return known
        status = self._scan(block)
        if status is None:
            found = dict(self._decoder.decode(block, raw=True))
            status = found.get(b"grpc-status", b"").decode("ascii")
            self._known.clear()
        elif len(block) <= 8:
            self._known[block] = status
        return status

    def _scan(self, block: bytes) -> str | None:
        row = self._decoder.header_table.get_by_index
        position, status = 0, ""
        name: bytes | None
        value: bytes | None
        while position < len(block):
            byte = block[position]
            position += 1
            if 0x80 < byte < 0xFF:
                name, value = row(byte - 0x80)
            elif byte < 0x20 and byte & 0x0F < 0x0F:
                if byte & 0x0F:
                    name = row(byte & 0x0F)[0]
                else:
                    name, position = _plain(block, position)
                value, position = _plain(block, position)
                if name is None or value is None:
                    return None
            else:
                return None
            if name == b"grpc-status":
                status = value.decode("ascii")
        return status


def _plain(block: bytes, position: int) -> tuple[bytes | None, int]:
    """The string at *position* and its end; None if it is Huffman-coded or long."""
    end = position + 1 + block[position]
    return (block[position + 1 : end] if block[position] < 0x7F else None), end
