"""The three years after which the bad effect of a bounced cheque is lifted."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from persiantools.jdatetime import JalaliDate

from estelam.cli.bulk.question import Answer, Changes, Place, Row
from estelam.core.dates import parse_date
from judiciary.bulk.cheques import CHEQUES
from judiciary.three_years import Rule, last_day

DAYS = st.dates(date(1940, 1, 1), date(2060, 12, 31))
COVERED_SINCE = parse_date("1400-01-01")


def jalali(day: date) -> tuple[int, int, int]:
    """Return year, month and day of the month."""
    there: Any = JalaliDate(day)  # type: ignore[no-untyped-call]
    return there.year, there.month, there.day


@pytest.mark.parametrize(
    ("issued_on", "end", "rule"),
    [
        ("1400-01-01", "1403-01-01", Rule.SAME_DAY),
        ("1399-12-29", "1402-12-29", Rule.SAME_DAY),
        ("1399-12-30", "1402-12-29", Rule.MONTH_END),
        ("1403-12-30", "1406-12-29", Rule.MONTH_END),
        ("1408-12-30", "1411-12-29", Rule.MONTH_END),
        ("1405-12-29", "1408-12-29", Rule.SAME_DAY),
        ("1400-12-29", "1403-12-29", Rule.SAME_DAY),
        ("1400-06-31", "1403-06-31", Rule.SAME_DAY),
        ("1400-11-30", "1403-11-30", Rule.SAME_DAY),
        ("2020-03-20", "1402-01-01", Rule.SAME_DAY),
    ],
)
def test_last_day(issued_on: str, end: str, rule: Rule) -> None:
    """The last day is the same day three Jalali years later, or the end of Esfand where that year has no such day."""
    assert (parse_date(end), rule) == last_day(parse_date(issued_on))


@given(DAYS)
@example(parse_date("1399-12-30"))
@example(parse_date("1403-12-30"))
@example(parse_date("1408-12-30"))
def test_three_jalali_years(issued_on: date) -> None:
    """Year and month are three Jalali years later; the day is the same, or the last of the month under its own rule."""
    year, month, day = jalali(issued_on)
    end, rule = last_day(issued_on)
    ends_on = 29 if rule is Rule.MONTH_END else day

    assert (year + 3, month, ends_on) == jalali(end)
    assert (rule is Rule.MONTH_END) == ((month, day) == (12, 30))


@given(DAYS)
def test_never_earlier_than_other_readings(issued_on: date) -> None:
    """The last day is later than the 1,080 days of article 443, and a certificate issued later never ends earlier."""
    end, _ = last_day(issued_on)

    assert issued_on + timedelta(days=1080) < end <= last_day(issued_on + timedelta(days=1))[0]


@given(
    DAYS.filter(lambda day: day > parse_date("1390-01-01")),
    st.datetimes(datetime(2021, 4, 1), datetime(2070, 1, 1)),  # noqa: DTZ001 - given its zone below
    st.sampled_from(["YES", "NO"]),
    st.booleans(),
)
def test_lifting_due(issued_on: date, as_of: datetime, word: str, doubtful: bool) -> None:  # noqa: FBT001
    """A row is marked if and only if its answer is NO, conclusive, and from data beyond the last day."""
    as_of = as_of.replace(hour=12, tzinfo=UTC)
    row = Row(Place(1, 2), {"tracking_id": "1"}, b"request", issued_on, maybe_rounded=doubtful)
    output = CHEQUES.answered(row, Answer(word, COVERED_SINCE, as_of, as_of, "id", 0))
    due = word == "NO" and not doubtful and issued_on >= COVERED_SINCE and last_day(issued_on)[0] < as_of.date()

    assert (output["lifting"] == "LIFTING_DUE") == due
    assert not due or output["standing"] == "CONCLUSIVE"


@pytest.mark.parametrize(("hours", "mark"), [(0, ""), (1, "LIFTING_DUE")])
def test_last_day_ends_in_iran(hours: int, mark: str) -> None:
    """The last day ends at midnight in Iran."""
    midnight = datetime(2024, 3, 19, 20, 0, tzinfo=UTC)  # 23:30 on the last day
    as_of = midnight + timedelta(hours=hours)
    row = Row(Place(1, 2), {"tracking_id": "1"}, b"request", parse_date("1399-12-30"))
    output = CHEQUES.answered(row, Answer("NO", parse_date("1399-01-01"), as_of, as_of, "id", 0))

    assert mark == output["lifting"]


@pytest.mark.parametrize(
    ("states", "first_index", "now", "lifting"),
    [
        ({}, 0, "NO", "LIFTING_DUE"),
        ({"id": "NO"}, 9, "NO", "LIFTING_DUE"),
        ({"id": "YES"}, 0, "YES", ""),
        ({}, 9, "UNKNOWN", ""),
    ],
)
def test_changed_answer_lifts_nothing(states: dict[str, str], first_index: int, now: str, lifting: str) -> None:
    """A row is not marked where the answer would be different now, or where the service does not say."""
    as_of = datetime(2026, 1, 1, tzinfo=UTC)
    row = Row(Place(1, 2), {"tracking_id": "1"}, b"request", parse_date("1400-02-01"))
    changes = Changes({name: (state, as_of) for name, state in states.items()}, first_index, as_of)
    output = CHEQUES.answered_since(row, Answer("NO", COVERED_SINCE, as_of, as_of, "id", 5), changes)

    assert ("NO", now, lifting) == (output["answer"], output["now"], output["lifting"])


def test_row_without_date() -> None:
    """A row without a date of issue has no last day and is not marked."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    output = CHEQUES.answered(
        Row(Place(1, 2), {"tracking_id": "1"}, b"request"), Answer("NO", COVERED_SINCE, now, now, "id", 0)
    )

    assert (None, None, "") == (output["three_years_end"], output["three_years_rule"], output["lifting"])


def test_unanswered_row() -> None:
    """A row without an answer has its last day, and is not marked."""
    output = CHEQUES.unanswered(Row(Place(1, 2), {"tracking_id": "1"}, b"request", parse_date("1400-01-01")), "UNASKED")

    assert (parse_date("1403-01-01"), "UNANSWERED") == (output["three_years_end"], output["standing"])
    assert "lifting" not in output
