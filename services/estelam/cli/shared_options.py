"""Options that several commands share: declared once, and passed to a command as one object."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

Command = Callable[..., None]


def shared_options(
    offered: Mapping[str, tuple[Any, Any]], collect: Callable[[dict[str, Any]], Any]
) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a function whose last parameter is *options*.

    Args:
        offered: annotation and default of each option, by the name of its parameter.
        collect: returns the function's *options* for the options' values by name.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(**given: Any) -> None:
            values = {name: given.pop(name) for name in offered}
            command(**given, options=collect(values))

        own = [found for found in inspect.signature(command).parameters.values() if found.name != "options"]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for name, (kind, default) in offered.items()
        ]
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {found.name: found.annotation for found in (*own, *shared)}
        return run

    return decorate
