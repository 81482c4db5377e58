"""Requests to web addresses that the settings name: directly, and nowhere else."""

import ssl
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener


def direct_opener(ca_certificates: Path | None) -> OpenerDirector:
    """Return what opens addresses without a proxy of the environment and without following a redirection.

    Args:
        ca_certificates: The authorities (PEM) that may issue certificates of the addresses; None: those of the system.

    Raises:
        OSError: the file can't be read.
    """
    return opener_of(ssl.create_default_context(cafile=ca_certificates))


def opener_of(context: ssl.SSLContext) -> OpenerDirector:
    """Return what opens addresses so with *context*."""
    return build_opener(ProxyHandler({}), HTTPSHandler(context=context), _NoRedirection())


class _NoRedirection(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow none: the status is an error then."""
