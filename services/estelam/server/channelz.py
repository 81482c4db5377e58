"""The connections of a gRPC server and their certificates, from channelz: the statistics that gRPC keeps of itself.

The functions are grpcio's private ones; `grpcio-channelz` stands on them too. Channelz numbers servers and connections
in ascending order. A connection appears once its handshake has ended, and is forgotten when it has been closed.
"""

import base64
import ipaddress
import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types


class Peer(NamedTuple):
    """The other end of a connection."""

    host: bytes
    port: int

    @classmethod
    def of(cls, host: str | bytes, port: int) -> "Peer":
        """Return the peer with the address *host*, as text or packed; an IPv4 address in IPv6 is that IPv4 address."""
        address = ipaddress.ip_address(host.partition("%")[0] if isinstance(host, str) else host)
        return cls((getattr(address, "ipv4_mapped", None) or address).packed, port)

    @classmethod
    def parse(cls, text: str) -> "Peer":
        """Return the peer of an address as gRPC writes it: ipv4:HOST:PORT or ipv6:[HOST]:PORT, percent-encoded."""
        host, _, port = unquote(text).partition(":")[2].rpartition(":")
        return cls.of(host.strip("[]"), int(port))


class ServerConnections:
    """The connections of the server that was created last in this process, with channelz enabled."""

    def __init__(self) -> None:
        servers = [0]
        while len(page := json.loads(cygrpc.channelz_get_servers(servers[-1] + 1)).get("server", ())):
            servers += [int(each["ref"]["serverId"]) for each in page]
        self._server = servers[-1]
        self._seen: set[int] = set()

    def take_new(self) -> dict[Peer, bytes]:
        """Return the certificates (PEM) of the connections that were not there the last time."""
        present = set(self._numbers())
        new, self._seen = present - self._seen, present
        return {peer: certificate for number in sorted(new) for peer, certificate in _certificate(number).items()}

    def _numbers(self) -> Iterator[int]:
        """Yield the numbers of all connections: one may appear after another that has a greater number."""
        first = 0
        while page := json.loads(cygrpc.channelz_get_server_sockets(self._server, first, 0)).get("socketRef", ()):
            yield from (int(reference["socketId"]) for reference in page)
            first = int(page[-1]["socketId"]) + 1


def _certificate(number: int) -> dict[Peer, bytes]:
    """Return the certificate of the connection with this number; nothing if it has been closed meanwhile."""
    try:
        found = json.loads(cygrpc.channelz_get_socket(number))["socket"]
        remote = found["remote"]["tcpipAddress"]
        certificate = base64.b64decode(found["security"]["tls"]["remoteCertificate"])
        return {Peer.of(base64.b64decode(remote["ipAddress"]), remote["port"]): certificate}
    except (KeyError, ValueError):
        return {}
