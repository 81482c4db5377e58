"""The keys that the commands verify a service's receipts with."""

from pathlib import Path

from estelam.core.keys import VerifyingKey, verifying_keys
from estelam.core.settings import ClientSettings, load_settings


def service_keys(service: str, certificates: list[Path] | None, retired_keys: Path | None) -> dict[str, VerifyingKey]:
    """Return the keys that verify the receipts of *service*.

    Raises:
        KeyFileError, SettingsError: a file can't be used.
        OSError: a file can't be read.
    """
    if certificates:
        return verifying_keys(certificates, retired_keys)
    settings = load_settings(ClientSettings)
    return verifying_keys([settings.pki / f"{service}-receipts.crt"], retired_keys or settings.retired_keys)
