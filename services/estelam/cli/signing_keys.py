"""The keys that the commands verify signatures with: of the files that were named, or else of the settings."""

from collections.abc import Sequence
from pathlib import Path

from estelam.cli import output
from estelam.core.exceptions import UsageError
from estelam.core.keys import RetirementList, VerifyingKey, verifying_keys
from estelam.core.pem import KeyFileError
from estelam.core.settings import ClientSettings, load_settings


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
        raise UsageError(str(error)) from None
    return None


def service_keys(service: str, retired_keys: Path | None) -> dict[str, VerifyingKey]:
    """Return the keys that verify the receipts of *service* by the settings, with the list *retired_keys* if named.

    Raises:
        KeyFileError, SettingsError: a file can't be used.
        OSError: a file can't be read.
    """
    settings = load_settings(ClientSettings)
    return verifying_keys([settings.pki / f"{service}-receipts.crt"], retired_keys or settings.retired_keys)
