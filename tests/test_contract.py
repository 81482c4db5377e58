"""The contract: stubs are current, every word is explained, exactly the mandated methods, nothing published changes."""

from collections.abc import Callable, Iterator
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from scripts import generate_protos, lint_protos
from scripts.generate_protos import ROOT
from scripts.sandbox import Sandbox

from estelam.inquiry.v1 import identifiers_pb2, inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2
from estelam.setad.v1 import note_verification_pb2
from judiciary.servicer import QUESTIONS
from promissory.servicer import questions

Fields = RepeatedCompositeFieldContainer[FieldDescriptorProto]

PUBLISHED = Path(__file__).parent / "published.txt"
FILES = (
    identifiers_pb2.DESCRIPTOR,
    inquiry_pb2.DESCRIPTOR,
    note_inquiry_pb2.DESCRIPTOR,
    cheque_case_inquiry_pb2.DESCRIPTOR,
    note_verification_pb2.DESCRIPTOR,
)
MANDATED = {
    "estelam.promissory.v1.PromissoryNoteInquiryService": {"CheckNote", "GetNoteParties"},
    "estelam.judiciary.v1.ChequeCaseInquiryService": {"CheckByNationalId", "CheckByTrackingId"},
    "estelam.setad.v1.NoteVerificationService": {"VerifyNote"},
}


def test_the_committed_stubs_are_what_the_protos_generate(tmp_path: Path) -> None:
    generate_protos.generate(tmp_path)

    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*_pb2*.py*")}
    stubs = (path for path in (ROOT / "services").rglob("*_pb2*.py*") if "__pycache__" not in path.parts)
    assert made == {path.relative_to(ROOT / "services"): path.read_bytes() for path in stubs}


def test_buf_finds_nothing_to_say_of_names_and_comments() -> None:
    assert lint_protos.lint() == ""


def test_the_contract_is_exactly_the_mandated_methods() -> None:
    services = [service for file in FILES for service in file.services_by_name.values()]

    assert {service.full_name: set(service.methods_by_name) for service in services} == MANDATED


def test_every_method_of_the_contract_is_served_and_carries_a_receipt(sandbox: Sandbox) -> None:
    served = {method.name: method for method in (*questions(sandbox.promissory()), *QUESTIONS)}

    for file in (note_inquiry_pb2.DESCRIPTOR, cheque_case_inquiry_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for rpc in service.methods:
                method = served.pop(f"{service.full_name}/{rpc.name}")
                assert method.request.DESCRIPTOR is rpc.input_type
                assert rpc.output_type.fields_by_name["receipt"].message_type is inquiry_pb2.Receipt.DESCRIPTOR
    assert served == {}


def test_nothing_that_was_published_has_changed() -> None:
    published = PUBLISHED.read_text("utf-8").splitlines()

    assert broken(published, listing(FILES)) == []


def test_an_added_field_breaks_nothing() -> None:
    def add(fields: Fields) -> None:
        fields.add(name="note", number=9, type=FieldDescriptorProto.TYPE_STRING)

    assert broken(listing(FILES), listing(_edited(add))) == []


def test_a_renumbered_field_is_found() -> None:
    def renumber(fields: Fields) -> None:
        fields[0].number = 15

    assert broken(listing(FILES), listing(_edited(renumber))) != []


def test_a_removed_rule_is_found() -> None:
    def unbind(fields: Fields) -> None:
        fields[0].ClearField("options")

    assert broken(listing(FILES), listing(_edited(unbind))) != []


def broken(published: list[str], now: list[str]) -> list[str]:
    """What was published and is no longer so."""
    return sorted(set(published) - set(now))


def listing(files: tuple[FileDescriptor, ...]) -> list[str]:
    """The contract, one published fact a line."""
    return sorted(line for file in files for line in _facts(file))


def _facts(file: FileDescriptor) -> Iterator[str]:
    for service in file.services_by_name.values():
        for rpc in service.methods:
            yield f"rpc {service.full_name}/{rpc.name}({rpc.input_type.full_name}) {rpc.output_type.full_name}"
    for enum in file.enum_types_by_name.values():
        yield from (f"enum {enum.full_name} {value.name} = {value.number}" for value in enum.values)
    for extension in file.extensions_by_name.values():
        yield f"rule {extension.full_name} = {extension.number}{_options(extension)}"
    for message in file.message_types_by_name.values():
        yield from _fields(message)


def _fields(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        kind = (
            FieldDescriptorProto.Type.Name(FieldDescriptorProto.Type.ValueType(field.type))
            .removeprefix("TYPE_")
            .lower()
        )
        of = field.message_type or field.enum_type
        many = "repeated " if field.is_repeated else ""
        name = of.full_name if of else kind.removeprefix("TYPE_").lower()
        yield f"field {message.full_name}.{field.name} = {field.number} {many}{name}{_options(field)}"


def _options(field: FieldDescriptor) -> str:
    text = text_format.MessageToString(field.GetOptions(), as_one_line=True)
    return f" {text}" if text else ""


def _edited(edit: Callable[[Fields], object]) -> tuple[FileDescriptor, ...]:
    """The contract with CheckNoteRequest's fields edited."""
    pool = DescriptorPool()
    known: set[str] = set()

    def add(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            add(dependency)
        if file.name not in known:
            known.add(file.name)
            proto = FileDescriptorProto()
            file.CopyToProto(proto)
            if file is note_inquiry_pb2.DESCRIPTOR:
                edit(next(m for m in proto.message_type if m.name == "CheckNoteRequest").field)
            pool.Add(proto)

    for file in FILES:
        add(file)
    return tuple(pool.FindFileByName(file.name) for file in FILES)
