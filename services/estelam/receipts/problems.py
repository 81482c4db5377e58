"""Why a saved reply or its receipt is not valid: each problem with its verdict, and its text in English and Persian."""

from enum import Enum, StrEnum

from estelam.core.keys import VerifyingKey

END_OF_TIME = 253_402_300_800_000_000
"""The year 10000 in microseconds since 1970: no calendar here has later times."""


class Verdict(StrEnum):
    """How a verification ends that does not find the receipt valid."""

    MALFORMED = "MALFORMED"
    """It can't be read as a saved reply with a receipt: nothing was verified."""
    UNCHECKED = "NOT CHECKED"
    """It can be read, but not verified with what was given, the certificates above all: it may be valid or not."""
    INVALID = "INVALID"
    """A step of the verification failed: it does not prove the reply."""


class ReceiptProblem(Enum):
    """Why a receipt does not prove a reply: verdict, English and Persian text."""

    EMPTY = (Verdict.MALFORMED, "the file is empty", "فایل خالی است")
    NOT_A_SAVED_REPLY = (
        Verdict.MALFORMED,
        "a line is not a saved reply, or is cut off or damaged; take the file as it was saved",
        "سطری پاسخ ذخیره‌شده نیست، ناقص است یا آسیب دیده است؛ خود فایل ذخیره‌شده را بدهید",
    )
    REFORMATTED = (
        Verdict.MALFORMED,
        "a line is not byte for byte as it was saved; take the file as it was saved",
        "سطری بایت به بایت همان نیست که ذخیره شده است؛ خود فایل ذخیره‌شده را بدهید",
    )
    TOO_LONG = (
        Verdict.MALFORMED,
        "the file has more replies than are verified here; use estelam receipt verify",
        "فایل بیش از آن پاسخ دارد که این‌جا بررسی شود؛ دستور estelam receipt verify را به کار برید",
    )
    NOT_A_CERTIFICATE = (
        Verdict.MALFORMED,
        "it is no PDF with receipts attached, or is damaged; take the file as `receipt certificate` made it",
        "PDF دارای رسیدهای پیوست نیست یا آسیب دیده است؛ خود فایل ساخته‌شده با receipt certificate را بدهید",
    )
    PDF_NOT_READ = (
        Verdict.UNCHECKED,
        "it is a PDF, and no PDF is read here; take the saved replies themselves, or use estelam receipt verify",
        "PDF است و این‌جا PDF خوانده نمی‌شود؛ خود پاسخ‌های ذخیره‌شده را بدهید یا estelam receipt verify را به کار برید",
    )
    OTHER_PAGES = (
        Verdict.UNCHECKED,
        "only the attached receipts are proof, and valid: the pages are not those made of them with these witness keys",
        "تنها رسیدهای پیوست سند و معتبر است؛ صفحه‌ها همان نیست که این‌جا با این کلیدهای ناظران از آن‌ها ساخته می‌شود",
    )
    NO_RECEIPT = (
        Verdict.MALFORMED,
        "replies of this method carry no receipt",
        "پاسخ این متد رسید ندارد",
    )
    ABSENT = (Verdict.MALFORMED, "the reply has no receipt", "پاسخ رسید ندارد")
    DAMAGED = (Verdict.MALFORMED, "the receipt is damaged and can't be read", "رسید آسیب دیده است و خوانده نمی‌شود")
    UNKNOWN_KEY = (
        Verdict.UNCHECKED,
        "it is signed with a key of none of the given certificates; get them from the service itself",
        "با کلیدی امضا شده است که در گواهی‌های داده‌شده نیست؛ گواهی‌های امضا را از خود سرویس بگیرید",
    )
    OTHER_SERVICE = (
        Verdict.UNCHECKED,
        "it is of another service; only receipts of the ministry's promissory note service are verified here",
        "از سرویس دیگری است؛ این‌جا تنها رسید سرویس سفته وزارت امور اقتصادی و دارایی بررسی می‌شود",
    )
    OTHER_METHOD = (
        Verdict.INVALID,
        "the receipt is of another method, or of a refusal",
        "رسید از متد دیگری یا از استعلامی بی‌پاسخ است",
    )
    OTHER_CONTENT = (
        Verdict.INVALID,
        "the receipt is of another request or another reply",
        "رسید از پرسش یا پاسخ دیگری است، یا پرسش یا پاسخ تغییر کرده است",
    )
    OTHER_CALL = (
        Verdict.INVALID,
        "the receipt is of another call: of another caller, nonce or time",
        "رسید از فراخوانی دیگری است: استعلام‌کننده، نشانه یکتا یا زمان آن دیگر است",
    )
    NOT_IN_TREE = (
        Verdict.INVALID,
        "the entry is not in the ledger that the checkpoint describes",
        "رکورد این پاسخ در دفتری که وضعیت امضاشده آن آمده است نیست",
    )
    NOT_CONTINUED = (
        Verdict.INVALID,
        "it does not prove that the ledger continues the given head",
        "ثابت نمی‌کند که دفتر ادامه وضعیت داده‌شده است",
    )
    OTHER_LEDGER = (
        Verdict.INVALID,
        "the ledger is not of the service whose method the entry names",
        "دفتر از سرویسی نیست که متد این رکورد از آن است",
    )
    OTHER_ORGANIZATION = (
        Verdict.INVALID,
        "the ledger is not of the organisation that the signing certificate names",
        "دفتر از سازمانی نیست که گواهی امضا نام می‌برد",
    )
    UNNAMED_ORGANIZATION = (
        Verdict.UNCHECKED,
        "no given certificate of the signing key names one organisation; give the one that does",
        "هیچ گواهی داده‌شده‌ای از کلید امضا یک سازمان را نام نمی‌برد؛ گواهی دارای نام سازمان را بدهید",
    )
    WRONG_SIGNATURE = (
        Verdict.INVALID,
        "the signature does not match the checkpoint",
        "امضا با وضعیت دفتر سازگار نیست",
    )
    WRONG_COSIGNATURE = (
        Verdict.INVALID,
        "a line that names a witness is not its cosignature of the checkpoint",
        "سطری که نام یک ناظر را دارد امضای آن ناظر بر وضعیت دفتر نیست",
    )
    TOO_FEW_WITNESSES = (
        Verdict.UNCHECKED,
        "too few of the given witnesses cosigned the checkpoint; ask the service for a receipt with cosignatures",
        "شمار ناظرانی که وضعیت دفتر را امضا کرده‌اند کافی نیست؛ از سرویس رسیدی با امضای ناظران بخواهید",
    )
    KEY_RETIRED = (
        Verdict.INVALID,
        "the signature is right, but its key had been retired before the time of the answer",
        "امضا درست است، اما کلید آن پیش از زمان پاسخ کنار گذاشته شده بود",
    )
    KEY_COMPROMISED = (
        Verdict.UNCHECKED,
        "the signature is right, but somebody else may have its key; the service must show the entry in its ledger",
        "امضا درست است، اما کلید آن شاید در دست دیگری باشد؛ سرویس باید این رکورد را در دفتر خود نشان دهد",
    )
    OUTSIDE_CERTIFICATES = (
        Verdict.UNCHECKED,
        "the signature is right, but no given certificate was valid at the time of the answer; give the one that was",
        "امضا درست است، اما هیچ‌یک از گواهی‌های داده‌شده در زمان پاسخ معتبر نبوده است؛ گواهی آن زمان را بدهید",
    )
    PLAIN_FIELDS = (
        Verdict.INVALID,
        "the reply's plain fields differ from the signed entry",
        "پاسخ، زمان یا شناسه‌ای که در متن آمده با رکورد امضاشده یکی نیست",
    )
    NO_ANSWER = (Verdict.INVALID, "the reply is neither YES nor NO", "پاسخ نه بلی است و نه خیر")
    NO_COVERAGE = (Verdict.INVALID, "the reply is a NO without coverage", "پاسخ، خیر بدون بازه پوشش داده است")

    @property
    def verdict(self) -> Verdict:
        """How the verification ends."""
        return self.value[0]

    @property
    def en(self) -> str:
        """The problem in English, without full stop."""
        return self.value[1]

    @property
    def fa(self) -> str:
        """The problem in Persian, without full stop."""
        return self.value[2]


class InvalidReceipt(Exception):  # noqa: N818 - an outcome of verification, not a fault of the program
    """The receipt does not prove the reply.

    Args:
        problem: Why.
        detail: The English text, where it states more than that of *problem*.
    """

    def __init__(self, problem: ReceiptProblem, detail: str = "") -> None:
        super().__init__(detail or problem.en)
        self.problem = problem
        self.detail = detail


def check_key(key: VerifyingKey, micros: int, *, is_time_proven: bool = False) -> None:
    """Check that a signature of *key* made at *micros* is valid, as `VerifyingKey.invalidity` does.

    Raises:
        InvalidReceipt: KEY_RETIRED, KEY_COMPROMISED or OUTSIDE_CERTIFICATES; DAMAGED if there is no such time.
    """
    if not isinstance(micros, int) or not 0 <= micros < END_OF_TIME:
        raise InvalidReceipt(ReceiptProblem.DAMAGED, "it states a time that is not between the years 1970 and 9999")
    if found := key.invalidity(micros, is_time_proven=is_time_proven):
        problem = ReceiptProblem[found.kind]
        advice = "; give the certificate that was" if problem is ReceiptProblem.OUTSIDE_CERTIFICATES else ""
        raise InvalidReceipt(problem, f"{found}{advice}")
