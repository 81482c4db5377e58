"""Probes: calls to the services as each consumer makes them, with its certificate and its current grants."""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import grpc
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.model import Catalogue
from estelam.client.channel import ClientIdentity, aio_connections
from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.pem import KeyFileError
from estelam.receipts.own_call import NONCE
from estelam.telemetry.call_counts import PROBE_KEY
from quality.attribution import TransportFailure, attribution_of
from quality.monitor import probe_requests, tls_probe
from quality.monitor.certificate_check import rejection_reason
from quality.monitor.probe_requests import ProbeRequestError
from quality.records import MetricsSample, Probe
from quality.settings import QualitySettings

log = structlog.get_logger()

_TLS_PROBE_SECONDS = 3.0
_ERROR_CHARACTERS = 300
_CALLERS_MISTAKES = frozenset(
    {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
)
"""Statuses by which a proxy, or another service at the address, may refuse a request that is not for it."""


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """Calls of one consumer to one service, in the catalogue's order, on one connection."""

    consumer: str
    """Legal id."""
    identity: ClientIdentity
    service: str
    wire: str
    address: str
    requests: tuple[tuple[str, bytes], ...]
    """Full method names (package.Service/Method) and serialized requests."""


@dataclass(frozen=True, slots=True)
class ProbeRun:
    """Results of a probe plan."""

    probes: tuple[Probe, ...]
    sample: MetricsSample
    inquiry_ids: tuple[bytes, ...]
    """Ids of the inquiries that the probes made."""


@dataclass(frozen=True, slots=True)
class _CallResult:
    """Result of one call. The reason is empty after an answer, and None if the service gave none."""

    reason: str | None
    inquiry_ids: tuple[bytes, ...] = ()
    error: str = ""
    """gRPC's status and details of a failed call, for the log."""


def plan_probes(settings: QualitySettings, catalogue: Catalogue, day: date) -> Iterator[ProbePlan]:
    """Plan the probes of *day*: every method in service at a known address, for each consumer that is granted it."""
    if settings.ca_certificates is None:
        return
    granted = {(grant.caller, grant.method) for grant in access_table(catalogue).grant if grant.in_force(day)}
    for probe in settings.probe:
        party = catalogue.party(probe.consumer)
        if party is None or party.legal_id is None:
            log.error("probe.consumer_unknown", consumer=probe.consumer)
            continue
        identity = ClientIdentity(probe.certificate, probe.private_key, settings.ca_certificates)
        for service in (one for one in catalogue.services if one.is_monitored):
            names = [service.full_name(method.name) for method in service.methods if method.in_service(day)]
            granted_names = [name for name in names if (party.legal_id, name) in granted]
            requests = [found for name in granted_names for found in _request(settings, name)]
            if requests and service.wire and (address := settings.addresses.get(service.slug)):
                yield ProbePlan(party.legal_id, identity, service.slug, service.wire, address, tuple(requests))


def _request(settings: QualitySettings, method: str) -> Iterator[tuple[str, bytes]]:
    try:
        yield method, probe_requests.encode(method, settings.probe_requests[method])
    except KeyError:
        log.warning("probe.request_missing", method=method)
    except ProbeRequestError:
        log.error("probe.request_invalid", method=method)


async def run_probes(plan: ProbePlan, *, minute: int, seconds: float, clock: Clock) -> ProbeRun | None:
    """Run *plan* with a timeout of *seconds* for each call.

    Returns None if its certificate can't be used: then nothing is measured.
    """
    if problem := rejection_reason(plan.identity, clock):  # no service could accept it: the monitor's own fault
        log.error("probe.identity_rejected", consumer=plan.consumer, service=plan.service, reason=problem)
        return None
    try:
        (channel,) = aio_connections(plan.address, plan.identity, 1)
    except (KeyFileError, OSError) as error:
        log.error("probe.identity_unusable", consumer=plan.consumer, service=plan.service, error=type(error).__name__)
        return None
    async with channel:
        calls = asyncio.create_task(_call_all(channel, plan, seconds))
        health = await _check_health(channel, plan.wire, seconds)
        results = await calls
    failure = await _transport_failure(plan, health) if any(one.reason is None for one in results) else ""
    probes = []
    for (method, _), one in zip(plan.requests, results, strict=True):
        reason = failure if one.reason is None else one.reason
        probes.append(Probe(minute, method, plan.consumer, attribution_of(reason) if reason else None, reason))
        if reason:
            log.warning("probe.failed", method=method, consumer=plan.consumer, reason=reason, error=one.error)
    inquiry_ids = tuple(found for one in results for found in one.inquiry_ids)
    return ProbeRun(tuple(probes), MetricsSample(minute, plan.service, health), inquiry_ids)


def attribute_to_path(runs: Sequence[ProbeRun], catalogue: Catalogue) -> list[ProbeRun]:
    """Return *runs*, with PATH_DOWN as the reason if every service of several providers was unreachable."""
    providers = {service.provider for run in runs if (service := catalogue.service(run.sample.service))}
    if len(providers) < 2 or any(one.reason != TransportFailure.UNREACHABLE for run in runs for one in run.probes):
        return list(runs)
    fault, reason = attribution_of(TransportFailure.PATH_DOWN), TransportFailure.PATH_DOWN
    return [replace(run, probes=tuple(replace(one, fault=fault, reason=reason) for one in run.probes)) for run in runs]


async def _call_all(channel: grpc.aio.Channel, plan: ProbePlan, seconds: float) -> list[_CallResult]:
    # Sequential: a method may require an earlier call of another one.
    return [await _call(channel, method, request, seconds) for method, request in plan.requests]


async def _call(channel: grpc.aio.Channel, method: str, request: bytes, seconds: float) -> _CallResult:
    metadata = ((PROBE_KEY, "1"), (NONCE, secrets.token_urlsafe(16)))
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
    call = rpc(request, timeout=seconds, metadata=metadata)
    try:
        reply = await call
    except grpc.aio.AioRpcError as error:
        refusal = from_grpc(error)
        unexplained = TransportFailure.STATUS_UNEXPLAINED if error.code() in _CALLERS_MISTAKES else None
        reason = refusal.reason if refusal else unexplained
        return _CallResult(reason, _trailer_inquiry_id(error.trailing_metadata()), _text(error))
    # The receipts name every inquiry of the call; a trailer beside them could only name foreign inquiries.
    if receipts := probe_requests.inquiry_ids(method, reply):
        return _CallResult("", tuple(set(receipts)))
    return _CallResult(Reason.PROVIDER_UNPROVEN, _trailer_inquiry_id(await call.trailing_metadata()))


def _text(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"[:_ERROR_CHARACTERS]


def _trailer_inquiry_id(trailer: grpc.aio.Metadata) -> tuple[bytes, ...]:
    """The inquiry id in *trailer*; empty if it has several, because the others would be foreign inquiries."""
    found = {str(value) for key, value in trailer or () if key == "estelam-inquiry-id"}
    return tuple(probe_requests.parse_inquiry_id(found.pop())) if len(found) == 1 else ()


async def _check_health(channel: grpc.aio.Channel, wire: str, seconds: float) -> str:
    """Health that the service reports: SERVING, NOT_SERVING, or empty if it does not reply."""
    stub = HealthStub(channel)  # type: ignore[no-untyped-call]
    try:
        response = await stub.Check(HealthCheckRequest(service=wire), timeout=seconds)
    except grpc.aio.AioRpcError:
        return ""
    return "SERVING" if response.status == HealthCheckResponse.SERVING else "NOT_SERVING"


async def _transport_failure(plan: ProbePlan, health: str) -> str:
    """Why the service gave no reason. A party is blamed only if its own certificate shows it."""
    if health:
        return TransportFailure.SERVICE_SILENT
    found = await tls_probe.probe_tls(plan.address, plan.identity.ssl_context(), _TLS_PROBE_SECONDS)
    return tls_probe.BY_RESULT[found]
