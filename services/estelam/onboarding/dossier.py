"""The folder of one request: the request, what belongs to it, and the steps that were taken.

    onboarding/sample-bank/
        request.toml   who asks for what, and why
        client.csr     the consumer's request for a certificate
        client.crt     the certificate, once it is issued
        steps.toml     each step that was taken, appended

Every step states the digest of the request that it was taken for. Where the request is changed afterwards, no step
counts any more: approvals are of what was read.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from estelam.core.date_fields import Day
from estelam.core.dates import format_both
from estelam.core.exceptions import UsageError
from estelam.core.files import locked_folder, write_atomic
from estelam.core.model_files import load_model, read_text
from estelam.core.settings import Fingerprint
from estelam.onboarding.request import DossierError, Line, OffboardingRequest, OnboardingRequest, to_toml

REQUEST, SIGNING_REQUEST, CERTIFICATE, STEPS = "request.toml", "client.csr", "client.crt", "steps.toml"

R = TypeVar("R", OnboardingRequest, OffboardingRequest)


class StepName(StrEnum):
    """A step that was taken."""

    APPROVE = "approve"
    ISSUE = "issue"
    STAGE = "stage"
    CHECK = "check"
    ACTIVATE = "activate"


Approver = Literal["provider", "secretariat"]
"""Who approves a request (R1.0)."""
APPROVERS: tuple[Approver, ...] = get_args(Approver)


class Step(BaseModel):
    """One step that was taken, with its evidence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: StepName
    on: Day
    request: Fingerprint
    """The digest of the request that the step was taken for."""
    by: Approver | None = None
    reference: Line | None = None
    """The reference of an approval, as that of a letter; it names no person."""
    key: Fingerprint | None = None
    """SHA-256 of the certificate's public key."""
    grants: tuple[str, ...] = ()
    """The grants of the catalogue that the step added or changed."""
    outcome: str | None = None
    """What a call brought: ANSWERED or the reason of its refusal; NOT_CALLED where no call was made."""


class _Steps(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    step: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Dossier(Generic[R]):
    """A request with the steps that were taken."""

    folder: Path
    request: R
    digest: str
    """SHA-256 of the request's files, hexadecimal."""
    steps: tuple[Step, ...]

    @classmethod
    def open(cls, folder: Path, kind: type[R]) -> "Dossier[R]":
        """Read the dossier in *folder*.

        Raises:
            DossierError: a file can't be read or is invalid, or the request was changed after a step.
        """
        request = load_model(folder / REQUEST, kind, DossierError)
        steps = load_model(folder / STEPS, _Steps, DossierError).step if (folder / STEPS).exists() else ()
        found = cls(folder, request, _digest(folder), steps)
        for step in steps:
            if step.request != found.digest:
                raise DossierError(
                    f"{folder}: the request was changed after the step {step.step} of {format_both(step.on)}, so that"
                    " no step counts; put the files back as they were, or begin again in a new folder"
                )
        return found

    def last(self, name: StepName, where: Callable[[Step], bool] = lambda _step: True) -> Step | None:
        """Return the last step *name* for which *where* holds."""
        return next((step for step in reversed(self.steps) if step.step is name and where(step)), None)

    def is_after(self, name: StepName, earlier: StepName) -> bool:
        """Return whether the last step *name* was taken after the last step *earlier*."""
        taken = [step.step for step in self.steps if step.step in {name, earlier}]
        return bool(taken) and taken[-1] is name

    def check_in_time(self, today: date) -> None:
        """Check that the request can be carried out *today*.

        Raises:
            UsageError: it has expired.
        """
        if self.request.expires < today:
            raise UsageError(
                f"{self.folder}: the request expired on {format_both(self.request.expires)}; begin again in a new"
                " folder"
            )

    def record(self, step: Step) -> "Dossier[R]":
        """Append *step* to the steps, durably; return the dossier with it and with what was recorded meanwhile.

        Raises:
            DossierError: the file can't be read, or the request was changed meanwhile.
            OSError: the file can't be written; it is unchanged.
        """
        path, text = self.folder / STEPS, to_toml({"step": [step.model_dump(mode="python", exclude_defaults=True)]})
        with locked_folder(self.folder):
            before = read_text(path, DossierError) if path.exists() else ""
            write_atomic(path, before + (text if before else text.removeprefix("\n")), durable=True)
        return Dossier.open(self.folder, type(self.request))


def create(folder: Path, request: OnboardingRequest | OffboardingRequest, signing_request: str | None = None) -> None:
    """Write the files of a new request into *folder*.

    Raises:
        UsageError: there is a request already.
        OSError: a file can't be written.
    """
    if (folder / REQUEST).exists():
        raise UsageError(f"{folder / REQUEST}: exists already; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    if signing_request is not None:
        write_atomic(folder / SIGNING_REQUEST, signing_request)
    write_atomic(folder / REQUEST, to_toml(request.model_dump(mode="python")))


def _digest(folder: Path) -> str:
    lines = []
    for name in (SIGNING_REQUEST, REQUEST):
        if (path := folder / name).exists():
            content = read_text(path, DossierError).encode()
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
