"""Token buckets shared by several processes, each with its own map of one table."""

import fcntl
import gc
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from estelam.auth import shared_buckets
from estelam.auth.grants import Quota
from estelam.auth.rate_limit import RateLimiter, acquire, charge_miss
from estelam.auth.shared_buckets import QuotaTableError, SharedBuckets
from estelam.core.clock import Clock
from estelam.core.errors import Refusal

QUOTA = Quota(rate=0.001, burst=1000, miss_cost=20)
CLOCK = Clock(monotonic=lambda: 1000.0)


@pytest.fixture
def tables(tmp_path: Path) -> list[SharedBuckets]:
    """Two processes' maps of one table."""
    return [SharedBuckets(tmp_path / "quotas") for _ in range(2)]


def test_one_bucket_for_all_processes(tables: list[SharedBuckets]) -> None:
    """What one process takes or charges is missing in the other; another caller, method or quota has its own bucket."""
    one, other = (RateLimiter(CLOCK, table.bucket) for table in tables)
    charge_miss(one.acquire("a", "CheckNote", QUOTA))
    other.acquire("a", "CheckNote", QUOTA)

    assert 979 == one.bucket("a", "CheckNote", QUOTA).tokens == other.bucket("a", "CheckNote", QUOTA).tokens
    for key in (("b", "CheckNote", QUOTA), ("a", "VerifyNote", QUOTA), ("a", "CheckNote", Quota(rate=1, burst=1000))):
        assert 1000 == other.bucket(*key).tokens


def test_concurrent_calls_are_counted_exactly(tmp_path: Path) -> None:
    """Processes with several threads each admit together exactly the burst."""
    path, spawn = tmp_path / "quotas", multiprocessing.get_context("fork")
    admitted = spawn.SimpleQueue()
    processes = [spawn.Process(target=_take_all, args=(path, admitted.put)) for _ in range(3)]
    for process in processes:
        process.start()
    counts = [admitted.get() for _ in processes]
    for process in processes:
        process.join()

    assert QUOTA.burst == sum(counts)


def _take_all(path: Path, report: Callable[[int], None]) -> None:
    limiter = RateLimiter(CLOCK, SharedBuckets(path).bucket)
    counts = [0, 0]

    def take(place: int) -> None:
        bucket = limiter.bucket("a", "CheckNote", QUOTA)
        try:
            while True:
                acquire(bucket, "CheckNote")
                counts[place] += 1
        except Refusal:
            return

    threads = [threading.Thread(target=take, args=(place,)) for place in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(sum(counts))


def test_hanging_holder_of_the_lock(tables: list[SharedBuckets], tmp_path: Path) -> None:
    """A holder of the lock that hangs delays the others shortly; they go on without it."""
    limiter = RateLimiter(CLOCK, tables[0].bucket)
    with (tmp_path / "quotas").open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        limiter.acquire("a", "CheckNote", QUOTA)

    assert 999 == RateLimiter(CLOCK, tables[1].bucket).bucket("a", "CheckNote", QUOTA).tokens


def test_buckets_outlive_their_table(tmp_path: Path) -> None:
    """A call that ends after its service has closed charges its own bucket, and unlocks no other file."""
    bucket = RateLimiter(CLOCK, SharedBuckets(tmp_path / "quotas").bucket).acquire("a", "CheckNote", QUOTA)
    gc.collect()
    charge_miss(bucket)

    assert 980 == SharedBuckets(tmp_path / "quotas").bucket("a", "CheckNote", QUOTA, 1000.0).tokens


def test_restarted_host(tables: list[SharedBuckets]) -> None:
    """A table that was filled before the host was restarted refills from now on, and not from its later instants."""
    quota = Quota(rate=1, burst=1)
    RateLimiter(CLOCK, tables[0].bucket).acquire("a", "CheckNote", quota)
    now = [5.0]
    limiter = RateLimiter(Clock(monotonic=lambda: now[0]), tables[1].bucket)

    assert 0 == limiter.bucket("a", "CheckNote", quota).tokens
    now[0] += 0.5
    assert 0.5 == limiter.bucket("a", "CheckNote", quota).tokens


def test_full_table(tables: list[SharedBuckets], monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller for whom the table has no place has a bucket of each process."""
    monkeypatch.setattr(shared_buckets, "GROUPS", 1)
    one, other = (RateLimiter(CLOCK, table.bucket) for table in tables)
    for number in range(shared_buckets.WAYS):
        one.acquire(number, "CheckNote", QUOTA)
    one.acquire("last", "CheckNote", QUOTA)

    assert 999 == other.bucket(0, "CheckNote", QUOTA).tokens == one.bucket("last", "CheckNote", QUOTA).tokens
    assert 1000 == other.bucket("last", "CheckNote", QUOTA).tokens


def test_foreign_file_is_not_used(tmp_path: Path) -> None:
    """A file that is no table is refused, and left as it is."""
    (tmp_path / "ledger.db").write_bytes(b"SQLite format 3")

    with pytest.raises(QuotaTableError, match="is no table of quotas"):
        SharedBuckets(tmp_path / "ledger.db")
    assert b"SQLite format 3" == (tmp_path / "ledger.db").read_bytes()
