"""Text of a proto2 file from its descriptor, for imports whose packages carry no text. Comments are not kept."""

from collections.abc import Iterator
from io import StringIO
from itertools import groupby

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message

_LABELS = {FieldDescriptorProto.LABEL_OPTIONAL: "optional ", FieldDescriptorProto.LABEL_REPEATED: "repeated "}
_MAX_FIELD_NUMBER = 0x1FFFFFFF


class UnsupportedProtoError(Exception):
    """The descriptor has a part that this module can't write: another syntax, nested types, required fields."""


def render(file: FileDescriptorProto) -> str:
    """Return the text of *file*: protoc compiles it to the same descriptor.

    Raises:
        UnsupportedProtoError: it has a part that no import of our contracts has.
    """
    if file.syntax not in {"", "proto2"} or file.service or file.public_dependency:
        raise UnsupportedProtoError(file.name)
    lines = ['syntax = "proto2";', "", f"package {file.package};", ""]
    lines += [f'import "{name}";' for name in file.dependency]
    lines += ["", *(f"option {option};" for option in _options(file.options)), ""]
    for extension in file.extension:
        lines += [f"extend {extension.extendee} {{", f"  {_field(extension)}", "}", ""]
    for message in file.message_type:
        lines += [*_message(message), ""]
    for enum in file.enum_type:
        lines += [*_enum(enum), ""]
    return "\n".join(lines)


def _message(message: DescriptorProto) -> Iterator[str]:
    if message.nested_type or message.enum_type or message.extension:
        raise UnsupportedProtoError(message.name)
    yield f"message {message.name} {{"
    yield from (f"  option {option};" for option in _options(message.options))
    for found in message.reserved_range:
        yield f"  reserved {found.start} to {found.end - 1};"
    yield from (f'  reserved "{name}";' for name in message.reserved_name)
    for extensible in message.extension_range:
        last = "max" if extensible.end > _MAX_FIELD_NUMBER else extensible.end - 1
        yield f"  extensions {extensible.start} to {last};"
    for index, members in groupby(message.field, lambda field: field.oneof_index if _is_member(field) else None):
        if index is None:
            yield from (f"  {_field(field)}" for field in members)
        else:
            yield f"  oneof {message.oneof_decl[index].name} {{"
            yield from (f"    option {option};" for option in _options(message.oneof_decl[index].options))
            yield from (f"    {_field(field).removeprefix('optional ')}" for field in members)
            yield "  }"
    yield "}"


def _is_member(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index")


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    yield from (f"  option {option};" for option in _options(enum.options))
    for value in enum.value:
        yield f"  {value.name} = {value.number}{_bracketed(value.options)};"
    for found in enum.reserved_range:
        yield f"  reserved {found.start} to {found.end};"
    yield from (f'  reserved "{name}";' for name in enum.reserved_name)
    yield "}"


def _field(field: FieldDescriptorProto) -> str:
    if field.label not in _LABELS or field.default_value or field.type == FieldDescriptorProto.TYPE_GROUP:
        raise UnsupportedProtoError(field.name)
    kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{_LABELS[field.label]}{kind} {field.name} = {field.number}{_bracketed(field.options)};"


def _bracketed(options: Message) -> str:
    found = list(_options(options))
    return f" [{', '.join(found)}]" if found else ""


def _options(options: Message) -> Iterator[str]:
    """Yield `name = value` of every option that is set, extensions too."""
    for field, value in options.ListFields():
        name = f"({field.full_name})" if field.is_extension else field.name
        for each in value if field.is_repeated else [value]:
            written = StringIO()
            text_format.PrintFieldValue(field, each, written, as_one_line=True)
            yield f"{name} = {written.getvalue()}"
