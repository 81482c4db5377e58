"""Commands of `estelam onboarding`: each takes one step, records it, and prints the next."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message_factory import GetMessageClass
from pydantic import ValidationError

from estelam.auth.certificate import ClientCertificate, issued_name
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.grants import Quota
from estelam.auth.signing_request import read_signing_request
from estelam.catalogue.editing import EditedCatalogue, edited
from estelam.catalogue.loader import CatalogueState, read_catalogue, read_state
from estelam.catalogue.model import Catalogue, Grant
from estelam.cli import output
from estelam.cli.trial_call import TrialOptions, trial_call
from estelam.core import dates, normalize, validation
from estelam.core.clock import Clock
from estelam.core.contract import find_method
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import UsageError
from estelam.core.files import locked_folder, write_atomic
from estelam.core.key_types import works_with_tls
from estelam.core.keys import key_fingerprint
from estelam.core.model_files import read_text, validation_summary
from estelam.core.names import unknown_name
from estelam.core.pem import KeyFileError, name_text, read_certificates
from estelam.core.settings import CatalogueSettings, load_settings
from estelam.onboarding import progress, staging
from estelam.onboarding.dossier import APPROVERS, CERTIFICATE, SIGNING_REQUEST, Dossier, Step, StepName, create
from estelam.onboarding.progress import ANSWERED
from estelam.onboarding.request import DossierError, OnboardingRequest, RequestedMethod
from estelam.onboarding.staging import Onboarding

_LEGAL_DIGITS = 11
_METHOD_WITH_PERSONS = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"
"""A method whose request has a field with the rule of persons' ids."""


def request(
    folder: Path,
    consumer: str,
    legal_id: str,
    csr: Path,
    method: list[str],
    purpose: str,
    rate: float,
    burst: int,
    miss_cost: int,
    fa: str | None,
    en: str | None,
    days: int,
    catalogue: Path | None,
    *,
    as_json: bool,
) -> None:
    """Write a request for access, after a check of the certificate request."""
    with output.user_errors(as_json=as_json):
        output.check_new_folder(folder, "DIR")
        output.check_readable(csr)
        number = _legal_id(legal_id)
        try:
            quota = Quota(rate=rate, burst=burst, miss_cost=miss_cost)
            asked = OnboardingRequest(
                consumer=consumer,
                fa=fa,
                en=en,
                legal_id=number,
                purpose=purpose,
                expires=today() + timedelta(days=days),
                method=tuple(RequestedMethod(name=name, quota=quota) for name in method),
            )
        except ValidationError as invalid:
            raise UsageError(validation_summary(invalid)) from None
        found = read_catalogue(catalogue_folder(catalogue))
        staging.check_consumer(found, asked)
        staging.requested_methods(found, asked)
        read_signing_request(csr, number)
        create(folder, asked, read_text(csr, DossierError))
        dossier = open_dossier(folder)
    _print(dossier, {"request": str(folder), "digest": dossier.digest}, as_json=as_json)


def _legal_id(text: str) -> str:
    number = normalize.normalize_digits(text)
    if len(number) != _LEGAL_DIGITS:
        raise UsageError(f"--legal-id {text}: must be the 11 digits of a legal person")
    kind = GetMessageClass(find_method(_METHOD_WITH_PERSONS).input_type)
    if problem := validation.field_violation(kind, "beneficiary_id", number):
        raise UsageError(f"--legal-id {text}: {problem}")
    return number


def approve(folder: Path, by: str, reference: str, on: str | None, *, as_json: bool) -> None:
    """Record the approval of the provider or of the secretariat."""
    day = today() if on is None else output.parse_option("--on", on, dates.parse_date, as_json=as_json)
    with output.user_errors(as_json=as_json):
        if by not in APPROVERS:
            raise unknown_name("approver", by, APPROVERS)
        if day > today():
            raise UsageError(f"--on: {dates.format_both(day)} is after today")
        dossier = open_dossier(folder)
        dossier.check_in_time(today())
        if by not in progress.missing_approvals(dossier):
            raise UsageError(f"{folder}: the {by} has approved already; next: {progress.onboarding_advice(dossier)}")
        dossier = dossier.record(_step(dossier, StepName.APPROVE, on=day, by=by, reference=reference))
    _print(dossier, {"approved_by": by, "on": day, "reference": reference}, as_json=as_json)


def issue(folder: Path, ca: Path | None, certificate: Path | None, days: int, *, as_json: bool) -> None:
    """Issue the certificate by a development authority, or take one that another authority issued."""
    with output.user_errors(as_json=as_json):
        if ca is not None and certificate is not None:
            raise UsageError("give --ca or --certificate, not both")
        dossier = open_dossier(folder)
        dossier.check_in_time(today())
        progress.require(dossier, StepName.ISSUE)
        csr = read_signing_request(folder / SIGNING_REQUEST, dossier.request.legal_id)
        if ca is not None:
            output.check_folder(ca)
            issued = DevCertificateAuthority(ca).issue_for(csr, dossier.request.legal_id, lifetime=timedelta(days=days))
            content = issued.public_bytes(Encoding.PEM).decode()
        elif certificate is None:
            raise UsageError("give --ca, a development authority, or --certificate, the certificate that was issued")
        else:
            issued, content = _given(certificate, csr, dossier.request.legal_id), read_text(certificate, DossierError)
        write_atomic(folder / CERTIFICATE, content)
        key = key_fingerprint(issued.public_key())
        dossier = dossier.record(_step(dossier, StepName.ISSUE, key=key))
    facts = {"certificate": str(folder / CERTIFICATE), "key_sha256": key, "valid_until": issued.not_valid_after_utc}
    _print(dossier, facts, as_json=as_json)


def _given(path: Path, csr: x509.CertificateSigningRequest, legal_id: str) -> x509.Certificate:
    """Return the certificate in *path*, which must be for the key and the organisation of the request."""
    output.check_readable(path)
    found = read_certificates(path)[0]
    if found.public_key() != csr.public_key():
        raise UsageError(f"--certificate {path}: is of another key than the request {SIGNING_REQUEST}")
    client = ClientCertificate.of_chain([found])
    if client.organization_id != legal_id:
        raise UsageError(
            f"--certificate {path}: names {client.organization_id or 'no one organisation'}, not {legal_id}"
        )
    try:
        client.check_validity_period(Clock().micros())
    except Refusal:
        raise UsageError(f"--certificate {path}: is not valid today") from None
    if not works_with_tls(found):
        raise UsageError(f"--certificate {path}: services do not accept its kind of key")
    return found


def stage(folder: Path, catalogue: Path | None, *, as_json: bool) -> None:
    """Add consumer and grants to the catalogue, staged, if they would give the access that was asked for."""
    with output.user_errors(as_json=as_json):
        dossier, where = open_dossier(folder), catalogue_folder(catalogue)
        dossier.check_in_time(today())
        progress.require(dossier, StepName.STAGE)
        with changed_catalogue(where) as state:
            _check_certificate(dossier, state.catalogue)
            edits, names = staging.staged(state.catalogue, dossier, today())
            new = edited(where, state, edits)
            grants = [grant for grant in new.catalogue.grants if grant.id in names]
            _require_admission(staging.as_if_active(new.catalogue), dossier, grants)
            new.write()
            dossier = dossier.record(_step(dossier, StepName.STAGE, grants=tuple(grant.id for grant in grants)))
    _print(dossier, _written(new, grants), as_json=as_json)


def check(
    folder: Path,
    key: Path | None,
    question: Path | None,
    method: str | None,
    address: str | None,
    ca_certificates: Path | None,
    catalogue: Path | None,
    *,
    as_json: bool,
) -> None:
    """Explain each method, and call one with the new certificate; record the outcome if it is the one that is due."""
    with output.user_errors(as_json=as_json):
        dossier = open_dossier(folder)
        progress.require(dossier, StepName.CHECK)
        found = read_catalogue(catalogue_folder(catalogue))
        grants, is_active = progress.grants_of(found, dossier), progress.is_active(dossier)
        _check_certificate(dossier, found)
        _require_admission(found if is_active else staging.as_if_active(found), dossier, grants)
        name = full_name(found, grants, method)
        options = TrialOptions(key, question, address, ca_certificates, as_json)
        due = ANSWERED if is_active else Reason.NOT_GRANTED.value
        outcome = trial_call(name, folder / CERTIFICATE, {due}, options)
        if outcome != due:
            raise DossierError(
                f"{folder}: the call of {name} ended with {outcome}, not with {due}; nothing is recorded"
            )
        dossier = dossier.record(_step(dossier, StepName.CHECK, outcome=outcome))
    facts = {"called": name, "outcome": outcome, "explained": [grant.method for grant in grants]}
    _print(dossier, facts, as_json=as_json)


def activate(folder: Path, catalogue: Path | None, *, as_json: bool) -> None:
    """Make the staged grants active from today on."""
    with output.user_errors(as_json=as_json):
        dossier, where = open_dossier(folder), catalogue_folder(catalogue)
        dossier.check_in_time(today())
        progress.require(dossier, StepName.ACTIVATE)
        with changed_catalogue(where) as state:
            _check_certificate(dossier, state.catalogue)
            grants = staging.staged_grants(state.catalogue, dossier, is_active=None)
            new = edited(where, state, staging.activated(grants, today()))
            _require_admission(new.catalogue, dossier, grants)
            new.write()
            dossier = dossier.record(_step(dossier, StepName.ACTIVATE, grants=tuple(grant.id for grant in grants)))
    _print(dossier, _written(new, grants), as_json=as_json)


def status(folder: Path, *, as_json: bool) -> None:
    """Print the request, the steps that were taken, and the next one."""
    with output.user_errors(as_json=as_json):
        dossier = open_dossier(folder)
    asked = dossier.request
    facts = {
        "consumer": f"{asked.consumer} ({asked.legal_id})",
        "purpose": asked.purpose,
        "methods": [each.name for each in asked.method],
        "expires": asked.expires,
        "steps": describe_steps(dossier.steps),
    }
    _print(dossier, facts, as_json=as_json)


def describe_steps(steps: tuple[Step, ...]) -> list[str]:
    """Return a line for each step that was taken."""
    return [
        " ".join(
            filter(None, (dates.format_both(step.on), step.step, step.by, step.reference, step.outcome, *step.grants))
        )
        for step in steps
    ]


def open_dossier(folder: Path) -> Onboarding:
    """Read the dossier of an onboarding in *folder*."""
    output.check_folder(folder)
    return Dossier.open(folder, OnboardingRequest)


def catalogue_folder(folder: Path | None) -> Path:
    """Return *folder*, or that of the settings."""
    return folder or load_settings(CatalogueSettings).folder


@contextmanager
def changed_catalogue(folder: Path) -> Iterator[CatalogueState]:
    """Yield the catalogue in *folder*, which no other of these commands changes meanwhile."""
    output.check_folder(folder)
    with locked_folder(folder):
        yield read_state(folder)


def today() -> date:
    """Return the day in Iran."""
    return dates.today(Clock().now())


def full_name(catalogue: Catalogue, grants: list[Grant], method: str | None) -> str:
    """Return the full name of *method*, default the first, which must be one of *grants*."""
    names = {grant.method: service.full_name(grant.method) for grant in grants
             if grant.method and (service := catalogue.service(grant.service))}  # fmt: skip
    if method is not None and method not in names:
        raise unknown_name("method of the request", method, list(map(str, names)))
    return names[method] if method else next(iter(names.values()))


def _check_certificate(dossier: Onboarding, catalogue: Catalogue) -> None:
    """Check that client.crt is still the certificate that was issued, and is not denied."""
    path, step = dossier.folder / CERTIFICATE, dossier.last(StepName.ISSUE)
    found = read_certificates(path)[0]
    key = key_fingerprint(found.public_key())
    if step is None or step.key != key:
        raise KeyFileError(f"{path}: is not the certificate that was issued for this request")
    staging.check_not_denied(catalogue, key, issued_name(name_text(found.issuer), found.serial_number))


def _require_admission(catalogue: Catalogue, dossier: Onboarding, grants: list[Grant]) -> None:
    """Check that the consumer would be admitted today to each method, by the same rules as `catalogue explain`."""
    for explained in staging.dry_run(catalogue, dossier.request.consumer, grants, today()):
        if explained.denial_reasons:
            name = explained.target.full_name
            raise DossierError(f"{dossier.folder}: {name} would be refused: {'; '.join(explained.denial_reasons)}")


def _step(dossier: Onboarding, name: StepName, *, on: date | None = None, **facts: Any) -> Step:
    try:
        return Step(step=name, on=on or today(), request=dossier.digest, **facts)
    except ValidationError as invalid:
        raise UsageError(validation_summary(invalid, "--")) from None


def _written(new: EditedCatalogue, grants: list[Grant]) -> dict[str, Any]:
    files = [str(new.folder / file) for file in sorted(new.contents)]
    return {"grants": [grant.id for grant in grants], "written": files or None}


def _print(dossier: Onboarding, facts: dict[str, Any], *, as_json: bool) -> None:
    output.print_record({**facts, "next": progress.onboarding_advice(dossier)}, as_json=as_json)
