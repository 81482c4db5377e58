"""Commands that need an optional extra of the distribution: one line of text where the extra is not installed."""

import contextlib
from collections.abc import Iterator

from estelam.cli import output

MODULES = {"conformance": ("h2", "hyperframe"), "loading": ("adbc_driver_sqlite", "pyarrow")}
"""The top-level modules of each extra that the services import."""


def lacks(extra: str, error: ModuleNotFoundError) -> bool:
    """Whether *error* is raised because *extra* is not installed."""
    return (error.name or "").partition(".")[0] in MODULES[extra]


@contextlib.contextmanager
def required(extra: str, *, as_json: bool) -> Iterator[None]:
    """Print what to install and exit 1 where an import in the block fails because *extra* is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not lacks(extra, error):
            raise
        output.exit_error(missing(extra), as_json=as_json)


def missing(extra: str) -> str:
    """The text for a person who runs a command that needs *extra*."""
    return f"this command needs more packages: pip install 'estelam[{extra}]'"
