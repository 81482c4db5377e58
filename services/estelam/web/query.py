"""Query of a request for data: each parameter has a meaning and is given once, or the request is refused.

An ignored or misspelt parameter would give another answer than the one that was asked for.
"""

from collections.abc import Mapping

from starlette.requests import Request

from estelam.core.normalize import find_invisible

_SHOWN = 40
"""Characters of an unknown parameter's name that a message shows."""


class QueryError(ValueError):
    """The query of a request has a parameter that the resource does not have, or has one more than once."""


def read_query(request: Request, *names: str) -> Mapping[str, str]:
    """Return the parameters of the query of *request*, for a resource that has the parameters *names*.

    Raises:
        QueryError: the query has another parameter, or has one more than once.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in names:
            shown = "" if find_invisible(name) is not None else f" {name[:_SHOWN]}"
            raise QueryError(f"unknown parameter{shown}; known: {', '.join(names) or 'none'}")
        if given.count(name) > 1:
            raise QueryError(f"{name}: is given more than once")
    return dict(request.query_params)
