"""Checks of rules, agreements and monitor settings against the catalogue; each problem names its file or setting."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from estelam.catalogue import loader
from estelam.catalogue.effective_grants import effective_grants
from estelam.catalogue.model import FILES, Agreement, Catalogue
from estelam.client.channel import ClientIdentity
from estelam.client.webhooks import Receiver
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import describe_error
from estelam.core.keys import verifying_keys
from estelam.core.pem import KeyFileError
from estelam.receipts.cosignature import Cosigner
from quality import slo
from quality.monitor import certificate_check, probe_requests, service_probe
from quality.monitor.probe_requests import ProbeRequestError
from quality.settings import QualitySettings
from quality.slo import RulebookError


def find_problems(settings: QualitySettings, clock: Clock) -> list[str]:
    """Return all problems; empty if the configuration is consistent.

    Raises:
        CatalogueError: the catalogue can't be used.
    """
    catalogue = loader.read_catalogue(settings.catalogue)
    try:
        slo.read(settings.rules, catalogue)
        problems = []
    except RulebookError as error:
        problems = [str(error)]
    agreements = settings.catalogue / FILES["agreements"]
    problems += [f"{agreements}: {problem}" for problem in _check_agreements(catalogue)]
    problems += [f"[quality] {problem}" for rule in _CHECKS for problem in rule(settings, catalogue)]
    problems += [f"[quality] {problem}" for problem in _check_certificates(settings, catalogue, clock)]
    problems += [f"[quality] {problem}" for problem in _check_witness(settings)]
    return problems


def find_file_problems(settings: QualitySettings) -> list[str]:
    """Return which files can't be used; empty if the monitor can start and work with all that *settings* name.

    Raises:
        CatalogueError: the catalogue can't be used.
    """
    catalogue = loader.read_catalogue(settings.catalogue)
    reads: dict[str, Callable[[], object]] = {"rules": partial(slo.read, settings.rules, catalogue)}
    reads |= {f"webhook.{one.party}": partial(Receiver.of, one) for one in settings.webhook}
    if ca_certificates := settings.ca_certificates:
        for probe in settings.probe:
            identity = ClientIdentity(probe.certificate, probe.private_key, ca_certificates)
            reads[f"probe.{probe.consumer}"] = identity.credentials
    return [f"[quality] {problem}" for problem in (*_unreadable(reads), *_check_witness(settings))]


def _check_agreements(catalogue: Catalogue) -> Iterator[str]:
    for agreement in catalogue.agreements:
        service = catalogue.service(agreement.service)
        if service is not None and not service.is_monitored:
            yield f"{agreement.id}: {agreement.service} is listed only, and not monitored here"
        elif not _has_grant(catalogue, agreement):
            yield f"{agreement.id}: {agreement.consumer} has no grant for {agreement.service}"


def _has_grant(catalogue: Catalogue, agreement: Agreement) -> bool:
    callers = {party.legal_id for party in catalogue.consumers(agreement.consumer)}
    return any(
        derived.caller in callers
        for grant in catalogue.grants
        if grant.service == agreement.service
        for derived in effective_grants(catalogue, grant)
    )


def _check_services(settings: QualitySettings, catalogue: Catalogue) -> Iterator[str]:
    known = {service.slug for service in catalogue.services if service.is_monitored}
    for table in ("ledgers", "ledger_certificates", "ledger_retired_keys", "feeds", "addresses", "metrics"):
        for name in sorted(set(getattr(settings, table)) - known):
            yield f"{table}.{name}: no service of that name is provided here"


def _check_probe_requests(settings: QualitySettings, catalogue: Catalogue) -> Iterator[str]:
    known = {name for name, _, _ in catalogue.methods()}
    for method, request in settings.probe_requests.items():
        if method not in known:
            yield f"probe_requests: {method} is not a method of the catalogue"
            continue
        try:
            probe_requests.encode(method, request)
        except ProbeRequestError as error:
            yield f"probe_requests: {error}"


def _check_probe_coverage(settings: QualitySettings, catalogue: Catalogue) -> Iterator[str]:
    if not settings.probe:
        return
    if settings.ca_certificates is None:
        yield "ca_certificates: not set, so nothing is probed"
    for service in catalogue.services:
        if service.is_monitored and service.slug not in settings.addresses:
            yield f"addresses: {service.slug} has no address, so it is not probed"
    for name, service, _ in catalogue.methods():
        if service.slug in settings.addresses and name not in settings.probe_requests:
            yield f"probe_requests: {name} has no request, so it is not probed"


def _check_service_probes(settings: QualitySettings, catalogue: Catalogue) -> Iterator[str]:
    for one in settings.service_probe:
        service = catalogue.service(one.service)
        if service is None or service.methods:
            yield f"service_probe: {one.service} is not a service that the catalogue only lists"
            continue
        try:
            service_probe.tls_context(one, alpn=())
        except (OSError, KeyFileError) as error:
            yield f"service_probe.{one.service}: {describe_error(error)}"


def _check_webhooks(settings: QualitySettings, catalogue: Catalogue) -> Iterator[str]:
    for one in settings.webhook:
        if catalogue.party(one.party) is None:
            yield f"webhook: the catalogue has no party that is called {one.party}"
    yield from _unreadable({f"webhook.{one.party}": partial(Receiver.of, one) for one in settings.webhook})


_CHECKS: tuple[Callable[[QualitySettings, Catalogue], Iterator[str]], ...] = (
    _check_services,
    _check_probe_requests,
    _check_probe_coverage,
    _check_service_probes,
    _check_webhooks,
)


def _check_certificates(settings: QualitySettings, catalogue: Catalogue, clock: Clock) -> Iterator[str]:
    for probe in settings.probe:
        party = catalogue.party(probe.consumer)
        if party is None or party.legal_id is None:
            yield f"probe: no consumer with a legal id is called {probe.consumer}"
            continue
        if settings.ca_certificates is None:
            continue
        identity = ClientIdentity(probe.certificate, probe.private_key, settings.ca_certificates)
        if problem := _certificate_problem(identity, party.legal_id, clock):
            yield f"probe: {problem}"


def _check_witness(settings: QualitySettings) -> Iterator[str]:
    """Check the files that ledgers are verified and cosigned with."""
    loads: dict[str, Callable[[], object]] = {
        f"ledger_certificates.{service}": partial(verifying_keys, [file], settings.ledger_retired_keys.get(service))
        for service, file in settings.ledger_certificates.items()
    }
    if settings.witness_key:
        loads["witness_key"] = partial(Cosigner.load, settings.witness_name, settings.witness_key)
    yield from _unreadable(loads)


def _unreadable(loads: Mapping[str, Callable[[], object]]) -> Iterator[str]:
    """Yield the problem of each setting whose function in *loads* fails."""
    for setting, load in loads.items():
        try:
            load()
        except (OSError, KeyFileError, RulebookError) as error:
            yield f"{setting}: {describe_error(error)}"


def _certificate_problem(identity: ClientIdentity, legal_id: str, clock: Clock) -> str:
    """What is wrong with *identity* as that of *legal_id*; empty if nothing is."""
    try:
        identity.credentials()
        named = certificate_check.verified(identity, clock).organization_id
    except (OSError, KeyFileError) as error:
        return describe_error(error)
    except Refusal as refusal:
        if refusal.reason is Reason.CERTIFICATE_EXPIRED:
            return f"{identity.certificate}: the certificate is not valid now"
        return f"{identity.certificate}: the certificate is no client's, or not from an authority in ca_certificates"
    return "" if named == legal_id else f"{identity.certificate}: the certificate names another organisation"
