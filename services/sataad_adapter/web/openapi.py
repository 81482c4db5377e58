"""The JSON face described by OpenAPI 3.1, out of the contract itself."""

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from estelam.desk import PURPOSE_KEYS
from estelam.errors import Layer, Reason
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.web import problems

_PLAIN = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_INSTANT = {"type": "string", "format": "date-time"}
_REQUEST, _REPLY = (pb.VerifyNoteRequest.DESCRIPTOR, pb.VerifyNoteResponse.DESCRIPTOR)


def description(path: str) -> dict[str, Any]:
    """What is served at *path*."""
    schemas: dict[str, Any] = {"Problem": _problem()}
    for message in (_REQUEST, _REPLY):
        _add(message, schemas)
    schemas[_REQUEST.name]["required"] = [field.json_name for field in _REQUEST.fields]
    schemas[_REQUEST.name]["additionalProperties"] = False
    refused = {
        "description": "No answer, which is never a no.",
        "content": {problems.MEDIA_TYPE: {"schema": _reference("Problem")}},
    }
    answered = {
        "description": "The ministry's yes, with the parties, or its no; each with its receipt.",
        "content": {"application/json": {"schema": _reference(_REPLY.name)}},
    }
    responses: dict[str, Any] = {str(status): refused for status in sorted(set(problems.STATUS.values()))}
    purpose = {"type": "string", "pattern": "^[0-9A-Za-z._:/-]{1,64}$"}
    operation = {
        "operationId": "verifyNote",
        "summary": "Whether a promissory note is genuine and live and, if so, its parties (تأیید سفته)",
        "parameters": [{"name": key, "in": "header", "schema": purpose} for key in PURPOSE_KEYS],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _reference(_REQUEST.name)}},
        },
        "responses": {"200": answered, **responses},
        "security": [{"certificate": []}],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "estelam: Setad's adapter", "version": "1"},
        "paths": {path: {"post": operation}},
        "components": {"schemas": schemas, "securitySchemes": {"certificate": {"type": "mutualTLS"}}},
    }


def _add(message: Descriptor, schemas: dict[str, Any]) -> None:
    if message.name in schemas:
        return
    schemas[message.name] = {"type": "object"}
    schemas[message.name]["properties"] = {field.json_name: _field(field, schemas) for field in message.fields}


def _field(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = _single(field, schemas)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _single(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if field.enum_type is not None:
        return _names(field.enum_type)
    if field.message_type is None:
        return _PLAIN[field.type]
    if field.message_type.full_name == "google.protobuf.Timestamp":
        return _INSTANT
    _add(field.message_type, schemas)
    return _reference(field.message_type.name)


def _names(enum: EnumDescriptor) -> dict[str, Any]:
    return {"type": "string", "enum": [value.name for value in enum.values if value.number]}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _problem() -> dict[str, Any]:
    text, violation = {"type": "string"}, ("field", "rule", "description")
    properties: dict[str, Any] = {
        **dict.fromkeys(("type", "title", "detail", "detail_fa"), text),
        "status": {"type": "integer"},
        "reason": {"type": "string", "enum": list(Reason)},
        "layer": {"type": "string", "enum": list(Layer)},
        "violations": {
            "type": "array",
            "items": {"type": "object", "properties": dict.fromkeys(violation, text)},
        },
        "retry_seconds": {"type": "number"},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["type", "title", "status", "detail", "reason", "layer"],
    }
