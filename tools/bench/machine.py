"""A description of the machine that the metrics were measured on."""

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import grpc


def describe(folder: Path) -> Mapping[str, str]:
    """Processor, system, software and storage; *folder* is the folder of the store."""
    kind, micros = _filesystem(folder), _fsync_micros(folder)
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "software": f"Python {platform.python_version()}, gRPC {grpc.__version__}, SQLite {sqlite3.sqlite_version}",
        "storage": f"{kind}, 4 KiB written and synced in {micros:,.0f} us (median)",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _filesystem(folder: Path) -> str:
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    held = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(held)[1]


def _fsync_micros(folder: Path) -> float:
    taken = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(200):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6
