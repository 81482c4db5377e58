"""Client channels: mutual TLS, no proxy of the environment, and retries where they are safe.

Every channel of this repository is made here. gRPC would send the calls through the proxy that grpc_proxy,
https_proxy or http_proxy names: an unrelated setting of the host would decide whether inquiries are answered.

Inquiries are idempotent, so UNAVAILABLE and the CANCELLED of a server that shuts down are retried. So is
RESOURCE_EXHAUSTED, but not before the time that the server requires.
"""

import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc
from cryptography.x509.oid import NameOID

from estelam.core.pem import KeyFileError, KeyPair, read_key_pair, read_trust
from estelam.core.tls import client_context

_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """The certificate, the key and the trusted authorities of a caller, as PEM files."""

    certificate: Path
    private_key: Path
    ca_certificates: Path

    @classmethod
    def named(cls, folder: Path, name: str) -> "ClientIdentity":
        """Return the identity *name* in a folder of the development CA: NAME.crt, NAME.key, ca.crt."""
        return cls(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC credentials from these files.

        Raises:
            KeyFileError: a file can't be used. gRPC would only report each call as UNAVAILABLE.
            OSError: a file can't be read.
        """
        pair, trust = self.read()
        return grpc.ssl_channel_credentials(trust, pair.private_key_pem, pair.chain_pem)

    def read(self) -> tuple[KeyPair, bytes]:
        """Return the certificate with its key, and the authorities (PEM).

        Raises:
            KeyFileError: a file can't be used.
            OSError: a file can't be read.
        """
        return read_key_pair(self.certificate, self.private_key), read_trust(self.ca_certificates)

    def organization_id(self) -> str:
        """Return the legal id of the organisation that the certificate names, as services read it.

        Raises:
            KeyFileError: it does not name exactly one, or a file can't be used.
            OSError: a file can't be read.
        """
        subject = self.read()[0].certificate.subject
        named = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)]
        if len(named) != 1:
            raise KeyFileError(f"{self.certificate}: must have one organizationIdentifier, it has {len(named)}")
        return named[0]

    def ssl_context(self, *, alpn: Sequence[str] = ("h2",)) -> ssl.SSLContext:
        """Return a TLS context with these files for a connection that gRPC does not open.

        Raises:
            KeyFileError: a file can't be used.
            OSError: a file can't be read or used.
        """
        return client_context(self.certificate, self.private_key, self.ca_certificates, alpn=alpn)


class TransportProblem(NamedTuple):
    """Constant texts, in English and Persian, for a call that failed without a refusal by a service of estelam."""

    en: str
    fa: str


_UNRESOLVED = TransportProblem("UNAVAILABLE: the address can't be resolved", "نشانی سرویس یافت نشد")
_HANDSHAKE = TransportProblem(
    "UNAVAILABLE: the TLS handshake failed; one side does not accept the other's certificate",
    "اتصال TLS برقرار نشد؛ یکی از دو طرف گواهی طرف دیگر را نمی‌پذیرد",
)
_UNREACHABLE = TransportProblem(
    "UNAVAILABLE: the server can't be reached, or does not accept this certificate",
    "سرویس در دسترس نیست یا این گواهی را نمی‌پذیرد",
)


def describe_transport_error(error: grpc.RpcError) -> TransportProblem:
    """Return what to say of a call that failed without a refusal by a service of estelam."""
    code = error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else grpc.StatusCode.UNKNOWN
    details = (error.details() or "") if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else ""
    if code is not grpc.StatusCode.UNAVAILABLE:
        return TransportProblem(f"{code.name}: no answer", f"پاسخی دریافت نشد ({code.name})")
    if "resolving" in details:
        return _UNRESOLVED
    return _HANDSHAKE if "handshake" in details else _UNREACHABLE


Options = Sequence[tuple[str, str | int]]

_NO_PROXY: Options = (("grpc.enable_http_proxy", 0),)


def _options() -> list[tuple[str, str | int]]:
    return [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", 65536),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # gRPC also takes it as the time that a connection may take: a handshake under load, or across a country, needs
        # more than the pauses between attempts.
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.keepalive_time_ms", 60_000),
    ]


def direct_channel(address: str, credentials: grpc.ChannelCredentials, options: Options = ()) -> grpc.Channel:
    """Return a blocking channel to *address* (host:port) with no options of gRPC but *options*, as tests need it."""
    return grpc.secure_channel(address, credentials, options=[*options, *_NO_PROXY])  # noqa: TID251


def channel(address: str, identity: ClientIdentity) -> grpc.Channel:
    """Return a blocking channel to *address* (host:port)."""
    return direct_channel(address, identity.credentials(), _options())


def aio_channel(address: str, identity: ClientIdentity) -> grpc.aio.Channel:
    """Return an asyncio channel to *address* (host:port)."""
    return _aio_channel(address, identity, _options())


def aio_connections(address: str, identity: ClientIdentity, count: int) -> list[grpc.aio.Channel]:
    """Return *count* asyncio channels to *address*, each with its own connection and without retries by gRPC."""
    own = {"grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0}
    shared = [option for option in _options() if option[0] not in {*own, "grpc.service_config"}]
    return [_aio_channel(address, identity, [*shared, *own.items()]) for _ in range(count)]


def _aio_channel(address: str, identity: ClientIdentity, options: Options) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(address, identity.credentials(), options=[*options, *_NO_PROXY])  # noqa: TID251
