"""Texts of the rules that a field or metadata key can violate, for people: by rule id, in Persian and English.

Each text completes a sentence that begins with the field's name, without the full stop. It holds where people type, so
it does not say "ASCII digits": there, digits are normalized first. The contract's own messages, for programs, do.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleText:
    """The texts of one rule."""

    en: str
    fa: str


RULE_TEXTS: dict[str, RuleText] = {
    "string.person_id.form": RuleText("must be 10, 11 or 12 digits", "باید ۱۰، ۱۱ یا ۱۲ رقم باشد"),
    "string.person_id.national_number": RuleText(
        "is not a valid national number: its check digit is wrong, or all its digits are equal",
        "شماره ملی معتبری نیست: رقم کنترل آن نادرست یا همه ارقام آن یکسان است. ارقام را بازبینی کنید",
    ),
    "string.person_id.legal_person": RuleText(
        "is not a legal person's valid national id: its check digit, or its pattern of digits, is wrong",
        "شناسه ملی معتبری نیست: رقم کنترل یا ترکیب ارقام آن نادرست است. ارقام را بازبینی کنید",
    ),
    "string.note_serial": RuleText("must be 16 digits", "باید ۱۶ رقم باشد"),
    "string.tracking_id": RuleText("must be 1 to 32 digits", "باید ۱ تا ۳۲ رقم باشد"),
    "string.agency_id": RuleText(
        "must be 1 to 32 digits, Latin letters and hyphens", "باید ۱ تا ۳۲ نویسه از ارقام، حروف لاتین و خط تیره باشد"
    ),
    "string.change_cursor": RuleText(
        "must be a cursor that this service returned", "باید نشانگری باشد که همین سرویس بازگردانده است"
    ),
    "int64.gt": RuleText("must be greater than 0", "باید بزرگ‌تر از صفر باشد"),
    # Beside the contract's rules: those of forms, commands and JSON, of the metadata, of the case reference and of the
    # list of agencies.
    "field.empty": RuleText("is empty", "وارد نشده است"),
    "field.unknown": RuleText("is not a field of this method", "فیلد این متد نیست"),
    "field.repeated": RuleText("is given more than once", "بیش از یک بار آمده است"),
    "field.text": RuleText("must be text in quotation marks", "باید متنی میان دو علامت نقل‌قول باشد"),
    "field.digits": RuleText(
        "must be a whole number up to 9223372036854775807 in digits alone: no sign, point, exponent or separator",
        "باید عدد صحیحی تا ۹۲۲۳۳۷۲۰۳۶۸۵۴۷۷۵۸۰۷ و تنها رقم باشد، بی علامت، ممیز، نما و جداکننده",
    ),
    "amount.form": RuleText(
        "must be a whole number of rials, greater than 0; separate all groups of three digits or none: 2,500,000",
        "باید عدد صحیح مثبت به ریال باشد؛ هر سه رقم را جدا کنید یا هیچ‌کدام را: ۲٬۵۰۰٬۰۰۰",
    ),
    "amount.large": RuleText(
        "must be at most 9,223,372,036,854,775,807 rials", "باید حداکثر ۹٬۲۲۳٬۳۷۲٬۰۳۶٬۸۵۴٬۷۷۵٬۸۰۷ ریال باشد"
    ),
    "metadata.form": RuleText(
        "must be given once, as 1 to 64 characters, percent-encoded in UTF-8 except for 0-9 A-Z a-z . _ ~ : / -",
        "باید یک بار و با ۱ تا ۶۴ نویسه، با کدگذاری درصدی UTF-8، ارسال شود",
    ),
    "metadata.nonce": RuleText(
        "must be given once, as 22 to 64 random characters of 0-9 A-Z a-z _ -",
        "باید یک بار و با ۲۲ تا ۶۴ نویسه تصادفی از رقم‌ها و حروف لاتین، خط تیره و زیرخط ارسال شود",
    ),
    "metadata.required": RuleText("is required by the grant", "طبق مجوز الزامی است و ارسال نشده است"),
    "case.form": RuleText("must be one line of at most 64 characters", "باید یک سطر و حداکثر ۶۴ نویسه باشد"),
    "agency.form": RuleText(
        "must be an agency's id, of 1 to 32 digits, Latin letters and hyphens, or its exact name in the list",
        "باید شناسه دستگاه (۱ تا ۳۲ نویسه از ارقام، حروف لاتین و خط تیره) یا نام دقیق آن در فهرست باشد",
    ),
    "agency.member": RuleText(
        "is not a registered member of Setad: check the id, with its upper and lower case",
        "عضو ثبت‌شده سامانه ستاد نیست؛ شناسه و حروف بزرگ و کوچک آن را بازبینی کنید",
    ),
}

UNKNOWN_RULE = RuleText("violates a rule of the contract", "با قواعد قرارداد سازگار نیست")
"""The text of a rule of another implementation."""
