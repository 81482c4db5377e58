"""Cells of lists and data files: what each means, why the value in one can't be meant, and the texts of the reasons.

They are read as what people type is, by `estelam.core.normalize`, but that nobody sees what is removed from them.
"""

import re

from estelam.core.normalize import find_invisible, normalize_digits, normalize_identifier
from estelam.core.rule_texts import RuleText

_NUMBER = "[0-9]+([.,\u066b][0-9]*E[+-]?[0-9]{1,3}|E\\+[0-9]{2,3}|[.\u066b]0{1,2})|[0-9]/[0-9]+E[+-][0-9]{2,3}"
SPREADSHEET_FORM = f"(?i)^(=.*|#+|#[A-Z0-9/]+[!?]|#N/A|[+-]?({_NUMBER}))$"
"""A regular expression of what a spreadsheet makes of an identifier: a formula as `="0012"`, an error as `#REF!`, the
signs `####` of a narrow column, a number as `1.4E+15` or `12.0`.

An agency's id may be `12E-34` or `12E34`: without a decimal point a spreadsheet writes a long number with a plus sign,
which no contract allows. A slash, the decimal sign of Persian spreadsheets, follows one digit, and else is a case's.
"""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
SPREADSHEET_VALUE = "SPREADSHEET_VALUE"
INVISIBLE_CHARACTER = "INVISIBLE_CHARACTER"
REPLACEMENT_CHARACTER = "REPLACEMENT_CHARACTER"
NOT_A_WHOLE_NUMBER = "NOT_A_WHOLE_NUMBER"
NUMBER_TOO_LARGE = "NUMBER_TOO_LARGE"
ZEROS_LOST = "ZEROS_LOST"
WRONG_NUMBER_OF_FIELDS = "WRONG_NUMBER_OF_FIELDS"

CELL_TEXTS = {
    SPREADSHEET_VALUE: RuleText(
        "is what a spreadsheet has made of the value; export the column as text",
        "نرم‌افزار صفحه‌گسترده مقدار را تغییر داده است؛ ستون را به صورت متن خروجی بگیرید",
    ),
    INVISIBLE_CHARACTER: RuleText(
        "has an invisible or unassigned character, such as a control character or a direction mark",
        "نویسه‌ای ناپیدا یا تعریف‌نشده دارد، مانند نویسه کنترلی یا نشانه جهت متن",
    ),
    REPLACEMENT_CHARACTER: RuleText(
        "has a replacement character (U+FFFD), where a wrong conversion lost one",
        "نویسه جایگزین دارد؛ تبدیل نادرست، نویسه‌ای را از میان برده است",
    ),
    NOT_A_WHOLE_NUMBER: RuleText(
        "is not a whole number, as 2500000 or 2,500,000", "عدد صحیح نیست، مانند ۲۵۰۰۰۰۰ یا ۲٬۵۰۰٬۰۰۰"
    ),
    NUMBER_TOO_LARGE: RuleText(
        "is more than 9,223,372,036,854,775,807, the greatest amount",
        "از بیشترین مبلغ، ۹٬۲۲۳٬۳۷۲٬۰۳۶٬۸۵۴٬۷۷۵٬۸۰۷، بیشتر است",
    ),
    ZEROS_LOST: RuleText(
        "is valid with one or two leading zeros, which a spreadsheet drops; export the column as text",
        "با یک یا دو صفر در آغاز معتبر است، که نرم‌افزار صفحه‌گسترده آن‌ها را حذف می‌کند؛ ستون را به صورت متن خروجی بگیرید",
    ),
    WRONG_NUMBER_OF_FIELDS: RuleText(
        "the row has more or fewer fields than the header", "تعداد فیلدهای این سطر با سرستون یکی نیست"
    ),
}
"""The texts by reason. Each completes a sentence that begins with the column's name, and repeats no value."""


def read_code(cell: str) -> str:
    """Return the code in *cell* in normal form; one with a control character within stays, for `damage` to find it."""
    plain = cell.strip()
    return plain if _CONTROL.search(plain) else normalize_identifier(cell)


def read_digits(cell: str) -> str:
    """Return the code of digits in *cell* as `read_code` does, without blanks and dashes between the digits."""
    plain = read_code(cell)
    return plain if _CONTROL.search(plain) else normalize_digits(plain)


def damage(cell: str) -> str | None:
    """Return the reason to refuse the normalized *cell* for a character that its text can't have; None without one."""
    if find_invisible(cell) is not None:
        return INVISIBLE_CHARACTER
    return REPLACEMENT_CHARACTER if "\ufffd" in cell else None
