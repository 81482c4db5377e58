"""The three years after which a bank lifts the bad effect of a bounced cheque.

Source: Cheque Issuance Act, article 5 bis, note 3, item vav: «سپری شدن مدت سه سال از تاریخ صدور گواهینامه عدم پرداخت
مشروط به عدم طرح دعوای حقوقی یا کیفری در خصوص چک توسط دارنده».
"""

from datetime import date
from enum import StrEnum
from typing import Any

from persiantools.jdatetime import JalaliDate

YEARS = 3


class Rule(StrEnum):
    """How the last day of the three years was found."""

    SAME_DAY = "JALALI_YEARS_SAME_DAY"
    """The same day and month three Jalali years later."""
    MONTH_END = "JALALI_YEARS_MONTH_END"
    """30 Esfand of a leap year: three years later Esfand ends on the 29th."""


def last_day(issued_on: date) -> tuple[date, Rule]:
    """Return the last day of the three years that begin with the certificate's date of issue, and the rule.

    The law does not say how its years are counted. Calendar years are later than the 1,080 days that article 443 of the
    Civil Procedure Code counts, so that nothing is lifted too early. By article 445 the last day does not count: the
    three years have passed on the day after it.
    """
    issued: Any = JalaliDate(issued_on)  # type: ignore[no-untyped-call]
    year = issued.year + YEARS
    try:
        return issued.replace(year=year).to_gregorian(), Rule.SAME_DAY
    except ValueError:
        return issued.replace(year=year, day=issued.day - 1).to_gregorian(), Rule.MONTH_END
