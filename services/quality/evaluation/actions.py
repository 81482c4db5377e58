"""What a month's figures ask whom to do: one action for each objective not met, open alarm, gap and late consumer."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from estelam.catalogue.model import Catalogue
from quality.attribution import EXCHANGE
from quality.evaluation.report_model import Action, MethodReport, Named, Report
from quality.evaluation.sli import Verdict
from quality.slo import Sli

_OF_CONSUMER = {Sli.CONSUMER_FAULT_RATE, Sli.UNGRANTED_RATE}
_OF_SIDES = {Sli.AVAILABILITY, Sli.ERROR_RATE}


@dataclass(frozen=True, slots=True)
class _Owners:
    """The parties that own what a report is about."""

    catalogue: Catalogue
    report: Report

    def provider(self, slug: str) -> Named:
        service = self.catalogue.service(slug)
        return self.party(service.provider if service else "")

    def party(self, slug: str) -> Named:
        found = self.catalogue.party(slug)
        return Named(found.slug, found.fa, found.en) if found else Named(slug, slug, slug)

    def side(self, slug: str) -> Named:
        """The side with the most lost minutes of the service *slug*: its provider, else the exchange centre."""
        lost = [one.minutes for one in self.report.methods if one.service == slug]
        provider = sum(one.provider or 0 for one in lost)
        others = sum((one.exchange or 0) + (one.unknown or 0) for one in lost)
        return self.provider(slug) if provider >= others else self.party(EXCHANGE)


def list_actions(report: Report, catalogue: Catalogue) -> Iterator[Action]:
    """Return the actions that *report* asks for, those about objectives first."""
    owners = _Owners(catalogue, report)
    for result in report.slo_results:
        for verdict in result.verdicts:
            if verdict.met is False:
                owner = _owner(owners, verdict, result.service, result.consumer)
                subject = result.service or result.consumer or owner
                yield Action("objective", owner, subject, verdict.metric, result.id, None)
    for alarm in report.ledger_alarms:
        if alarm.acknowledged is None:
            yield Action("alarm", owners.provider(alarm.service), _service(report, alarm.service), "", "", None)
    for still in report.still_calling:
        yield Action("replace", still.consumer, _method(report, still.method), "", "", _sunset(report, still.method))
    if not report.is_complete and not report.interim:
        yield Action("measure", owners.party(EXCHANGE), report.reader, "", "", None)


def _owner(owners: _Owners, verdict: Verdict, service: Named | None, consumer: Named | None) -> Named:
    if service is None or verdict.metric in _OF_CONSUMER:
        return consumer or owners.party(EXCHANGE)
    return owners.side(service.slug) if verdict.metric in _OF_SIDES else owners.provider(service.slug)


def _service(report: Report, slug: str) -> Named:
    return next((one for one in report.services if one.slug == slug), Named(slug, slug, slug))


def _found(report: Report, name: str) -> MethodReport | None:
    return next((one for one in report.methods if one.method == name), None)


def _method(report: Report, name: str) -> Named:
    found = _found(report, name)
    return Named(name, found.fa, found.en) if found else Named(name, name, name)


def _sunset(report: Report, name: str) -> date | None:
    found = _found(report, name)
    return found.sunset if found else None
