"""What is examined: addresses, and the folder of fixtures that it was set up with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from conformance.case import Instance
from estelam.client.channel import ClientIdentity
from estelam.core.exceptions import UserFacingError
from estelam.core.keys import KeyFileError, verifying_keys
from estelam.receipts.receipt import Verifier


class TargetError(UserFacingError):
    """The fixtures' folder can't be used; the text is for whoever runs the kit."""


class Manifest(BaseModel):
    """The facts of the fixtures that everything is judged by."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    origin: AwareDatetime
    """Noon in Iran: where the target's clock begins."""
    as_of: AwareDatetime
    since: date
    max_staleness_seconds: int
    window_seconds: int


@dataclass(frozen=True)
class Target:
    """The instances under examination, and what the fixtures gave them."""

    addresses: Mapping[Instance, str]
    pki: Path
    steering: Path | None = None

    @cached_property
    def manifest(self) -> Manifest:
        """The fixtures' manifest, which lies beside the PKI folder.

        Raises:
            TargetError: there is none, or it is not one.
        """
        path = self.pki.resolve().parent / "manifest.json"
        try:
            return Manifest.model_validate_json(path.read_text("utf-8"))
        except OSError:
            raise TargetError(f"{path} can't be read: --pki is the folder `pki` of the fixtures") from None
        except (ValidationError, UnicodeDecodeError):
            raise TargetError(f"{path} is no manifest of fixtures") from None

    @cached_property
    def verifiers(self) -> Mapping[str, Verifier]:
        """What checks the receipts of each service that gives them.

        Raises:
            TargetError: a certificate can't be used.
        """
        found = {}
        for service in ("promissory", "judiciary"):
            try:
                found[service] = Verifier(verifying_keys([self.pki / f"{service}-receipts.crt"]))
            except (OSError, KeyFileError):
                raise TargetError(f"{service}-receipts.crt is no certificate of an Ed25519 key") from None
        return found

    def has(self, caller: str) -> bool:
        """Whether the fixtures hold *caller*'s certificate and key."""
        return all((self.pki / f"{caller}.{kind}").is_file() for kind in ("crt", "key"))

    def identity(self, caller: str) -> ClientIdentity:
        """The certificate, key and authority that *caller* asks with."""
        return ClientIdentity.named(self.pki, caller)

    def credentials(self, caller: str) -> grpc.ChannelCredentials:
        """*caller*'s certificate as gRPC takes it, whatever is wrong with it."""
        identity = self.identity(caller)
        files = (identity.ca_certificates, identity.private_key, identity.certificate)
        return grpc.ssl_channel_credentials(*(path.read_bytes() for path in files))

    def organization(self, caller: str) -> str:
        """The legal id that *caller*'s certificate names, or nothing where it does not name exactly one."""
        named = self._certificate(caller).subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
        return str(named[0].value) if len(named) == 1 else ""

    def fingerprint(self, caller: str) -> str:
        """SHA-256 of *caller*'s certificate, hexadecimal: what a deny-list bars."""
        return self._certificate(caller).fingerprint(SHA256()).hex()

    def _certificate(self, caller: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.pki / f"{caller}.crt").read_bytes())

    def require(self) -> None:
        """See that the fixtures' folder is one, before anything is asked.

        Raises:
            TargetError: it is not.
        """
        if not (self.pki / "ca.crt").is_file():
            raise TargetError(f"{self.pki} holds no ca.crt: --pki is the folder `pki` of the fixtures")
        for name in ("setad", "cbi"):
            if not self.has(name):
                raise TargetError(
                    f"{self.pki} holds no {name}.crt with its key: --pki is the folder `pki` of the fixtures"
                )
        if self.steering is not None and not self.steering.is_dir():
            raise TargetError(f"{self.steering} is no folder: --steering is the folder `steering` of the fixtures")
        _ = self.manifest.origin, self.verifiers
