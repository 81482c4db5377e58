"""The keys that the commands verify signatures with: of the files that were named, or else of the settings."""

from collections.abc import Sequence
from pathlib import Path

from estelam.cli import output
from estelam.core.exceptions import UsageError
from estelam.core.keys import RetirementList, VerifyingKey, verifying_keys
from estelam.core.note_keys import KeyKind, NoteKey, read_keys
from estelam.core.pem import KeyFileError
from estelam.core.settings import ClientSettings, SettingsError, load_settings
from estelam.receipts.problems import Verdict


def named_keys(certificates: Sequence[Path] | None, retired_keys: Path | None) -> dict[str, VerifyingKey] | None:
    """Return the keys of *certificates*, or None if none are named; the list *retired_keys* is checked in any case.

    Raises:
        UsageError: a file can't be used.
    """
    for path in [*(certificates or ()), *([retired_keys] if retired_keys else ())]:
        output.check_readable(path)
    try:
        if certificates:
            return verifying_keys(certificates, retired_keys)
        if retired_keys:
            RetirementList.load(retired_keys)
    except KeyFileError as error:
        raise UsageError(f"{Verdict.MALFORMED}: {error}") from None
    return None


def receipts_certificate(settings: ClientSettings, service: str) -> Path:
    """Return where *settings* look for the certificate that verifies the receipts of *service*."""
    return settings.pki / f"{service}-receipts.crt"


def service_keys(service: str, retired_keys: Path | None) -> dict[str, VerifyingKey]:
    """Return the keys that verify the receipts of *service* by the settings, with the list *retired_keys* if named.

    Raises:
        KeyFileError, SettingsError: a file can't be used, or there is no certificate.
        OSError: a file can't be read.
    """
    advice = f"give --certificate FILE, the signing certificate that the provider of {service} publishes"
    try:
        settings = load_settings(ClientSettings)
    except SettingsError as error:
        raise SettingsError(f"{advice}: {error}") from None
    certificate = receipts_certificate(settings, service)
    if not certificate.exists():
        raise KeyFileError(f"{advice}: there is none at {certificate}, where the settings look for it")
    return verifying_keys([certificate], retired_keys or settings.retired_keys)


def named_witnesses(files: Sequence[Path], needed: int) -> list[NoteKey]:
    """Return the keys of witnesses in *files*, of which *needed* must have cosigned.

    Raises:
        UsageError: a file can't be used, a key or a name is given twice (one witness would count as two), or fewer are
            given than needed.
    """
    found: list[NoteKey] = []
    for path in files:
        output.check_readable(path)
        try:
            found += read_keys(path, KeyKind.COSIGNATURE)
        except KeyFileError as error:
            raise UsageError(str(error)) from None
    for place, key in enumerate(found):
        if any(key.name == other.name or key.public == other.public for other in found[:place]):
            raise UsageError(f"--witness-key: the key or the name of the witness {key.name} is given twice")
    if needed > len(found):
        given = output.counted(len(found), "witness", "witnesses")
        raise UsageError(f"--witnesses {needed}: --witness-key names only {given}")
    return found
