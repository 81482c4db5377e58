"""Drafts in Persian (R4.0, R4.2, R4.3), made from the same data as the checks: rules, limits and catalogue."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from estelam.catalogue.model import Agreement, Catalogue
from estelam.compat.check import MIN_NOTICE, MIN_OVERLAP
from estelam.core.errors import ERROR_CATALOGUE
from estelam.core.exceptions import UsageError
from estelam.core.names import unknown_name
from quality.attribution import EXCHANGE, Attribution, attribution_of
from quality.report.i18n import Localizer
from quality.slo import Rulebook

_ATTRIBUTIONS = tuple(each for each in Attribution if each not in {Attribution.PLANNED, Attribution.DEPENDENCY})


class AgreementError(UsageError):
    """No agreement can be printed."""


def documents(rules: Rulebook) -> Mapping[str, str]:
    """Return the text of each draft by its file name under `docs/fa/`; the agreement is one to be filled in."""
    return {
        "quality-rules.md": _render("quality-rules.md", rules=rules),
        "change-policy.md": _render("change-policy.md"),
        "service-level-agreement.md": _render(
            "agreement.md",
            rules=rules,
            agreement=None,
            signed={},
            service=None,
            provider=None,
            consumer=None,
            sets=_agreed(rules),
        ),
    }


def find_agreement(catalogue: Catalogue, number: str) -> Agreement:
    """Return the agreement of that *number* (S01).

    Raises:
        UnknownNameError: the catalogue has no such agreement.
    """
    agreement = next((one for one in catalogue.agreements if one.id == number), None)
    if agreement is None:
        raise unknown_name("agreement", number, [one.id for one in catalogue.agreements])
    return agreement


def agreement_text(catalogue: Catalogue, rules: Rulebook, agreement: Agreement) -> str:
    """Return *agreement* for signature, with the signatures that the catalogue has.

    Raises:
        AgreementError: its service or one of its parties is not in the catalogue.
    """
    service = catalogue.service(agreement.service)
    consumer = catalogue.party(agreement.consumer)
    provider = catalogue.party(service.provider) if service else None
    if service is None or provider is None or consumer is None:
        raise AgreementError(
            f"{agreement.id}: its service or a party is not in the catalogue; run: estelam catalogue check"
        )
    return _render(
        "agreement.md",
        rules=rules,
        agreement=agreement,
        signed={one.party: one for one in agreement.signatures},
        service=service,
        provider=provider,
        consumer=consumer,
        sets=[rules.rule_set(agreement.rules)],
    )


def signatories(catalogue: Catalogue, agreement: Agreement) -> tuple[str, str, str]:
    """Return the parties that sign *agreement*: provider, consumer and exchange centre."""
    service = catalogue.service(agreement.service)
    return service.provider if service else "", agreement.consumer, EXCHANGE


def _agreed(rules: Rulebook) -> list[Any]:
    return [one for one in rules.set if one.slug not in {rules.entering, rules.leaving}]


def _render(template: str, **values: Any) -> str:
    l10n = Localizer("fa")
    reasons = {
        attribution: [reason.value for reason in ERROR_CATALOGUE if attribution_of(reason) is attribution]
        for attribution in _ATTRIBUTIONS
    }
    limits = {"notice_days": MIN_NOTICE.days, "overlap_days": MIN_OVERLAP.days}
    text = (
        _environment().get_template(template).render(l10n=l10n, reasons=reasons, exchange=EXCHANGE, **limits, **values)
    )
    return text.strip() + "\n"


@cache
def _environment() -> Environment:
    loader = PackageLoader("quality.documents", "templates")
    # Markdown, not HTML: the values are names of the catalogue and numbers.
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
