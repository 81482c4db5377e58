"""Loading of case files: strict, with each error's file, case and place."""

from pathlib import Path

import pytest

from conformance import case_loader
from conformance.case_loader import CaseError, UnknownCaseError

VALID = """
- id: good
  clause: R2.1
  profile: core
  title: {en: Good, fa: خوب}
  target: promissory
  steps:
    - call: CheckNote
      request: {serial: "1404000000000017"}
      expect: {answer: NO}
"""

INVALID = {
    "can't be read": None,
    "must be a list": "id: x",
    "line": "- id: [",
    "duplicate key serial": VALID.replace('"1404000000000017"', '"1", serial: "2"'),
    "clause: there is no clause R9": VALID.replace("R2.1", "R9"),
    "target: must be": VALID.replace("target: promissory", "target: ministry"),
    "profile: a case of a resolution's clause is core": VALID.replace("profile: core", "profile: receipts"),
    "more: unknown key": f"{VALID}  more: 1\n",
    "steps.0.request: .*serial": VALID.replace('"1404000000000017"', "17"),
    "steps.0.request: .*no field": VALID.replace("serial", "number"),
    "steps.0.request: a method outside the contract": VALID.replace("CheckNote", "CheckAll"),
    "steps.1.at: stages must be in chronological order": VALID.replace("- call", "- at: window-open\n      call")
    + "    - {call: CheckNote, request: {}}\n",
    "steps.0: a step has an edge at the stages of edges": VALID.replace("- call", "- edge: 1\n      call"),
    "steps.1.fault: only a call": VALID + "    - {deny: x, fault: http1}\n",
    "steps.0.target: a case tests one service": VALID.replace("- call", "- target: setad\n      call"),
    "rows: must be a list": f"{VALID}  rows: 3\n",
    "rows.0: nothing is not a table": f"{VALID}  rows: [nothing, [{{suffix: a}}]]\n",
    "rows.1.0: a row is a mapping with a suffix": f"{VALID}  rows: [services, [{{word: 1}}]]\n",
    "rows.0: a row is a mapping with a suffix": f"{VALID}  rows: [{{word: 1}}]\n",
    "title.en: the row has no word": VALID.replace("en: Good", "en: $word") + "  rows: [{suffix: a}]\n",
}


def read(folder: Path, text: str | None) -> list[str]:
    if text is None:
        (folder / "a.yaml").mkdir()
    else:
        (folder / "a.yaml").write_text(text, "utf-8")
    return [case.id for case in case_loader.read(folder, {"R2.1"})]


def test_valid_case(tmp_path: Path) -> None:
    """A valid case loads, and NO is a string."""
    assert ["good"] == read(tmp_path, VALID)
    assert "NO" == case_loader.read(tmp_path, {"R2.1"})[0].steps[0].expect.answer


@pytest.mark.parametrize("words", INVALID)
def test_errors(tmp_path: Path, words: str) -> None:
    """An error is reported with its file and place."""
    with pytest.raises(CaseError, match=words) as caught:
        read(tmp_path, INVALID[words])
    assert str(caught.value).startswith("a.yaml: ")


def test_duplicate_id_and_empty_folder(tmp_path: Path) -> None:
    """A duplicate id and a folder without cases are errors."""
    with pytest.raises(CaseError, match="the folder has no case"):
        case_loader.read(tmp_path, {"R2.1"})
    (tmp_path / "b.yaml").write_text(VALID, "utf-8")
    with pytest.raises(CaseError, match=r"b.yaml: good: id: duplicate id"):
        read(tmp_path, VALID)


def test_rows(tmp_path: Path) -> None:
    """A row's values are substituted with their type, or as text inside a string."""
    text = VALID.replace("en: Good", 'en: "of ${amount}"').replace(
        'serial: "1404000000000017"', "amount_rials: $amount"
    )
    (tmp_path / "a.yaml").write_text(f"{text}  rows: [{{suffix: a, amount: 1}}, {{suffix: b, amount: 25}}]\n", "utf-8")

    found = case_loader.read(tmp_path, {"R2.1"})

    assert ["good.a", "good.b"] == [case.id for case in found]
    assert ["of 1", "of 25"] == [case.title.en for case in found]
    assert [{"amount_rials": 1}, {"amount_rials": 25}] == [case.steps[0].request for case in found]


def test_tables(tmp_path: Path) -> None:
    """Of several tables, of which some are named, each combination of their rows makes a case."""
    text = VALID.replace("target: promissory", "target: $target").replace("call: CheckNote", "call: $call")
    text = text.replace('{serial: "1404000000000017"}', "$yes").replace("en: Good", "en: $word")
    words = "[{suffix: a, word: Good}, {suffix: b, word: Better}]"
    (tmp_path / "a.yaml").write_text(f"{text}  rows: [{words}, services]\n", "utf-8")

    found = case_loader.read(tmp_path, {"R2.1"})

    methods = ("check-note", "check-by-national-id", "verify-note")
    assert [f"good.{word}-{method}" for word in "ab" for method in methods] == [case.id for case in found]
    assert ["Good", "Better"] == [case.title.en for case in found if case.target == "setad"]


def test_select(tmp_path: Path) -> None:
    """Cases are selected by id or clause, whole or up to a dot."""
    (tmp_path / "a.yaml").write_text(
        VALID + VALID.replace("good", "good.more") + VALID.replace("good", "goods"), "utf-8"
    )
    cases = case_loader.read(tmp_path, {"R2.1"})

    assert ["good", "good.more"] == [case.id for case in case_loader.select(cases, ["good"])]
    assert 3 == len(case_loader.select(cases, ["R2"])) == len(case_loader.select(cases, []))
    with pytest.raises(UnknownCaseError, match=r"has the id R2\.1\.1"):
        case_loader.select(cases, ["good", "R2.1.1"])
