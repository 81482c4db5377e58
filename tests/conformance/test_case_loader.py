"""The book is read strictly: what is wrong is told with file, case and place, and nothing is guessed."""

from pathlib import Path

import pytest

from conformance import case_loader
from conformance.case_loader import BookError

GOOD = """
- id: good
  clause: R2.1
  title: {en: Good, fa: خوب}
  target: promissory
  steps:
    - call: CheckNote
      request: {serial: "1404000000000017"}
      expect: {answer: NO}
"""

WRONG = {
    "can't be read": None,
    "must be a list": "id: x",
    "line": "- id: [",
    "serial stands twice": GOOD.replace('"1404000000000017"', '"1", serial: "2"'),
    "clause: there is no clause R9": GOOD.replace("R2.1", "R9"),
    "target: Input should be": GOOD.replace("target: promissory", "target: ministry"),
    "more: Extra inputs": f"{GOOD}  more: 1\n",
    "steps.0.request: .*serial": GOOD.replace('"1404000000000017"', "17"),
    "steps.0.request: .*no field": GOOD.replace("serial", "number"),
    "steps.0.request: a method that the contract": GOOD.replace("CheckNote", "CheckAll"),
    "steps.1.at: time does not go back": GOOD.replace("- call", "- at: window-open\n      call")
    + "    - {call: CheckNote, request: {}}\n",
    "steps.1.trick: only a call": GOOD + "    - {bar: x, trick: http1}\n",
    "rows: must be a list": f"{GOOD}  rows: 3\n",
    "rows.0: a row is a mapping with a suffix": f"{GOOD}  rows: [{{word: 1}}]\n",
    "title.en: the row has no word": GOOD.replace("en: Good", "en: $word") + "  rows: [{suffix: a}]\n",
}


def read(folder: Path, text: str | None) -> list[str]:
    if text is None:
        (folder / "a.yaml").mkdir()
    else:
        (folder / "a.yaml").write_text(text, "utf-8")
    return [case.id for case in case_loader.read(folder, {"R2.1"})]


def test_a_good_case_is_read_and_no_is_a_word(tmp_path: Path) -> None:
    assert ["good"] == read(tmp_path, GOOD)
    assert "NO" == case_loader.read(tmp_path, {"R2.1"})[0].steps[0].expect.answer


@pytest.mark.parametrize("words", WRONG)
def test_an_error_is_told_with_its_place(tmp_path: Path, words: str) -> None:
    with pytest.raises(BookError, match=words) as caught:
        read(tmp_path, WRONG[words])
    assert str(caught.value).startswith("a.yaml: ")


def test_an_id_given_twice_and_a_folder_without_cases_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="holds no case"):
        case_loader.read(tmp_path, {"R2.1"})
    (tmp_path / "b.yaml").write_text(GOOD, "utf-8")
    with pytest.raises(BookError, match=r"b.yaml: good: id: this id is given twice"):
        read(tmp_path, GOOD)


def test_a_row_fills_a_case_with_values_as_they_are_and_with_text(tmp_path: Path) -> None:
    text = GOOD.replace("en: Good", 'en: "of ${amount}"').replace('serial: "1404000000000017"', "amount_rials: $amount")
    (tmp_path / "a.yaml").write_text(f"{text}  rows: [{{suffix: a, amount: 1}}, {{suffix: b, amount: 25}}]\n", "utf-8")

    found = case_loader.read(tmp_path, {"R2.1"})

    assert ["good.a", "good.b"] == [case.id for case in found]
    assert ["of 1", "of 25"] == [case.title.en for case in found]
    assert [{"amount_rials": 1}, {"amount_rials": 25}] == [case.steps[0].request for case in found]


def test_cases_are_chosen_by_id_or_clause_up_to_a_dot(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + GOOD.replace("good", "good.more") + GOOD.replace("good", "goods"), "utf-8")
    cases = case_loader.read(tmp_path, {"R2.1"})

    assert ["good", "good.more"] == [case.id for case in case_loader.select(cases, ["good"])]
    assert 3 == len(case_loader.select(cases, ["R2"])) == len(case_loader.select(cases, []))
    with pytest.raises(ValueError, match=r"called R2\.1\.1"):
        case_loader.select(cases, ["good", "R2.1.1"])
