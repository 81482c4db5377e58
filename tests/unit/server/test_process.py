"""The shutdown of a service's process."""

import subprocess
import sys

WAIT = """
import signal, threading, time
from estelam.server.process import wait_for_shutdown

def signal_this_thread():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=signal_this_thread).start()
wait_for_shutdown()
"""


def test_signal_that_interrupts_no_system_call() -> None:
    """A signal ends the wait also when it does not interrupt it, as one that arrives just before the wait begins."""
    assert subprocess.run([sys.executable, "-c", WAIT], timeout=60, check=False).returncode == 0
