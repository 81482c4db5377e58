"""The contract: stubs are current, every element is commented, methods are the mandated ones, published parts stay."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from protoc import PROTOC_EXE

from development.sandbox import Sandbox
from estelam.compat.baseline import Baseline
from estelam.compat.surface import contract_surface, missing_lines
from estelam.data_model import contract_files, descriptors
from estelam.inquiry.v1 import answer_change_pb2, identifiers_pb2, inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2
from estelam.setad.v1 import note_verification_pb2
from judiciary.methods import LOOKUPS
from promissory.methods import lookups
from tools.commands import generate_protos, lint_protos
from tools.commands.generate_protos import PROTOS, ROOT

Fields = RepeatedCompositeFieldContainer[FieldDescriptorProto]

PUBLISHED = ROOT / "protos" / "published.txt"
FILES = (
    identifiers_pb2.DESCRIPTOR,
    inquiry_pb2.DESCRIPTOR,
    note_inquiry_pb2.DESCRIPTOR,
    cheque_case_inquiry_pb2.DESCRIPTOR,
    note_verification_pb2.DESCRIPTOR,
    answer_change_pb2.DESCRIPTOR,
)
MANDATED = {
    "estelam.promissory.v1.PromissoryNoteInquiryService": {"CheckNote", "GetNoteParties"},
    "estelam.judiciary.v1.ChequeCaseInquiryService": {"CheckByNationalId", "CheckByTrackingId"},
    "estelam.setad.v1.NoteVerificationService": {"VerifyNote"},
    "estelam.inquiry.v1.AnswerChangeService": {"ListChangedAnswers"},
}


def test_stubs_are_current(tmp_path: Path) -> None:
    """The committed stubs and descriptors equal those generated from the protos."""
    generate_protos.generate(tmp_path)

    generated = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    patterns = ("*_pb2*.py", "*_pb2*.pyi", "*.binpb")
    stubs = [path for pattern in patterns for path in (ROOT / "services").rglob(pattern)]
    ours = (ROOT / "services/estelam").glob("*/v1/__init__.py")
    stubs += [path for package in ours for path in (package, package.parents[1] / "__init__.py")]
    assert generated == {path.relative_to(ROOT / "services"): path.read_bytes() for path in stubs}


@pytest.fixture(scope="module")
def exported_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `contract export --protoset` writes."""
    folder = tmp_path_factory.mktemp("exported")
    contract_files.write(folder, protoset=True)
    return folder


@pytest.fixture(scope="module")
def image(exported_folder: Path) -> Path:
    """The exported descriptor set."""
    return exported_folder / contract_files.PROTOSET


def test_export_leaves_no_older_set(tmp_path: Path) -> None:
    """An export without the descriptor set removes that of an earlier one, which might state another contract."""
    contract_files.write(tmp_path, protoset=True)
    written = contract_files.write(tmp_path, protoset=False)

    assert sorted(written) == sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_exported_set_compiles_on_debian_12(image: Path, tmp_path: Path) -> None:
    """The protoc of Debian 12 compiles the exported descriptor set to other languages, and keeps all options."""
    compiled = tmp_path / "compiled"
    exported = {file.name: file for file in FileDescriptorSet.FromString(image.read_bytes()).file}
    languages = ["python", "java", "csharp", "cpp"]
    for language in languages:
        (tmp_path / language).mkdir()
    outputs = [f"--{language}_out={tmp_path / language}" for language in languages]

    command = [PROTOC_EXE, f"--descriptor_set_in={image}", *outputs, f"-o{compiled}", *exported]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert {"google/rpc/error_details.proto", "google/rpc/status.proto"} <= exported.keys()
    kept = FileDescriptorSet.FromString(compiled.read_bytes()).file
    assert {file.name: _without_comments(file) for file in kept} == {
        name: _without_comments(file) for name, file in exported.items()
    }
    assert "شماره ملی صادرکننده چک".encode() in compiled.read_bytes()
    assert (tmp_path / "java/estelam/setad/v1/VerifyNoteRequest.java").exists()


def test_exported_texts_compile_on_debian_12(exported_folder: Path, image: Path, tmp_path: Path) -> None:
    """The protoc of Debian 12 compiles the exported proto files, imports too, to the descriptors that are exported."""
    texts = sorted(str(path.relative_to(exported_folder)) for path in exported_folder.rglob("*.proto"))
    command = [PROTOC_EXE, f"-I{exported_folder}", f"-o{tmp_path / 'compiled'}", *texts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    files = FileDescriptorSet.FromString(image.read_bytes()).file
    exported = {file.name: _without_comments(file) for file in files}
    compiled = FileDescriptorSet.FromString((tmp_path / "compiled").read_bytes()).file
    assert {file.name: _without_comments(file) for file in compiled} == {name: exported[name] for name in texts}
    assert {name for name in exported if not name.startswith("google/protobuf/")} == set(texts)
    assert (exported_folder / "errors.json").read_bytes() == (PROTOS / "errors.json").read_bytes()


def _without_comments(file: FileDescriptorProto) -> bytes:
    """The descriptor without comments and JSON names: protoc adds those, and no import states another."""
    bare = FileDescriptorProto()
    bare.CopyFrom(file)
    bare.ClearField("source_code_info")
    messages = list(bare.message_type)
    for message in messages:
        messages += message.nested_type
    for field in [*bare.extension, *(field for message in messages for field in (*message.field, *message.extension))]:
        field.ClearField("json_name")
    return bare.SerializeToString(deterministic=True)


def test_every_language_has_a_package() -> None:
    """Every contract file names its package in Java, C# and Go after its own."""
    for file in descriptors.files():
        *path, area, version = file.package.split(".")
        options = file.options
        stated = (options.java_package, options.java_multiple_files, options.csharp_namespace, options.go_package)
        camel_case = ".".join(part.capitalize() for part in (*path, area, version))
        assert stated == (file.package, True, camel_case, f"{'/'.join((*path, area, version))};{area}{version}")


def test_lint() -> None:
    """The linter buf reports no issue with names or comments."""
    assert lint_protos.lint() == ""


def test_comments_begin_with_the_element() -> None:
    """The comment of every element of the contract begins with the element's name."""
    comments = [found for file in descriptors.files() for found in _comments(file)]

    assert [name for name, comment in comments if comment.split(" ")[0] != name] == []
    assert {"CheckNote", "person_id", "ANSWER_NO", "SENSITIVITY_OPEN", "Entry", "fa"} <= {name for name, _ in comments}


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Yield the name and the leading comment of every named element of *file*."""
    for location in file.source_code_info.location:
        element: Any = file
        for field, index in zip(location.path[::2], location.path[1::2], strict=False):
            values = getattr(element, element.DESCRIPTOR.fields_by_number[field].name)
            if not hasattr(values, "add"):  # An option or a type, not a named element.
                break
            element = values[index]
        else:
            if len(location.path) >= 2 and len(location.path) % 2 == 0:
                yield element.name, location.leading_comments.strip()


def test_methods_are_the_mandated_ones() -> None:
    """The contract has exactly the methods that the resolutions mandate."""
    services = [service for file in FILES for service in file.services_by_name.values()]

    assert {service.full_name: set(service.methods_by_name) for service in services} == MANDATED


def test_every_method_is_served(sandbox: Sandbox) -> None:
    """Every method of the contract is served, and its reply has a receipt."""
    served = {method.name: method for method in (*lookups(sandbox.promissory()), *LOOKUPS)}

    for file in (note_inquiry_pb2.DESCRIPTOR, cheque_case_inquiry_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for rpc in service.methods:
                method = served.pop(f"{service.full_name}/{rpc.name}")
                assert method.request.DESCRIPTOR is rpc.input_type
                assert rpc.output_type.fields_by_name["receipt"].message_type is inquiry_pb2.Receipt.DESCRIPTOR
    assert served == {}


def test_published_surface_is_unchanged() -> None:
    """Nothing in the published surface was changed or removed."""
    published = Baseline.read(PUBLISHED)

    assert missing_lines(published.surface, contract_surface(descriptors.files())) == []


def test_added_field_is_compatible() -> None:
    """An added field is a compatible change."""

    def add(fields: Fields) -> None:
        fields.add(name="note", number=9, type=FieldDescriptorProto.TYPE_STRING)

    assert missing_lines(contract_surface(descriptors.files()), contract_surface(_edited(add))) == []


def test_renumbered_field_is_incompatible() -> None:
    """A renumbered field is detected as an incompatible change."""

    def renumber(fields: Fields) -> None:
        fields[0].number = 15

    assert missing_lines(contract_surface(descriptors.files()), contract_surface(_edited(renumber))) != []


def test_removed_rule_is_incompatible() -> None:
    """A removed validation rule is detected as an incompatible change."""

    def remove_rules(fields: Fields) -> None:
        fields[0].ClearField("options")

    assert missing_lines(contract_surface(descriptors.files()), contract_surface(_edited(remove_rules))) != []


def _edited(edit: Callable[[Fields], object]) -> list[FileDescriptorProto]:
    """Return the contract with the fields of CheckNoteRequest edited."""
    copies = [FileDescriptorProto.FromString(file.SerializeToString()) for file in descriptors.files()]
    edit(next(m for file in copies for m in file.message_type if m.name == "CheckNoteRequest").field)
    return copies
