"""The data reference model, read from the contracts: messages and their fields, enums, methods."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

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
    """The contracts say too little, or contradict themselves; the text is for who writes them."""


@dataclass(frozen=True, slots=True)
class Documentation:
    """What is told of one thing: its name in Persian, what it means in both languages, where it may stand."""

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
    """The full name of its message or enum; empty for a scalar."""
    repeated: bool
    rules: Rules

    @property
    def type_name(self) -> str:
        """Its type as the contract writes it."""
        return self.type_ref or FDP.Type.Name(self.kind).removeprefix("TYPE_").lower()

    @property
    def rule_names(self) -> str:
        """The rules that a value must keep, as the contract writes them; empty where there are none."""
        kind = self.rules.WhichOneof("type")
        if kind is None:
            return ""
        held = ((rule, value) for rule, value in getattr(self.rules, kind).ListFields())
        return ", ".join(rule.full_name if rule.is_extension else f"{rule.name} {value}" for rule, value in held)


@dataclass(frozen=True, slots=True)
class Message:
    """One message and its fields, in the order in which they stand."""

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
    """One method, and how it is asked over HTTP if it is."""

    doc: Documentation
    package: str
    request: str
    response: str
    http_path: str
    """Of a POST; empty where gRPC is the only way."""


@dataclass(frozen=True)
class Model:
    """The whole model."""

    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]
    methods: tuple[Method, ...]

    def fields(self) -> Iterator[tuple[Message, Field]]:
        """Every field, with its message."""
        return ((message, field) for message in self.messages for field in message.fields)

    def message(self, full_name: str) -> Message | None:
        """The message of that name, if it is one of the contracts' own."""
        return next((message for message in self.messages if message.doc.full_name == full_name), None)

    def enum(self, full_name: str) -> Enum | None:
        """The enum of that name, if it is one of the contracts' own."""
        return next((enum for enum in self.enums if enum.doc.full_name == full_name), None)


@cache
def load() -> Model:
    """The model of the contracts.

    Raises:
        ModelError: a field says to be the same as one that isn't there.
    """
    told = [_File(file) for file in descriptors.files() if file.name != descriptors.MODEL_FILE]
    known = {name: datum for file in told for name, datum in file.data()}
    return Model(
        tuple(message for file in told for message in file.messages(known)),
        tuple(enum for file in told for enum in file.enums()),
        tuple(method for file in told for method in file.methods()),
    )


@cache
def sensitivity_levels() -> dict[int, Documentation]:
    """What each level of sensitivity is called and means."""
    file = _File(next(file for file in descriptors.files() if file.name == descriptors.MODEL_FILE))
    enum = next(enum for enum in file.enums() if enum.doc.name == "Sensitivity")
    return {number: told for told, number in enum.values if number}


@dataclass(frozen=True, slots=True)
class _Source:
    """What a field's words are looked up by: its own, and whose it falls back on."""

    own: pb.Datum
    of: str


class _File:
    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._comments = {
            tuple(place.path): re.sub(r"\s+", " ", place.leading_comments).strip()
            for place in file.source_code_info.location
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
        for at, message in enumerate(self._file.message_type):
            told = self._told(message.name, self._name(message.name), (4, at), message.options.Extensions[pb.message])
            fields = tuple(
                self._field(field, f"{told.full_name}.{field.name}", (4, at, 2, number), known)
                for number, field in enumerate(message.field)
            )
            yield Message(told, self._file.package, fields)

    def enums(self) -> Iterator[Enum]:
        for at, enum in enumerate(self._file.enum_type):
            told = self._told(enum.name, self._name(enum.name), (5, at), enum.options.Extensions[pb.enumeration])
            values = []
            for index, value in enumerate(enum.value):
                datum = value.options.Extensions[pb.value]
                values.append((self._told(value.name, self._name(value.name), (5, at, 2, index), datum), value.number))
            yield Enum(told, self._file.package, tuple(values))

    def methods(self) -> Iterator[Method]:
        for at, service in enumerate(self._file.service):
            for index, rpc in enumerate(service.method):
                yield Method(
                    self._told_of_method(rpc.name, f"{self._name(service.name)}/{rpc.name}", (6, at, 2, index)),
                    self._file.package,
                    rpc.input_type.removeprefix("."),
                    rpc.output_type.removeprefix("."),
                    rpc.options.Extensions[annotations_pb2.http].post,
                )

    def _field(self, field: FieldDescriptorProto, name: str, path: Path, known: dict[str, _Source]) -> Field:
        return Field(
            self._told(field.name, name, path, _resolved(name, known)),
            field.number,
            field.type,
            field.type_name.removeprefix("."),
            field.label == FDP.LABEL_REPEATED,
            field.options.Extensions[validate_pb2.field],
        )

    def _told(self, name: str, full_name: str, path: Path, datum: pb.Datum) -> Documentation:
        return Documentation(
            name=name,
            full_name=full_name,
            fa=datum.fa,
            meaning_fa=datum.meaning_fa,
            meaning_en=self._comments.get(path, ""),
            registries=tuple(datum.registries),
            sensitivity=datum.sensitivity,
        )

    def _told_of_method(self, name: str, full_name: str, path: Path) -> Documentation:
        """A method's name in Persian is what its comment has in parentheses: it holds no data, so it has no datum."""
        comment = self._comments.get(path, "")
        fa = _PERSIAN.search(comment)
        return Documentation(name, full_name, fa[1] if fa else "", "", _PERSIAN.sub("", comment))

    def _name(self, name: str) -> str:
        return f"{self._file.package}.{name}"


def _resolved(name: str, known: dict[str, _Source]) -> pb.Datum:
    """What holds for *name*: its own words, else those of the field that it is the same as, else its type's."""
    source = known[name]
    found = pb.Datum()
    for base in (source.of, source.own.same_as):
        if base in known:
            _overlay(found, _resolved(base, known))
        elif base and base == source.own.same_as:
            raise ModelError(f"{name} says to be the same as {base}, which is not there")
    _overlay(found, source.own)
    return found


def _overlay(below: pb.Datum, above: pb.Datum) -> None:
    if above.registries:
        del below.registries[:]
    below.MergeFrom(above)
