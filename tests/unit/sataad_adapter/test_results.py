"""Results of the officer's page, kept in memory."""

from sataad_adapter.web.results import Owner, Results

ONE, OTHER = Owner("one", "a.officer"), Owner("other", "")


def test_only_the_owner_reads() -> None:
    """A result is found by its browser and officer alone, until its time has passed."""
    now = 0.0
    results = Results[str](10, 60.0, lambda: now)
    address = results.keep(ONE, "answer")

    assert "answer" == results.find(ONE, address)
    assert [None] * 3 == [results.find(*asked) for asked in ((OTHER, address), (Owner("one", ""), address), (ONE, ""))]
    now = 60.0
    assert results.find(ONE, address) is None


def test_bound_is_shared() -> None:
    """One browser's many results displace its own, and not those of another browser."""
    results = Results[int](3, 60.0, lambda: 0.0)
    kept = results.keep(OTHER, 0)
    addresses = [results.keep(ONE, number) for number in range(9)]

    assert 0 == results.find(OTHER, kept)
    assert [7, 8] == [found for each in addresses if (found := results.find(ONE, each)) is not None]
