"""Fields of pydantic models that hold a date or an instant, read from TOML or YAML."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BeforeValidator

from estelam.core import dates


def _day(value: object) -> date:
    return dates.check_in_use(dates.parse_date_value(value))


Day = Annotated[date, BeforeValidator(_day)]
"""A day in Iran, Gregorian or Jalali by its year, as text or as TOML's own date."""
Instant = Annotated[datetime, BeforeValidator(dates.parse_instant_value)]
"""An instant with its time zone, Gregorian or Jalali by its year, as text or as TOML's own instant."""
