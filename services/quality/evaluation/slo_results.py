"""Results of the quality rules: agreements in force, and the minimum rules for services and consumers."""

from collections.abc import Iterator, Sequence

from estelam.catalogue.model import Agreement, Catalogue
from quality.evaluation import incidents
from quality.evaluation.audience import Audience
from quality.evaluation.period_data import PeriodData
from quality.evaluation.report_model import Named, SloResult
from quality.evaluation.sli import Scope, evaluate
from quality.slo import Rulebook, RuleSet


def evaluate_rules(
    audience: Audience, data: PeriodData, catalogue: Catalogue, rules: Rulebook, methods: Sequence[str]
) -> Iterator[SloResult]:
    """Evaluate every rule set that *audience* may see, on the days on which it is in force."""
    first, last = data.days[0][0], data.days[-1][0]
    for agreement in catalogue.agreements:
        in_force = agreement.since <= last and (agreement.until is None or first <= agreement.until)
        if in_force and audience.sees_agreement(agreement, catalogue):
            yield _agreement_result(data, catalogue, rules.rule_set(agreement.rules), agreement)
    consumers = audience.legal_ids if audience.kind == "consumer" else None
    by_service: dict[str, list[str]] = {}
    for name in methods:
        by_service.setdefault(data.methods[name][0].slug, []).append(name)
    for slug, names in by_service.items():
        service = data.methods[names[0]][0]
        scope = Scope(slug, names, consumers, first, None)
        yield _minimum_result(
            "entering", "", rules.rule_set(rules.entering), data, scope, service=_named(service), consumer=None
        )
    for legal_id in sorted({consumer for method, consumer in data.traffic if method in methods}):
        mine = [name for name in methods if (name, legal_id) in data.traffic]
        who = incidents.named_consumer(catalogue, legal_id)
        # The minimum rules apply to parties of the catalogue only.
        if who.slug != legal_id and any(audience.sees_traffic((name, legal_id), data) for name in mine):
            scope = Scope("", mine, {legal_id}, first, None)
            yield _minimum_result("leaving", "", rules.rule_set(rules.leaving), data, scope, service=None, consumer=who)


def _agreement_result(data: PeriodData, catalogue: Catalogue, rules: RuleSet, agreement: Agreement) -> SloResult:
    methods = [name for name, (service, _) in data.methods.items() if service.slug == agreement.service]
    legal_ids = {party.legal_id for party in catalogue.consumers(agreement.consumer) if party.legal_id}
    scope = Scope(agreement.service, methods, legal_ids, agreement.since, agreement.until)
    service, consumer = catalogue.service(agreement.service), catalogue.party(agreement.consumer)
    return SloResult(
        kind="agreement",
        id=agreement.id,
        rules=Named(rules.slug, rules.fa, rules.en),
        service=_named(service),
        consumer=_named(consumer),
        since=agreement.since,
        until=agreement.until,
        verdicts=tuple(evaluate(one, data, scope) for one in rules.objectives),
    )


def _minimum_result(
    kind: str,
    number: str,
    rules: RuleSet,
    data: PeriodData,
    scope: Scope,
    *,
    service: Named | None,
    consumer: Named | None,
) -> SloResult:
    return SloResult(
        kind=kind,
        id=number,
        rules=Named(rules.slug, rules.fa, rules.en),
        service=service,
        consumer=consumer,
        since=None,
        until=None,
        verdicts=tuple(evaluate(one, data, scope) for one in rules.objectives),
    )


def _named(thing: object) -> Named | None:
    slug, fa, en = (getattr(thing, name, "") for name in ("slug", "fa", "en"))
    return Named(slug, fa, en) if slug else None
