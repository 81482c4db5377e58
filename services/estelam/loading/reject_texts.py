"""Texts of the reasons for which a row is rejected, for people: in English and Persian.

Each text completes a sentence that begins with the column's name, without the full stop, and repeats no value of a row.
"""

from functools import cache

from google.protobuf.descriptor_pool import Default

from buf.validate import validate_pb2
from estelam.core.cells import CELL_TEXTS
from estelam.core.dates import DateProblem
from estelam.core.rule_texts import RULE_TEXTS, UNKNOWN_RULE, RuleText

_TEXTS = CELL_TEXTS | {
    "VALUE_WITHOUT_COLUMN": RuleText(
        "the row has a value in a column that the header does not name", "این سطر در ستونی بی‌نام مقدار دارد"
    ),
    "NOT_UTF8": RuleText("is not UTF-8", "UTF-8 نیست"),
    "TOO_LONG": RuleText("has too many characters", "بیش از حد مجاز نویسه دارد"),
    "EMPTY": RuleText("is empty or blank, and must not be", "خالی است و نباید باشد"),
    "NOT_A_KNOWN_WORD": RuleText("is none of the known words", "از واژه‌های شناخته‌شده نیست"),
    "NOT_A_POSTAL_CODE": RuleText("is not a postal code of 10 digits", "کد پستی ۱۰ رقمی نیست"),
    "NOT_A_SAYAD_ID": RuleText("is not a Sayad id of 16 digits", "شناسه صیاد ۱۶ رقمی نیست"),
    "MORE_THAN_THE_FACE_AMOUNT": RuleText("is more than the face amount", "بیش از مبلغ سفته است"),
    "BEFORE_THE_DATE_OF_ISSUE": RuleText("is before the date of issue", "پیش از تاریخ صدور است"),
    "NEITHER_CHEQUE_NOR_PERSON": RuleText(
        "is empty, and so are sayad_id and national_id: the row names neither a cheque nor a person",
        "خالی است و sayad_id و national_id نیز خالی‌اند: این سطر نه چکی را نشان می‌دهد و نه شخصی را",
    ),
    "ROLE_WITHOUT_PERSON": RuleText("is given without a national_id", "بدون national_id آمده است"),
    "DUPLICATE": RuleText("an earlier row of the file has the same key", "سطر پیشینی از فایل همین کلید را دارد"),
    "OTHER_FEED": RuleText(
        "is of a record that another feed has delivered", "از رکوردی است که جریان داده دیگری آن را فرستاده است"
    ),
    "REMOVED_BY_A_NEWER_FILE": RuleText(
        "is of a record that a whole file of another feed with a later cut-off no longer had; have this file cut anew",
        "از رکوردی است که فایل کامل جریان داده دیگری، با زمان برش دیرتر، آن را نداشت؛ فایلی با زمان برش تازه بخواهید",
    ),
    "DIFFERS_FROM_AN_EARLIER_ROW": RuleText(
        "differs from an earlier row of the same record", "با سطر پیشینی از همین رکورد یکی نیست"
    ),
}
"""The texts by reason, but for those of dates and of the contract, which have their own."""


@cache
def reject_text(reason: str) -> RuleText:
    """Return the texts of *reason*; a known word's names the words that the reason names."""
    code, _, advice = reason.partition(": ")
    if code in DateProblem.__members__:
        return RuleText(DateProblem[code].en, DateProblem[code].fa)
    if (text := _TEXTS.get(code)) is None:
        return _of_contract().get(reason, RuleText(reason, UNKNOWN_RULE.fa))
    if not advice:
        return text
    words = advice.removeprefix("give ").replace("or nothing", "یا هیچ").replace(" or ", " یا ")
    return RuleText(f"{text.en}; {advice}", f"{text.fa}؛ یکی از این‌ها را بدهید: {words}")


@cache
def _of_contract() -> dict[str, RuleText]:
    """Return the texts of the contract's rules by their messages there."""
    own = Default().FindAllExtensions(validate_pb2.StringRules.DESCRIPTOR)
    rules = (rule for each in own for rule in each.GetOptions().Extensions[validate_pb2.predefined].cel)
    greater = RULE_TEXTS["int64.gt"]
    return {greater.en: greater} | {rule.message: RULE_TEXTS[rule.id] for rule in rules}
