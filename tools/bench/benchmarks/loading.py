"""The speed of loading cases with all checks: all of them, relative to the database's own import, and a few changes."""

import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tools.bench.datasets import cases
from tools.bench.environment import BenchEnvironment, Engine, now
from tools.bench.metric import Metric, at_least, at_most, paired
from tools.env.postgres import BIN, USER

_TARGETS: Mapping[Engine, float] = {Engine.SQLITE: 0.4, Engine.POSTGRESQL: 0.5}
_IMPORTS: Mapping[Engine, str] = {Engine.SQLITE: "sqlite3 .import", Engine.POSTGRESQL: "psql \\copy"}
_CHANGES = 1_000
_TABLE = f"CREATE TABLE cheque_case ({', '.join(f'{column} text' for column in cases.COLUMNS)});\n"
# The look-ups need them. They are built after the import, which is faster than during it.
_INDEXES = "".join(f"CREATE INDEX {column} ON cheque_case ({column});\n" for column in ("tracking_id", "national_id"))


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Rows per second of `load-cases` / of the raw import, with indexes and without; seconds to load changes."""
    rows, rounds = environment.scale.rows, environment.scale.rounds
    for engine in Engine:
        pairs = paired(rounds, partial(_import, environment, engine), partial(environment.load_seconds, rows, engine))
        yield _compared(environment, engine, "and two indexes", [sum(each) for each in pairs[0]], pairs[1])
        yield _compared(environment, engine, "without any", [imported for imported, _ in pairs[0]], pairs[1])
        yield _changes(environment, engine)


def _compared(
    environment: BenchEnvironment, engine: Engine, peer: str, imports: Sequence[float], loads: Sequence[float]
) -> Metric:
    rows = environment.scale.rows
    ratios = [taken / ours for taken, ours in zip(imports, loads, strict=True)]
    taken, ours = statistics.median(imports), statistics.median(loads)
    return Metric(
        f"load of {rows:,} cases, checked / {_IMPORTS[engine]} {peer}",
        f"{rows / ours:,.0f} / {rows / taken:,.0f} rows/s: {ours:,.1f} and {taken:,.1f} s "
        f"({min(ratios):.2f} to {max(ratios):.2f})",
        statistics.median(ratios),
        at_least(_TARGETS[engine]) if peer == "and two indexes" else None,
    )


def _changes(environment: BenchEnvironment, engine: Engine) -> Metric:
    """Seconds to load files of changed cases into the large store."""
    suite, seconds = environment.with_cases(environment.scale.rows, engine), []
    for number in range(environment.scale.rounds):
        path = environment.folder / f"changes {number} on {engine}.csv"
        cases.write_changes(path, environment.scale.rows, _CHANGES, number)
        options = ("--cut-at", now(), "--allow-removals", str(_CHANGES))
        seconds.append(suite.command("judiciary", "load-cases", path, *options).seconds)
    return Metric(
        f"load of {_CHANGES:,} changed cases into {environment.scale.rows:,}, {engine}",
        f"{min(seconds):.2f} to {max(seconds):.2f} s",
        statistics.median(seconds),
        at_most(2),
        "{:.2f} s",
    )


def _import(environment: BenchEnvironment, engine: Engine) -> tuple[float, float]:
    """Seconds that the database's shell takes to import the file, and then to build the indexes."""
    path = environment.cases_file(environment.scale.rows)
    if engine is Engine.SQLITE:
        raw = environment.folder / "raw.db"
        raw.unlink(missing_ok=True)
        shell: Sequence[str | Path] = ("sqlite3", "-batch", "-bail", raw)
        command = f".mode csv\n.import --skip 1 '{path}' cheque_case\n"
    else:
        connected = ("-h", environment.cluster.folder, "-U", USER, "-d", environment.cluster.database())
        shell = (BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *connected)
        command = f"\\copy cheque_case FROM '{path}' WITH (FORMAT csv, HEADER true)\n"
    _run(shell, _TABLE)
    return _run(shell, command), _run(shell, _INDEXES)


def _run(shell: Sequence[str | Path], commands: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(shell, input=commands, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - started
    if done.returncode or done.stderr:
        raise RuntimeError(f"{shell[0]}: {done.stderr}")
    return taken
