"""Regenerate the stubs under services/ and the description of the contracts from protos/.

The rules' own contract, buf/validate/validate.proto, is taken from the installed protovalidate wheel as a descriptor,
so nothing of a third party is copied by hand.
"""

import importlib.resources
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.type import date_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
BIN = Path(sys.executable).parent
CONTRACTS = "estelam/data_model/contracts.binpb"


def generate(into: Path) -> None:
    """Write the stubs of every contract, and their descriptors with comments, below *into*."""
    ours = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    google = importlib.resources.files("grpc_tools") / "_proto"
    googleapis = Path(date_pb2.__file__).parent.parent.parent
    with tempfile.TemporaryDirectory() as scratch:
        rules = Path(scratch) / "rules.binpb"
        rules.write_bytes(_rules_descriptor_set())
        plugins = [f"--plugin=protoc-gen-{kind}={BIN / f'protoc-gen-{kind}'}" for kind in ("mypy", "mypy_grpc")]
        search = [*plugins, f"-I{PROTOS}", f"-I{google}", f"-I{googleapis}", f"--descriptor_set_in={rules}"]
        stubs = [f"--{kind}_out={into}" for kind in ("python", "mypy")]
        wire = [f"--{kind}_out={into}" for kind in ("grpc_python", "mypy_grpc")]
        _protoc([*search, *stubs, "buf/validate/validate.proto", *ours])
        _protoc([*search, *wire, *(name for name in ours if "\nservice " in (PROTOS / name).read_text())])
        _write_packages(into, ours)
        (into / CONTRACTS).parent.mkdir(parents=True, exist_ok=True)
        _protoc([*search, f"-o{into / CONTRACTS}", "--include_source_info", *ours])


def _write_packages(into: Path, protos: list[str]) -> None:
    """Make the folders of our stubs regular packages: import-linter does not see namespace packages."""
    folders = {folder for name in protos for folder in list(Path(name).parents)[:-2]}
    for folder in folders:
        package = ".".join(folder.parts)
        (into / folder / "__init__.py").write_text(f'"""Generated stubs of the contract `{package}`."""\n')


def _rules_descriptor_set() -> bytes:
    bundle = descriptor_pb2.FileDescriptorSet()
    for known in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        known.DESCRIPTOR.CopyToProto(bundle.file.add())
    bundle.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return bundle.SerializeToString(deterministic=True)


def _protoc(arguments: list[str]) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit("protoc rejected the contract; its output is above")


if __name__ == "__main__":
    generate(ROOT / "services")
