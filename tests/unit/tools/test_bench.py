"""The benchmarks' data, the comparison of pairs, and one small benchmark."""

import contextlib
import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from development import sandbox as suite
from development.sandbox import Sandbox
from estelam.core.keys import verifying_keys
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.ledger.verify import verify_ledger
from estelam.storage.store import Store
from judiciary.feeds import CASES
from tools.bench.benchmarks import monthly_report
from tools.bench.datasets import cases, ledger
from tools.bench.metric import at_least, at_most, paired

ROOT = Path(__file__).resolve().parents[3]


def values(path: Path, column: str) -> set[str]:
    with path.open(newline="") as file:
        return {row[column] for row in csv.DictReader(file)}


def test_generated_cases_load(sandbox: Sandbox, tmp_path: Path) -> None:
    """The loader accepts every generated case."""
    path = tmp_path / "cases.csv"
    cases.write(path, 2_000)

    suite.load_file(sandbox.judiciary(), CASES, path)

    assert len(values(path, "case_number")) == len(values(path, "tracking_id")) == 2_000


def test_half_of_requests_are_recorded(tmp_path: Path) -> None:
    """Half of the requested ids are in the generated file."""
    path = tmp_path / "cases.csv"
    cases.write(path, 2_000)
    cheques = [pb.CheckByTrackingIdRequest.FromString(wire).tracking_id for wire in cases.by_tracking_id(2_000, 100)]
    persons = [pb.CheckByNationalIdRequest.FromString(wire).national_id for wire in cases.by_national_id(2_000, 100)]

    def known(asked: Sequence[str], column: str) -> list[bool]:
        return [text in values(path, column) for text in asked]

    assert known(cheques, "tracking_id") == known(persons, "national_id") == [True, False] * 50


def test_generated_ledger_is_valid(sandbox: Sandbox) -> None:
    """A generated ledger verifies and has the requested length."""
    settings = sandbox.promissory()
    ledger.fill(settings, ledger.COMMIT + 20)

    with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
        heads = list(verify_ledger(connection, verifying_keys(settings.signing_certificates)))
    assert [head.size for head in heads] == [ledger.COMMIT, ledger.COMMIT + 20]


def test_pair_order_alternates() -> None:
    """The order of paired runs alternates."""
    order: list[str] = []

    paired(3, lambda: order.append("full"), lambda: order.append("bare"))

    assert order == ["full", "bare", "bare", "full", "full", "bare"]


def test_target_includes_its_bound() -> None:
    """A target is met at its bound."""
    assert [at_least(0.9).met(value) for value in (0.89, 0.9)] == [False, True]
    assert [at_most(1.5).met(value) for value in (1.5, 1.51)] == [True, False]


@pytest.mark.slow
def test_benchmark_prints_table_and_machine() -> None:
    """A benchmark run prints the table of metrics and describes the machine."""
    small = ("--seconds", "0.2", "--rounds", "1", "--notes", "50")
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "alone", *small], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "one caller alone" in done.stdout
    assert "processor:" in done.stdout


@pytest.mark.slow
def test_synthetic_month_is_complete(tmp_path: Path) -> None:
    """A synthetic month has at least the requested inquiries, and the report counts all of them."""
    reported = monthly_report.reported(tmp_path / "month", least=10_000)

    assert 10_000 <= reported.took.inquiries <= 10_500
    assert 0 < reported.took.peak_mib < 1024


def test_unknown_benchmark_is_refused() -> None:
    """An unknown benchmark is refused on one line."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "speed"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "unknown: speed" in done.stderr
    assert "Traceback" not in done.stderr
