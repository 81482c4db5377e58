"""The keys that verify the ministry's receipts, read again when their files change."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from estelam.core.clock import Clock
from estelam.core.exceptions import problem
from estelam.core.keys import VerifyingKey, verifying_keys
from estelam.core.reload import FileReloader

log = structlog.get_logger()


class ProviderKeys(Mapping[str, VerifyingKey]):
    """The keys of *certificates* by key id, without those on the list *retired_keys*; a change applies within a second.

    Raises:
        KeyFileError: a file can't be used.
        OSError: a file can't be read.
    """

    def __init__(self, certificates: Sequence[Path], retired_keys: Path | None, clock: Clock) -> None:
        files = (*certificates, *([retired_keys] if retired_keys else []))
        self._reloader = FileReloader(
            lambda: files,
            lambda: verifying_keys(certificates, retired_keys),
            failed=_log_unreadable,
            interval_seconds=1.0,
            monotonic=clock.monotonic,
        )
        self._reloader.refresh()

    def __getitem__(self, key_id: str) -> VerifyingKey:
        return self._current()[key_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())

    def _current(self) -> Mapping[str, VerifyingKey]:
        self._reloader.refresh()
        return self._reloader.value


def _log_unreadable(error: Exception) -> None:
    log.error("provider_keys.unreadable", error=type(error).__name__, problem=problem(error))
