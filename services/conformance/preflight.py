"""Checks before a run that each instance can be called, and says what is wrong if not."""

import contextlib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from conformance import contract, raw_http2
from conformance.case import Instance
from conformance.raw_http2 import NoReplyError, RawCall
from conformance.target import Target
from estelam.core.addresses import split

PROBE_SECONDS = 5.0
CALLERS = {"promissory": "setad", "judiciary": "cbi", "setad": "setad"}
"""A caller that every implementation grants access to the service."""


def find_problems(target: Target) -> str:
    """Return why the run can't start, one line for each instance that can't be called; empty if all can."""
    with ThreadPoolExecutor(len(target.addresses)) as pool:
        problems = pool.map(lambda instance: _problem(target, instance), target.addresses)
        lines = zip(target.addresses.items(), problems, strict=True)
        return "\n".join(f"{instance} ({address}): {problem}" for (instance, address), problem in lines if problem)


def _problem(target: Target, instance: Instance) -> str:
    caller = CALLERS[instance.service]
    path = f"/{contract.method_names(instance.service)[0]}"
    call = RawCall(target.addresses[instance], target.identity(caller), path, b"", (), PROBE_SECONDS)
    try:
        with contextlib.closing(raw_http2.connect(call, time.monotonic() + PROBE_SECONDS)) as connection:
            return _call_problem(connection, call, caller)
    except (OSError, NoReplyError) as error:
        return _connection_problem(error, call)


def _connection_problem(error: Exception, call: RawCall) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid for this name under the PKI folder's ca.crt: {error.verify_message}"
    if isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError):
        return _tls_problem(call)
    if isinstance(error, TimeoutError | NoReplyError):
        return f"timeout: no connection within {PROBE_SECONDS:.0f} seconds"
    if isinstance(error, socket.gaierror):
        return "unreachable: the host name does not resolve"
    return "unreachable: the connection was refused"


def _call_problem(connection: socket.socket, call: RawCall, caller: str) -> str:
    """Call over an open TLS connection and return what is wrong, or an empty string."""
    deadline = time.monotonic() + PROBE_SECONDS
    if not isinstance(connection, ssl.SSLSocket) or connection.selected_alpn_protocol() != "h2":
        if _is_http1(connection, call.address):
            return "it serves HTTP/1, and gRPC needs HTTP/2"
        return "it does not select HTTP/2 in the TLS handshake (ALPN h2), which gRPC needs"
    try:
        result = raw_http2.send(connection, call, deadline)
    except NoReplyError:
        return f"timeout: no response to a call within {PROBE_SECONDS:.0f} seconds"
    if result.status == "CLOSED":
        return f"it closes the connection of a client with the certificate of {caller}"
    if result.status == "GARBAGE":
        return "it sends invalid HTTP/2"
    return f"it sends a response that is not gRPC: {result.message}" if result.status == "HTTP" else ""


def _tls_problem(call: RawCall) -> str:
    """Return what is wrong with a server whose TLS handshake fails."""
    try:
        with socket.create_connection(split(call.address), timeout=PROBE_SECONDS) as plain:
            if _is_http1(plain, call.address):
                return "it serves HTTP/1 without TLS, and gRPC needs HTTP/2 over TLS"
    except OSError:
        pass
    return "the TLS handshake fails"


def _is_http1(connection: socket.socket, address: str) -> bool:
    with contextlib.suppress(OSError, NoReplyError):
        connection.settimeout(PROBE_SECONDS)
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        return raw_http2.receive(connection, time.monotonic() + PROBE_SECONDS).startswith(b"HTTP/1")
    return False
