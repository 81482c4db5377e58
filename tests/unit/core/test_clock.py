"""A wall clock that is never set back."""

from dataclasses import dataclass

from estelam.core.clock import Clock, monotonic_wall_clock


@dataclass
class SettableClock:
    """Wall time and monotonic time that a test sets."""

    micros: int = 1_000_000_000
    monotonic: float = 50.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.micros, lambda: self.monotonic)

    def pass_seconds(self, seconds: int) -> None:
        self.micros += seconds * 1_000_000
        self.monotonic += seconds


def test_follows_source() -> None:
    """It shows the time of the clock that it reads."""
    source = SettableClock()
    clock = monotonic_wall_clock(source.clock)
    source.pass_seconds(90)

    assert (source.micros, source.monotonic) == (clock.micros(), clock.monotonic())


def test_setback_is_ignored() -> None:
    """After a set-back it continues with the monotonic time."""
    source = SettableClock()
    clock = monotonic_wall_clock(source.clock)
    source.pass_seconds(5)
    source.micros -= 3600 * 1_000_000
    source.pass_seconds(5)

    assert 1_010_000_000 == clock.micros()


def test_forward_set_is_followed() -> None:
    """It follows a clock that is set forward, and its later correction."""
    source = SettableClock()
    clock = monotonic_wall_clock(source.clock)
    source.micros += 3600 * 1_000_000
    ahead = clock.micros()
    source.micros -= 3600 * 1_000_000

    assert (4_600_000_000, 1_000_000_000) == (ahead, clock.micros())
