"""What an answer by national id means, in words."""

from collections.abc import Mapping

from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES

# A NO by national id is often read as "no case at all".
MEANING_BY_NATIONAL_ID: Mapping[int, str] = {
    ANSWER_YES: "پرونده‌ای هست که این شخص در آن صادرکننده چک یا بدون سمت است"
    " / a case in which this person is the drawer, or named without a role",
    ANSWER_NO: "پرونده‌ای نیست که این شخص در آن صادرکننده چک یا بدون سمت باشد"
    " / no case in which this person is the drawer, or named without a role",
}
