"""Export an OpenAPI description of the methods with an HTTP mapping; errors are problem details (RFC 9457)."""

from collections.abc import Container, Iterator
from typing import Any

from google.rpc import code_pb2

from estelam.core.errors import ERROR_CATALOGUE, Layer, Reason
from estelam.core.model import PURPOSE_KEYS
from estelam.core.purpose import PATTERN
from estelam.data_model import json_schema
from estelam.data_model.model import Method, Model

_REF_PREFIX = "#/components/schemas/"
HTTP_STATUS = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.UNIMPLEMENTED: 404,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DEADLINE_EXCEEDED: 504,
}
"""HTTP status of each gRPC status in the error catalogue, as documented in google.rpc.Code."""


def document(model: Model, paths: Container[str]) -> dict[str, Any]:
    """Return the OpenAPI document of the methods of *model* whose HTTP path is one of *paths*: those of one service."""
    methods = [method for method in model.methods if method.http_path in paths]
    schemas = json_schema.definitions(model, _REF_PREFIX)
    wanted = {name for method in methods for name in (method.request, method.response)}
    used = set().union(*(_reachable(name, schemas) for name in wanted)) if wanted else set()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "estelam",
            "version": "v1",
            "description": "Official yes/no inquiries. Only status 200 is an answer; an error is never a no.",
        },
        "jsonSchemaDialect": json_schema.DIALECT,
        "paths": {method.http_path: {"post": _operation(method)} for method in methods},
        "security": [{"certificate": []}],
        "components": {
            "schemas": {name: schemas[name] for name in sorted(used)} | {"Problem": _problem()},
            "parameters": {key: _purpose(key) for key in PURPOSE_KEYS},
            "securitySchemes": {"certificate": {"type": "mutualTLS"}},
        },
    }


def http_status(reason: Reason) -> int:
    """Return the HTTP status of *reason*."""
    return next(http for code, http in HTTP_STATUS.items() if code == ERROR_CATALOGUE[reason].status)


def _operation(method: Method) -> dict[str, Any]:
    problems: dict[int, list[Reason]] = {}
    for reason in Reason:
        problems.setdefault(http_status(reason), []).append(reason)
    return {
        "operationId": method.doc.name,
        "summary": method.doc.fa,
        "description": method.doc.meaning_en,
        "parameters": [{"$ref": f"#/components/parameters/{key}"} for key in PURPOSE_KEYS],
        "requestBody": {"required": True, "content": _json(method.request)},
        "responses": {"200": {"description": "The answer, with its receipt.", "content": _json(method.response)}}
        | {str(code): _refused(reasons) for code, reasons in sorted(problems.items())},
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"{_REF_PREFIX}{name}"}}}


def _refused(reasons: list[Reason]) -> dict[str, Any]:
    return {
        "description": "No answer: " + ", ".join(reason.value for reason in reasons),
        "content": {"application/problem+json": {"schema": {"$ref": f"{_REF_PREFIX}Problem"}}},
    }


def _problem() -> dict[str, Any]:
    """Return the schema of problem details (RFC 9457), with the fields of a gRPC refusal."""
    text = {"type": "string"}
    violation = dict.fromkeys(("field", "rule", "description", "description_fa"), text)
    return {
        "description": "Why there is no answer.",
        "type": "object",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "detail_fa": text,
            "reason": {"type": "string", "enum": [reason.value for reason in Reason]},
            "layer": {"type": "string", "enum": [layer.value for layer in Layer]},
            "violations": {"type": "array", "items": {"type": "object", "properties": violation}},
            "retry_seconds": {"type": "number"},
        },
        "required": ["type", "title", "status", "detail", "reason", "layer"],
    }


def _purpose(key: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": PATTERN}
    return {"name": key, "in": "header", "required": False, "schema": schema}


def _reachable(name: str, schemas: dict[str, Any]) -> set[str]:
    """Return *name* and every schema that it refers to, directly or indirectly."""
    found, pending = set[str](), [name]
    while pending:
        if (current := pending.pop()) not in found:
            found.add(current)
            pending += _references(schemas[current])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(ref := node.get("$ref"), str):
            yield ref.removeprefix(_REF_PREFIX)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)
