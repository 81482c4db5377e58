"""The caller's side: a channel with a certificate, retries where a retry is safe, and a deadline on every call.

Inquiries are idempotent, so UNAVAILABLE, and the CANCELLED with which a stopping server ends its calls, are tried
again; so is RESOURCE_EXHAUSTED, when the server has said and not before.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import grpc

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
class Identity:
    """The certificate, key and trusted authorities of a caller, as PEM files."""

    certificate: Path
    private_key: Path
    trust: Path

    @classmethod
    def named(cls, folder: Path, name: str) -> "Identity":
        """The identity *name* of a folder that `estelam pki` keeps."""
        return cls(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")

    def credentials(self) -> grpc.ChannelCredentials:
        """These files as gRPC's credentials."""
        return grpc.ssl_channel_credentials(
            self.trust.read_bytes(), self.private_key.read_bytes(), self.certificate.read_bytes()
        )


def _options() -> list[tuple[str, str | int]]:
    return [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", 65536),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.keepalive_time_ms", 60_000),
    ]


def channel(address: str, identity: Identity) -> grpc.Channel:
    """A blocking channel to *address* (host:port)."""
    return grpc.secure_channel(address, identity.credentials(), options=_options())


def aio_channel(address: str, identity: Identity) -> grpc.aio.Channel:
    """A channel to *address* for asyncio."""
    return grpc.aio.secure_channel(address, identity.credentials(), options=_options())


def aio_connections(address: str, identity: Identity, count: int) -> list[grpc.aio.Channel]:
    """Channels to *address* for asyncio, each a connection of its own, for one who tries again by other rules."""
    own = {"grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0}
    kept = [option for option in _options() if option[0] not in {*own, "grpc.service_config"}]
    options = [*kept, *own.items()]
    return [grpc.aio.secure_channel(address, identity.credentials(), options=options) for _ in range(count)]
