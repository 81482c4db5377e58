"""Tests of the monitor's own environment, before each round of probes: a fault of its own must be nobody else's."""

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from estelam.core import addresses
from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.exceptions import describe_error
from estelam.core.pem import KeyFileError, read_trust
from quality.settings import QualitySettings

LOOKUP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The wall clock and the monotonic clock at one instant."""

    micros: int
    monotonic: float

    @classmethod
    def of(cls, clock: Clock) -> "ClockReading":
        """Read *clock*."""
        return cls(clock.micros(), clock.monotonic())


async def find_problem(
    settings: QualitySettings, clock: Clock, *, before: ClockReading | None, differences: Collection[float]
) -> str:
    """Return why nothing that is probed now would be a measurement; empty if there is no reason.

    Args:
        settings: The monitor's settings.
        clock: Its clock.
        before: The clock at the last round.
        differences: By how many seconds the clock of each service was ahead of this one, when it was last asked.
    """
    return (
        _clock_problem(clock, before, differences)
        or _trust_problem(settings)
        or await _connection_problem()
        or await _name_problem(_targets(settings))
    )


def _targets(settings: QualitySettings) -> list[str]:
    listed = (addresses.target_of(one.target) if one.kind == "http" else one.target for one in settings.service_probe)
    return [*settings.addresses.values(), *listed]


def _clock_problem(clock: Clock, before: ClockReading | None, differences: Collection[float]) -> str:
    tolerance = CLOCK_TOLERANCE.total_seconds()
    if before is not None:
        jump = (clock.micros() - before.micros) / 1e6 - (clock.monotonic() - before.monotonic)
        if abs(jump) > tolerance:
            return f"the clock of this host was set by {jump:.0f} seconds"
    if len(differences) > 1 and (min(differences) > tolerance or max(differences) < -tolerance):
        return "the clock of this host differs from those of all services by more than a minute"
    return ""


def _trust_problem(settings: QualitySettings) -> str:
    if settings.ca_certificates is not None:
        try:
            read_trust(settings.ca_certificates)
        except (OSError, KeyFileError) as error:
            return f"ca_certificates: {describe_error(error)}"
    return ""


async def _connection_problem() -> str:
    """Connect to a port of this host's own, without any network: what fails here is the host."""
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
            async with server:
                _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.close()
    except (OSError, TimeoutError) as error:
        return f"this host can't open a connection to itself: {type(error).__name__}"
    return ""


async def _name_problem(targets: Iterable[str]) -> str:
    """Look up the names of *targets*: one that is missing may be its service's; if all are, it is the resolver."""
    names = {host for target in targets for host, _ in [addresses.split(target)] if not _is_address(host)}
    results = await asyncio.gather(*map(_resolves, names))
    return "no name of a service can be resolved" if names and not any(results) else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


async def _resolves(name: str) -> bool:
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return False
    return True
