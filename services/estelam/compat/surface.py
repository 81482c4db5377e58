"""A contract as a list of facts, one a line, that a caller may rely on once they are published."""

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
    """The facts of *files*. The data model's file is not listed: its words explain, and may always be bettered."""
    return sorted(line for file in files if file.name != data_model_pb2.DESCRIPTOR.name for line in _facts(file))


def missing_lines(published: Iterable[str], now: Iterable[str]) -> list[str]:
    """What was published and is no longer so."""
    return sorted(set(published) - set(now))


def _facts(file: FileDescriptorProto) -> Iterator[str]:
    for service in file.service:
        for rpc in service.method:
            asked, told = rpc.input_type.removeprefix("."), rpc.output_type.removeprefix(".")
            streams = "".join((" asked as a stream" * rpc.client_streaming, " told as a stream" * rpc.server_streaming))
            yield f"rpc {file.package}.{service.name}/{rpc.name}({asked}) {told}{streams}"
    for enum in file.enum_type:
        yield from (f"enum {file.package}.{enum.name} {value.name} = {value.number}" for value in enum.value)
    for extension in file.extension:
        yield f"rule {file.package}.{extension.name} = {extension.number}{_options(extension)}"
    for message in file.message_type:
        yield from _fields(f"{file.package}.{message.name}", message)


def _fields(name: str, message: DescriptorProto) -> Iterator[str]:
    for field in message.field:
        kind = field.type_name.removeprefix(".") or FDP.Type.Name(field.type).removeprefix("TYPE_").lower()
        many = "repeated " if field.label == FDP.LABEL_REPEATED else ""
        yield f"field {name}.{field.name} = {field.number} {many}{kind}{_options(field)}"


def _options(field: FieldDescriptorProto) -> str:
    options = FieldOptions()
    options.CopyFrom(field.options)
    # Words explain, and a deprecated field is still there: neither binds anybody.
    options.ClearExtension(data_model_pb2.field)
    options.ClearField("deprecated")
    text = text_format.MessageToString(options, as_one_line=True)
    return f" {text}" if text else ""
