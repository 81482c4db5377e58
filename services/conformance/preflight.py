"""Whether there is anything to examine: each instance is called once, and what stands in the way has its own words."""

import contextlib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from conformance import contract, raw_http2
from conformance.case import Instance
from conformance.raw_http2 import Sending, Silent
from conformance.target import Target

PROBE_SECONDS = 5.0
CALLERS = {"promissory": "setad", "judiciary": "cbi", "setad": "setad"}
"""Who may ask each service for certain."""


def trouble(target: Target) -> str:
    """Why nothing can be examined, a line for each instance that is in the way; nothing where all is well."""
    with ThreadPoolExecutor(len(target.addresses)) as pool:
        told = pool.map(lambda instance: _trouble(target, instance), target.addresses)
        lines = zip(target.addresses.items(), told, strict=True)
        return "\n".join(f"{instance} ({address}): {why}" for (instance, address), why in lines if why)


def _trouble(target: Target, instance: Instance) -> str:
    caller = CALLERS[instance.service]
    path = f"/{contract.method_names(instance.service)[0]}"
    sending = Sending(target.addresses[instance], target.identity(caller), path, b"", (), PROBE_SECONDS)
    try:
        with contextlib.closing(raw_http2.connected(sending, time.monotonic() + PROBE_SECONDS)) as opened:
            return _said(opened, sending, caller)
    except (OSError, Silent) as error:
        return _why_unconnected(error, sending)


def _why_unconnected(error: Exception, sending: Sending) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one that the PKI folder vouches for by this name: {error.verify_message}"
    if isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError):
        return _without_tls(sending)
    if isinstance(error, TimeoutError | Silent):
        return f"it hangs: no connection was made within {PROBE_SECONDS:.0f} seconds"
    if isinstance(error, socket.gaierror):
        return "unreachable: there is no such address"
    return "unreachable: nobody listens there"


def _said(opened: socket.socket, sending: Sending, caller: str) -> str:
    """What is wrong with how a TLS connection goes on."""
    deadline = time.monotonic() + PROBE_SECONDS
    if not isinstance(opened, ssl.SSLSocket) or opened.selected_alpn_protocol() != "h2":
        if _speaks_http1(opened, sending.address):
            return "it speaks HTTP/1, and gRPC needs HTTP/2"
        return "it does not agree on HTTP/2 in the TLS handshake (ALPN h2), which gRPC needs"
    try:
        seen = raw_http2.converse(opened, sending, deadline)
    except Silent:
        return f"it hangs: a call was not answered within {PROBE_SECONDS:.0f} seconds"
    if seen.status == "CLOSED":
        return f"it closes the connection that was made with the certificate of {caller}"
    if seen.status == "GARBAGE":
        return "it answers garbage: what it says is no HTTP/2"
    return f"it answers, but no gRPC: {seen.message}" if seen.status == "HTTP" else ""


def _without_tls(sending: Sending) -> str:
    """What it speaks instead of TLS."""
    try:
        with socket.create_connection(raw_http2.host_and_port(sending.address), timeout=PROBE_SECONDS) as plain:
            if _speaks_http1(plain, sending.address):
                return "it speaks HTTP/1 without TLS, and gRPC needs HTTP/2 over TLS"
    except OSError:
        pass
    return "it answers garbage: the TLS handshake fails"


def _speaks_http1(opened: socket.socket, address: str) -> bool:
    with contextlib.suppress(OSError, Silent):
        opened.settimeout(PROBE_SECONDS)
        opened.sendall(f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        return raw_http2.receive(opened, time.monotonic() + PROBE_SECONDS).startswith(b"HTTP/1")
    return False
