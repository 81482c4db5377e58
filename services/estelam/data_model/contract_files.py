"""The contract as files for other languages: every proto with all that it imports, as text and as one descriptor set.

The texts of our own protos are in the wheel. Those of an import are beside its stubs where its package carries them
(googleapis-common-protos does); otherwise they are written from its descriptor. The files of `google/protobuf` come
with every protoc, so they are in the descriptor set only.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from estelam.core.files import write_atomic
from estelam.data_model import descriptors, proto_text

PROTOSET = "estelam.protoset"
FACTS = "errors.json"
_PROTOS = Path(__file__).resolve().parent / "protos"
_DETAILS = ("google/rpc/error_details.proto", "google/rpc/status.proto")
"""The contract of the details that every refusal carries."""
_OF_PROTOC = "google/protobuf/"


def write(folder: Path, *, protoset: bool) -> list[Path]:
    """Write every proto and its imports into *folder*, `errors.json`, and if asked the descriptor set; return paths.

    The descriptor set of an earlier export is removed where it is not asked for.
    """
    written = []
    texts = {name: text for name in descriptor_set_names() if (text := _text(name)) is not None}
    for name, text in {**texts, FACTS: (_PROTOS / FACTS).read_text("utf-8")}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
        written.append(path)
    path = folder / PROTOSET
    if protoset:
        write_atomic(path, descriptor_set().SerializeToString(deterministic=True))
        written.append(path)
    else:
        path.unlink(missing_ok=True)
    return written


def descriptor_set() -> FileDescriptorSet:
    """Return every file with all that it imports, each after its imports; ours with comments."""
    return FileDescriptorSet(file=_files().values())


def descriptor_set_names() -> list[str]:
    """Return the import paths of the files in `descriptor_set`, in its order."""
    return list(_files())


def _files() -> Mapping[str, FileDescriptorProto]:
    ours = {file.name: file for file in descriptors.files()}
    found: dict[str, FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name in found:
            return
        file = ours.get(name) or _imported(name)
        for dependency in file.dependency:
            add(dependency)
        found[name] = file

    for name in (*ours, *_DETAILS):
        add(name)
    return found


def _imported(name: str) -> FileDescriptorProto:
    file = FileDescriptorProto()
    _module(name).DESCRIPTOR.CopyToProto(file)
    return file


def _module(name: str) -> Any:
    return import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")


def _text(name: str) -> str | None:
    """Return the text of the file that is imported as *name*; None if it comes with protoc."""
    if name.startswith(_OF_PROTOC):
        return None
    ours = _PROTOS / name
    beside = ours if ours.exists() else Path(_module(name).__file__).with_name(Path(name).name)
    return beside.read_text("utf-8") if beside.exists() else proto_text.render(_imported(name))
