"""Reloaded files and atomic writes."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from estelam.core.files import open_atomic, sync_folder, write_atomic
from estelam.core.reload import FileReloader, file_stamp


class Reading:
    """A file's reloader, its time and the number of loads."""

    def __init__(
        self,
        path: Path,
        *,
        interval_seconds: float = 0.0,
        initial: str | None = None,
        still_seconds: float = 0.0,
    ) -> None:
        self.now = 100.0
        self.loads = 0
        self.failures: list[Exception] = []
        self.during: Callable[[], object] = lambda: None
        self._path = path
        self.reloader = FileReloader(
            lambda: (path,),
            self._load,
            failed=self.failures.append,
            interval_seconds=interval_seconds,
            monotonic=lambda: self.now,
            initial=initial,
            still_seconds=still_seconds,
        )

    def _load(self) -> str:
        self.loads += 1
        text = self._path.read_text("utf-8")
        self.during()
        if text == "broken":
            raise ValueError(text)
        return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("one", "utf-8")
    return path


def test_first_check_loads(file: Path) -> None:
    """The first check loads the value, and there is none before it."""
    reading = Reading(file)

    with pytest.raises(RuntimeError):
        _ = reading.reloader.value
    assert not reading.reloader.is_loaded
    assert reading.reloader.refresh()
    assert reading.reloader.value == "one"


def test_unchanged_file_is_not_loaded(file: Path) -> None:
    """A file with the same stamp is loaded once."""
    reading = Reading(file)

    assert [reading.reloader.refresh() for _ in range(3)] == [True, False, False]
    assert reading.loads == 1


@pytest.mark.parametrize("change", ["time", "size", "inode"])
def test_every_part_of_stamp_counts(file: Path, change: str) -> None:
    """A new modification time, size or inode alone is a change."""
    reading = Reading(file)
    reading.reloader.refresh()
    at = file.stat()
    if change == "size":
        file.write_text("three", "utf-8")
    if change == "inode":
        other = file.with_name("other")
        other.write_text("two", "utf-8")
        other.replace(file)
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns + (change == "time")))

    assert reading.reloader.refresh()


def test_interval_bounds_checks(file: Path) -> None:
    """Within the interval a change is not looked for; after it, it is found."""
    reading = Reading(file, interval_seconds=1.0)
    reading.reloader.refresh()
    reading.reloader.refresh()
    write_atomic(file, "two")

    assert not reading.reloader.refresh()
    reading.now += 1
    assert reading.reloader.refresh()
    assert reading.reloader.value == "two"


def test_threads_wait_for_a_load(file: Path) -> None:
    """A thread that checks during another's load goes on with the new value, not with the one before it."""
    reading = Reading(file, interval_seconds=1.0)
    reading.reloader.refresh()
    write_atomic(file, "two")
    seen: list[str] = []
    other = Thread(target=lambda: seen.append(reading.reloader.value) if not reading.reloader.refresh() else None)

    def start_other() -> None:
        other.start()
        other.join(0.1)

    reading.during = start_other
    reading.reloader.refresh()
    other.join()

    assert ["two"] == seen


def test_only_still_files_are_loaded(file: Path) -> None:
    """A file that has just changed is not loaded, one that has been still is."""
    changing, still = Reading(file, still_seconds=3600.0), Reading(file, still_seconds=1e-9)
    for reading in (changing, still):
        reading.reloader.refresh()
    write_atomic(file, "two")

    assert [False, True] == [changing.reloader.refresh(), still.reloader.refresh()]
    assert changing.reloader.value == "one"


def test_first_load_begins_no_interval(file: Path) -> None:
    """A change right after the first load is found by the next check."""
    reading = Reading(file, interval_seconds=1.0)
    reading.reloader.refresh()
    write_atomic(file, "two")

    assert reading.reloader.refresh()


def test_failed_load_keeps_value(file: Path) -> None:
    """A load that fails leaves the last value, is tried again at the next check, and ends with a good file.

    Its error is reported once, so that a log has one line of it.
    """
    reading = Reading(file)
    reading.reloader.refresh()
    write_atomic(file, "broken")

    for _ in range(2):
        assert not reading.reloader.refresh()
    assert ["broken"] == list(map(str, reading.failures))
    assert (reading.reloader.value, reading.reloader.is_current) == ("one", False)
    assert reading.loads == 3
    file.unlink()
    assert not reading.reloader.refresh()
    assert [ValueError, FileNotFoundError] == list(map(type, reading.failures))
    write_atomic(file, "two")
    assert reading.reloader.refresh()
    assert (reading.reloader.value, reading.reloader.is_current) == ("two", True)


def test_missing_file_is_a_change(file: Path) -> None:
    """A file that disappears is a change: the load fails and the last value stays."""
    reading = Reading(file)
    reading.reloader.refresh()
    file.unlink()

    assert not reading.reloader.refresh()
    assert [FileNotFoundError] == list(map(type, reading.failures))
    assert reading.reloader.value == "one"


def test_change_during_load_is_found(file: Path) -> None:
    """Stamps are taken before the load, so a change during it is loaded by the next check."""
    reading = Reading(file)
    reading.during = lambda: write_atomic(file, "two") if reading.loads == 1 else None

    assert reading.reloader.refresh()
    assert reading.reloader.value == "one"
    assert reading.reloader.refresh()
    assert reading.reloader.value == "two"


def test_initial_value_stands_for_missing_files(tmp_path: Path) -> None:
    """With an initial value nothing is loaded until the file exists."""
    reading = Reading(tmp_path / "file", initial="none")

    assert not reading.reloader.refresh()
    assert reading.reloader.value == "none"
    write_atomic(tmp_path / "file", "one")
    assert reading.reloader.refresh()
    assert reading.reloader.value == "one"


def test_stamp_of_unreachable_file(tmp_path: Path) -> None:
    """A path below a file has no stamp; a status that can't be read is an error."""
    (tmp_path / "file").write_text("", "utf-8")
    (tmp_path / "loop").symlink_to("loop")

    assert file_stamp(tmp_path / "file" / "below") is None
    with pytest.raises(OSError, match="loop"):
        file_stamp(tmp_path / "loop")


@pytest.mark.parametrize("durable", [False, True])
def test_atomic_write(tmp_path: Path, durable: bool) -> None:  # noqa: FBT001
    """A file is created and replaced as a whole, and no draft is left."""
    path = tmp_path / "file"

    write_atomic(path, "یک", durable=durable)
    write_atomic(path, b"two", durable=durable)
    with open_atomic(path, encoding="utf-8", newline="", durable=durable) as draft:
        draft.write("three\r\n")
        assert path.read_bytes() == b"two"

    assert path.read_bytes() == b"three\r\n"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_changes_nothing(file: Path) -> None:
    """An exception while writing leaves the old file and no draft."""
    with pytest.raises(TypeError), open_atomic(file) as draft:
        draft.writelines([b"half", None])

    assert file.read_text("utf-8") == "one"
    assert list(file.parent.iterdir()) == [file]


def test_failed_rename_leaves_no_draft(tmp_path: Path) -> None:
    """Where the path is a folder, the write fails and no draft is left."""
    (tmp_path / "file").mkdir()

    with pytest.raises(OSError, match="file"):
        write_atomic(tmp_path / "file", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_folder_is_named_by_the_file(tmp_path: Path) -> None:
    """Where a file can't be created, the error names it, and not the draft that would have become it."""
    path = tmp_path.resolve() / "none" / "file"
    with pytest.raises(FileNotFoundError) as failed:
        write_atomic(path, "text")

    assert str(path) == failed.value.filename


def test_permissions(tmp_path: Path, file: Path) -> None:
    """A given mode is exact, whatever the umask; without one a replaced file keeps its mode, and a new one obeys it."""
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "new", "")
        write_atomic(tmp_path / "secret", "", mode=0o666)
        file.chmod(0o715)
        write_atomic(file, "two")
    finally:
        os.umask(before)

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"new": 0o640, "secret": 0o666, "file": 0o715}


def test_draft_of_private_file_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft whose permissions are given is never open to others, not even before they are set."""
    fchmod, opened = os.fchmod, []

    def watch(descriptor: int, mode: int) -> None:
        opened.append(os.fstat(descriptor).st_mode & 0o777)
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", watch)
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "key", "secret", mode=0o600)
    finally:
        os.umask(before)

    assert opened == [0o600]


def test_durable_write_syncs_file_then_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A durable write syncs the whole draft before the rename and the folder after it; another one syncs nothing."""
    synced: list[tuple[str, bool]] = []
    path = tmp_path / "file"

    def fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(("folder" if target == tmp_path else f"draft: {target.read_text('utf-8')}", path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(path, "one", durable=True)
    path.unlink()
    write_atomic(path, "one")

    assert synced == [("draft: one", False), ("folder", True)]


def test_sync_of_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there can't be synced."""
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")
