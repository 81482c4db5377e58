"""The contract: stubs are current, every word is explained, exactly the mandated methods, nothing published changes."""

from collections.abc import Callable
from pathlib import Path

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from estelam.compat.baseline import Baseline
from estelam.compat.surface import contract_surface, missing_lines
from estelam.data_model import descriptors
from estelam.inquiry.v1 import identifiers_pb2, inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2
from estelam.setad.v1 import note_verification_pb2
from judiciary.methods import LOOKUPS
from promissory.methods import lookups
from tools.commands import generate_protos, lint_protos
from tools.commands.generate_protos import ROOT
from tools.env.sandbox import Sandbox

Fields = RepeatedCompositeFieldContainer[FieldDescriptorProto]

PUBLISHED = ROOT / "protos" / "published.txt"
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

    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    patterns = ("*_pb2*.py", "*_pb2*.pyi", "*.binpb")
    stubs = [path for pattern in patterns for path in (ROOT / "services").rglob(pattern)]
    ours = (ROOT / "services/estelam").glob("*/v1/__init__.py")
    stubs += [path for package in ours for path in (package, package.parents[1] / "__init__.py")]
    assert made == {path.relative_to(ROOT / "services"): path.read_bytes() for path in stubs}


def test_buf_finds_nothing_to_say_of_names_and_comments() -> None:
    assert lint_protos.lint() == ""


def test_the_contract_is_exactly_the_mandated_methods() -> None:
    services = [service for file in FILES for service in file.services_by_name.values()]

    assert {service.full_name: set(service.methods_by_name) for service in services} == MANDATED


def test_every_method_of_the_contract_is_served_and_carries_a_receipt(sandbox: Sandbox) -> None:
    served = {method.name: method for method in (*lookups(sandbox.promissory()), *LOOKUPS)}

    for file in (note_inquiry_pb2.DESCRIPTOR, cheque_case_inquiry_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for rpc in service.methods:
                method = served.pop(f"{service.full_name}/{rpc.name}")
                assert method.request.DESCRIPTOR is rpc.input_type
                assert rpc.output_type.fields_by_name["receipt"].message_type is inquiry_pb2.Receipt.DESCRIPTOR
    assert served == {}


def test_nothing_that_was_published_has_changed() -> None:
    published = Baseline.read(PUBLISHED)

    assert missing_lines(published.surface, contract_surface(descriptors.files())) == []


def test_an_added_field_breaks_nothing() -> None:
    def add(fields: Fields) -> None:
        fields.add(name="note", number=9, type=FieldDescriptorProto.TYPE_STRING)

    assert missing_lines(contract_surface(descriptors.files()), contract_surface(_edited(add))) == []


def test_a_renumbered_field_is_found() -> None:
    def renumber(fields: Fields) -> None:
        fields[0].number = 15

    assert missing_lines(contract_surface(descriptors.files()), contract_surface(_edited(renumber))) != []


def test_a_removed_rule_is_found() -> None:
    def unbind(fields: Fields) -> None:
        fields[0].ClearField("options")

    assert missing_lines(contract_surface(descriptors.files()), contract_surface(_edited(unbind))) != []


def _edited(edit: Callable[[Fields], object]) -> list[FileDescriptorProto]:
    """The contract with CheckNoteRequest's fields edited."""
    copies = [FileDescriptorProto.FromString(file.SerializeToString()) for file in descriptors.files()]
    edit(next(m for file in copies for m in file.message_type if m.name == "CheckNoteRequest").field)
    return copies
