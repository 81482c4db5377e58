"""The surface of a contract: everything that a caller may rely on once it is published, one element a line."""

from collections.abc import Iterable, Iterator

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FieldOptions,
    FileDescriptorProto,
)

from estelam.inquiry.v1 import data_model_pb2

FDP = FieldDescriptorProto


def contract_surface(files: Iterable[FileDescriptorProto]) -> list[str]:
    """Return the surface of *files*, sorted.

    The file that defines the data model's options is left out: its texts are documentation and may change.
    """
    return sorted(line for file in files if file.name != data_model_pb2.DESCRIPTOR.name for line in _lines(file))


def missing_lines(published: Iterable[str], current: Iterable[str]) -> list[str]:
    """Return the lines of *published* that *current* lacks: what was removed or changed."""
    return sorted(set(published) - set(current))


def _lines(file: FileDescriptorProto) -> Iterator[str]:
    for service in file.service:
        for rpc in service.method:
            request, response = rpc.input_type.removeprefix("."), rpc.output_type.removeprefix(".")
            streams = "".join((" client_streaming" * rpc.client_streaming, " server_streaming" * rpc.server_streaming))
            yield f"rpc {file.package}.{service.name}/{rpc.name}({request}) {response}{streams}"
    for enum in file.enum_type:
        yield from (f"enum {file.package}.{enum.name} {value.name} = {value.number}" for value in enum.value)
    for extension in file.extension:
        yield f"rule {file.package}.{extension.name} = {extension.number}{_options(extension)}"
    for message in file.message_type:
        yield from _fields(f"{file.package}.{message.name}", message)


def _fields(name: str, message: DescriptorProto) -> Iterator[str]:
    for field in message.field:
        kind = field.type_name.removeprefix(".") or FDP.Type.Name(field.type).removeprefix("TYPE_").lower()
        label = "repeated " if field.label == FDP.LABEL_REPEATED else ""
        yield f"field {name}.{field.name} = {field.number} {label}{kind}{_options(field)}"


def _options(field: FieldDescriptorProto) -> str:
    options = FieldOptions()
    options.CopyFrom(field.options)
    # Callers do not depend on documentation, and a deprecated field still exists.
    options.ClearExtension(data_model_pb2.field)
    options.ClearField("deprecated")
    text = text_format.MessageToString(options, as_one_line=True)
    return f" {text}" if text else ""
