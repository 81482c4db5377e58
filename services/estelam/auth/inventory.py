"""The certificates and revocation lists that a section of the settings names, and what is wrong with each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import BaseModel

from estelam.auth.revocation import read_lists
from estelam.core.clock import to_micros
from estelam.core.exceptions import UserFacingError, describe_error, named_error
from estelam.core.key_types import key_type
from estelam.core.keys import SigningKey, key_fingerprint, verifying_keys
from estelam.core.pem import KeyFileError, name_text, read_certificates, read_crls, read_key_pair, read_private_key
from estelam.core.settings import ClientSettings, ServingSettings, SettingsSection


class Use(NamedTuple):
    """What the certificates of a setting are for, and the setting of their key."""

    name: str
    key: str | None = None


LIST = "revocation list"
USES: Mapping[str, Use] = {
    "certificate": Use("tls", "private_key"),
    "client_certificate": Use("client", "client_key"),
    "ca_certificates": Use("authority"),
    "signing_certificates": Use("signing", "signing_key"),
    "provider_certificates": Use("verifying"),
    "ledger_certificates": Use("verifying"),
    "revocation_lists": Use(LIST),
}
"""The uses by the names of the settings, in every section."""
_PROBING = Use("client", "private_key")
"""The use of `certificate` where nothing is served with it: of an identity that probes call with."""

_SIGNED = "-receipts", "-reports"
"""How the names of signing certificates in the client's folder end."""


@dataclass(frozen=True, slots=True)
class Item:
    """One certificate or revocation list of a file; only *file* is known of a file that can't be used."""

    use: str
    file: Path
    subject: str | None = None
    """Of a revocation list, None."""
    issuer: str | None = None
    organizations: tuple[str, ...] = ()
    """The values of organizationIdentifier in the subject."""
    key: str | None = None
    """The kind of key."""
    key_sha256: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    serial: str | None = None
    """The serial number, hexadecimal."""
    sha256: str | None = None
    problem: str | None = None
    """Why it can't be used now, or not much longer."""


def inventory(settings: SettingsSection, now: datetime, days: int) -> Iterator[Item]:
    """Yield what *settings* name; what is invalid *now* or within *days* has a problem."""
    until = now + timedelta(days=days)
    if isinstance(settings, ClientSettings):
        yield from _client_folder(settings, now, until)
    yield from _items(settings, settings, now, until)


def file_inventory(file: Path, now: datetime, days: int) -> Iterator[Item]:
    """Yield the certificates or revocation lists of *file*, with what is wrong with their dates or *file*."""
    try:
        with named_error(KeyFileError, f"{file}: is damaged, or of an unknown kind"):
            is_list = b"X509 CRL" in file.read_bytes()
            found = list(_lists(LIST, file) if is_list else _certificates("file", file))
    except (OSError, UserFacingError) as error:
        found = [Item("file", file, problem=describe_error(error))]
    yield from (_dated(item, now, now + timedelta(days=days)) for item in found)


def _items(section: SettingsSection, model: BaseModel, now: datetime, until: datetime) -> Iterator[Item]:
    for name, value in model:
        if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for row in value:
                yield from _items(section, row, now, until)
        elif (use := USES.get(name)) and value:
            if name == "certificate" and not isinstance(model, ServingSettings):
                use = _PROBING
            key = getattr(model, use.key) if use.key else None
            for files in _groups(value):
                yield from _inspect(use.name, files, partial(_check, use.name, files, key, section), now, until, key)


def _groups(value: Path | tuple[Path, ...] | dict[str, Path]) -> list[tuple[Path, ...]]:
    """Return the files that a setting names; those that are used together stand together."""
    if isinstance(value, dict):
        return [(file,) for file in value.values()]
    return [value if isinstance(value, tuple) else (value,)]


def _client_folder(settings: ClientSettings, now: datetime, until: datetime) -> Iterator[Item]:
    for file in sorted(settings.pki.glob("*.crt")):
        key = file.with_suffix(".key")
        use = "authority" if file.stem == "ca" else "verifying" if file.stem.endswith(_SIGNED) else "client"
        if use == "client" and _is_of_server(file):
            use = "tls"
        if use in {"authority", "verifying"} or key.exists():
            yield from _inspect(use, (file,), partial(_check, use, (file,), key, settings), now, until)


def _is_of_server(file: Path) -> bool:
    try:
        usages = read_certificates(file)[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (OSError, UserFacingError, ValueError, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usages


def _inspect(
    use: str,
    files: tuple[Path, ...],
    check: Callable[[datetime], object],
    now: datetime,
    until: datetime,
    key: Path | None = None,
) -> list[Item]:
    """Return the items of *files*; what is wrong with a file is its problem.

    What is wrong by *check* with all is the problem of the first certificate of the signing *key*, if there is one,
    else of the first.
    """
    found: list[Item] = []
    for file in files:
        try:
            with named_error(KeyFileError, f"{file}: is damaged, or of an unknown kind"):
                found += _lists(use, file) if use == LIST else _certificates(use, file)
        except (OSError, UserFacingError) as error:
            found.append(Item(use, file, problem=describe_error(error)))
    if not any(item.problem for item in found):
        try:
            check(now)
            check(until)
        except (OSError, UserFacingError) as error:
            own = _signing_key_sha256(key)
            place = next((number for number, item in enumerate(found) if own and item.key_sha256 == own), 0)
            found[place] = replace(found[place], problem=describe_error(error))
    # Certificates that signed in the past stay for ever.
    return found if use in {"signing", "verifying"} else [_dated(item, now, until) for item in found]


def _signing_key_sha256(key: Path | None) -> str | None:
    """Return the fingerprint of the signing key in the file *key*; None if it holds none, or can't be read."""
    if key is None:
        return None
    try:
        private = read_private_key(key)
    except (OSError, UserFacingError):
        return None
    return key_fingerprint(private.public_key()) if isinstance(private, Ed25519PrivateKey) else None


def _check(use: str, files: tuple[Path, ...], key: Path | None, section: SettingsSection, at: datetime) -> None:
    """Raise what a process would that uses *files* for *use*, when the clock shows *at*."""
    micros = to_micros(at)
    match use, section:
        case "tls" | "client", _ if key is not None:
            read_key_pair(files[0], key)
        case "signing", _ if key is not None:
            SigningKey.load(key, files, getattr(section, "retired_keys", None)).check_validity(micros)
        case "verifying", _:
            name = "retired_keys" if isinstance(section, ClientSettings) else "provider_retired_keys"
            problems = [key.invalidity(micros) for key in verifying_keys(files, getattr(section, name, None)).values()]
            if all(problems):
                raise KeyFileError(f"{files[0]}: verifies no answer of today: {problems[-1]}")
        case _, ServingSettings() if use == LIST:
            read_lists(files, read_certificates(section.ca_certificates))


def _certificates(use: str, file: Path) -> Iterator[Item]:
    for certificate in read_certificates(file):
        names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
        yield Item(
            use,
            file,
            name_text(certificate.subject),
            name_text(certificate.issuer),
            tuple(str(name.value) for name in names),
            key_type(certificate),
            key_fingerprint(certificate.public_key()),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            f"{certificate.serial_number:x}",
            certificate.fingerprint(SHA256()).hex(),
        )


def _lists(use: str, file: Path) -> Iterator[Item]:
    for crl in read_crls(file):
        yield Item(
            use,
            file,
            issuer=name_text(crl.issuer),
            valid_from=crl.last_update_utc,
            valid_until=crl.next_update_utc,
            sha256=crl.fingerprint(SHA256()).hex(),
        )


def _dated(item: Item, now: datetime, until: datetime) -> Item:
    if item.problem or item.valid_from is None or item.valid_until is None:
        return item
    if item.valid_until < now:
        return replace(item, problem="has expired")
    if item.valid_from > now:
        return replace(item, problem="is not valid yet")
    # A list is renewed every day or week.
    if item.valid_until < until and item.use != LIST:
        return replace(item, problem=f"expires in {(item.valid_until - now).days} days")
    return item
