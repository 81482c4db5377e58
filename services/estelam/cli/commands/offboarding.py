"""Commands of `estelam offboarding`: each takes one step, records it, and prints the next."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from estelam.auth.certificate import ClientCertificate
from estelam.catalogue.editing import edited
from estelam.catalogue.loader import read_catalogue
from estelam.catalogue.model import Catalogue, Grant
from estelam.cli import output
from estelam.cli.commands.onboarding import catalogue_folder, changed_catalogue, describe_steps, full_name, today
from estelam.cli.trial_call import TrialOptions, trial_call
from estelam.core import dates
from estelam.core.errors import Reason
from estelam.core.exceptions import UsageError
from estelam.core.keys import key_fingerprint
from estelam.core.model_files import validation_summary
from estelam.core.pem import read_certificates
from estelam.onboarding import progress, staging
from estelam.onboarding.dossier import Dossier, Step, StepName, create
from estelam.onboarding.progress import NOT_CALLED
from estelam.onboarding.request import DossierError, OffboardingRequest
from estelam.onboarding.staging import Offboarding

_REFUSALS = {Reason.NOT_GRANTED.value, Reason.CERTIFICATE_DENIED.value}


def request(
    folder: Path,
    consumer: str,
    reason: str,
    until: str | None,
    deny: list[Path] | None,
    days: int,
    catalogue: Path | None,
    *,
    as_json: bool,
) -> None:
    """Write a request to end a consumer's access."""
    day = None if until is None else output.parse_option("--until", until, dates.parse_date, as_json=as_json)
    with output.user_errors(as_json=as_json):
        output.check_new_folder(folder, "DIR")
        for path in deny or ():
            output.check_readable(path)
        found = read_catalogue(catalogue_folder(catalogue))
        keys = tuple(_key_of(path, found, consumer) for path in deny or ())
        try:
            asked = OffboardingRequest(
                consumer=consumer,
                reason=reason,
                until=day,
                deny=keys,
                expires=max(today(), day or today()) + timedelta(days=days),
            )
        except ValidationError as invalid:
            raise UsageError(validation_summary(invalid)) from None
        create(folder, asked)
        dossier = _open(folder)
    _print(dossier, {"request": str(folder), "digest": dossier.digest}, as_json=as_json)


def _key_of(path: Path, catalogue: Catalogue, consumer: str) -> str:
    """Return SHA-256 of the key of the certificate *path*, which must be that of *consumer*."""
    certificate, party = read_certificates(path)[0], staging.consumer_of(catalogue, consumer)
    named = ClientCertificate.of_chain([certificate]).organization_id
    if party.legal_id is not None and named != party.legal_id:
        raise UsageError(f"--deny {path}: names {named or 'no one organisation'}, not {party.slug} ({party.legal_id})")
    return key_fingerprint(certificate.public_key())


def stage(folder: Path, catalogue: Path | None, *, as_json: bool) -> None:
    """Write the end of the grants and the denied keys into the catalogue."""
    with output.user_errors(as_json=as_json):
        dossier, where = _open(folder), catalogue_folder(catalogue)
        dossier.check_in_time(today())
        progress.require_offboarding(dossier, StepName.STAGE)
        with changed_catalogue(where) as state:
            edits, grants = staging.ending(state.catalogue, dossier, today())
            new = edited(where, state, edits)
            # The end comes first: access that has ended without a record of the step is the lesser fault.
            new.write()
            step = Step(
                step=StepName.STAGE,
                on=today(),
                request=dossier.digest,
                grants=tuple(grant.id for grant in grants),
            )
            dossier = dossier.record(step)
    facts = {
        "ended": [grant.id for grant in grants] or None,
        "until": dossier.request.until,
        "denied": list(dossier.request.deny) or None,
        "written": [str(where / file) for file in sorted(new.contents)] or None,
    }
    _print(dossier, facts, as_json=as_json)


def check(
    folder: Path,
    key: Path | None,
    certificate: Path | None,
    question: Path | None,
    method: str | None,
    address: str | None,
    ca_certificates: Path | None,
    catalogue: Path | None,
    *,
    as_json: bool,
) -> None:
    """Check that the access has ended: by the catalogue and, with the consumer's key, by a call that is refused."""
    with output.user_errors(as_json=as_json):
        dossier = _open(folder)
        progress.require_offboarding(dossier, StepName.CHECK)
        until = dossier.request.until
        if until is not None and not dossier.request.deny and today() <= until:
            raise UsageError(f"{folder}: the access ends after {dates.format_both(until)}; check then")
        found = read_catalogue(catalogue_folder(catalogue))
        if missing := staging.unended(found, dossier, today()):
            raise DossierError(f"{folder}: {'; '.join(missing)}")
        outcome = NOT_CALLED
        if key is not None:
            if certificate is None:
                raise UsageError("give --certificate, the consumer's certificate, with --key")
            name = full_name(found, _grants(found, dossier), method)
            options = TrialOptions(key, question, address, ca_certificates, as_json)
            outcome = trial_call(name, certificate, _REFUSALS, options)
            if outcome not in _REFUSALS:
                raise DossierError(f"{folder}: the call of {name} ended with {outcome}; nothing is recorded")
        step = Step(step=StepName.CHECK, on=today(), request=dossier.digest, outcome=outcome)
        dossier = dossier.record(step)
    lasting = [grant.id for grant in staging.without_end(found, dossier, today())]
    _print(dossier, {"outcome": outcome, "grants_without_end": lasting or None}, as_json=as_json)


def status(folder: Path, *, as_json: bool) -> None:
    """Print the request, the steps that were taken, and the next one."""
    with output.user_errors(as_json=as_json):
        dossier = _open(folder)
    asked = dossier.request
    facts = {
        "consumer": asked.consumer,
        "reason": asked.reason,
        "until": asked.until,
        "deny": list(asked.deny) or None,
        "steps": describe_steps(dossier.steps) or None,
    }
    _print(dossier, facts, as_json=as_json)


def _grants(catalogue: Catalogue, dossier: Offboarding) -> list[Grant]:
    party = staging.consumer_of(catalogue, dossier.request.consumer)
    found = [each for each in catalogue.grants if each.method and each.consumer in {party.slug, party.member_of}]
    if not found:
        raise UsageError(f"{dossier.folder}: {party.slug} has no grant of a method that could be called")
    return found


def _open(folder: Path) -> Offboarding:
    output.check_folder(folder)
    return Dossier.open(folder, OffboardingRequest)


def _print(dossier: Offboarding, facts: dict[str, Any], *, as_json: bool) -> None:
    output.print_record({**facts, "next": progress.offboarding_advice(dossier)}, as_json=as_json)
