"""`estelam receipt refresh`: the provider's command that puts receipts under cosigned checkpoints."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from estelam.cli import output
from estelam.cli.commands.ledger import describe_loss
from estelam.cli.stores import settings_of
from estelam.cli.verdicts import exit_not_valid
from estelam.core.exceptions import UserFacingError
from estelam.core.files import open_atomic
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import cosignatures
from estelam.ledger.archives import Archives
from estelam.ledger.errors import LedgerCorruptError, LostStateError
from estelam.receipts import receipt
from estelam.receipts.archive import ReceiptRecord, encode, read_archive
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.storage.store import Store


def refresh(file: Path, out: Path, witnesses: int, *, archive: Path | None, force: bool, as_json: bool) -> None:
    """Write each reply of *file* to *out*, its receipt under the first checkpoint that enough witnesses cosigned."""
    count, ledgers = 0, _Ledgers(witnesses, archive)
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        output.check_readable(file)
        output.check_writable(out, "--out", force=force)
        try:
            with open_atomic(out, durable=True) as written, contextlib.closing(ledgers):
                for item in output.track(read_archive(file), "replies refreshed", as_json=as_json):
                    ledgers.refresh(item)
                    written.write(encode(item))
                    count += 1
        except InvalidReceipt as error:
            exit_not_valid(error, f"{file}, reply {count + 1}", as_json=as_json)
        except LedgerCorruptError as error:
            output.exit_error(f"INVALID: the ledger: {file}, reply {count + 1}: {error}", as_json=as_json)
    output.print_record({"replies": count, "file": str(out)}, as_json=as_json)


class _Ledgers:
    """The ledgers of the services whose replies a file holds."""

    def __init__(self, witnesses: int, archive: Path | None) -> None:
        self._witnesses = witnesses
        self._archive = archive
        self._archived: dict[str, tuple[int, Archives]] = {}
        """The open files of each area's archived entries, and the index from which on they are open."""
        self._open = contextlib.ExitStack()
        self._by_area: dict[str, tuple[receipt.Verifier, Store]] = {}

    def refresh(self, item: ReceiptRecord) -> None:
        """Put the receipt of *item* under the first checkpoint of its ledger that enough witnesses cosigned.

        Raises:
            InvalidReceipt: it is not valid before or after.
            LedgerCorruptError: the ledger lacks the entry.
            StoreError: the entry is archived, and its file not given.
            UserFacingError: no such checkpoint is there, its key was not valid at the time of the answer, or an
                acknowledged restore lost the entry.
        """
        area = item.method.split(".")[1]
        if area not in self._by_area:
            settings = settings_of(area)
            keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
            self._by_area[area] = receipt.Verifier(keys), Store(settings.store)
        verifier, store = self._by_area[area]
        found: pb.Receipt = item.reply.receipt  # type: ignore[attr-defined]
        verifier.verify_receipt(found)
        with store.transaction() as connection:
            archived = self._archives(connection, area, found.index)
            try:
                renewed = cosignatures.cosigned_receipt(connection, found, needed=self._witnesses, archived=archived)
            except LostStateError as error:
                if hint := describe_loss(connection, area, error.size):
                    raise UserFacingError(
                        f"{error}. {hint}. Keep this receipt as it is: it proves the answer without witnesses. Refresh "
                        "the others of the file without its line"
                    ) from None
                raise
        by = output.counted(self._witnesses, "witness", "witnesses")
        if renewed is None and len(settings_of(area).witnesses) < self._witnesses:
            raise UserFacingError(
                f"no checkpoint of {area} that contains entry {found.index} is cosigned by {by}, and its settings name "
                f"fewer that would; add them as [[{area}.witnesses]]"
            )
        if renewed is None:
            raise UserFacingError(
                f"no checkpoint of {area} that contains entry {found.index} is cosigned by {by} yet; try again later"
            )
        try:
            verifier.verify_receipt(renewed)
        except InvalidReceipt as error:
            if error.problem is not ReceiptProblem.OUTSIDE_CERTIFICATES:
                raise
            raise UserFacingError(
                f"the signing key of {area} was replaced between entry {found.index} and the first checkpoint after it "
                f"that is cosigned by {by}, and the new key has no certificate that was valid at the time of the "
                "answer. Keep this receipt as it is: it proves the answer without witnesses. Refresh the others of the "
                "file without its line"
            ) from None
        found.CopyFrom(renewed)

    def _archives(self, connection: Connection, area: str, index: int) -> Sequence[Connection]:
        if area not in self._archived or index < self._archived[area][0]:
            opened = self._open.enter_context(Archives(connection, area, self._archive, index))
            self._archived[area] = index, opened
        return self._archived[area][1].connections

    def close(self) -> None:
        """Close the stores and the files of archived entries."""
        self._open.close()
        for _, store in self._by_area.values():
            store.close()
