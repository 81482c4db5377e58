"""Texts of the report and formats of numbers, durations, dates and times, in Persian and English."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal

from estelam.core.clock import TEHRAN
from quality.evaluation.report_model import Named
from quality.periods import NAMES_EN, NAMES_FA, Month, jalali

_DIGITS = str.maketrans("0123456789.,", "۰۱۲۳۴۵۶۷۸۹٫٬")
NONE = "–"
# Isolates that keep a value left to right within a line of either direction.
_LTR, _END = "\u2066", "\u2069"

WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("گزارش ماهانه کیفیت سرویس", "Monthly service quality report"),
    "exchange": ("مرکز ملی تبادل اطلاعات", "National Information Exchange"),
    "for": ("برای", "For"),
    "period": ("دوره", "Period"),
    "issued": ("تاریخ صدور", "Issued"),
    "interim": (
        "ماه هنوز به پایان نرسیده است؛ این گزارش تا لحظه زیر را در بر دارد و نهایی نیست:",
        "The month is not over; this report is not final and tells of it up to:",
    ),
    "availability": ("دسترس‌پذیری", "Availability"),
    "inquiries": ("استعلام", "Inquiries"),
    "answered": ("پاسخ‌داده", "Answered"),
    "of_all": ("از همه استعلام‌ها", "of all inquiries"),
    "answer_time": ("زمان پاسخ (صدک ۹۵)", "Answer time (95th percentile)"),
    "median": ("میانه", "median"),
    "promises": ("تعهدات", "Promises"),
    "met_of": ("برآورده از", "met of"),
    "outages": ("قطعی‌ها", "Outages"),
    "unplanned": ("برنامه‌ریزی‌نشده", "unplanned"),
    "no_outages": ("در این ماه هیچ قطعی ثبت نشده است.", "No outage was recorded in this month."),
    "no_traffic": ("در این ماه هیچ استعلامی نرسیده است.", "No inquiry came in this month."),
    "calendar": ("تقویم دسترس‌پذیری", "Availability calendar"),
    "calendar_note": (
        (
            "هر خانه یک روز است و درصد دقیقه‌هایی را نشان می‌دهد که متد در دسترس بوده است. "
            "قطعی اعلام‌شده به‌موقع جدا شمرده می‌شود."
        ),
        (
            "Each cell is a day, with the share of its minutes in which the method could be had. "
            "An outage announced in time is counted apart."
        ),
    ),
    "latency": ("زمان پاسخ به تفکیک روز", "Answer time by day"),
    "latency_note": ("میلی‌ثانیه، مقیاس لگاریتمی", "milliseconds, logarithmic scale"),
    "outcomes": ("سرانجام استعلام‌ها", "What became of inquiries"),
    "volume": ("شمار استعلام در روز", "Inquiries a day"),
    "failures": ("درصد بی‌پاسخ در روز، به تفکیک علت", "Unanswered share of each day, by cause"),
    "agreements": ("توافق‌نامه‌های سطح خدمت", "Service level agreements"),
    "minimums": ("ضوابط حداقل کیفیت", "Minimum quality rules"),
    "entering": ("ورودی: خدمت‌دهنده", "Entering: provider"),
    "leaving": ("خروجی: خدمت‌گیرنده", "Leaving: consumer"),
    "no_agreements": (
        "برای این گیرنده توافق‌نامه‌ای در این ماه نافذ نبوده است.",
        "No agreement of this reader was in force in this month.",
    ),
    "metric": ("سنجه", "Metric"),
    "bound": ("حد تعهد", "Bound"),
    "measured": ("اندازه‌گیری", "Measured"),
    "result": ("نتیجه", "Result"),
    "margin": ("فاصله تا حد", "Margin"),
    "met": ("برآورده", "Met"),
    "broken": ("نقض", "Broken"),
    "no_case": ("بی‌مورد", "No case"),
    "at_least": ("دست‌کم", "at least"),
    "at_most": ("حداکثر", "at most"),
    "not_after": ("نه پس از", "not after"),
    "service": ("سرویس", "Service"),
    "method": ("متد", "Method"),
    "consumer": ("خدمت‌گیرنده", "Consumer"),
    "consumers": ("خدمت‌گیرندگان", "Consumers"),
    "cause": ("علت", "Attributed to"),
    "from": ("از", "From"),
    "until": ("تا", "Until"),
    "announced_until": ("اعلام‌شده تا", "announced until"),
    "length": ("مدت", "Length"),
    "notice": ("اعلام قبلی", "Announced"),
    "before": ("پیش از آغاز", "before it began"),
    "late_notice": ("دیر اعلام شده؛ جدا شمرده نمی‌شود", "announced late; not counted apart"),
    "unannounced": ("بدون اعلام", "unannounced"),
    "reason": ("شرح", "Reason"),
    "fault_provider": ("خدمت‌دهنده", "Provider"),
    "fault_exchange": ("مرکز تبادل", "Exchange"),
    "fault_consumer": ("خدمت‌گیرنده", "Consumer"),
    "fault_ungranted": ("بدون مجوز", "Not granted"),
    "fault_throttled": ("فراتر از سهمیه", "Over quota"),
    "fault_planned": ("برنامه‌ریزی‌شده", "Planned"),
    "unmeasured": ("اندازه‌گیری‌نشده", "Not measured"),
    "absent": ("خارج از دوره ارائه", "Not in service"),
    "total": ("جمع", "Total"),
    "data": ("تازگی و پوشش داده", "Freshness and coverage of data"),
    "oldest": ("بیشترین سن داده", "Greatest age of data"),
    "covered": ("کامل از تاریخ", "Complete since"),
    "changes": ("تغییر و جایگزینی سرویس", "Changes and replacements"),
    "introduced": ("آغاز ارائه", "Introduced"),
    "deprecated": ("منسوخ از", "Deprecated since"),
    "sunset": ("پایان ارائه", "Ends"),
    "replaced_by": ("جایگزین", "Replaced by"),
    "still_calls": ("هنوز فراخوانی می‌کنند", "Still call it"),
    "times": ("استعلام", "inquiries"),
    "last_on": ("آخرین در", "last on"),
    "nobody": ("هیچ‌کس", "nobody"),
    "ledgers": ("سر زنجیره دفترها", "Heads of the ledgers"),
    "ledger_note": (
        "با نگه داشتن این سطرها می‌توان بعداً نشان داد که چیزی از دفتر بریده یا بازنویسی نشده است.",
        "Whoever keeps these lines can show later that nothing was cut off a ledger or rewritten.",
    ),
    "no_ledgers": ("سر هیچ دفتری در این ماه دیده نشده است.", "No ledger's head was seen in this month."),
    "block": ("بلوک", "Block"),
    "entries": ("سطر", "Entries"),
    "seen": ("زمان مشاهده", "Seen"),
    "signature": ("امضا", "Signature"),
    "signature_note": (
        (
            "ارقام این گزارش عیناً در پرونده figures.json آمده و با کلید زیر امضا شده است. "
            "تعریف هر سنجه در «ضوابط کیفیت» است."
        ),
        (
            "The figures of this report stand in figures.json, signed with the key below. "
            "The quality rules define each metric."
        ),
    ),
    "key": ("کلید", "Key"),
    "digest": ("درهم‌ساز ارقام", "Digest of the figures"),
    "language": ("English", "فارسی"),
    "day": ("روز", "Day"),
    "metric_availability": ("دسترس‌پذیری بدترین متد", "Availability of the worst method"),
    "metric_p50": ("زمان پاسخ، میانه", "Answer time, median"),
    "metric_p95": ("زمان پاسخ، صدک ۹۵", "Answer time, 95th percentile"),
    "metric_p99": ("زمان پاسخ، صدک ۹۹", "Answer time, 99th percentile"),
    "metric_error_rate": ("نرخ خطای خدمت‌دهنده و مرکز", "Error rate of provider and exchange"),
    "metric_freshness": ("بیشترین سن داده", "Greatest age of data"),
    "metric_coverage": ("پوشش داده از تاریخ", "Data complete since"),
    "metric_outage_notice": ("مهلت اعلام قطعی", "Notice given before an outage"),
    "metric_change_notice": ("مهلت اعلام تغییر", "Notice given before a change"),
    "metric_consumer_fault_rate": ("نرخ خطای خدمت‌گیرنده", "Rate of the consumer's own faults"),
    "metric_ungranted_rate": ("نرخ فراخوانی بدون مجوز", "Rate of calls without a grant"),
    "p95": ("صدک ۹۵", "p95"),
    "p99": ("صدک ۹۹", "p99"),
    "ms": ("میلی‌ثانیه", "ms"),
    "hours": ("ساعت", "h"),
    "days": ("روز", "days"),
    "points": ("واحد درصد", "points"),
    "detail": ("ارقام روزانه", "Figures by day"),
}
_UNITS = {
    "p50": "ms",
    "p95": "ms",
    "p99": "ms",
    "freshness": "hours",
    "outage_notice": "hours",
    "change_notice": "days",
}
WEEK = {"fa": ("ش", "ی", "د", "س", "چ", "پ", "ج"), "en": ("Sa", "Su", "Mo", "Tu", "We", "Th", "Fr")}


@dataclass(frozen=True, slots=True)
class Localizer:
    """Texts and formats of one language."""

    language: str

    @property
    def persian(self) -> bool:
        """Whether the language is Persian, written from right to left."""
        return self.language == "fa"

    def __call__(self, word: str) -> str:
        """The report's own words."""
        return WORDS[word][0 if self.persian else 1]

    def name(self, thing: Named) -> str:
        """The name of *thing*."""
        return thing.fa if self.persian else thing.en

    def digits(self, text: str) -> str:
        """*text* with this language's digits."""
        return text.translate(_DIGITS) if self.persian else text

    def count(self, number: int) -> str:
        """A whole number."""
        return self.digits(f"{number:,}")

    def number(self, value: float | None, places: int = 2) -> str:
        """A number truncated, not rounded, so that 99.999 never reads as 100; without trailing zeros."""
        if value is None:
            return NONE
        cut = Decimal(str(round(value, 9))).quantize(Decimal(1).scaleb(-places), ROUND_DOWN)
        text = f"{cut:,f}"
        return self.digits(text.rstrip("0").rstrip(".") if "." in text else text)

    def share(self, value: float | None, places: int = 2) -> str:
        """A percentage."""
        return NONE if value is None else self.number(value, places) + ("٪" if self.persian else "%")

    def milliseconds(self, value: float | None) -> str:
        """A latency in milliseconds, with one decimal below 100."""
        return NONE if value is None else self.number(value, 0 if value >= 100 else 1)

    def length(self, minutes: int) -> str:
        """A duration in hours and minutes."""
        hours, rest = divmod(minutes, 60)
        if not hours:
            return self.digits(f"{rest} دقیقه" if self.persian else f"{rest} min")
        if not rest:
            return self.digits(f"{hours} ساعت" if self.persian else f"{hours} h")
        return self.digits(f"{hours} ساعت و {rest} دقیقه" if self.persian else f"{hours} h {rest} min")

    def month(self, month: Month) -> str:
        """A month with its name."""
        names = NAMES_FA if self.persian else NAMES_EN
        return f"{names[month.number - 1]} {self.digits(str(month.year))}"

    def day(self, day: date | None) -> str:
        """A day: Jalali in Persian, in both calendars in English."""
        if day is None:
            return NONE
        if day == date.min:  # the coverage of a register that is complete from its beginning
            return "از آغاز" if self.persian else "from the beginning"
        found = jalali(day)
        text = f"{found.year}/{found.month:02}/{found.day:02}"
        return _LTR + (self.digits(text) if self.persian else f"{text} ({day:%Y-%m-%d})") + _END

    def instant(self, instant: datetime) -> str:
        """An instant to the minute, in the time zone of Iran."""
        local = instant.astimezone(TEHRAN)
        found = jalali(local.date())
        return _LTR + self.digits(f"{found.year}/{found.month:02}/{found.day:02} {local:%H:%M}") + _END

    def value(self, metric: str, value: float | date | None) -> str:
        """A measured value or a bound, with its unit."""
        if value is None:
            return NONE
        if isinstance(value, date):
            return self.day(value)
        if metric in _UNITS:
            return f"{self.number(value, 1)} {self(_UNITS[metric])}"
        return self.share(value, 3)

    def margin(self, metric: str, value: float | None) -> str:
        """The distance to a bound, with its sign and unit."""
        if value is None:
            return NONE
        unit = "days" if metric == "coverage" else _UNITS.get(metric, "points")
        sign = "+" if value >= 0 else "\u2212"
        return f"{_LTR}{sign}{self.number(abs(value), 1 if unit in {'ms', 'hours'} else 3)}{_END} {self(unit)}"
