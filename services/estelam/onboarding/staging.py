"""What a request changes in the catalogue: grants that are staged, made active, or ended; keys that are denied."""

import re
from collections.abc import Sequence
from datetime import date

from estelam.catalogue.editing import Addition, Edit, FieldChange
from estelam.catalogue.effective_grants import GrantStatus, grant_status
from estelam.catalogue.explain import Explanation, explain
from estelam.catalogue.model import Approval, Catalogue, Denied, Grant, Method, Party, Service
from estelam.core.exceptions import UsageError
from estelam.core.names import unknown_name
from estelam.onboarding.dossier import APPROVERS, Dossier, StepName
from estelam.onboarding.request import DossierError, OffboardingRequest, OnboardingRequest, RequestedMethod

Onboarding = Dossier[OnboardingRequest]
Offboarding = Dossier[OffboardingRequest]


def requested_methods(catalogue: Catalogue, request: OnboardingRequest) -> list[tuple[Service, Method]]:
    """Return each method of *request* with its service.

    Raises:
        UnknownNameError: the catalogue has no such method.
        UsageError: the methods have several providers, each of which would have to approve.
    """
    known = {method.name: (service, method) for _, service, method in catalogue.methods()}
    for each in request.method:
        if each.name not in known:
            raise unknown_name("method", each.name, list(known))
    found = [known[each.name] for each in request.method]
    if len(providers := {service.provider for service, _ in found}) > 1:
        raise UsageError(f"the methods have several providers: {', '.join(sorted(providers))}; make a request for each")
    return found


def check_consumer(catalogue: Catalogue, request: OnboardingRequest) -> None:
    """Check that *request* names a new organisation, or one of the catalogue as it stands there.

    Raises:
        UsageError: it does not.
    """
    party, other = catalogue.party(request.consumer), _party_of(catalogue, request.legal_id)
    if other and other.slug != request.consumer:
        raise UsageError(f"the legal id {request.legal_id} is that of {other.slug}, not of {request.consumer}")
    if party and party.legal_id not in {None, request.legal_id}:
        raise UsageError(
            f"{request.consumer} has the legal id {party.legal_id} in the catalogue, not {request.legal_id}"
        )
    if party and party.is_class:
        raise UsageError(f"{request.consumer} is a class of parties; name one organisation")
    if party is None and not (request.fa and request.en):
        raise UsageError(f"the catalogue has no party {request.consumer}: give its names, --fa and --en")


def staged(catalogue: Catalogue, dossier: Onboarding, today: date) -> tuple[list[Edit], list[str]]:
    """Return the edits that add the consumer and its grants, which give no access yet, and the ids of the grants.

    Those that an interrupted run has added are taken as they are.

    Raises:
        UsageError: as `check_consumer` and `requested_methods`.
    """
    request = dossier.request
    check_consumer(catalogue, request)
    party, edits = catalogue.party(request.consumer), list[Edit]()
    if party is None:
        fa, en = request.fa or "", request.en or ""
        new = Party(slug=request.consumer, fa=fa, en=en, roles=["consumer"], legal_id=request.legal_id)
        edits.append(Addition("parties", new))
    elif party.legal_id is None:
        edits.append(FieldChange("parties", party.slug, {"legal_id": request.legal_id}))
    first = 1 + max(int(re.sub("[^0-9]", "", grant.id)) for grant in catalogue.grants)
    approvals, names = _approvals(dossier), list[str]()
    for number, (each, (service, method)) in enumerate(
        zip(request.method, requested_methods(catalogue, request), strict=True), first
    ):
        grant = _grant(f"G{number:02}", dossier, each, service, method, since=today, approvals=approvals)
        if (added := _same(catalogue, grant)) is None:
            edits.append(Addition("grants", grant))
        names.append(added or grant.id)
    return edits, names


def _same(catalogue: Catalogue, grant: Grant) -> str | None:
    """Return the id of the record that is *grant* but for its id and first day."""
    for each in catalogue.grants:
        if each == grant.model_copy(update={"id": each.id, "since": each.since}):
            return each.id
    return None


def _grant(
    name: str,
    dossier: Onboarding,
    asked: RequestedMethod,
    service: Service,
    method: Method,
    *,
    since: date,
    approvals: dict[str, Approval],
) -> Grant:
    return Grant(
        id=name,
        clause=method.clause,
        consumer=dossier.request.consumer,
        service=service.slug,
        method=method.name,
        provider_agreement=approvals["provider"],
        secretariat_consent=approvals["secretariat"],
        since=since,
        staged=True,
        quota=asked.quota,
        required_metadata=list(asked.required_metadata),
        note=dossier.request.purpose,
    )


def _approvals(dossier: Onboarding) -> dict[str, Approval]:
    found: dict[str, Approval] = {}
    for step in dossier.steps:
        if step.by is not None and step.reference is not None:
            found[step.by] = Approval(on=step.on, reference=step.reference)
    for approver in APPROVERS:
        if approver not in found:
            raise UsageError(f"{dossier.folder}: the approval of the {approver} is missing")
    return found


def staged_grants(catalogue: Catalogue, dossier: Onboarding, *, is_active: bool | None) -> list[Grant]:
    """Return the grants that were staged for *dossier*, as they stand in the catalogue; if given, all active or none.

    Raises:
        DossierError: a grant is missing, or is not what was approved, but for the days of its period.
    """
    step = dossier.last(StepName.STAGE)
    names, approvals = (step.grants if step else ()), _approvals(dossier)
    if len(names) != len(dossier.request.method):
        raise DossierError(f"{dossier.folder}: the step stage has not a grant for each method of the request")
    by_id = {grant.id: grant for grant in catalogue.grants}
    found = []
    pairs = zip(dossier.request.method, requested_methods(catalogue, dossier.request), strict=True)
    for name, (asked, (service, method)) in zip(names, pairs, strict=True):
        if (grant := by_id.get(name)) is None:
            raise DossierError(f"{dossier.folder}: the catalogue has no grant {name} any more, which was staged")
        meant = _grant(name, dossier, asked, service, method, since=grant.since, approvals=approvals)
        is_staged = grant.staged if is_active is None else not is_active
        if grant != meant.model_copy(update={"staged": is_staged, "until": grant.until}):
            raise DossierError(
                f"{dossier.folder}: the grant {name} of the catalogue is not what was approved, or"
                f" {'is not active' if is_active else 'is active already'}; compare it with the request"
            )
        found.append(grant)
    party = catalogue.party(dossier.request.consumer)
    if party is None or party.legal_id != dossier.request.legal_id:
        raise DossierError(f"{dossier.folder}: the catalogue has another legal id of {dossier.request.consumer}")
    return found


def activated(grants: Sequence[Grant], today: date) -> list[Edit]:
    """Return the edits that make those of *grants* that are staged active from *today* on."""
    return [FieldChange("grants", grant.id, {"since": today, "staged": None}) for grant in grants if grant.staged]


def as_if_active(catalogue: Catalogue) -> Catalogue:
    """Return *catalogue* as it would be if every staged grant were active."""
    grants = [grant.model_copy(update={"staged": False}) for grant in catalogue.grants]
    return catalogue.model_copy(update={"grants": grants})


def dry_run(catalogue: Catalogue, consumer: str, grants: Sequence[Grant], day: date) -> list[Explanation]:
    """Return whether *consumer* would be admitted to the method of each of *grants* on *day*."""
    found = []
    for grant in grants:
        service = catalogue.service(grant.service)
        name = service.full_name(grant.method) if service and grant.method else grant.service
        found.append(explain(catalogue, consumer=consumer, method=name, day=day))
    return found


def check_not_denied(catalogue: Catalogue, key: str, issued: str) -> None:
    """Check that no denial names a certificate by the SHA-256 of its *key*, or as *issued*.

    Raises:
        UsageError: one does.
    """
    if any(denied.name in {key, issued} for denied in catalogue.denied):
        raise UsageError("the certificate is denied by the catalogue; take another key")


def ending(catalogue: Catalogue, dossier: Offboarding, today: date) -> tuple[list[Edit], list[Grant]]:
    """Return the edits that end the consumer's access, and the grants that end.

    What an interrupted run has ended is taken as it is.

    Raises:
        UsageError: the catalogue has no such consumer, a grant that is to end is that of its class, or nothing changes.
    """
    request = dossier.request
    grants, edits = _lasting(catalogue, request, today), list[Edit]()
    if request.until is not None:
        edits += [_end(grant, request.until) for grant in grants]
    known = {denied.key for denied in catalogue.denied}
    edits += [
        Addition("denied", Denied(key=key, party=request.consumer, reason=request.reason))
        for key in request.deny
        if key not in known
    ]
    done = [grant for grant in catalogue.grants if grant.consumer == request.consumer and grant.until == request.until]
    ended = [*grants, *done] if request.until is not None else []
    is_resumed = ended or any(
        Denied(key=key, party=request.consumer, reason=request.reason) in catalogue.denied for key in request.deny
    )
    if not edits and not is_resumed:
        raise UsageError(f"{dossier.folder}: nothing is left to end: no grant lasts longer, and each key is denied")
    return edits, ended


def _end(grant: Grant, until: date) -> FieldChange:
    # A grant can't end before it begins: one that begins later is taken back to a staged one, which gives no access.
    return FieldChange("grants", grant.id, {"until": until} if grant.since <= until else {"staged": True})


def _lasting(catalogue: Catalogue, request: OffboardingRequest, today: date) -> list[Grant]:
    party = consumer_of(catalogue, request.consumer)
    found = [
        grant for grant in _grants_of(catalogue, party) if grant_status(catalogue, grant, today) != GrantStatus.ENDED
    ]
    of_class = [grant.id for grant in found if grant.consumer != party.slug]
    if request.until is not None and of_class:
        raise UsageError(
            f"{', '.join(of_class)}: is a grant to the class {party.member_of}, which does not end for one member; deny"
            " the keys of its certificates, and remove member_of from its record"
        )
    until = request.until or date.max
    lasting = [grant for grant in found if grant.until is None or grant.until > until]
    return [grant for grant in lasting if not (grant.staged and grant.since > until)]


def without_end(catalogue: Catalogue, dossier: Offboarding, day: date) -> list[Grant]:
    """Return the consumer's grants that apply from *day* or later on and have no last day: another key is admitted."""
    party = consumer_of(catalogue, dossier.request.consumer)
    applying = {GrantStatus.IN_FORCE, GrantStatus.PENDING}
    return [
        grant
        for grant in _grants_of(catalogue, party)
        if grant.until is None and grant_status(catalogue, grant, day) in applying
    ]


def _grants_of(catalogue: Catalogue, party: Party) -> list[Grant]:
    """Return the grants of *party* and of its class."""
    return [grant for grant in catalogue.grants if grant.consumer in {party.slug, party.member_of}]


def consumer_of(catalogue: Catalogue, name: str) -> Party:
    """Return the consumer *name*.

    Raises:
        UnknownNameError: the catalogue has no such party.
    """
    if (party := catalogue.party(name)) is None:
        raise unknown_name("party", name, [each.slug for each in catalogue.parties])
    return party


def unended(catalogue: Catalogue, dossier: Offboarding, day: date) -> list[str]:
    """Return what of the request is not in force in *catalogue* on *day*: grants that still apply, keys not denied."""
    request, denied = dossier.request, {each.key for each in catalogue.denied}
    missing = [f"the key {key} is not denied" for key in request.deny if key not in denied]
    if request.until is not None and request.until < day:
        over = {GrantStatus.ENDED, GrantStatus.STAGED, GrantStatus.INCOMPLETE}
        own = [grant for grant in catalogue.grants if grant.consumer == request.consumer]
        lasting = [grant.id for grant in own if grant_status(catalogue, grant, day) not in over]
        missing += [f"the grant {name} has not ended" for name in lasting]
    return missing


def _party_of(catalogue: Catalogue, legal_id: str) -> Party | None:
    return next((party for party in catalogue.parties if party.legal_id == legal_id), None)
