"""Time limits of the processes that are started, and the error when one is exceeded."""

START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02


class ProcessError(Exception):
    """A process did not start or stop in time; the text includes what it printed."""
