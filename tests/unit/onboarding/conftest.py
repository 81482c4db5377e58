"""Fixtures of the onboarding tests: an editable catalogue, requests for certificates, and the command line."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from development.files import CATALOGUE
from development.sandbox import Sandbox
from tests.e2e.conftest import LIVE, CommandLine, CommandResult

BANK = "99000079195"
"""An invented legal id with valid check digits, which the catalogue lacks."""
LETTER = ("--reference", "letter 12")


def signing_request(
    organizations: Sequence[str] = (BANK,),
    *,
    key: Any = None,
    extension: x509.ExtensionType | None = None,
) -> tuple[Any, bytes]:
    """A key, and the request (PEM) for a certificate of *organizations* for it."""
    key = key or generate_private_key(SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "sample-bank")]
    subject += [x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, each) for each in organizations]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return key, builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A catalogue, a consumer's key and request, and the commands on them."""

    sandbox: Sandbox
    folder: Path
    estelam: CommandLine

    @property
    def catalogue(self) -> Path:
        return self.folder / "catalogue"

    @property
    def dossier(self) -> Path:
        return self.folder / "onboarding" / "sample-bank"

    @property
    def key(self) -> Path:
        return self.folder / "client.key"

    def text(self, file: str = "grants.yaml") -> str:
        return (self.catalogue / file).read_text("utf-8")

    def request(self, *more: str, **changed: str) -> CommandResult:
        """Write the request of sample-bank; *changed* replaces options."""
        given = {
            "consumer": "sample-bank",
            "legal-id": BANK,
            "csr": str(self.folder / "client.csr"),
            "method": "CheckNote",
            "purpose": "notes that secure loans",
            "rate": "5",
            "burst": "10",
            "fa": "بانک نمونه",
            "en": "Sample bank",
            "catalogue": str(self.catalogue),
        } | changed
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        return self.estelam("onboarding", "request", self.dossier, *words, *more)

    def step(self, name: str, *words: str | Path) -> CommandResult:
        """Run a step on the dossier."""
        if name in {"stage", "check", "activate"}:
            words = (*words, "--catalogue", self.catalogue)
        return self.estelam("onboarding", name, self.dossier, *words)

    @property
    def leaving(self) -> Path:
        return self.folder / "offboarding" / "sample-bank"

    def leave(self, name: str, *words: str | Path, consumer: str = "sample-bank") -> CommandResult:
        """Run a step of the offboarding."""
        named = ("--consumer", consumer) if name == "request" else ()
        return self.estelam("offboarding", name, self.leaving, *named, *words, "--catalogue", self.catalogue)

    def approve(self) -> None:
        """Record both approvals."""
        for each in ("provider", "secretariat"):
            assert 0 == self.step("approve", "--by", each, *LETTER).code

    def until(self, last: str) -> None:
        """Take the steps that need no running service, up to *last*."""
        assert 0 == self.request().code
        self.approve()
        for name, words in (("issue", ("--ca", self.sandbox.pki)), ("stage", ())):
            done = self.step(name, *words)
            assert 0 == done.code, done.err
            if name == last:
                return

    def call(self, address: str) -> tuple[str | Path, ...]:
        """The options of a check that calls the service at *address*."""
        question = self.folder / "question.json"
        asked = {
            "serial": LIVE["serial"],
            "obligorId": LIVE["obligor"],
            "beneficiaryId": LIVE["beneficiary"],
            "amountRials": LIVE["amount"],
        }
        question.write_text(json.dumps(asked), "utf-8")
        return "--key", self.key, "--question", question, "--address", address


@pytest.fixture
def exchange(loaded: Sandbox, tmp_path: Path) -> Exchange:
    """An exchange with a copy of the committed catalogue, and a consumer that has made a key."""
    shutil.copytree(CATALOGUE, tmp_path / "catalogue")
    key, csr = signing_request()
    (tmp_path / "client.csr").write_bytes(csr)
    found = Exchange(loaded, tmp_path, CommandLine(loaded))
    found.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return found
