"""The order of the steps: which one is next, and the refusal of any other."""

from estelam.catalogue.model import Catalogue, Grant
from estelam.core.exceptions import UsageError
from estelam.onboarding.dossier import APPROVERS, StepName
from estelam.onboarding.staging import Offboarding, Onboarding, staged_grants

ANSWERED, NOT_CALLED = "ANSWERED", "NOT_CALLED"
"""Outcomes of a check beside the reasons of refusals."""
DONE = "nothing: all steps are done"


def missing_approvals(dossier: Onboarding) -> list[str]:
    """Return who has not approved the request yet."""
    given = {step.by for step in dossier.steps if step.step is StepName.APPROVE}
    return [approver for approver in APPROVERS if approver not in given]


def next_of_onboarding(dossier: Onboarding) -> StepName | None:
    """Return the step that is next; None once the consumer is live, its call answered."""
    if missing_approvals(dossier):
        return StepName.APPROVE
    for name in (StepName.ISSUE, StepName.STAGE):
        if dossier.last(name) is None:
            return name
    if not dossier.last(StepName.ACTIVATE):
        return StepName.ACTIVATE if dossier.is_after(StepName.CHECK, StepName.STAGE) else StepName.CHECK
    return None if dossier.is_after(StepName.CHECK, StepName.ACTIVATE) else StepName.CHECK


def next_of_offboarding(dossier: Offboarding) -> StepName | None:
    """Return the step that is next; None once the end was checked."""
    if not dossier.last(StepName.STAGE):
        return StepName.STAGE
    return None if dossier.last(StepName.CHECK) else StepName.CHECK


def require(dossier: Onboarding, name: StepName) -> None:
    """Check that *name* is the step that is next for *dossier*; a check may be repeated.

    Raises:
        UsageError: it is not; the text states which one is.
    """
    due = next_of_onboarding(dossier)
    if name is not due and not (name is StepName.CHECK and dossier.last(name)):
        raise _out_of_order(dossier, name, onboarding_advice(dossier))


def require_offboarding(dossier: Offboarding, name: StepName) -> None:
    """Check that *name* is the step that is next for *dossier*; a check may be repeated.

    Raises:
        UsageError: it is not; the text states which one is.
    """
    due = next_of_offboarding(dossier)
    if name is not due and not (name is StepName.CHECK and dossier.last(name)):
        raise _out_of_order(dossier, name, offboarding_advice(dossier))


def _out_of_order(dossier: Onboarding | Offboarding, name: StepName, advice: str) -> UsageError:
    return UsageError(f"{dossier.folder}: {name} is not the next step; next: {advice}")


def onboarding_advice(dossier: Onboarding) -> str:
    """Return the command that is next, with why."""
    name, command = next_of_onboarding(dossier), f"estelam onboarding {{}} {dossier.folder}"
    if name is None:
        return DONE
    if name is StepName.APPROVE:
        missing = " and ".join(missing_approvals(dossier))
        return f"{command.format(name)} (the approval of {missing} is missing)"
    return command.format(name)


def offboarding_advice(dossier: Offboarding) -> str:
    """Return the command that is next."""
    name = next_of_offboarding(dossier)
    return f"estelam offboarding {name} {dossier.folder}" if name else DONE


def is_active(dossier: Onboarding) -> bool:
    """Return whether the grants were made active."""
    return dossier.last(StepName.ACTIVATE) is not None


def grants_of(catalogue: Catalogue, dossier: Onboarding) -> list[Grant]:
    """Return the grants of *dossier* as they stand in the catalogue, staged or active by the steps that were taken.

    Raises:
        DossierError: a grant is not what was approved and staged.
    """
    return staged_grants(catalogue, dossier, is_active=is_active(dossier))
