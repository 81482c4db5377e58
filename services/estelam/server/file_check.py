"""Checks the files that settings name, before a service that runs shuts down to start again with them."""

from estelam.auth.authentication import Authenticator
from estelam.catalogue.access_source import AccessSource
from estelam.client.webhooks import Receiver
from estelam.core.clock import Clock
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.server.grpc_server import ReloadingCredentials


def check_serving_files(settings: ServingSettings) -> None:
    """Check that every service can start with the access table, certificates and lists that *settings* name.

    Raises:
        KeyFileError, AccessConfigError: a file can't be used.
        OSError: a file can't be read.
    """
    AccessSource.of(settings, keeps=False).load()
    Authenticator(settings, is_denied=lambda _certificate: False, clock=Clock())
    ReloadingCredentials(settings)


def check_store_files(settings: StoreSettings) -> None:
    """Check that a service with a ledger can start with the files that *settings* name, and can sign.

    Raises:
        KeyFileError, AccessConfigError: a file can't be used, or the signing key is expired or retired.
        OSError: a file can't be read.
    """
    check_serving_files(settings)
    HmacKeyring.load(settings.hmac_keyring)
    for webhook in settings.change_webhooks:
        Receiver.of(webhook)
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates, settings.retired_keys)
    signer.check_validity(Clock().micros())
