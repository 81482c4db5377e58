"""Descriptors of the contracts with their comments, as written when the stubs were generated."""

from functools import cache
from importlib import resources

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from estelam.inquiry.v1 import data_model_pb2, identifiers_pb2

# Protobuf decodes custom options only after the modules that define them are imported.
_ = annotations_pb2, identifiers_pb2

MODEL_FILE = data_model_pb2.DESCRIPTOR.name


@cache
def files() -> tuple[FileDescriptorProto, ...]:
    """Return the descriptor of every contract file, including the file that defines the data model's options."""
    content = (resources.files("estelam.data_model") / "contracts.binpb").read_bytes()
    return tuple(FileDescriptorSet.FromString(content).file)
