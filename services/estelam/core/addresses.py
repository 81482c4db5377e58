"""Network addresses, host:port, and the addresses of data stores: checked when they are read, before they are used.

An error never quotes the address: a password may be in it.
"""

import errno
import ipaddress
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from estelam.core.exceptions import ServerError

SQLITE, POSTGRESQL = "sqlite:///", "postgresql+psycopg://"

_LABEL = re.compile(r"(?!-)[0-9A-Za-z_-]{1,63}(?<!-)")
_MAX_HOST_LENGTH = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CAUSES = {
    errno.EADDRINUSE: "another program listens there; stop it, or choose another port",
    errno.EADDRNOTAVAIL: "this host has no such address",
    errno.EACCES: "a port below 1024 needs a privilege",
}


def check_listen(text: str) -> str:
    """Return *text* if it is a host:port to listen on; port 0 takes a free one.

    Raises:
        ValueError: it is not; the text says why.
    """
    return _check(text, lowest_port=0)


def beside(store: str, ending: str) -> Path | None:
    """Return the path FOLDER.*ending* beside the folder of a store on SQLite; None on PostgreSQL, which has none."""
    if not store.startswith(SQLITE):
        return None
    folder = Path(store.removeprefix(SQLITE))
    return folder.with_name(f"{folder.name}.{ending}")


def check_target(text: str) -> str:
    """Return *text* if it is a host:port to connect to.

    Raises:
        ValueError: it is not; the text says why.
    """
    return _check(text, lowest_port=1)


def check_loopback(text: str) -> str:
    """Return *text* if it is a host:port to listen on, on this host alone.

    Raises:
        ValueError: it is not; the text says why.
    """
    host, _ = split(check_listen(text))
    if host != "localhost" and not (_is_ip(host) and ipaddress.ip_address(host).is_loopback):
        raise ValueError("must be a loopback address: the page has no login of its own")
    return text


def check_url(text: str) -> str:
    """Return *text* if it is the address of something on the web, with neither a user's name nor blanks.

    Raises:
        ValueError: it is not; the text says why.
    """
    target_of(text)
    return text


def target_of(url: str) -> str:
    """Return the host:port that *url*, as `check_url` accepts it, is at.

    Raises:
        ValueError: it is not such an address; the text says why.
    """
    form = "must be http://HOST:PORT/PATH or https://HOST:PORT/PATH"
    try:
        address = urlsplit(url)
    except ValueError:
        raise ValueError(form) from None
    if address.scheme not in _DEFAULT_PORTS or "@" in address.netloc or " " in url:
        raise ValueError(form)
    has_port = re.search(r":[^\]]*$", address.netloc)
    return check_target(address.netloc if has_port else f"{address.netloc}:{_DEFAULT_PORTS[address.scheme]}")


def is_loopback(url: str) -> bool:
    """Return whether the host of *url* is this one, by its name or number alone."""
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}


def split(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port of a checked *address*."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def bind(setting: str, address: str, *, shares_port: bool = False) -> socket.socket:
    """Return a TCP socket that is bound to *address*; *setting* is what an error names.

    Raises:
        ServerError: the address can't be bound; the text says why.
    """
    host, port = split(address)
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares_port))
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise bind_error(setting, address, error) from error
    return bound


def bind_error(setting: str, address: str, error: OSError) -> ServerError:
    """Return the error for *address*, the value of *setting*, that can't be bound."""
    unresolved = "the name can't be resolved" if isinstance(error, socket.gaierror) else None
    cause = unresolved or _CAUSES.get(error.errno or 0) or (error.strerror or "it failed").lower()
    return ServerError(f"{setting}: {address} can't be bound: {cause}")


def check_store_url(url: str) -> str:
    """Return *url* if it is the address of a data store: a folder for SQLite, or a PostgreSQL database.

    The folder is everything after sqlite:///, whatever its characters. The user name and the password of a PostgreSQL
    address are percent-encoded (RFC 3986): read otherwise, a part of the password would be the host's name.

    Raises:
        ValueError: it is not; the text says why, and quotes nothing.
    """
    if url.startswith(SQLITE):
        if not url.removeprefix(SQLITE) or "\0" in url:
            raise ValueError("names no folder: give sqlite:///FOLDER")
    elif url.startswith(POSTGRESQL):
        _check_postgresql(url.removeprefix(POSTGRESQL))
    else:
        raise ValueError("must be sqlite:///FOLDER or postgresql+psycopg://USER@HOST/DATABASE")
    return url


def _check_postgresql(rest: str) -> None:
    user, at, place = rest.rpartition("@")
    if re.search(r"[@/?#\[\]\s]", user) or user.count(":") > 1:
        raise ValueError(
            "has a character in its user name or password that must be percent-encoded: "
            "@ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25"
        )
    host = re.split(r"[/?]", place if at else rest, maxsplit=1)[0]
    if host:  # without one it is a socket, or the query names it
        try:
            _check(host if re.search(r":[^\]]*$", host) else f"{host}:5432", lowest_port=1)
        except ValueError as error:
            raise ValueError(f"names no host of a database: {error}") from None


def _check(text: str, *, lowest_port: int) -> str:
    if "/" in text:
        raise ValueError("is a URL or a path: give host:port alone")
    host, colon, port = text.rpartition(":")
    if _is_ip(text) and ":" in text:
        raise ValueError("an IPv6 address is written in brackets, with a port: [::1]:50051")
    if not colon:
        raise ValueError("the port is missing: give host:port")
    if not (re.fullmatch("[0-9]{1,5}", port) and lowest_port <= int(port) <= 65535):
        raise ValueError(f"the port must be a number from {lowest_port} to 65535")
    _check_host(host)
    return text


def _check_host(host: str) -> None:
    if not host:
        raise ValueError("the host is missing: give host:port")
    if ":" in host and not re.search(r"[\[\]]|::", host) and not _is_ip(host):
        raise ValueError("has more than one colon: give host:port")
    if host.startswith("[") or ":" in host:
        if not (host.startswith("[") and host.endswith("]") and ":" in host and _is_ip(host[1:-1])):
            raise ValueError("an IPv6 address is written in brackets: [::1]:50051")
    elif re.fullmatch(r"[0-9.]+", host):
        if not _is_ip(host):
            raise ValueError("the host is not an IPv4 address of four numbers from 0 to 255")
    elif len(host) > _MAX_HOST_LENGTH or not all(map(_LABEL.fullmatch, host.removesuffix(".").split("."))):
        raise ValueError("the host is not a name of ASCII letters, digits, hyphens and dots")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
