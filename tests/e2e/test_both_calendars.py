"""Every command that prints dates or instants states them in both calendars."""

import re

import pytest

from tests.e2e.conftest import LIVE, CommandLine, options

COMMANDS: dict[str, list[str]] = {
    "inquiry": ["promissory", "check", *options(**LIVE)],
    "inquiry with coverage": ["judiciary", "check-cheque", "--tracking-id", "139900000000000001"],
    "loads": ["load", "list", "judiciary"],
    "noted loads": ["ledger", "loads", "judiciary"],
    "recalls": ["ledger", "recalls", "promissory"],
    "recalled answers": ["promissory", "recall", "--since", "0", "--settle", "0"],
    "subject report": ["ledger", "subject-report", "promissory", LIVE["serial"], "--kind", "serial"],
    "grants": ["catalogue", "grants"],
    "duties": ["catalogue", "duties"],
    "record": ["catalogue", "show", "G01"],
    "explained call": ["catalogue", "explain", "--consumer", "setad", "--method", "CheckNote"],
    "changes": ["catalogue", "changes"],
    "certificates": ["pki", "show"],
    "certificate in full": ["pki", "show", "client", "--details"],
}
UNDATED = {"recalls", "recalled answers", "changes"}
"""Lists that may be empty here."""
PROBLEM = 1
"""The exit code of `pki show` if a certificate has a problem: other tests leave such certificates."""
GREGORIAN = re.compile("(?<![0-9])(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}(?![0-9])")
JALALI = re.compile("(?<![0-9])1[34][0-9]{2}-[0-9]{2}-[0-9]{2}(?![0-9])")


@pytest.mark.parametrize("name", COMMANDS)
def test_both_calendars(estelam: CommandLine, name: str) -> None:
    """Each Gregorian date of the text stands beside a Jalali one, and no instant is in another zone than Iran's."""
    if name == "recalls":
        estelam("promissory", "recall", "--since", "0", "--settle", "0")
    done = estelam(*COMMANDS[name])

    gregorian, jalali = GREGORIAN.findall(done.out), JALALI.findall(done.out)
    assert done.code in {0, 10, 20, PROBLEM if "pki" in COMMANDS[name] else 0}, done.err
    assert len(gregorian) == len(jalali)
    assert gregorian or name in UNDATED
    assert not re.search("[0-9]T[0-9]", done.out)
