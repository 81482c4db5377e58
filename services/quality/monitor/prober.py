"""Inquiries from outside, as each consumer makes them: with its certificate, of what it is granted today."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import grpc
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.model import Catalogue, Method
from estelam.client.channel import ClientIdentity, aio_connections
from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import KeyFileError
from quality.attribution import TransportFailure, attribution_of
from quality.monitor import probe_requests, tls_probe
from quality.monitor.certificate_check import rejection_reason
from quality.monitor.probe_requests import ProbeRequestError
from quality.monitor.tls_probe import TlsProbeResult
from quality.records import MetricsSample, Probe
from quality.settings import QualitySettings

log = structlog.get_logger()

_TLS_PROBE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """What one consumer asks of one service, in the catalogue's order, on one connection."""

    consumer: str
    """Its legal id."""
    identity: ClientIdentity
    service: str
    wire: str
    address: str
    requests: tuple[tuple[str, bytes], ...]
    """Full names of methods, and the requests."""


@dataclass(frozen=True, slots=True)
class ProbeRun:
    """What an errand met."""

    probes: tuple[Probe, ...]
    sample: MetricsSample
    inquiry_ids: tuple[bytes, ...]
    """The ids of the inquiries that it made."""


@dataclass(frozen=True, slots=True)
class _CallResult:
    """What one inquiry met; a reason is empty after an answer, and None where no word came back."""

    reason: str | None
    inquiry_ids: tuple[bytes, ...] = ()


def plan_probes(settings: QualitySettings, catalogue: Catalogue, day: date) -> Iterator[ProbePlan]:
    """What is to be asked on *day*: of each service with an address, each method granted to one who is probed as."""
    if settings.ca_certificates is None:
        return
    granted = {(grant.caller, grant.method) for grant in access_table(catalogue).grant if grant.in_force(day)}
    for prober in settings.probe:
        party = catalogue.party(prober.consumer)
        if party is None or party.legal_id is None:
            log.error("probe.unknown", consumer=prober.consumer)
            continue
        identity = ClientIdentity(prober.certificate, prober.private_key, settings.ca_certificates)
        for service in catalogue.services:
            names = [service.full_name(method.name) for method in service.methods if _in_service(method, day)]
            asked = [found for name in names if (party.legal_id, name) in granted for found in _request(settings, name)]
            if asked and service.wire and (address := settings.addresses.get(service.slug)):
                yield ProbePlan(party.legal_id, identity, service.slug, service.wire, address, tuple(asked))


def _in_service(method: Method, day: date) -> bool:
    return method.introduced <= day and (method.sunset is None or day < method.sunset)


def _request(settings: QualitySettings, method: str) -> Iterator[tuple[str, bytes]]:
    try:
        yield method, probe_requests.encode(method, settings.probe_requests[method])
    except KeyError:
        log.warning("probe.unasked", method=method)
    except ProbeRequestError:
        log.error("probe.malformed", method=method)


async def run_probes(errand: ProbePlan, *, minute: int, seconds: float, clock: Clock) -> ProbeRun | None:
    """What *errand* meets, each answer awaited for *seconds*; None where it can't set out, which measures nothing."""
    try:
        (channel,) = aio_connections(errand.address, errand.identity, 1)
    except (KeyFileError, OSError) as error:
        log.error("probe.unready", consumer=errand.consumer, service=errand.service, error=type(error).__name__)
        return None
    async with channel:
        asking = asyncio.create_task(_call_all(channel, errand, seconds))
        health = await _check_health(channel, errand.wire, seconds)
        met = await asking
    unheard = await _transport_failure(errand, health, clock) if any(one.reason is None for one in met) else ""
    probes = []
    for (method, _), one in zip(errand.requests, met, strict=True):
        reason = unheard if one.reason is None else one.reason
        probes.append(Probe(minute, method, errand.consumer, attribution_of(reason) if reason else None, reason))
        if reason:
            log.warning("probe.failed", method=method, consumer=errand.consumer, reason=reason)
    own = tuple(found for one in met for found in one.inquiry_ids)
    return ProbeRun(tuple(probes), MetricsSample(minute, errand.service, health), own)


async def _call_all(channel: grpc.aio.Channel, errand: ProbePlan, seconds: float) -> list[_CallResult]:
    # One after the other: a method may be open only to who has asked another before.
    return [await _call(channel, method, request, seconds) for method, request in errand.requests]


async def _call(channel: grpc.aio.Channel, method: str, request: bytes, seconds: float) -> _CallResult:
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
    call = rpc(request, timeout=seconds)
    try:
        reply = await call
    except grpc.aio.AioRpcError as error:
        refusal = from_grpc(error)
        return _CallResult(refusal.reason if refusal else None, _trailer_inquiry_id(error.trailing_metadata()))
    # What the receipts name is all that was asked: a trailer beside them could only add what was not.
    if receipts := probe_requests.inquiry_ids(method, reply):
        return _CallResult("", tuple(set(receipts)))
    return _CallResult(Reason.PROVIDER_UNPROVEN, _trailer_inquiry_id(await call.trailing_metadata()))


def _trailer_inquiry_id(trailer: grpc.aio.Metadata) -> tuple[bytes, ...]:
    """The id that *trailer* gives its inquiry; none where it gives several, for the others would be somebody's."""
    found = {str(value) for key, value in trailer or () if key == "estelam-inquiry-id"}
    return tuple(probe_requests.parse_inquiry_id(found.pop())) if len(found) == 1 else ()


async def _check_health(channel: grpc.aio.Channel, wire: str, seconds: float) -> str:
    """What the service says of its health: SERVING, NOT_SERVING, or nothing."""
    stub = HealthStub(channel)  # type: ignore[no-untyped-call]
    try:
        said = await stub.Check(HealthCheckRequest(service=wire), timeout=seconds)
    except grpc.aio.AioRpcError:
        return ""
    return "SERVING" if said.status == HealthCheckResponse.SERVING else "NOT_SERVING"


async def _transport_failure(errand: ProbePlan, health: str, clock: Clock) -> str:
    """Why no word came back, as far as can be known from here: whoever is named is to blame by its own certificate."""
    if health:
        return TransportFailure.SERVICE_SILENT
    match await tls_probe.probe_tls(errand.address, errand.identity, _TLS_PROBE_SECONDS):
        case TlsProbeResult.UNREACHABLE:
            return TransportFailure.UNREACHABLE
        case TlsProbeResult.UNTRUSTED:
            return TransportFailure.SERVICE_UNPROVEN
        case TlsProbeResult.EXPIRED:
            return TransportFailure.SERVICE_CERTIFICATE_EXPIRED
        case TlsProbeResult.CLIENT_REJECTED:
            return rejection_reason(errand.identity, clock) or TransportFailure.SERVICE_SILENT
        case TlsProbeResult.ACCEPTED:
            return TransportFailure.SERVICE_SILENT
