"""An OpenAPI description of every method that is asked over HTTP: what the contract says, and RFC 9457 on error."""

from collections.abc import Iterator
from typing import Any

from google.rpc import code_pb2

from estelam.core.errors import ERROR_CATALOGUE, Layer, Reason
from estelam.core.model import PURPOSE_KEYS
from estelam.data_model import json_schema
from estelam.data_model.model import Method, Model

_AT = "#/components/schemas/"
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
"""The HTTP status that each status of the error table travels under, as google.rpc.Code says it."""


def document(model: Model) -> dict[str, Any]:
    """The description of what *model* says is asked over HTTP."""
    asked = [method for method in model.methods if method.http_path]
    made = json_schema.definitions(model, _AT)
    wanted = {name for method in asked for name in (method.request, method.response)}
    used = set().union(*(_reached(name, made) for name in wanted)) if wanted else set()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "estelam",
            "version": "v1",
            "description": "Official yes/no inquiries. Status 200 alone is an answer; all else is none, never a no.",
        },
        "jsonSchemaDialect": json_schema.DIALECT,
        "paths": {method.http_path: {"post": _operation(method)} for method in asked},
        "security": [{"certificate": []}],
        "components": {
            "schemas": {name: made[name] for name in sorted(used)} | {"Problem": _problem()},
            "parameters": {key: _purpose(key) for key in PURPOSE_KEYS},
            "securitySchemes": {"certificate": {"type": "mutualTLS"}},
        },
    }


def http_status(reason: Reason) -> int:
    """The HTTP status that says *reason*."""
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
        "responses": {"200": {"description": "The answer, with its proof.", "content": _json(method.response)}}
        | {str(code): _declined(reasons) for code, reasons in sorted(problems.items())},
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"{_AT}{name}"}}}


def _declined(reasons: list[Reason]) -> dict[str, Any]:
    return {
        "description": "No answer: " + ", ".join(reason.value for reason in reasons),
        "content": {"application/problem+json": {"schema": {"$ref": f"{_AT}Problem"}}},
    }


def _problem() -> dict[str, Any]:
    """RFC 9457, with what a refusal says over gRPC."""
    text = {"type": "string"}
    violation = dict.fromkeys(("field", "rule", "description"), text)
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
    words = {"type": "string", "pattern": "^[0-9A-Za-z._:/-]{1,64}$"}
    return {"name": key, "in": "header", "required": False, "schema": words}


def _reached(name: str, made: dict[str, Any]) -> set[str]:
    """*name*, and every schema that it refers to, however far."""
    found, ahead = set[str](), [name]
    while ahead:
        if (here := ahead.pop()) not in found:
            found.add(here)
            ahead += _references(made[here])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(ref := node.get("$ref"), str):
            yield ref.removeprefix(_AT)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)
