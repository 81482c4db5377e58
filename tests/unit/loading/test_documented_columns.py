"""docs/loading.md describes the columns of every feed as the feeds define them."""

import re

import pytest

from estelam.core.dates import DateError, DateProblem, parse_date
from estelam.core.rule_texts import UNKNOWN_RULE
from estelam.loading import batch, csv_reader, formats
from estelam.loading.feed import Feed
from estelam.loading.reject_texts import _TEXTS, reject_text
from estelam.loading.rules import FieldRules
from estelam.promissory.v1.note_inquiry_pb2 import CheckNoteRequest
from judiciary.feeds import CASES
from promissory.feeds import MEMBERS, NOTES
from promissory.repository import State
from tests.support.tutorial import DOCS

SECTIONS = {"load-notes": NOTES, "load-agencies": MEMBERS, "load-cases": CASES}
every_feed = pytest.mark.parametrize(("command", "feed"), SECTIONS.items(), ids=SECTIONS)


def section(command: str) -> str:
    """The section of the page about the file that *command* loads."""
    page = (DOCS / "loading.md").read_text("utf-8")
    return page[page.index(f": `{command}`\n") :].split("\n### ")[0]


def documented(command: str) -> dict[str, list[str]]:
    """The cells of the table of columns, by the name of the column."""
    table = section(command).partition("| column |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    return {name.strip("`"): cells for name, *cells in rows}


@every_feed
def test_columns(command: str, feed: Feed) -> None:
    """The table has the columns of the feed in their order, and says which may be empty or absent."""
    columns = documented(command)

    assert list(columns) == list(feed.columns)
    for name, (content, *_) in columns.items():
        assert ("may be empty" in content) == feed.columns[name].may_be_empty, name
        assert ("may lack" in content) == feed.columns[name].omissible, name


@every_feed
def test_example(command: str, feed: Feed) -> None:
    """The example has the columns of the feed."""
    assert f"```text\n{','.join(feed.columns)}\n" in section(command)


@every_feed
def test_ignored_columns_and_reasons(command: str, feed: Feed) -> None:
    """The ignored columns and the reasons of checks across columns are listed."""
    ignored = re.search(r"^Ignored if the file has them: (.*?)\.", section(command), re.MULTILINE)

    assert set(re.findall("`(.*?)`", ignored[1] if ignored else "")) == feed.ignored
    assert all(f"`{check.reason}`" in section(command) for check in feed.checks)


def test_states() -> None:
    """The table of states has them all, and ISSUED alone is answered YES."""
    rows = re.findall(r"^\| `([A-Z_]+)` \|.*\| (YES|NO)\b", section("load-notes"), re.MULTILINE)

    assert [word for word, _ in rows] == [state.value for state in State]
    assert [word for word, answer in rows if answer == "YES"] == [State.ISSUED.value]


def test_reasons() -> None:
    """Every reason for which a row is rejected stands in the page."""
    modules = (formats, csv_reader, batch)
    reasons = {value for module in modules for name, value in vars(module).items() if name == value}
    about_dates = {DateProblem.AFTER_TODAY, DateProblem.BEFORE_1300, DateProblem.AFTER_2099}
    for text in ("x", "99-01-01", "1700-01-01", "1404-12-30"):
        with pytest.raises(DateError) as refused:
            parse_date(text)
        about_dates.add(refused.value.problem)
    reasons |= {problem.name for problem in about_dates} | {reason for reason in _TEXTS if reason.isupper()}
    page = (DOCS / "loading.md").read_text("utf-8")

    assert len(reasons) >= 15
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()


def persian(text: str) -> bool:
    return re.search("[\u0600-\u06ff]", text) is not None


def test_reasons_have_texts() -> None:
    """Every reason for which a row is rejected has its own text in both languages."""
    checks = {check.reason for feed in SECTIONS.values() for check in feed.checks}
    constants = {
        value for module in (formats, csv_reader, batch) for name, value in vars(module).items() if name == value
    }
    contract = {
        rules.violation(value)
        for name, value in (("serial", "1"), ("obligor_id", "1"), ("obligor_id", "1111111111"), ("amount_rials", 0))
        for rules in [FieldRules(CheckNoteRequest, name)]
    }
    reasons = {*checks, *constants, *contract, "NOT_A_POSTAL_CODE", "NOT_A_SAYAD_ID", "DUPLICATE", "OTHER_FEED"}
    texts = {reason: reject_text(str(reason)) for reason in reasons | {"AFTER_TODAY", "DIFFERS_FROM_AN_EARLIER_ROW"}}

    assert checks | constants <= _TEXTS.keys()
    assert [reason for reason, text in texts.items() if not persian(text.fa) or text.fa == UNKNOWN_RULE.fa] == []
    assert [reason for reason, text in texts.items() if persian(text.en) or text.en.isupper()] == []


def test_text_of_words_names_them() -> None:
    """The text about a word that is not known names those that are."""
    text = reject_text("NOT_A_KNOWN_WORD: give CIVIL or CRIMINAL or nothing")

    assert text.en == "is none of the known words; give CIVIL or CRIMINAL or nothing"
    assert text.fa.endswith("یکی از این‌ها را بدهید: CIVIL یا CRIMINAL یا هیچ")
