"""The contracts as they were described when their stubs were made: the descriptors, with comments."""

from functools import cache
from importlib import resources

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from estelam.inquiry.v1 import data_model_pb2, identifiers_pb2

# Options are read only once those who define them are known.
_ = annotations_pb2, identifiers_pb2

MODEL_FILE = data_model_pb2.DESCRIPTOR.name


@cache
def files() -> tuple[FileDescriptorProto, ...]:
    """Every file of the contracts, the data model's own included."""
    image = (resources.files("estelam.data_model") / "contracts.binpb").read_bytes()
    return tuple(FileDescriptorSet.FromString(image).file)
