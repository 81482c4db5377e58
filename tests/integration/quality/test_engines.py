"""The quality store on either engine."""

import contextlib
from collections import Counter
from pathlib import Path

import pytest

from estelam.receipts.tree import Frontier
from estelam.storage.migrate import migrate
from estelam.storage.store import AccessMode, Store, StoreError
from quality import ledger_states, repository, traffic_store
from quality.attribution import Attribution
from quality.monitor.single import OnlyMonitor, only_monitor
from quality.records import (
    AlarmKind,
    Freshness,
    LedgerAlarm,
    MetricsSample,
    Observation,
    ObservedHead,
    Probe,
    SentCalls,
    VerifiedLedger,
)
from quality.settings import QualitySettings
from tests.conftest import both_engines
from tests.integration.quality.conftest import CHECK_NOTE, SETAD, tally
from tools.commands.report import quality_home
from tools.env.postgres import PostgresCluster


def test_two_monitors(cluster: PostgresCluster) -> None:
    """A second monitor of one store on PostgreSQL is refused, until the first one ends or loses its session."""
    url = cluster.url(cluster.database())
    with only_monitor(url) as first:
        with pytest.raises(StoreError, match="another monitor"):
            OnlyMonitor(url)
        assert first.is_held()
        first.close()
        with only_monitor(url) as second:
            assert (False, True) == (first.is_held(), second.is_held())
        assert first.is_held()
    with only_monitor("sqlite:///folder") as other:
        assert other.is_held()


VERIFIED = VerifiedLedger("s", "note", Frontier().append([bytes(32)] * 5).frontier, 9, 7, "line")


@both_engines
def test_repository(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """On each engine, stored records are read back, replaced by key, and observations add up."""
    url = quality_home(tmp_path).store
    if engine == "postgresql":
        cluster = request.getfixturevalue("cluster")
        url = cluster.url(cluster.database())
        migrate(url, QualitySettings.MIGRATIONS)

    for _ in range(2):
        with contextlib.closing(Store(url, facts=AccessMode.WRITE)) as store, store.transaction() as opened:
            traffic_store.add_observations(opened, [Observation(7, CHECK_NOTE, SETAD, tally(2, provider=1))])
            traffic_store.add_sent_calls(opened, [SentCalls(8, CHECK_NOTE, SETAD, tally(1, unknown=1), 1)])
            traffic_store.mark_counted(opened, [(8, CHECK_NOTE.partition("/")[0])])
            traffic_store.save_position(opened, "s", "source", 5, 6)
            repository.save_probes(opened, [Probe(7, CHECK_NOTE, SETAD, Attribution.EXCHANGE)])
            repository.save_freshness(opened, [Freshness(7, "s", 60, None)])
            repository.save_heads(opened, [ObservedHead(7, "s", 9, bytes(32))])
            repository.save_metrics_samples(
                opened, [MetricsSample(7, "s", "SERVING", serving=True, answered=2, refused=1, unrecorded=0)]
            )
            repository.save_own_inquiries(opened, [(b"1", 7), (b"2", 7), (b"3", 5)])
            ledger_states.save_verified(opened, VERIFIED)
            ledger_states.raise_alarm(opened, LedgerAlarm("s", AlarmKind.FORK, 7, "note", "", "key"))
    with contextlib.closing(Store(url, facts=AccessMode.WRITE)) as store, store.transaction() as opened:
        repository.delete_own_inquiries(opened, 6)
        assert [repository.own_inquiries(opened, ids) for ids in ([b"1", b"3", b"4"], [b"1"], [])] == [
            {b"1"},
            {b"1"},
            set(),
        ]
        ledger_states.acknowledge(opened, 1, minute=8, operator="o", reason="r")
    with contextlib.closing(Store(url)) as store, store.transaction() as opened:
        assert ledger_states.verified_ledger(opened, "s") == VERIFIED
        first, second = ledger_states.all_alarms(opened)
        assert ("o", 8, None) == (first.operator, first.acknowledged_minute, second.acknowledged_minute)
        assert {"s": second} == ledger_states.standing([first, second])
        assert [second] == ledger_states.alarms_between(opened, 9, 10)
        [one, sent] = traffic_store.observations(opened, 0, 10)
        assert sent.tally.counts == Counter({None: 2, Attribution.UNKNOWN: 2})
        assert (5, {"s": 6}) == (traffic_store.position(opened, "s", "source"), traffic_store.read_until(opened))
        assert one.tally.counts == Counter({None: 4, Attribution.PROVIDER: 2})
        assert [probe.fault for probe in repository.probes(opened, 0, 10)] == [Attribution.EXCHANGE]
        assert [fresh.age_minutes for fresh in repository.freshness(opened, 0, 10)] == [60]
        assert repository.last_heads(opened, 8)["s"].size == 9
        assert [(one.serving, one.answered) for one in repository.metrics_samples(opened, 0, 10)] == [(True, 2)]
