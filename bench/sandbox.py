"""A world to measure in: certificates, keys, grants without a limit, and a store full of notes."""

import csv
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from estelam import loading, pki
from estelam.client import Identity
from estelam.clock import Clock
from estelam.keys import new_keyring_line
from estelam.loading import Declaration
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.store import Mode, Store, migrate
from promissory.load import FIRST_DATE, NOTES
from promissory.servicer import CHECK_NOTE
from promissory.settings import PromissorySettings

HOST = "127.0.0.1"

_ORGANIZATION = "10100000004"
_AMOUNT_RIALS = 5_000_000_000
_GRANT = """\
[[grant]]
caller = "{caller}"
method = "{method}"
clause = "none: a measurement"
since = 2020-01-01
quota = {{ rate = 1e7, burst = 100000000 }}
"""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a server and its callers need."""

    settings: PromissorySettings
    metrics_port: int
    caller: Identity
    requests: list[bytes]
    """Serialized CheckNoteRequests: by turns of a note that exists as asked, and of one that does not."""


def build(folder: Path, *, notes: int, questions: int = 2000) -> Sandbox:
    """Make a sandbox in *folder* with so many *notes* on record."""
    authority = pki.Authority.create(folder / "pki")
    authority.issue("server", [_ORGANIZATION], hosts=[HOST])
    authority.issue("caller", [_ORGANIZATION])
    authority.issue_signing("signing", _ORGANIZATION)
    keyring = folder / "subjects.keys"
    keyring.write_text(new_keyring_line("k1"), "ascii")
    access = folder / "access.toml"
    access.write_text(_GRANT.format(caller=_ORGANIZATION, method=CHECK_NOTE.name), "utf-8")
    metrics_port = _free_port()
    settings = PromissorySettings(
        listen=f"{HOST}:0",
        metrics_listen=f"{HOST}:{metrics_port}",
        certificate=folder / "pki/server.crt",
        private_key=folder / "pki/server.key",
        trust=folder / "pki/ca.crt",
        access=access,
        store=f"sqlite:///{folder / 'store'}",
        signing_key=folder / "pki/signing.key",
        signing_certificates=(folder / "pki/signing.crt",),
        subject_keys=keyring,
        log_level="error",
    )
    migrate(settings.store, settings.MIGRATIONS)
    _load(settings.store, folder, notes)
    asked = range(0, notes, max(1, 2 * notes // questions))
    pairs = ((_request(number), _request(notes + number)) for number in asked)
    requests = list(chain.from_iterable(pairs))
    return Sandbox(settings, metrics_port, Identity.named(folder / "pki", "caller"), requests)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _load(url: str, folder: Path, notes: int) -> None:
    path = folder / "notes.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, NOTES.columns)
        writer.writeheader()
        writer.writerows(_rows(notes))
    store = Store(url, facts=Mode.WRITE)
    try:
        loaded = loading.load(
            store,
            NOTES,
            path,
            declaration=Declaration(through=datetime.now(UTC)),
            first_date=FIRST_DATE,
            rejects=folder / "rejects.csv",
            clock=Clock(),
            progress=lambda _bytes: None,
        )
    finally:
        store.close()
    assert (notes, 0) == (loaded.rows, loaded.rejected), "the generated notes keep every rule"


def _rows(notes: int) -> Iterator[dict[str, object]]:
    for number in range(notes):
        obligor, holder = _parties(number)
        yield {
            "serial": _serial(number),
            "state": "ISSUED",
            "obligor_id": obligor,
            "obligor_name": "متعهد نمونه",
            "obligor_address": "تهران، خیابان نمونه",
            "obligor_postal_code": "1111111111",
            "beneficiary_id": holder,
            "holder_id": holder,
            "holder_name": "ذینفع نمونه",
            "holder_address": "تهران، خیابان نمونه",
            "holder_postal_code": "1111111111",
            "amount_rials": _AMOUNT_RIALS,
            "remaining_rials": _AMOUNT_RIALS,
            "issued_on": "2025-03-21",
            "due_on": "",
            "payment_place": "تهران",
        }


def _request(number: int) -> bytes:
    obligor, holder = _parties(number)
    request = pb.CheckNoteRequest(
        serial=_serial(number), obligor_id=obligor, beneficiary_id=holder, amount_rials=_AMOUNT_RIALS
    )
    return request.SerializeToString()


def _serial(number: int) -> str:
    # Spread over the whole range, as the Treasury's ids are, so that neighbours in time are none in the index.
    return f"{number * 7_919_000_033_337 % 10**16:016d}"


def _parties(number: int) -> tuple[str, str]:
    return _national_number(100_000_000 + number), _national_number(900_000_000 - number)


def _national_number(nine_digits: int) -> str:
    digits = f"{nine_digits:09d}"
    remainder = sum(int(digit) * (10 - place) for place, digit in enumerate(digits)) % 11
    return f"{digits}{remainder if remainder < 2 else 11 - remainder}"
