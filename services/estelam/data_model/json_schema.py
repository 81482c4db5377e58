"""Export the contracts as JSON Schema (draft 2020-12), for messages in the ProtoJSON mapping."""

import re
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from buf.validate import validate_pb2
from estelam.data_model.model import Enum, Field, Message, Model
from estelam.inquiry.v1 import data_model_pb2 as pb
from estelam.inquiry.v1 import identifiers_pb2

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
FDP = FieldDescriptorProto

_BASE64 = {"type": "string", "contentEncoding": "base64"}
_INT64 = {"type": "string", "pattern": "^-?[0-9]+$"}
_UINT64 = {"type": "string", "pattern": "^[0-9]+$"}
_UINT32 = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_SCALARS: dict[int, Schema] = {
    FDP.TYPE_STRING: {"type": "string"},
    FDP.TYPE_BYTES: _BASE64,
    FDP.TYPE_BOOL: {"type": "boolean"},
    FDP.TYPE_INT64: _INT64,
    FDP.TYPE_FIXED64: _UINT64,
    FDP.TYPE_UINT64: _UINT64,
    FDP.TYPE_FIXED32: _UINT32,
    FDP.TYPE_UINT32: _UINT32,
    FDP.TYPE_INT32: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.type.Date": {
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": 0} for name in ("year", "month", "day")},
        "additionalProperties": False,
    },
}
_MATCHES = re.compile(r"^this\.matches\('(\^[^']*\$)'\)$")


def document(model: Model) -> Schema:
    """Return one document with a definition of every message and enum of *model*."""
    return {"$schema": DIALECT, "$defs": definitions(model, "#/$defs/")}


def definitions(model: Model, ref_prefix: str) -> dict[str, Schema]:
    """Return the schema of every message and enum by full name; references between them start with *ref_prefix*."""
    messages = {message.doc.full_name: _message(message, ref_prefix) for message in model.messages}
    return messages | {enum.doc.full_name: _enum(enum) for enum in model.enums}


def json_name(name: str) -> str:
    """Return the ProtoJSON name of the field *name*."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _message(message: Message, ref_prefix: str) -> Schema:
    required = [json_name(field.doc.name) for field in message.fields if field.rules.ByteSize()]
    return {
        "title": message.doc.fa,
        "description": message.doc.meaning_en,
        "type": "object",
        "properties": {json_name(field.doc.name): _field(field, ref_prefix) for field in message.fields},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _field(field: Field, ref_prefix: str) -> Schema:
    value = _value(field, ref_prefix)
    return {
        "title": field.doc.fa,
        "description": f"{field.doc.meaning_en}\n\n{field.doc.meaning_fa}".strip(),
        **({"type": "array", "items": value} if field.repeated else value),
        **({} if field.example is None else {"examples": [field.example]}),
        "x-registries": list(field.doc.registries),
        "x-sensitivity": pb.Sensitivity.Name(field.doc.sensitivity).removeprefix("SENSITIVITY_"),
    }


def _value(field: Field, ref_prefix: str) -> Schema:
    if field.type_ref in _WELL_KNOWN:
        return _WELL_KNOWN[field.type_ref]
    if field.type_ref:
        return {"$ref": f"{ref_prefix}{field.type_ref}"}
    if field.rules.int64.gt == 0 and field.rules.int64.HasField("gt"):
        return {"type": "string", "pattern": "^0*[1-9][0-9]*$"}
    if (pattern := _pattern(field)) is not None:
        return {"type": "string", "pattern": pattern}
    return _SCALARS[field.kind]


def _pattern(field: Field) -> str | None:
    """Return the regular expression of a field's rule, without parts that no pattern can express, as check digits."""
    for extension in identifiers_pb2.DESCRIPTOR.extensions_by_name.values():
        if field.rules.string.HasExtension(getattr(identifiers_pb2, extension.name)):
            rules = extension.GetOptions().Extensions[validate_pb2.predefined]
            return next((found[1] for cel in rules.cel if (found := _MATCHES.match(cel.expression))), None)
    return None


def _enum(enum: Enum) -> Schema:
    values = "\n".join(f"{doc.meaning_en} ({doc.fa}: {doc.meaning_fa})" for doc, _ in enum.values)
    return {
        "title": enum.doc.fa,
        "description": f"{enum.doc.meaning_en}\n\n{values}",
        "type": "string",
        "enum": [doc.name for doc, _ in enum.values],
    }
