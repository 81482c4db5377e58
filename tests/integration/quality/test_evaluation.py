"""What a month was: every edge at which the field has quarrelled."""

from estelam.core.errors import Reason
from quality import repository
from quality.attribution import Attribution, attribution_of
from quality.evaluation.report_model import MethodReport
from quality.periods import Month, instant_of
from quality.records import Observation
from quality.slo import Sli
from tests.integration.quality.conftest import (
    ABAN,
    AGENCY,
    CBI,
    CHECK_NOTE,
    NATIONAL_ID,
    SETAD,
    VERIFY_NOTE,
    QualityStore,
    at,
    tally,
)

MONTH = range(ABAN.first_minute, ABAN.end_minute)


def method(watch: QualityStore, name: str = CHECK_NOTE, audience: str = "working-group") -> MethodReport:
    return next(found for found in watch.report(audience).methods if found.method == name)


def test_a_month_without_traffic_and_probes_claims_nothing(watch: QualityStore) -> None:
    figures = watch.report()

    assert figures.counts.inquiries == 0
    assert figures.minutes.availability is None
    assert figures.minutes.unmeasured == 5 * len(MONTH)
    assert {verdict.met for judged in figures.slo_results for verdict in judged.verdicts} == {None}


def test_a_month_without_traffic_is_available_where_probes_were_answered(watch: QualityStore) -> None:
    watch.probe(MONTH, CHECK_NOTE, SETAD)

    assert method(watch).minutes.availability == 100


def test_an_outage_over_midnight_is_one_outage_whose_minutes_count_on_each_day(watch: QualityStore) -> None:
    watch.probe(range(at(12), at(14)), CHECK_NOTE, SETAD)
    watch.probe(range(at(12, 23), at(13, 2)), CHECK_NOTE, SETAD, Attribution.PROVIDER)

    figures = watch.report()
    [outage] = figures.outages
    assert (outage.fault, outage.minutes, outage.down) == (Attribution.PROVIDER, 180, 180)
    days = method(watch).days
    assert [days[day - 1].minutes.provider for day in (11, 12, 13, 14)] == [0, 60, 120, 0]


def test_an_outage_announced_in_time_is_counted_apart_and_one_announced_late_is_not(watch: QualityStore) -> None:
    watch.probe(MONTH, CHECK_NOTE, SETAD)
    for day, hours in ((10, 72), (20, 71.9)):
        watch.probe(range(at(day), at(day, 1)), CHECK_NOTE, SETAD, Attribution.PROVIDER)
        watch.announce(at(day), at(day, 1), hours=hours)

    minutes = method(watch).minutes
    assert (minutes.planned, minutes.provider) == (60, 60)
    told = [(outage.fault, outage.counted_apart, outage.announced is not None) for outage in watch.report().outages]
    assert told == [("planned", True, True), ("planned", False, True), ("provider", False, True)]
    assert {instant_of(at(day, 1)) for day in (10, 20)} == {outage.announced_until for outage in watch.report().outages}


def test_failures_within_a_planned_outage_are_not_in_the_error_rate(watch: QualityStore) -> None:
    watch.observe(range(at(10), at(10, 1)), CHECK_NOTE, SETAD, tally(0, provider=5))
    watch.observe(range(at(11), at(11, 1)), CHECK_NOTE, SETAD, tally(5))
    watch.announce(at(10), at(10, 1), hours=100)

    counts = method(watch).counts
    assert (counts.planned, counts.provider, counts.answered) == (300, 0, 300)


def test_a_missing_probe_is_no_outage_and_inquiries_tell_in_its_place(watch: QualityStore) -> None:
    watch.probe(range(at(5), at(5, 1)), CHECK_NOTE, SETAD)
    watch.observe(range(at(5, 1), at(5, 2)), CHECK_NOTE, SETAD, tally(3))
    watch.observe(range(at(5, 2), at(5, 3)), CHECK_NOTE, SETAD, tally(0, provider=3))

    day = method(watch).days[4].minutes
    assert (day.up, day.provider, day.unmeasured) == (120, 60, 21 * 60)


def test_probes_missing_in_the_midst_of_an_outage_make_no_two_of_it(watch: QualityStore) -> None:
    gap = {at(5, 0, 30), at(5, 0, 31)}
    watch.probe([m for m in range(at(5), at(5, 1)) if m not in gap], CHECK_NOTE, SETAD, Attribution.PROVIDER)

    [outage] = watch.report().outages
    assert (outage.minutes, outage.down) == (60, 58)


def test_what_fails_for_one_consumer_alone_is_that_consumers_outage(watch: QualityStore) -> None:
    minutes = range(at(5), at(5, 1))
    watch.probe(minutes, CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    watch.probe(minutes, CHECK_NOTE, AGENCY)

    assert method(watch).minutes.availability == 100
    [outage] = watch.report().outages
    assert (outage.fault, outage.consumer and outage.consumer.slug) == (Attribution.CONSUMER, "setad")
    assert watch.report("consumer:cbi").outages == ()


def test_no_word_for_anybody_is_the_exchanges_and_one_word_of_failing_the_providers(watch: QualityStore) -> None:
    watch.probe([at(5), at(5, 0, 1)], CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    watch.probe([at(5), at(5, 0, 1)], CHECK_NOTE, AGENCY, Attribution.CONSUMER)
    watch.probe([at(6), at(6, 0, 1)], CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    watch.probe([at(7), at(7, 0, 1)], CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    watch.probe([at(7), at(7, 0, 1)], CHECK_NOTE, AGENCY, Attribution.PROVIDER)

    days = method(watch).days
    assert [(days[d].minutes.up, days[d].minutes.exchange, days[d].minutes.provider) for d in (4, 5, 6)] == [
        (2, 0, 0),
        (0, 2, 0),
        (0, 0, 2),
    ]


def test_what_depends_on_another_is_not_to_blame_for_its_outage(watch: QualityStore) -> None:
    minutes = range(at(5), at(5, 1))
    for name in (CHECK_NOTE, VERIFY_NOTE):
        watch.probe(minutes, name, SETAD, Attribution.PROVIDER)

    [outage] = watch.report().outages
    assert (outage.service.slug, outage.methods) == ("promissory-note-inquiry", (CHECK_NOTE, VERIFY_NOTE))


def test_a_method_born_and_replaced_in_mid_month_is_judged_on_its_own_days(watch: QualityStore) -> None:
    def live(content: dict[str, list[dict[str, object]]]) -> None:
        service = next(found for found in content["services"] if found["slug"] == "cheque-case-inquiry")
        methods = service["methods"]
        assert isinstance(methods, list)
        methods[0] |= {
            "introduced": "1405-08-10",
            "notice": "1405-08-12",
            "deprecated": "1405-08-15",
            "sunset": "1405-08-20",
            "replaced_by": "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByTrackingId",
        }

    watch.edit("services.yaml", live)
    watch.probe(range(at(10), at(20)), NATIONAL_ID, CBI)

    found = method(watch, NATIONAL_ID)
    assert (found.minutes.availability, found.minutes.up, found.minutes.unmeasured) == (100, 10 * 1440, 0)
    entering = next(
        one
        for one in watch.report().slo_results
        if one.service and one.service.slug == "cheque-case-inquiry" and one.kind == "entering"
    )
    notice = next(verdict for verdict in entering.verdicts if verdict.metric == "change_notice")
    assert (notice.measured, notice.met, notice.margin) == (8, False, -82)
    assert all(one.method != NATIONAL_ID for one in watch.report(month=Month(1405, 7)).methods)


def test_a_month_that_still_runs_says_so_and_tells_of_no_minute_to_come(watch: QualityStore) -> None:
    watch.after = at(3)
    watch.probe(range(at(1), at(3)), CHECK_NOTE, SETAD)

    figures = watch.report()
    assert figures.interim
    assert (method(watch).minutes.up, method(watch).minutes.unmeasured) == (2 * 1440, 0)


def test_each_reader_sees_its_own_traffic_alone(watch: QualityStore) -> None:
    watch.observe([at(5)], CHECK_NOTE, SETAD, tally(3))
    watch.observe([at(5)], CHECK_NOTE, AGENCY, tally(5))
    watch.observe([at(5)], NATIONAL_ID, CBI, tally(7))

    seen = {who: watch.report(who).counts.inquiries for who in ("working-group", "provider:mefa", "consumer:setad")}
    assert seen == {"working-group": 15, "provider:mefa": 8, "consumer:setad": 3}
    assert {one.slug for one in watch.report("consumer:cbi").services} == {"cheque-case-inquiry"}
    assert {one.consumer.slug for one in watch.report("consumer:cbi").consumers} == {"cbi"}


def test_an_agreement_is_judged_on_the_days_on_which_it_is_in_force(watch: QualityStore) -> None:
    watch.edit("agreements.yaml", lambda content: content["agreements"][0].update(since="1405-08-10"))
    watch.observe(range(at(5), at(5, 1)), CHECK_NOTE, SETAD, tally(1, micros=3_000_000))
    watch.observe(range(at(12), at(12, 1)), CHECK_NOTE, SETAD, tally(1, micros=50_000))

    agreement = next(one for one in watch.report("consumer:setad").slo_results if one.kind == "agreement")
    assert {verdict.metric: verdict.met for verdict in agreement.verdicts}[Sli.P95] is True


def test_observations_of_one_minute_add_up(watch: QualityStore) -> None:
    for _ in range(2):
        watch.write(repository.add_observations, Observation(at(5), CHECK_NOTE, SETAD, tally(2, consumer=1)))

    counts = method(watch).counts
    assert (counts.answered, counts.consumer, counts.p50) == (4, 2, method(watch).counts.p99)


def test_every_reason_of_the_error_table_is_attributed() -> None:
    assert {attribution_of(reason) for reason in Reason} == set(Attribution) - {
        Attribution.EXCHANGE,
        Attribution.PLANNED,
    }
    assert attribution_of("OF_A_LATER_RELEASE") is Attribution.PROVIDER
