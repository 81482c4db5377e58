"""Commands that are declared in one module and implemented in another, which is imported when the command runs.

A help text and a completion read declarations only: names, options and the sources of their values. A module of
declarations therefore imports none of the libraries that its commands work with (a test checks it).
"""

import gc
import os
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec

P = ParamSpec("P")

MODULE = "implemented_in"
"""The attribute of a declared command that names the module of its implementation."""
SERVE = "serve"
"""The function of every command that runs a service."""


def implemented_in(module: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Return a decorator: it makes a declaration, a function without a body, run *module*'s function of its name.

    Every argument is passed by its name. Where an import fails because an extra is not installed, the command prints
    what to install.
    """

    def decorate(declaration: Callable[P, None]) -> Callable[P, None]:
        @wraps(declaration)
        def run(*_: P.args, **given: P.kwargs) -> None:
            if declaration.__name__ != SERVE:
                # gRPC reads the variable when it is imported, and would print its own log lines beside our errors.
                os.environ.setdefault("GRPC_VERBOSITY", "NONE")
            try:
                found = implementation(run)
                if not gc.isenabled():
                    gc.freeze()
                    gc.enable()
                found(**given)
            except ModuleNotFoundError as error:
                as_json = given.get("as_json") or getattr(given.get("options"), "as_json", False)
                _exit_missing(error, as_json=bool(as_json))
                raise

        vars(run)[MODULE] = module
        return run

    return decorate


def implementation(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a declared *command* runs, imported.

    The contracts of all services are imported too, since a receipt may be of any of them.
    """
    found: Callable[..., Any] = getattr(import_module(getattr(command, MODULE)), command.__name__)
    package = Path(__file__).parents[1]
    for stubs in sorted(package.glob("*/v*/*_pb2.py")):
        import_module(".".join([package.name, *stubs.relative_to(package).with_suffix("").parts]))
    return found


def _exit_missing(error: ModuleNotFoundError, *, as_json: bool) -> None:
    """Print what to install and exit 21, if *error* is raised because an extra is not installed."""
    from estelam.cli import extras, output  # noqa: PLC0415 - declarations need neither

    if extra := extras.lacking(error):
        output.exit_error(extras.missing(extra), as_json=as_json, code=output.EXIT_UNAVAILABLE)
