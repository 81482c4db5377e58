"""The data reference model, read from the contracts: messages and their fields, enums, methods."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from buf.validate import validate_pb2
from estelam.core.exceptions import UserFacingError
from estelam.data_model import descriptors
from estelam.inquiry.v1 import data_model_pb2 as pb

Path = tuple[int, ...]
Rules = validate_pb2.FieldRules
FDP = FieldDescriptorProto
_PERSIAN = re.compile(r" \(([^()]*[\u0600-\u06ff][^()]*)\)")


class ModelError(UserFacingError):
    """The options of the contracts are incomplete or contradictory; the message is for the author of the contract."""


@dataclass(frozen=True, slots=True)
class Documentation:
    """Documentation of one element: Persian name, definition in both languages, base registries and sensitivity."""

    name: str
    full_name: str
    fa: str
    meaning_fa: str
    meaning_en: str
    registries: tuple[str, ...] = ()
    sensitivity: "pb.Sensitivity.ValueType" = pb.SENSITIVITY_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    doc: Documentation
    number: int
    kind: "FieldDescriptorProto.Type.ValueType"
    type_ref: str
    """The full name of the field's message or enum type; empty for a scalar."""
    repeated: bool
    rules: Rules

    @property
    def type_name(self) -> str:
        """The type as written in the contract."""
        return self.type_ref or FDP.Type.Name(self.kind).removeprefix("TYPE_").lower()

    @property
    def example(self) -> Any:
        """An invented value as ProtoJSON writes it; None for bytes and for messages of the contracts."""
        if self.kind == FDP.TYPE_BYTES or (self.type_ref and not self.type_ref.startswith("google.")):
            return None
        return _examples().get(self.doc.name)

    @property
    def rule_names(self) -> str:
        """The validation rules of the field as written in the contract; empty if it has none."""
        kind = self.rules.WhichOneof("type")
        if kind is None:
            return ""
        rules = ((rule, value) for rule, value in getattr(self.rules, kind).ListFields())
        return ", ".join(rule.full_name if rule.is_extension else f"{rule.name} {value}" for rule, value in rules)


@dataclass(frozen=True, slots=True)
class Message:
    """One message and its fields, in the order of the contract."""

    doc: Documentation
    package: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Enum:
    """One enum and its values."""

    doc: Documentation
    package: str
    values: tuple[tuple[Documentation, int], ...]


@dataclass(frozen=True, slots=True)
class Method:
    """One method and its HTTP mapping."""

    doc: Documentation
    package: str
    request: str
    response: str
    http_path: str
    """Path of the POST request; empty if the method has no HTTP mapping."""


@dataclass(frozen=True)
class Model:
    """The data reference model of all contracts."""

    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]
    methods: tuple[Method, ...]

    def fields(self) -> Iterator[tuple[Message, Field]]:
        """Yield every field with its message."""
        return ((message, field) for message in self.messages for field in message.fields)

    def message(self, full_name: str) -> Message | None:
        """Return the message of that full name, or None if the contracts do not define it."""
        return next((message for message in self.messages if message.doc.full_name == full_name), None)

    def enum(self, full_name: str) -> Enum | None:
        """Return the enum of that full name, or None if the contracts do not define it."""
        return next((enum for enum in self.enums if enum.doc.full_name == full_name), None)


@cache
def _examples() -> Mapping[str, Any]:
    return tomllib.loads((resources.files(__package__) / "examples.toml").read_text("utf-8"))


@cache
def load() -> Model:
    """Return the model of the contracts.

    Raises:
        ModelError: `same_as` names a field that does not exist.
    """
    files = [_File(file) for file in descriptors.files() if file.name != descriptors.MODEL_FILE]
    known = {name: datum for file in files for name, datum in file.data()}
    return Model(
        tuple(message for file in files for message in file.messages(known)),
        tuple(enum for file in files for enum in file.enums()),
        tuple(method for file in files for method in file.methods()),
    )


@cache
def sensitivity_levels() -> dict[int, Documentation]:
    """Return the documentation of each sensitivity level, by number."""
    file = _File(next(file for file in descriptors.files() if file.name == descriptors.MODEL_FILE))
    enum = next(enum for enum in file.enums() if enum.doc.name == "Sensitivity")
    return {number: doc for doc, number in enum.values if number}


@dataclass(frozen=True, slots=True)
class _Source:
    """The options of an element, and the full name of the type that supplies its defaults."""

    own: pb.Datum
    type_ref: str


class _File:
    """Reads the documentation of one contract file: its options and comments."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._comments = {
            tuple(location.path): re.sub(r"\s+", " ", location.leading_comments).strip()
            for location in file.source_code_info.location
        }

    def data(self) -> Iterator[tuple[str, _Source]]:
        for message in self._file.message_type:
            yield self._name(message.name), _Source(message.options.Extensions[pb.message], "")
            for field in message.field:
                name = f"{self._name(message.name)}.{field.name}"
                yield name, _Source(field.options.Extensions[pb.field], field.type_name.removeprefix("."))
        for enum in self._file.enum_type:
            yield self._name(enum.name), _Source(enum.options.Extensions[pb.enumeration], "")

    def messages(self, known: dict[str, _Source]) -> Iterator[Message]:
        for index, message in enumerate(self._file.message_type):
            doc = self._documentation(
                message.name, self._name(message.name), (4, index), message.options.Extensions[pb.message]
            )
            fields = tuple(
                self._field(field, f"{doc.full_name}.{field.name}", (4, index, 2, number), known)
                for number, field in enumerate(message.field)
            )
            yield Message(doc, self._file.package, fields)

    def enums(self) -> Iterator[Enum]:
        for index, enum in enumerate(self._file.enum_type):
            doc = self._documentation(
                enum.name, self._name(enum.name), (5, index), enum.options.Extensions[pb.enumeration]
            )
            values = []
            for number, value in enumerate(enum.value):
                datum = value.options.Extensions[pb.value]
                values.append(
                    (
                        self._documentation(value.name, self._name(value.name), (5, index, 2, number), datum),
                        value.number,
                    )
                )
            yield Enum(doc, self._file.package, tuple(values))

    def methods(self) -> Iterator[Method]:
        for index, service in enumerate(self._file.service):
            for number, rpc in enumerate(service.method):
                yield Method(
                    self._method_documentation(
                        rpc.name, f"{self._name(service.name)}/{rpc.name}", (6, index, 2, number)
                    ),
                    self._file.package,
                    rpc.input_type.removeprefix("."),
                    rpc.output_type.removeprefix("."),
                    rpc.options.Extensions[annotations_pb2.http].post,
                )

    def _field(self, field: FieldDescriptorProto, name: str, path: Path, known: dict[str, _Source]) -> Field:
        return Field(
            self._documentation(field.name, name, path, _resolve(name, known)),
            field.number,
            field.type,
            field.type_name.removeprefix("."),
            field.label == FDP.LABEL_REPEATED,
            field.options.Extensions[validate_pb2.field],
        )

    def _documentation(self, name: str, full_name: str, path: Path, datum: pb.Datum) -> Documentation:
        return Documentation(
            name=name,
            full_name=full_name,
            fa=datum.fa,
            meaning_fa=datum.meaning_fa,
            meaning_en=self._comments.get(path, ""),
            registries=tuple(datum.registries),
            sensitivity=datum.sensitivity,
        )

    def _method_documentation(self, name: str, full_name: str, path: Path) -> Documentation:
        """Document a method. Methods have no Datum; the Persian name is in parentheses in the comment."""
        comment = self._comments.get(path, "")
        fa = _PERSIAN.search(comment)
        return Documentation(name, full_name, fa[1] if fa else "", "", _PERSIAN.sub("", comment))

    def _name(self, name: str) -> str:
        return f"{self._file.package}.{name}"


def _resolve(name: str, known: dict[str, _Source]) -> pb.Datum:
    """Return the options that apply to *name*: its own, else those of the `same_as` field, else those of its type."""
    source = known[name]
    datum = pb.Datum()
    for base in (source.type_ref, source.own.same_as):
        if base in known:
            _overlay(datum, _resolve(base, known))
        elif base and base == source.own.same_as:
            raise ModelError(f"{name}: same_as names {base}, which does not exist")
    _overlay(datum, source.own)
    return datum


def _overlay(below: pb.Datum, above: pb.Datum) -> None:
    # Merging would append: registries replace those of the lower level.
    if above.registries:
        del below.registries[:]
    below.MergeFrom(above)
