"""Time that is never set back."""

from dataclasses import dataclass

from estelam.core.clock import Clock, monotonic_wall_clock


@dataclass
class Hands:
    """A clock's two hands, each put where a test wants it."""

    micros: int = 1_000_000_000
    monotonic: float = 50.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.micros, lambda: self.monotonic)

    def pass_seconds(self, seconds: int) -> None:
        self.micros += seconds * 1_000_000
        self.monotonic += seconds


def test_a_steady_clock_goes_with_the_one_it_reads() -> None:
    hands = Hands()
    clock = monotonic_wall_clock(hands.clock)
    hands.pass_seconds(90)

    assert (hands.micros, hands.monotonic) == (clock.micros(), clock.monotonic())


def test_a_steady_clock_that_is_set_back_goes_on() -> None:
    hands = Hands()
    clock = monotonic_wall_clock(hands.clock)
    hands.pass_seconds(5)
    hands.micros -= 3600 * 1_000_000
    hands.pass_seconds(5)

    assert 1_010_000_000 == clock.micros()


def test_a_steady_clock_that_is_set_forward_goes_along_and_comes_back_once_that_is_put_right() -> None:
    hands = Hands()
    clock = monotonic_wall_clock(hands.clock)
    hands.micros += 3600 * 1_000_000
    ahead = clock.micros()
    hands.micros -= 3600 * 1_000_000

    assert (4_600_000_000, 1_000_000_000) == (ahead, clock.micros())
