"""The kit's transport for a target's JSON API: a channel like gRPC's, which calls methods as JSON over HTTP and mTLS.

A call's result has the form of a gRPC result, so that the same checks apply: the headers of the contract are its
trailers, and the problem details of a refusal are its google.rpc.Status. HTTP has no pushback, and states the quota in
headers only. Cases about gRPC alone are not applicable.
"""

import http.client
import json
import math
import re
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.api import annotations_pb2
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from conformance import contract, contract_facts
from conformance.case import Case, Instance, Step
from conformance.preflight import CALLERS, PROBE_SECONDS
from conformance.target import NO_CERTIFICATE, Target
from estelam.core.addresses import split
from estelam.core.errors import DOMAIN, Reason, Refusal
from estelam.core.grpc_status import status_code
from estelam.core.model import PURPOSE_KEYS
from estelam.core.purpose import PATTERN, decode_purpose, encode_header
from estelam.data_model.openapi import http_status

_KEYS = {each.key for each in contract_facts.METADATA}
_WORKERS = 64
_PROBLEM = "application/problem+json"


def is_applicable(case: Case) -> bool:
    """Return whether *case* can be put to a JSON API: it is not about gRPC's framing, messages, health or metadata."""
    return all(_is_call(case, step) and not any(_is_raw(*each) for each in step.metadata) for step in case.steps)


def _is_call(case: Case, step: Step) -> bool:
    if step.call is None:
        return step.health is None
    service = (step.target or case.target).service
    is_json = step.fault is None and step.message is None
    return is_json and _http_path(contract.path_of(step.call, service)) is not None


def _is_raw(key: str, value: str) -> bool:
    """Return whether *value* is malformed in gRPC's metadata, and in a header the text itself."""
    if key not in PURPOSE_KEYS or re.fullmatch(PATTERN[1:-1], value):
        return False
    try:
        decode_purpose(encode_header(value))
    except ValueError:
        return False
    return True


def _http_path(path: str) -> str | None:
    """Return the path of the JSON API for a gRPC *path*; None if the contract has no such method."""
    method = contract.method_at(path)
    return method.GetOptions().Extensions[annotations_pb2.http].post if method else None


def open_channel(target: Target, instance: Instance, caller: str) -> "HttpChannel":
    """Open a channel to an instance's JSON API under the certificate of *caller*."""
    context = ssl.create_default_context(cafile=target.pki / "ca.crt")
    if caller != NO_CERTIFICATE:
        context.load_cert_chain(target.pki / f"{caller}.crt", target.pki / f"{caller}.key")
    return HttpChannel(target.addresses[instance], context)


def find_problems(target: Target) -> str:
    """Return why the run can't start, one line for each instance that can't be called; empty if all can."""
    lines = []
    for instance, address in target.addresses.items():
        channel = open_channel(target, instance, CALLERS[instance.service])
        call = channel.unary_unary(f"/{contract.method_names(instance.service)[0]}").future(b"", timeout=PROBE_SECONDS)
        if call.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED} and not call.details_bytes:
            lines.append(f"{instance} ({address}): {call.details()}")
        elif call.code() is grpc.StatusCode.UNKNOWN:
            lines.append(f"{instance} ({address}): its response is no answer and no problem: {call.details()}")
        channel.close()
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a call ended, in gRPC's terms."""

    code: grpc.StatusCode
    message: str = ""
    reply: bytes | None = None
    trailers: tuple[tuple[str, str | bytes], ...] = ()


class HttpCall:
    """A call in progress or ended, with the methods of gRPC's."""

    is_http = True

    def __init__(self, future: "Future[_Outcome]") -> None:
        self._future = future

    def result(self) -> bytes:
        """Return the reply's bytes.

        Raises:
            grpc.RpcError: there is none.
        """
        outcome = self._future.result()
        if outcome.reply is None:
            raise grpc.RpcError
        return outcome.reply

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._future.result().code

    def details(self) -> str:
        """The status's text."""
        return self._future.result().message

    @property
    def details_bytes(self) -> bytes:
        """The google.rpc.Status of a refusal; empty without one."""
        return next((value for _, value in self.trailing_metadata() if isinstance(value, bytes)), b"")

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The headers of the contract, and the details of a refusal."""
        return self._future.result().trailers

    @staticmethod
    def initial_metadata() -> tuple[tuple[str, str], ...]:
        """Nothing: all headers count as trailers."""
        return ()


class _Method:
    def __init__(self, start: Callable[..., "Future[_Outcome]"]) -> None:
        self._start = start

    def future(self, payload: bytes, timeout: float, metadata: Sequence[tuple[str, str | bytes]] = ()) -> HttpCall:
        return HttpCall(self._start(payload, timeout, metadata))


class HttpChannel:
    """Connections to one JSON API under one certificate; they are kept open and used again."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        self._host, self._port = split(address)
        self._context = context
        self._idle: list[http.client.HTTPSConnection] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_WORKERS, "http")

    def unary_unary(self, path: str) -> _Method:
        """Return the method at the gRPC *path*."""
        return _Method(lambda *arguments: self._pool.submit(self._call, path, *arguments))

    def close(self) -> None:
        """Close all connections, once their calls have ended."""
        self._pool.shutdown()
        for connection in self._idle:
            connection.close()

    def _call(self, path: str, payload: bytes, timeout: float, metadata: Sequence[tuple[str, str | bytes]]) -> _Outcome:
        kind: Any = contract.request_type(path)
        body = json.dumps(json_format.MessageToDict(kind.FromString(payload))).encode()
        try:
            response, content = self._post(str(_http_path(path)), body, timeout, metadata)
        except TimeoutError:
            return _Outcome(grpc.StatusCode.DEADLINE_EXCEEDED, "no response in time")
        except (OSError, http.client.HTTPException) as error:
            return _Outcome(grpc.StatusCode.UNAVAILABLE, f"failed to connect: {type(error).__name__}: {error}")
        return _outcome(path, body, response, content)

    def _post(
        self, path: str, body: bytes, timeout: float, metadata: Sequence[tuple[str, str | bytes]]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Post to *path* over an idle connection; over a new one if there is none, or the server has closed it."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        connection = idle or http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        try:
            response, content = self._send(connection, path, body, timeout, metadata)
        except TimeoutError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException):
            connection.close()
            if idle is None:
                raise
            return self._post(path, body, timeout, metadata)
        with self._lock:
            self._idle.append(connection)
        return response, content

    @staticmethod
    def _send(
        connection: http.client.HTTPSConnection,
        path: str,
        body: bytes,
        timeout: float,
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.putrequest("POST", path)
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        for key, value in metadata:
            connection.putheader(key, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response, response.read()


def _outcome(path: str, body: bytes, response: http.client.HTTPResponse, content: bytes) -> _Outcome:
    """Return how a call ended, from its HTTP response."""
    headers = tuple((key.lower(), value) for key, value in response.getheaders() if key.lower() in _KEYS)
    media_type = (response.getheader("content-type") or "").partition(";")[0]
    try:
        if response.status == http.HTTPStatus.OK and media_type == "application/json":
            kind: Any = contract.reply_type(path)
            reply = json_format.Parse(content, kind()).SerializeToString(deterministic=True)
            return _Outcome(grpc.StatusCode.OK, reply=reply, trailers=headers)
        if response.status != http.HTTPStatus.OK and media_type == _PROBLEM:
            return _refusal(path, body, response, json.loads(content), headers)
    except (ValueError, KeyError, TypeError, json_format.ParseError) as error:
        return _Outcome(grpc.StatusCode.UNKNOWN, f"HTTP {response.status} {media_type}: {error}"[:200], None, headers)
    return _Outcome(grpc.StatusCode.UNKNOWN, f"HTTP {response.status} {media_type}", None, headers)


def _refusal(
    path: str,
    body: bytes,
    response: http.client.HTTPResponse,
    problem: Mapping[str, Any],
    headers: tuple[tuple[str, str | bytes], ...],
) -> _Outcome:
    """Return a refusal's status and details as gRPC sends them; UNKNOWN where the parts contradict one another."""
    reason = Reason(problem["reason"])
    if not response.status == problem["status"] == http_status(reason):
        text = f"HTTP {response.status}, {problem['status']} in the problem, for {reason}"
        return _Outcome(grpc.StatusCode.UNKNOWN, text, None, headers)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata={"layer": problem["layer"]})
    details: list[Message] = [info]
    for locale, key in (("fa", "detail_fa"), ("en", "detail")):
        details.append(error_details_pb2.LocalizedMessage(locale=locale, message=problem[key]))
    if violations := problem.get("violations"):
        details.append(_bad_request(path, body, violations))
    seconds = problem.get("retry_seconds")
    # A header that differs would lead the caller's HTTP library to another time.
    if seconds is not None and response.getheader("retry-after") == str(math.ceil(seconds)):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(seconds * 1000))
        details.append(retry)
    code = status_code(Refusal(reason))
    status = status_pb2.Status(code=code.value[0], message=problem["detail"])
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    trailers: tuple[tuple[str, str | bytes], ...] = (
        *headers,
        ("grpc-status-details-bin", status.SerializeToString()),
    )
    return _Outcome(code, problem["detail"], None, trailers)


def _bad_request(path: str, body: bytes, violations: Sequence[Mapping[str, str]]) -> error_details_pb2.BadRequest:
    """Return *violations*, whose fields must be named as in the *body*, with the names of the contract."""
    kind: Any = contract.request_type(path)
    fields = {field.json_name: field.name for field in kind.DESCRIPTOR.fields}
    headers = {name: name for name in _KEYS}
    found = error_details_pb2.BadRequest()
    for each in violations:
        name = (fields | headers).get(each["field"], f"{each['field']} (not as in {body.decode()[:80]})")
        local = error_details_pb2.LocalizedMessage(locale="fa", message=each["description_fa"])
        found.field_violations.add(
            field=name, reason=each["rule"], description=each["description"], localized_message=local
        )
    return found
