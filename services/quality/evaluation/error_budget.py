"""The error budget of an availability objective: the minutes that may fail in its period, and how many have."""

from dataclasses import dataclass

from quality.evaluation.minute_states import StateMinutes


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Minutes that may fail in the whole period, those that have failed so far, and the rate of the loss."""

    allowed_minutes: float
    spent_minutes: int
    burn_rate: float | None
    """The share spent divided by the share of the period that has passed: above 1, the budget ends before the period.

    None if nothing may fail, or nothing has passed.
    """


def error_budget(at_least: float, passed: bytes | bytearray, minutes_left: int) -> ErrorBudget:
    """Return the budget of an availability of *at_least* per cent.

    Args:
        at_least: The objective, in per cent.
        passed: The state of each minute of the period that has passed, as in `minute_states`.
        minutes_left: The minutes of the period that have not.
    """
    states = StateMinutes.of(passed)
    past = states.measured + states.unmeasured
    total = past + minutes_left
    allowed = round(total * (100 - at_least) / 100, 2)
    spent = states.measured - states.up
    burn_rate = spent / allowed / (past / total) if allowed and past else None
    return ErrorBudget(allowed, spent, burn_rate)
