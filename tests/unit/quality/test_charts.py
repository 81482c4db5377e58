"""Charts draw what the figures say; a colour has one meaning; what is not measured has a form of its own."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

import pytest
from markupsafe import Markup

from quality.dashboard import sparklines
from quality.evaluation import minute_states
from quality.evaluation.report_model import Counts, Coverage, DayReport, MethodReport, Minutes, Named, Outage
from quality.report import charts
from quality.report.charts import CAUSES, STACKED, Slot
from quality.report.i18n import Localizer

SVG = "{http://www.w3.org/2000/svg}"
FIRST = date(2026, 10, 23)  # 1405-08-01
UP, GAP = Minutes(1440, 0, 0, 0, 0, 0, 100.0), Minutes(0, 0, 0, 0, 0, 1440, None)
FUTURE = Minutes(0, 0, 0, 0, 0, 0, None)
NONE = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None)
BUSY = Counts(1000, 690, 100, 80, 60, 30, 15, 10, 5, 10, 20.0, 80.0, 160.0)
DAYS = [(UP, BUSY), (GAP, NONE), (UP, replace(BUSY, inquiries=500, answered=200)), (UP, NONE), (FUTURE, None)]

each_language = pytest.mark.parametrize("language", ["fa", "en"])


def days() -> list[DayReport]:
    return [
        DayReport(
            FIRST + timedelta(at),
            f"1405-08-{at + 1:02}",
            minutes,
            Coverage.of(minutes, is_future=minutes is FUTURE),
            counts,
        )
        for at, (minutes, counts) in enumerate(DAYS)
    ]


def slots(l10n: Localizer) -> list[Slot]:
    return charts.day_slots(days(), l10n)


def method(of: list[DayReport]) -> MethodReport:
    names = ("m", "M", "م", "M", "s", None, None, None, None)
    return MethodReport(*names, UP, Coverage.of(UP), BUSY, None, None, is_complete=True, days=tuple(of))


def shapes(chart: Markup) -> list[tuple[str, float, float, str]]:
    """Class, x, height and tooltip of each bar, of those in a path too; a bar without a tooltip has its slot's."""
    root = ET.fromstring(  # noqa: S314 - our own
        str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )
    rectangles = [
        (str(one.get("class")), float(one.get("x", 0)), float(one.get("height", 0)), str(one.findtext(f"{SVG}title")))
        for one in root.iter(f"{SVG}rect")
    ]
    slots = [
        (range(x, x + width), str(one.findtext(f"{SVG}title")))
        for one in root.iterfind(f"{SVG}g[@class='slots']/{SVG}path")
        for x, width in [tuple(map(int, re.findall(r"M(\d+) .*h(\d+)", one.get("d", ""))[0]))]
    ]
    bars = [
        (str(one.get("class")), float(x), -float(height), one.findtext(f"{SVG}title") or _over(slots, float(x)))
        for one in root.iterfind(f"{SVG}path")
        for x, height in re.findall(r"M([\d.]+) [\d.]+v(-[\d.]+)h", one.get("d", ""))
    ]
    return bars + rectangles


def _over(slots: list[tuple[range, str]], x: float) -> str:
    return next(title for place, title in slots if round(x) in place)


@each_language
def test_volume(language: str) -> None:
    """Each slice of a column is as high as its count, in its cause's class, with its number in the tooltip."""
    l10n = Localizer(language)
    drawn = shapes(charts.volume(slots(l10n), l10n, "volume"))
    first = [one for one in drawn if one[1] == drawn[0][1]]
    height = 150 - 22 - 24

    assert list(STACKED) == [kind for kind, *_ in first]
    for kind, _, high, title in first:
        assert high == pytest.approx(height * getattr(BUSY, kind) / 1000, abs=0.05)
        assert f": {l10n.count(getattr(BUSY, kind))}" in title
    assert sum(high for _, _, high, _ in first) == pytest.approx(height, abs=0.2)


@each_language
@pytest.mark.parametrize("draw", [charts.volume, charts.failures])
def test_days_stay_in_their_places(language: str, draw: object) -> None:
    """A day without figures keeps its place, in a form of its own; a measured day without inquiries draws nothing."""
    drawn = shapes(draw(slots(Localizer(language)), Localizer(language), "label"))  # type: ignore[operator]
    places = sorted({x for _, x, _, _ in drawn}, reverse=language == "fa")
    kinds = [{kind for kind, x, _, _ in drawn if x == place} for place in places]
    step = abs(places[1] - places[0])

    assert [{"unmeasured"}, {"outside"}] == [kinds[1], kinds[3]]
    assert all("answered" in found or set(CAUSES) >= found for found in (kinds[0], kinds[2]))
    assert [0, 1, 2, 4] == [round(abs(place - places[0]) / step) for place in places]


@each_language
def test_outage_timeline(language: str) -> None:
    """Only measured days are in the colour of measured ones, and an outage is as long as it lasted, in its cause's."""
    l10n, begins = Localizer(language), datetime(2026, 10, 22, 20, 30, tzinfo=UTC)
    partly = replace(days()[0], minutes=replace(UP, up=1000, unmeasured=440))
    service = Named("s", "س", "S")
    first = begins + timedelta(days=2, hours=6)
    outage = Outage(
        service,
        ("m",),
        "exchange",
        None,
        first,
        first + timedelta(hours=12),
        720,
        720,
        None,
        None,
        counted_apart=True,
        reason_fa="",
        reason_en="",
    )
    drawn = shapes(charts.outage_timeline([outage], begins, [method([partly, *days()[1:]])], l10n, "label"))

    assert ["partly_measured", "unmeasured", "measured", "measured", "outside", "exchange"] == [one[0] for one in drawn]
    assert all(l10n.day(day.day) in one[3] for day, one in zip(days(), drawn, strict=False))
    assert l10n.length(720) in drawn[-1][3]


@each_language
def test_ribbon(language: str) -> None:
    """A ribbon's parts are as long as the states lasted, and name state and time."""
    minutes = bytes([minute_states.UP] * 720 + [minute_states.UNMEASURED] * 360 + [minute_states.PROVIDER] * 360)
    texts = {f"state_{name}": name for name in minute_states.NAMES}
    until = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)  # noon in Iran
    l10n = Localizer(language)
    drawn = shapes(sparklines.ribbon(minutes, "provider", until, texts, l10n, "label"))

    assert ["up", "unmeasured", "provider"] == [kind for kind, *_ in drawn]
    assert [l10n.time(until - timedelta(hours=24)), l10n.time(until)] == sparklines.hours(until, l10n)[::4]
    assert f"{l10n.time(until - timedelta(hours=6))} \u2013 {l10n.time(until)}" in drawn[-1][3]


def test_present_state() -> None:
    """A ribbon ends with the present state; an outage that has just ended is in the cell before."""
    minutes = bytes([minute_states.UP] * 1437 + [minute_states.PROVIDER] * 2 + [minute_states.UP])
    texts = {f"state_{name}": name for name in minute_states.NAMES}
    until = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    drawn = shapes(sparklines.ribbon(minutes, "up", until, texts, Localizer("en"), "label"))

    assert ["up", "provider", "up"] == [kind for kind, *_ in drawn]


@each_language
def test_band(language: str) -> None:
    """A day's bar is divided by its minutes' states; one that failed links to its month, one not measured is no up."""
    l10n = Localizer(language)
    failed = replace(UP, up=720, provider=720, availability=50.0)
    first, gap, *_, future = days()
    shown = [first, replace(first, minutes=failed), gap, future]
    texts = {f"state_{name}": name for name in minute_states.NAMES}
    chart = sparklines.band(shown, texts, l10n, "label", "outages")
    drawn = shapes(chart)

    assert ["up", "provider", "up", "unmeasured", "absent"] == [kind for kind, *_ in drawn]
    assert [17.0, 17.0] == [high for _, _, high, _ in drawn[1:3]]
    assert 1 == str(chart).count('href="outages?month=1405-08"')
    assert l10n.length(720) in drawn[1][3]


def test_hours() -> None:
    """Each hour's column stands at its hour, whose times are in its tooltip."""
    l10n, counts = Localizer("en"), [NONE] * 23 + [BUSY]
    drawn = shapes(
        charts.volume(sparklines.hour_slots(counts, datetime(2026, 11, 1, 8, 30, tzinfo=UTC), l10n), l10n, "label")
    )

    assert all("11:00" in title and "12:00" in title for *_, title in drawn)
    assert list(STACKED) == [kind for kind, *_ in drawn]


def test_latency() -> None:
    """Every day names its percentiles, and a day without answers interrupts the lines."""
    l10n = Localizer("en")
    chart = str(charts.latency(slots(l10n), {"p99": 500.0}, l10n, "label"))
    titles = re.findall(r"<title>([^<]+)</title>", chart)

    assert "p99, at most 500 ms" in titles
    assert [l10n.day(FIRST), l10n.day(FIRST + timedelta(2))] == [title.partition(",")[0] for title in titles[:-1]]
    assert f"{l10n.day(FIRST)}, p99: 160, p95: 80, median: 20" in titles
    assert [2, 2, 2] == [path.count("M") for path in re.findall(r'class="line p\d+" d="([^"]+)"', chart)]


def test_colours_have_one_meaning() -> None:
    """No two things that charts show share a colour, and percentiles have none."""
    tokens = files("estelam.presentation").joinpath("static/tokens.css").read_text("utf-8")
    report = files("quality.report").joinpath("templates/report.css").read_text("utf-8")
    kinds = ("up", *STACKED, "unmeasured", "measured")
    light, dark = zip(*(re.findall(rf"--{kind}: (#\w+);", tokens) for kind in kinds), strict=True)

    assert (len(kinds), len(kinds)) == (len(set(light)), len(set(dark)))
    assert {"var(--ink)"} == set(re.findall(r"\.(?:line|dot)[^{]*\{[^}]*(?:stroke|fill): (var[^;]+);", report))
