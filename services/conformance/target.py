"""The target of a run: the addresses of its instances, and the fixtures that it was set up with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from conformance.case import Instance
from estelam.client.channel import ClientIdentity
from estelam.core.exceptions import UserFacingError, describe_error
from estelam.core.keys import key_fingerprint, verifying_keys
from estelam.core.model_files import read_text
from estelam.core.pem import KeyFileError, read_certificates
from estelam.receipts.receipt import Verifier

NO_CERTIFICATE = "no-certificate"
"""The caller that has no client certificate."""


class TargetError(UserFacingError):
    """The fixtures' folder can't be used; the text is for the user of the kit."""


class Manifest(BaseModel):
    """The fixtures' manifest: times and limits that the checks use."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    origin: AwareDatetime
    """Noon in Iran: where the target's clock starts."""
    as_of: AwareDatetime
    since: date
    max_staleness_seconds: int
    window_seconds: int


@dataclass(frozen=True)
class Target:
    """The instances to test and the fixtures' folders."""

    addresses: Mapping[Instance, str]
    pki: Path
    steering: Path | None = None
    ministry: str | None = None
    """Where the kit serves the ministry of `setad-deceived`."""

    @cached_property
    def manifest(self) -> Manifest:
        """The fixtures' manifest, in the PKI folder's parent.

        Raises:
            TargetError: it is missing or invalid.
        """
        path = self.pki.resolve().parent / "manifest.json"
        if not path.exists():
            raise TargetError(f"{path} can't be read: --pki is the folder `pki` of the fixtures")
        try:
            return Manifest.model_validate_json(read_text(path, TargetError))
        except ValidationError:
            raise TargetError(f"{path} is not a manifest of fixtures") from None

    @cached_property
    def verifiers(self) -> Mapping[str, Verifier]:
        """The receipt verifier of each service that issues receipts, and of the kit's ministry.

        Raises:
            TargetError: a certificate can't be used.
        """
        verifiers = {}
        services = ["promissory", "judiciary", *(["ministry"] if self.ministry else [])]
        for service in services:
            try:
                keys = verifying_keys([self.pki / f"{service}-receipts.crt"], self._retired_keys)
                verifiers[service] = Verifier(keys)
            except (OSError, KeyFileError) as error:
                raise TargetError(describe_error(error)) from None
        return verifiers

    @property
    def _retired_keys(self) -> Path | None:
        path = self.pki / "retired-keys.json"
        return path if path.exists() else None

    def has(self, caller: str) -> bool:
        """Return whether the PKI folder has *caller*'s certificate and key, if it has any."""
        return caller == NO_CERTIFICATE or all((self.pki / f"{caller}.{kind}").is_file() for kind in ("crt", "key"))

    def identity(self, caller: str) -> ClientIdentity:
        """Return the certificate, key and CA of *caller*."""
        return ClientIdentity.named(self.pki, caller)

    def credentials(self, caller: str) -> grpc.ChannelCredentials:
        """Return *caller*'s gRPC credentials; its certificate may be invalid on purpose."""
        if caller == NO_CERTIFICATE:
            return grpc.ssl_channel_credentials((self.pki / "ca.crt").read_bytes())
        identity = self.identity(caller)
        files = (identity.ca_certificates, identity.private_key, identity.certificate)
        return grpc.ssl_channel_credentials(*(path.read_bytes() for path in files))

    def organization(self, caller: str) -> str:
        """Return the legal id in *caller*'s certificate, or an empty string if it does not have exactly one."""
        if caller == NO_CERTIFICATE:
            return ""
        ids = self._certificate(caller).subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
        return str(ids[0].value) if len(ids) == 1 else ""

    def key(self, caller: str) -> str:
        """Return the SHA-256 of *caller*'s public key in hexadecimal, as deny lists have it."""
        return key_fingerprint(self._certificate(caller).public_key())

    def _certificate(self, caller: str) -> x509.Certificate:
        return read_certificates(self.pki / f"{caller}.crt")[0]

    def validate(self) -> None:
        """Check the fixtures' folders before the first call.

        Raises:
            TargetError: a folder or file is missing or invalid.
        """
        if not (self.pki / "ca.crt").is_file():
            raise TargetError(f"{self.pki} has no ca.crt: --pki is the folder `pki` of the fixtures")
        for name in ("setad", "cbi"):
            if not self.has(name):
                raise TargetError(
                    f"{self.pki} has no {name}.crt with its key: --pki is the folder `pki` of the fixtures"
                )
        if self.steering is not None and not self.steering.is_dir():
            raise TargetError(f"{self.steering} is not a folder: --steering is the folder `steering` of the fixtures")
        _ = self.manifest.origin, self.verifiers
