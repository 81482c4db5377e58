"""Generate the sample files of the docs and tests: notes.csv, agencies.csv and cases.csv. The output is deterministic.

All persons and firms are fictitious: national numbers have the place code 999, which is not assigned, and the name of
every firm and bank contains نمونه (sample). The first rows of the notes and cases are fixed, so that the docs can quote
them. No person occurs both in the notes and in the cases.

9990000069, 9990000077 and 99000791909 occur in no file: every inquiry about them is answered NO.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tools.env.identifiers import legal_id, natural_id

NOTES = 2_400
CASES_SINCE_1400 = 2_600
CASES_OF_1399 = 400

LAST_DAY = date(2026, 10, 31)
FIRST_NOTE = date(2022, 6, 1)
YEAR_1399 = (date(2020, 3, 20), date(2021, 3, 20))
SINCE_1400 = (date(2021, 3, 21), LAST_DAY)
TEHRAN = ZoneInfo("Asia/Tehran")

# Ids of natural persons begin with 999, those of legal persons with 990.
_SAMPLE_NATURAL = 999_000_000
_SAMPLE_LEGAL = 9_900_000_000
# Ranges of the digits between an id's prefix and check digit. They exclude the fixed ids, which are lower, and 999999,
# which would give an id of ten nines.
NATURAL_OF_NOTES, NATURAL_OF_CASES = range(100_000, 550_000), range(550_000, 999_999)
LEGAL_OF_NOTES, LEGAL_OF_CASES = range(1_000_000, 5_500_000), range(5_500_000, 10_000_000)
FOREIGN_OF_NOTES, FOREIGN_OF_CASES = range(100_000_000, 550_000_000), range(550_000_000, 10**9)

STATES = {"ISSUED": 60, "GRADUALLY_SETTLED": 12, "SETTLED": 16, "PROTESTED": 7, "REVOKED": 5}

# fmt: off
FIRST_NAMES = (
    "آرش", "آزاده", "احسان", "الهام", "امیر", "بهرام", "حمید", "داریوش", "رضا", "رویا", "زهرا", "سارا", "سعید",
    "سیما", "شهرام", "شیرین", "علی", "فاطمه", "فرهاد", "کاوه", "کیانا", "لیلا", "مرتضی", "مریم", "مینا", "ناهید",
    "نرگس", "نیما", "یاسمن", "یوسف",
)
FAMILY_NAMES = (
    "احمدی", "اکبری", "امینی", "باقری", "بهرامی", "تهرانی", "جعفری", "حسینی", "داوودی", "رستمی", "رضایی", "زمانی",
    "سلیمانی", "شریفی", "صادقی", "عباسی", "فرهادی", "قاسمی", "کاظمی", "کریمی", "گلستانی", "محمدی", "مرادی", "مهدوی",
    "موسوی", "میرزایی", "نادری", "نجفی", "نوروزی", "هاشمی", "همتی", "یزدانی",
)
FOREIGN_FIRST_NAMES = ("احمدشاه", "بشیر", "جاوید", "حیدر", "زرغونه", "سلطان", "عبدالله", "فرشته", "کریم‌الله", "نورمحمد")
FOREIGN_FAMILY_NAMES = ("ابراهیمی", "الکاظمی", "پوپل", "حیدری", "رحیمی", "سروری", "صافی", "عزیزی", "نظری", "هروی")
FIRMS = (
    "شرکت ساختمانی", "شرکت بازرگانی", "شرکت صنعتی", "شرکت مهندسی", "شرکت راه‌سازی", "شرکت حمل و نقل", "شرکت کشت و صنعت",
    "شرکت تولیدی", "شرکت خدماتی", "بنیاد نیکوکاری", "بنیاد فرهنگی",
)
FIRM_NAMES = (
    "آفتاب", "افق", "الوند", "باران", "بهار", "پگاه", "پیوند", "توان", "چکاد", "خاوران", "دریا", "راهیان", "زرین",
    "سپیدار", "ستاره", "سرو", "شفق", "کوهستان", "گلبرگ", "مهرگان", "نسیم", "نیکان", "هامون",
)
CITIES = (
    "تهران", "مشهد", "اصفهان", "شیراز", "تبریز", "کرج", "قم", "اهواز", "کرمانشاه", "ارومیه", "رشت", "زاهدان",
    "همدان", "کرمان", "یزد", "اردبیل", "بندرعباس", "اراک", "زنجان", "سنندج", "قزوین", "گرگان", "ساری", "بوشهر",
    "بیرجند", "ایلام",
)
STREETS = (
    "آبشار", "ارغوان", "بادگیر", "پونه", "ترنج", "چنار", "خوشه", "رنگین‌کمان", "زعفران", "سنجد", "صنوبر", "فانوس",
    "کبوتر", "کهربا", "مروارید", "نارنج", "نیلوفر",
)
BRANCHES = ("مرکزی", "بازار", "میدان ساعت", "شهرک نمونه", "پایانه")
AGENCIES = (
    "اداره کل راه و شهرسازی", "شرکت آب و فاضلاب", "شرکت توزیع نیروی برق", "اداره کل آموزش و پرورش",
    "دانشگاه علوم پزشکی", "سازمان جهاد کشاورزی", "اداره کل نوسازی مدارس", "اداره کل منابع طبیعی و آبخیزداری",
    "اداره کل راهداری و حمل و نقل جاده‌ای", "اداره کل امور اقتصادی و دارایی",
)
PROVINCES = ("استان نمونه شمالی", "استان نمونه جنوبی", "استان نمونه خاوری", "استان نمونه باختری")
# fmt: on

PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")


class Person(NamedTuple):
    """A party of a note, with the same data in every note."""

    id: str
    name: str
    address: str
    postal_code: str

    def without_address(self) -> "Person":
        """Return the person as the Treasury's service gives recipients and endorsees, and some issuers."""
        return self._replace(address="", postal_code="")


class Note(NamedTuple):
    """A row of notes.csv; the holder is the current one."""

    serial: str
    state: str
    obligor_id: str
    obligor_name: str
    obligor_address: str
    obligor_postal_code: str
    beneficiary_id: str
    beneficiary_name: str
    holder_id: str
    holder_name: str
    holder_address: str
    holder_postal_code: str
    amount_rials: int
    remaining_rials: int
    issued_on: date
    due_on: date | None
    payment_place: str


class Case(NamedTuple):
    """A row of cases.csv: one party of a case, or a case without a known party."""

    case_number: str
    kind: str
    filed_on: date
    registered_at: str
    tracking_id: str
    sayad_id: str
    national_id: str
    role: str


def foreign_id(middle: int) -> str:
    """Return a foreign national's code: 999 and the nine digits of *middle*; it has no check digit."""
    return f"999{middle:09d}"


def notes() -> Iterator[Note]:
    """Yield the fixed notes, then random ones."""
    random = Random("notes")  # noqa: S311 - samples, not secrets
    persons = _persons(random)
    fixed = list(_fixed_notes(random))
    yield from fixed
    for body in random.sample(range(10**11, 10**12), NOTES - len(fixed)):
        yield _random_note(random, persons, body)


def _fixed_notes(random: Random) -> Iterator[Note]:
    obligor = _person(random, "9990000018", "آرش نمونه‌ای")
    settler = _person(random, "9990000026", "شیرین نمونه‌ای")
    payee = _person(random, "9990000034", "کاوه نمونه‌ای")
    holder = _person(random, "9990000042", "مینا نمونه‌ای")
    builder = _person(random, "99000158381", "شرکت ساختمانی نمونه البرز")
    trader = _person(random, "99000554330", "شرکت بازرگانی نمونه سپهر")
    place = "بانک نمونه، شعبه مرکزی تهران"
    issued, due = date(2025, 4, 15), date(2027, 4, 15)
    yield Note("1404000000000017", "ISSUED", *obligor, *trader[:2], *trader, 25 * 10**8, 25 * 10**8, issued, due, place)
    yield Note("1404000000000025", "SETTLED", *settler, *trader[:2], *trader, 9 * 10**8, 0, issued, due, place)
    yield Note(
        "1404000000000033",
        "ISSUED",
        *builder,
        *payee[:2],
        *holder.without_address(),
        12 * 10**9,
        12 * 10**9,
        issued,
        None,
        place,
    )
    yield Note("1404000000000041", "UNSIGNED", *obligor, *trader[:2], *trader, 3 * 10**8, 3 * 10**8, issued, due, place)


def _random_note(random: Random, persons: Sequence[Person], body: int) -> Note:
    state = random.choices(list(STATES), list(STATES.values()))[0]
    obligor, beneficiary, endorsee = random.sample(persons, 3)
    obligor = obligor.without_address() if body % 5 == 0 else obligor
    holder = (endorsee if random.random() < 0.12 else beneficiary).without_address()
    # A note is protested after its due date, so the due date is in the past.
    protested = state == "PROTESTED"
    issued = _day(random, FIRST_NOTE, LAST_DAY - timedelta(days=60 if protested else 0))
    latest = min(issued + timedelta(days=720), LAST_DAY) if protested else issued + timedelta(days=720)
    due = None if random.random() < 1 / 3 else _day(random, issued + timedelta(days=30), latest)
    amount = _amount(random)
    remaining = {"SETTLED": 0, "GRADUALLY_SETTLED": amount // 10 * random.randint(1, 9)}.get(state, amount)
    place = f"بانک نمونه، شعبه {random.choice(BRANCHES)} {random.choice(CITIES)}"
    serial = f"{_jalali_year(issued)}{body}"
    return Note(serial, state, *obligor, *beneficiary[:2], *holder, amount, remaining, issued, due, place)


def _persons(random: Random) -> list[Person]:
    natural = [natural_id(_SAMPLE_NATURAL + middle) for middle in random.sample(NATURAL_OF_NOTES, 900)]
    legal = [legal_id(_SAMPLE_LEGAL + middle) for middle in random.sample(LEGAL_OF_NOTES, 200)]
    foreign = [foreign_id(middle) for middle in random.sample(FOREIGN_OF_NOTES, 60)]
    people = [" ".join(pair) for pair in product(FIRST_NAMES, FAMILY_NAMES)]
    firms = [" نمونه ".join(pair) for pair in product(FIRMS, FIRM_NAMES)]
    foreigners = [" ".join(pair) for pair in product(FOREIGN_FIRST_NAMES, FOREIGN_FAMILY_NAMES)]
    named = ((natural, people), (legal, firms), (foreign, foreigners))
    return [
        _person(random, person_id, name)
        for ids, names in named
        for person_id, name in zip(ids, random.sample(names, len(ids)), strict=True)
    ]


def _person(random: Random, person_id: str, name: str) -> Person:
    numbers = random.randint(1, 40), random.randint(1, 220)
    alley, house_number = (str(number).translate(PERSIAN_DIGITS) for number in numbers)
    address = f"{random.choice(CITIES)}، خیابان {random.choice(STREETS)}، کوچه {alley}، پلاک {house_number}"
    return Person(person_id, name, address, f"990{random.randrange(10**7):07d}")


def _amount(random: Random) -> int:
    zeros = random.randint(6, 10)
    return int(random.randint(10, 50 if zeros == 10 else 99) * 10**zeros)


def _day(random: Random, first: date, last: date) -> date:
    return first + timedelta(days=random.randint(0, (last - first).days))


def _jalali_year(day: date) -> int:
    # In the years used here, Nowruz is on 20 March if the Gregorian year is divisible by four, else on 21 March.
    nowruz = date(day.year, 3, 21 if day.year % 4 else 20)
    return day.year - (621 if day >= nowruz else 622)


def agencies() -> Iterator[tuple[str, str]]:
    """Yield forty agencies of four fictitious provinces."""
    for number, (province, body) in enumerate(product(PROVINCES, AGENCIES), start=1):
        yield f"SETAD-{number:04d}", f"{body} {province}"


def cases() -> Iterator[Case]:
    """Yield the fixed cases, then random ones in the order of their filing dates."""
    random = Random("cases")  # noqa: S311 - samples, not secrets
    yield from _fixed_cases()
    # The fixed cases are one of 1399 and two filed since 1400.
    days = [_day(random, *YEAR_1399) for _ in range(CASES_OF_1399 - 1)]
    days += [_day(random, *SINCE_1400) for _ in range(CASES_SINCE_1400 - 2)]
    numbers = random.sample(range(10**11, 10**12), len(days))
    cheques = random.sample(range(2 * 10**14, 10**15), len(days))
    persons = [natural_id(_SAMPLE_NATURAL + middle) for middle in random.sample(NATURAL_OF_CASES, 1_600)]
    persons += [legal_id(_SAMPLE_LEGAL + middle) for middle in random.sample(LEGAL_OF_CASES, 300)]
    persons += [foreign_id(middle) for middle in random.sample(FOREIGN_OF_CASES, 80)]
    for filed, number, cheque in zip(sorted(days), numbers, cheques, strict=True):
        yield from _random_case(random, persons, filed, f"{_jalali_year(filed)}{number}", cheque)


def _fixed_cases() -> Iterator[Case]:
    civil = ("1403000000000001", "CIVIL", date(2024, 5, 1), "2024-05-01T09:30:00+03:30")
    criminal = ("1399000000000001", "CRIMINAL", date(2020, 8, 10), "2020-08-11T10:15:00+04:30")
    unclear = ("1401000000000001", "CIVIL", date(2023, 2, 2), "2023-02-04T11:05:00+03:30")
    yield Case(*civil, "140000000000000001", "1402000000000011", "9990000050", "DRAWER")
    yield Case(*civil, "140000000000000001", "1402000000000011", "99000237578", "HOLDER")
    yield Case(*criminal, "139900000000000001", "", "9990000085", "DRAWER")
    yield Case(*criminal, "139900000000000001", "", "99000237578", "HOLDER")
    yield Case(*unclear, "", "", "9990000093", "")


def _random_case(random: Random, persons: Sequence[str], filed: date, number: str, cheque: int) -> Iterator[Case]:
    kind = random.choices(("CIVIL", "CRIMINAL"), (65, 35))[0]
    parties = list(_parties(random, persons))
    # 16 to 20 digits; the first fifteen are unique.
    suffix_length = random.randint(1, 5)
    tracking = f"{cheque}{random.randrange(10**suffix_length):0{suffix_length}d}"
    if parties and random.random() < 0.15:
        tracking = ""
    # Some courts record the cheque's Sayad id.
    sayad = f"{cheque}{cheque // 10 % 9 + 1}" if tracking and cheque % 5 < 2 else ""
    registered = _registered_at(random, filed)
    for person_id, role in parties or [("", "")]:
        yield Case(number, kind, filed, registered, tracking, sayad, person_id, role)


def _parties(random: Random, persons: Sequence[str]) -> Iterator[tuple[str, str]]:
    if random.random() < 0.02:
        return
    roles = ["DRAWER", "HOLDER"]
    roles += ["ENDORSER"] * (random.random() < 0.15)
    roles += ["GUARANTOR"] * (random.random() < 0.12)
    for person_id, role in zip(random.sample(persons, len(roles)), roles, strict=True):
        yield person_id, "" if random.random() < 0.05 else role


def _registered_at(random: Random, filed: date) -> str:
    day = filed + timedelta(days=random.randint(0, min(4, (LAST_DAY - filed).days)))
    at = time(random.randint(8, 15), random.randrange(60), tzinfo=TEHRAN)
    return datetime.combine(day, at).isoformat()


def generate(into: Path) -> None:
    """Write the three files to the folder *into*."""
    _write(into / "notes.csv", Note._fields, notes())
    _write(into / "agencies.csv", ("agency_id", "name"), agencies())
    _write(into / "cases.csv", Case._fields, cases())


def _write(path: Path, header: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent)
