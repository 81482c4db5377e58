"""What measurements stand on: the cases that they load, the pairs that they compare, and one of them, small."""

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from judiciary.feeds import CASES
from tools.bench.benchmarks import monthly_report
from tools.bench.datasets import cases
from tools.bench.metric import at_least, at_most, paired
from tools.env import sandbox as suite
from tools.env.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[3]


def values(path: Path, column: str) -> set[str]:
    with path.open(newline="") as file:
        return {row[column] for row in csv.DictReader(file)}


def test_the_loader_takes_every_generated_case(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    cases.write(path, 2_000)

    suite.load_file(sandbox.judiciary(), CASES, path)

    assert len(values(path, "case_number")) == len(values(path, "tracking_id")) == 2_000


def test_half_of_those_asked_about_are_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    cases.write(path, 2_000)
    cheques = [pb.CheckByTrackingIdRequest.FromString(wire).tracking_id for wire in cases.by_tracking_id(2_000, 100)]
    persons = [pb.CheckByNationalIdRequest.FromString(wire).national_id for wire in cases.by_national_id(2_000, 100)]

    def known(asked: Sequence[str], column: str) -> list[bool]:
        return [text in values(path, column) for text in asked]

    assert known(cheques, "tracking_id") == known(persons, "national_id") == [True, False] * 50


def test_who_goes_first_changes_with_each_pair() -> None:
    order: list[str] = []

    paired(3, lambda: order.append("full"), lambda: order.append("bare"))

    assert order == ["full", "bare", "bare", "full", "full", "bare"]


def test_a_target_is_met_at_its_bound() -> None:
    assert [at_least(0.9).met(value) for value in (0.89, 0.9)] == [False, True]
    assert [at_most(1.5).met(value) for value in (1.5, 1.51)] == [True, False]


def test_a_measurement_ends_in_a_table_that_names_the_machine() -> None:
    small = ("--seconds", "0.2", "--rounds", "1", "--notes", "50")
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "alone", *small], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "one caller alone" in done.stdout
    assert "processor:" in done.stdout


def test_a_seeded_month_has_as_many_inquiries_as_asked_for_and_all_of_them_are_reported(tmp_path: Path) -> None:
    reported = monthly_report.reported(tmp_path / "month", least=10_000)

    assert 10_000 <= reported.took.inquiries <= 10_500
    assert 0 < reported.took.peak_mib < 1024


def test_a_measurement_that_is_not_known_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "speed"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "unknown: speed" in done.stderr
    assert "Traceback" not in done.stderr
