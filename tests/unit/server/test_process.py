"""Signals to the process of a service."""

import json
import subprocess
import sys

WAIT = """
import signal, threading, time
from estelam.server.process import wait_for_signal
from estelam.server.signals import Signals

def signal_this_thread():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

signals = Signals(signal.SIGTERM)
threading.Thread(target=signal_this_thread).start()
assert wait_for_signal(signals)
"""

FLOOD = """
import os, signal, subprocess, sys
from estelam.server.signals import Signals

SEND = "import os, sys\\nfor _ in range(50_000): os.kill(int(sys.argv[1]), int(sys.argv[2]))"
signals = Signals(signal.SIGHUP, signal.SIGTERM)
for number in (signal.SIGHUP, signal.SIGTERM):
    sender = subprocess.Popen([sys.executable, "-c", SEND, str(os.getpid()), str(int(number))])
    seen = set()
    while sender.poll() is None:
        sorted(range(1000))
        seen |= signals.take()
    assert sender.returncode == 0 and seen | signals.take() == {number}, seen
"""

# Each run of the service is signalled during its start and once it listens.
RESTART = """
import contextlib, os, signal, threading
from types import SimpleNamespace
from estelam.server.process import run_until_shutdown

DURING_START = [[signal.SIGHUP], [], [signal.SIGHUP], [signal.SIGTERM]]
LATER = [[], [signal.SIGHUP] * 3, [], []]
runs = []

def send(numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

@contextlib.contextmanager
def service(settings):
    number = len(runs)
    runs.append(f"{number}")
    send(DURING_START[number])
    threading.Timer(0.2, send, [LATER[number]]).start()
    yield SimpleNamespace(port=1)
    runs[number] += " has ended"

run_until_shutdown(lambda: SimpleNamespace(log_level="critical"), service)
print(*runs, sep=", ")
"""

# What the settings are at each time that they are read; the service can't start with "wrong".
RELOAD = """
import contextlib, os, signal, sys, threading
from types import SimpleNamespace
from estelam.core.exceptions import UserFacingError
from estelam.server.process import run_until_shutdown

READ = iter(["first", "invalid", "second", "wrong", "third"])
runs = []

def load():
    name = next(READ)
    if name == "invalid":
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGHUP]).start()
        raise UserFacingError("a setting is invalid")
    return SimpleNamespace(name=name, log_level="info")

@contextlib.contextmanager
def service(settings):
    if settings.name == "wrong":
        raise OSError(2, "No such file", "key")
    runs.append(settings.name)
    end = signal.SIGTERM if settings.name == "third" else signal.SIGHUP
    threading.Timer(0.2, os.kill, [os.getpid(), end]).start()
    yield SimpleNamespace(port=1)

run_until_shutdown(load, service)
print(*runs, sep=", ")
"""

# SIGHUP comes with the first import of the program, long before its handler is set.
EARLY = """
import contextlib, importlib.abc, os, signal, sys, threading
from types import SimpleNamespace
from estelam.cli import main

class Sender(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "estelam.cli.root":
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, Sender())
sys.argv = ["estelam", "promissory", "serve", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
    main()

from estelam.server.process import run_until_shutdown
runs = []

@contextlib.contextmanager
def service(settings):
    runs.append("run")
    if len(runs) == 2:
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM]).start()
    yield SimpleNamespace(port=1)

run_until_shutdown(lambda: SimpleNamespace(log_level="critical"), service)
print(*runs)
"""


def run(script: str) -> tuple[int, str, str]:
    """Run *script* in a process; return its status, output and errors."""
    ended = subprocess.run([sys.executable, "-c", script], timeout=60, check=False, capture_output=True, text=True)
    return ended.returncode, ended.stdout.strip(), ended.stderr


def test_signal_that_interrupts_no_system_call() -> None:
    """A signal ends the wait also when it does not interrupt it, as one that arrives just before the wait begins."""
    assert (0, "", "") == run(WAIT)


def test_flood_of_signals() -> None:
    """50,000 signals in a row end nothing, and are noted."""
    assert (0, "", "") == run(FLOOD)


def test_restart() -> None:
    """SIGHUP restarts a service once, when it arrives during a start too; SIGTERM ends it."""
    assert (0, "0 has ended, 1 has ended, 2 has ended, 3 has ended", "") == run(RESTART)


def test_restart_reads_settings() -> None:
    """SIGHUP reads the settings anew; the service goes on with the last ones where it can't use them, and logs why."""
    status, runs, logged = run(RELOAD)

    assert (0, "first, second, second, third") == (status, runs)
    assert [
        ("service.settings_kept", "a setting is invalid"),
        ("service.restarted", None),
        ("service.restart_failed", "key: no such file"),
        ("service.settings_kept", "key: no such file"),
        ("service.restarted", None),
    ] == [(event["event"], event.get("error")) for event in map(json.loads, logged.splitlines())]


def test_restart_signal_during_imports() -> None:
    """A SIGHUP that comes before the program has set its handlers is kept, and honoured once they stand."""
    assert (0, "run run", "") == run(EARLY)
