"""Evaluation of a month: availability, attribution, outages, visibility and agreements."""

from estelam.compat.check import MIN_NOTICE
from estelam.core.errors import Reason
from quality import traffic_store
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


def method(quality_store: QualityStore, name: str = CHECK_NOTE, audience: str = "working-group") -> MethodReport:
    return next(found for found in quality_store.report(audience).methods if found.method == name)


def test_empty_month(quality_store: QualityStore) -> None:
    """A month without traffic and probes has no availability, and no objective is met or broken."""
    report = quality_store.report()

    assert report.counts is None
    assert (report.minutes.up, report.minutes.availability) == (None, None)
    assert report.minutes.unmeasured == 5 * len(MONTH)
    assert {verdict.met for judged in report.slo_results for verdict in judged.verdicts} == {None}


def test_availability_from_probes(quality_store: QualityStore) -> None:
    """Answered probes make a month without traffic available."""
    quality_store.probe(MONTH, CHECK_NOTE, SETAD)

    assert method(quality_store).minutes.availability == 100


def test_outage_over_midnight(quality_store: QualityStore) -> None:
    """An outage over midnight is one outage, and its minutes count on each day."""
    quality_store.probe(range(at(12), at(14)), CHECK_NOTE, SETAD)
    quality_store.probe(range(at(12, 23), at(13, 2)), CHECK_NOTE, SETAD, Attribution.PROVIDER)

    report = quality_store.report()
    [outage] = report.outages
    assert (outage.fault, outage.minutes, outage.down) == (Attribution.PROVIDER, 180, 180)
    days = method(quality_store).days
    assert [days[day - 1].minutes.provider for day in (11, 12, 13, 14)] == [None, 60, 120, None]


def test_announced_outages(quality_store: QualityStore) -> None:
    """An outage announced in time is counted separately; one announced late is not."""
    quality_store.probe(MONTH, CHECK_NOTE, SETAD)
    for day, hours in ((10, 72), (20, 71.9)):
        quality_store.probe(range(at(day), at(day, 1)), CHECK_NOTE, SETAD, Attribution.PROVIDER)
        quality_store.announce(at(day), at(day, 1), hours=hours)

    minutes = method(quality_store).minutes
    assert (minutes.planned, minutes.provider) == (60, 60)
    reported = [
        (outage.fault, outage.counted_apart, outage.announced is not None) for outage in quality_store.report().outages
    ]
    assert reported == [("planned", True, True), ("planned", False, True), ("provider", False, True)]
    assert {instant_of(at(day, 1)) for day in (10, 20)} == {
        outage.announced_until for outage in quality_store.report().outages
    }


def test_failures_in_planned_outage(quality_store: QualityStore) -> None:
    """Failures within a planned outage count as planned, not as provider failures."""
    quality_store.observe(range(at(10), at(10, 1)), CHECK_NOTE, SETAD, tally(0, provider=5))
    quality_store.observe(range(at(11), at(11, 1)), CHECK_NOTE, SETAD, tally(5))
    quality_store.announce(at(10), at(10, 1), hours=100)

    counts = method(quality_store).counts
    assert counts
    assert (counts.planned, counts.provider, counts.answered) == (300, 0, 300)


def test_minutes_without_probes(quality_store: QualityStore) -> None:
    """Without a probe the inquiries decide the state; without both a minute is unmeasured."""
    quality_store.probe(range(at(5), at(5, 1)), CHECK_NOTE, SETAD)
    quality_store.observe(range(at(5, 1), at(5, 2)), CHECK_NOTE, SETAD, tally(3))
    quality_store.observe(range(at(5, 2), at(5, 3)), CHECK_NOTE, SETAD, tally(0, provider=3))

    day = method(quality_store).days[4].minutes
    assert (day.up, day.provider, day.unmeasured) == (120, 60, 21 * 60)


def test_gap_within_outage(quality_store: QualityStore) -> None:
    """Missing probes within an outage don't split it."""
    gap = {at(5, 0, 30), at(5, 0, 31)}
    quality_store.probe([m for m in range(at(5), at(5, 1)) if m not in gap], CHECK_NOTE, SETAD, Attribution.PROVIDER)

    [outage] = quality_store.report().outages
    assert (outage.minutes, outage.down) == (60, 58)


def test_outage_of_one_consumer(quality_store: QualityStore) -> None:
    """A failure for one consumer only is that consumer's outage and leaves the method available."""
    minutes = range(at(5), at(5, 1))
    quality_store.probe(minutes, CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    quality_store.probe(minutes, CHECK_NOTE, AGENCY)

    assert method(quality_store).minutes.availability == 100
    [outage] = quality_store.report().outages
    assert (outage.fault, outage.consumer and outage.consumer.slug) == (Attribution.CONSUMER, "setad")
    assert quality_store.report("consumer:cbi").outages == ()


def test_attribution_of_minutes(quality_store: QualityStore) -> None:
    """A minute counts to the exchange if no probe got a reply, and to the provider if one got its refusal."""
    quality_store.probe([at(5), at(5, 0, 1)], CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    quality_store.probe([at(5), at(5, 0, 1)], CHECK_NOTE, AGENCY, Attribution.CONSUMER)
    quality_store.probe([at(6), at(6, 0, 1)], CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    quality_store.probe([at(7), at(7, 0, 1)], CHECK_NOTE, SETAD, Attribution.EXCHANGE)
    quality_store.probe([at(7), at(7, 0, 1)], CHECK_NOTE, AGENCY, Attribution.PROVIDER)

    days = method(quality_store).days
    assert [(days[d].minutes.up, days[d].minutes.exchange, days[d].minutes.provider) for d in (4, 5, 6)] == [
        (2, 0, 0),
        (0, 2, 0),
        (0, 0, 2),
    ]


def test_outage_of_dependency(quality_store: QualityStore) -> None:
    """A service is charged with an outage of its own, and not with one of the service that it depends on."""
    minutes = range(at(5), at(5, 1))
    for name in (CHECK_NOTE, VERIFY_NOTE):
        quality_store.probe(minutes, name, SETAD, Attribution.PROVIDER)

    quality_store.probe(range(at(6), at(6, 1)), VERIFY_NOTE, SETAD, Attribution.PROVIDER)
    quality_store.probe(range(at(7), at(7, 1)), VERIFY_NOTE, SETAD)

    both, own = quality_store.report().outages
    assert (both.service.slug, both.methods) == ("promissory-note-inquiry", (CHECK_NOTE, VERIFY_NOTE))
    assert (own.service.slug, own.methods) == ("note-verification", (VERIFY_NOTE,))
    report = quality_store.report("provider:setad")
    assert (60, 60, 50) == (report.minutes.up, report.minutes.provider, report.minutes.availability)
    assert (0, 60) == (method(quality_store).minutes.up, method(quality_store).minutes.provider)
    [measured] = [
        one.measured
        for result in report.slo_results
        if result.kind == "entering"
        for one in result.verdicts
        if one.metric == "availability"
    ]
    assert 50 == measured


def test_failures_while_dependency_is_down(quality_store: QualityStore) -> None:
    """Failures while another service is down that this one depends on are counted apart, and are not its errors."""
    down, up = range(at(5), at(5, 1)), range(at(6), at(6, 1))
    quality_store.probe(down, CHECK_NOTE, SETAD, Attribution.PROVIDER)
    quality_store.probe(up, CHECK_NOTE, SETAD)
    quality_store.observe(down, VERIFY_NOTE, SETAD, tally(0, provider=2, consumer=1))
    quality_store.observe(up, VERIFY_NOTE, SETAD, tally(3, provider=1))

    counts = method(quality_store, VERIFY_NOTE).counts
    assert counts is not None
    assert (180, 120, 60, 60) == (counts.answered, counts.dependency, counts.provider, counts.consumer)
    [error_rate] = {
        one.measured
        for result in quality_store.report("provider:setad").slo_results
        if result.service and result.service.slug == "note-verification"
        for one in result.verdicts
        if one.metric is Sli.ERROR_RATE
    }
    assert 25 == error_rate


def test_method_lifetime_within_month(quality_store: QualityStore) -> None:
    """A method is evaluated on the days on which it is in service only."""

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

    quality_store.edit("services.yaml", live)
    quality_store.probe(range(at(10), at(20)), NATIONAL_ID, CBI)

    found = method(quality_store, NATIONAL_ID)
    assert (found.minutes.availability, found.minutes.up, found.minutes.unmeasured) == (100, 10 * 1440, 0)
    entering = next(
        one
        for one in quality_store.report().slo_results
        if one.service and one.service.slug == "cheque-case-inquiry" and one.kind == "entering"
    )
    notice = next(verdict for verdict in entering.verdicts if verdict.metric == "change_notice")
    assert (notice.measured, notice.met, notice.margin) == (8, False, 8 - MIN_NOTICE.days)
    assert all(one.method != NATIONAL_ID for one in quality_store.report(month=Month(1405, 7)).methods)


def test_interim_month(quality_store: QualityStore) -> None:
    """The report of a running month is interim and has no future minutes."""
    quality_store.after = at(3)
    quality_store.probe(range(at(1), at(3)), CHECK_NOTE, SETAD)

    report = quality_store.report()
    assert report.interim
    assert (method(quality_store).minutes.up, method(quality_store).minutes.unmeasured) == (2 * 1440, 0)


def test_visible_traffic(quality_store: QualityStore) -> None:
    """Each audience sees its own traffic only."""
    quality_store.observe([at(5)], CHECK_NOTE, SETAD, tally(3))
    quality_store.observe([at(5)], CHECK_NOTE, AGENCY, tally(5))
    quality_store.observe([at(5)], NATIONAL_ID, CBI, tally(7))

    seen = {
        who: counts and counts.inquiries
        for who in ("working-group", "provider:mefa", "consumer:setad")
        for counts in [quality_store.report(who).counts]
    }
    assert seen == {"working-group": 15, "provider:mefa": 8, "consumer:setad": 3}
    assert {one.slug for one in quality_store.report("consumer:cbi").services} == {"cheque-case-inquiry"}
    assert {one.consumer.slug for one in quality_store.report("consumer:cbi").consumers} == {"cbi"}


def test_agreement_days(quality_store: QualityStore) -> None:
    """An agreement is evaluated on the days on which it is in force."""
    quality_store.edit("agreements.yaml", lambda content: content["agreements"][0].update(since="1405-08-10"))
    quality_store.observe(range(at(5), at(5, 1)), CHECK_NOTE, SETAD, tally(1, micros=3_000_000))
    quality_store.observe(range(at(12), at(12, 1)), CHECK_NOTE, SETAD, tally(1, micros=50_000))

    agreement = next(one for one in quality_store.report("consumer:setad").slo_results if one.kind == "agreement")
    assert {verdict.metric: verdict.met for verdict in agreement.verdicts}[Sli.P95] is True


def test_observations_add_up(quality_store: QualityStore) -> None:
    """Observations of one minute, method and consumer are added."""
    for _ in range(2):
        quality_store.write(traffic_store.add_observations, Observation(at(5), CHECK_NOTE, SETAD, tally(2, consumer=1)))

    counts = method(quality_store).counts
    assert counts
    assert (counts.answered, counts.consumer, counts.p50) == (4, 2, counts.p99)


def test_attribution_of_reasons() -> None:
    """Every reason of the error catalogue has an attribution, and of any other nothing is known."""
    assert {attribution_of(reason) for reason in Reason} == set(Attribution) - {
        Attribution.EXCHANGE,
        Attribution.PLANNED,
        Attribution.DEPENDENCY,
        Attribution.UNKNOWN,
    }
    assert attribution_of("OF_A_LATER_RELEASE") is Attribution.UNKNOWN


def test_failing_traffic_outweighs_a_probe(quality_store: QualityStore) -> None:
    """A method that fails nine inquiries of ten is not available, though one probe a minute is answered."""
    quality_store.probe(range(at(5), at(5, 1)), CHECK_NOTE, SETAD)
    quality_store.observe(range(at(5), at(5, 0, 30)), CHECK_NOTE, SETAD, tally(1, provider=9))
    quality_store.observe(range(at(5, 0, 30), at(5, 1)), CHECK_NOTE, SETAD, tally(1, provider=1, consumer=40))

    found = method(quality_store)
    assert (30, 30) == (found.minutes.up, found.minutes.provider)
    [outage] = quality_store.report().outages
    assert ("provider", 30) == (outage.fault, outage.down)


def test_failing_probe_beside_traffic(quality_store: QualityStore) -> None:
    """A method that answers its consumers is available, though a probe fails; where nobody calls, the probe decides."""
    quality_store.probe(range(at(5), at(5, 1)), CHECK_NOTE, SETAD, Attribution.UNKNOWN)
    quality_store.observe(range(at(5), at(5, 0, 30)), CHECK_NOTE, SETAD, tally(2))

    found = method(quality_store).minutes
    assert (30, 30, 50.0) == (found.up, found.unknown, found.availability)


def test_unknown_while_nothing_was_counted(quality_store: QualityStore) -> None:
    """A failure that was not known is the provider's where the service counted before and after it, and not then."""
    counted = [minute for minute in range(at(5), at(5, 1)) if minute not in range(at(5, 0, 20), at(5, 0, 30))]
    wire = CHECK_NOTE.partition("/")[0]
    quality_store.write(traffic_store.mark_counted, *((minute, wire) for minute in counted))
    quality_store.probe(range(at(5), at(5, 0, 20)), CHECK_NOTE, SETAD)
    quality_store.probe(range(at(5, 0, 20), at(5, 0, 40)), CHECK_NOTE, SETAD, Attribution.UNKNOWN)

    found = method(quality_store).minutes
    assert (20, 10, 10) == (found.up, found.provider, found.unknown)


def test_unmeasured_month(quality_store: QualityStore) -> None:
    """A month without probes and traffic is not measured: it has no figure of 0, and no objective that was met."""
    report = quality_store.report()

    assert {"not_measured"} == {report.coverage} | {one.coverage for one in report.methods}
    assert {None} == {day.counts for one in report.methods for day in one.days}
    verdicts = [one for result in report.slo_results for one in result.verdicts]
    assert {"outage_notice", "change_notice"} == {one.metric for one in verdicts if one.state == "no_case"}
    assert {"no_case", "not_measured"} == {one.state for one in verdicts}
    assert not report.is_complete


def test_future_days(quality_store: QualityStore) -> None:
    """While a month runs, days that are still to come have no figures, and it is complete as far as it was read."""
    quality_store.after = at(10, 12)
    quality_store.probe(range(at(9), at(10, 12)), CHECK_NOTE, SETAD)
    quality_store.observe([at(9)], CHECK_NOTE, SETAD, tally(3))
    service = "promissory-note-inquiry"

    def read(until: int) -> None:
        quality_store.write(
            lambda opened, _: traffic_store.save_position(opened, service, traffic_store.LEDGER, 1, until * 60_000_000)
        )

    read(at(10, 6))
    late = method(quality_store)
    read(at(10, 12))
    found = method(quality_store)

    assert (False, True) == (late.is_complete, found.is_complete)
    days = [(day.coverage, day.counts and day.counts.inquiries) for day in found.days]
    assert [("not_measured", 0), ("measured", 3), ("measured", 0), ("future", None)] == days[7:11]
    assert instant_of(at(10, 6)) == late.traffic_until


def test_days_that_were_not_read(quality_store: QualityStore) -> None:
    """Days after the instant as of which a ledger was read are not known, and the month is not complete."""
    quality_store.observe([at(3)], CHECK_NOTE, SETAD, tally(3))
    until = at(20, 12) * 60_000_000
    quality_store.write(
        lambda opened, _: traffic_store.save_position(opened, "promissory-note-inquiry", traffic_store.LEDGER, 1, until)
    )

    days = [day.counts and day.counts.inquiries for day in method(quality_store).days]
    assert [0, 0, 3, *[0] * 17, *[None] * 10] == days
    assert not quality_store.report("provider:mefa").is_complete
