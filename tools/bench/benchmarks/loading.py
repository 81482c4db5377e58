"""The speed of loading cases with all checks, relative to the database's own import of the same file."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools.bench.datasets import cases
from tools.bench.environment import BenchEnvironment, Engine
from tools.bench.metric import Metric, at_least
from tools.env.postgres import BIN, USER

_TARGETS: Mapping[Engine, float] = {Engine.SQLITE: 0.4, Engine.POSTGRESQL: 0.5}
_IMPORTS: Mapping[Engine, str] = {Engine.SQLITE: "sqlite3 .import", Engine.POSTGRESQL: "psql \\copy"}
_TABLE = f"CREATE TABLE cheque_case ({', '.join(f'{column} text' for column in cases.COLUMNS)});\n"
# The look-ups need them. They are built after the import, which is faster than during it.
_INDEXES = "".join(f"CREATE INDEX {column} ON cheque_case ({column});\n" for column in ("tracking_id", "national_id"))


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Rows per second of `load-cases` / of the raw import, with the look-ups' indexes and without."""
    rows = environment.scale.rows
    for engine in Engine:
        imported, indexed = _import(environment, engine)
        ours = environment.load_seconds(rows, engine)
        for peer, taken, target in (
            (f"{_IMPORTS[engine]} and two indexes", imported + indexed, at_least(_TARGETS[engine])),
            (f"{_IMPORTS[engine]} without any", imported, None),
        ):
            yield Metric(
                f"load of {rows:,} cases, checked / {peer}",
                f"{rows / ours:,.0f} / {rows / taken:,.0f} rows/s, once: {ours:,.1f} and {taken:,.1f} s",
                taken / ours,
                target,
            )


def _import(environment: BenchEnvironment, engine: Engine) -> tuple[float, float]:
    """Seconds that the database's shell takes to import the file, and then to build the indexes."""
    path = environment.cases_file(environment.scale.rows)
    if engine is Engine.SQLITE:
        shell: Sequence[str | Path] = ("sqlite3", "-batch", "-bail", environment.folder / "raw.db")
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
