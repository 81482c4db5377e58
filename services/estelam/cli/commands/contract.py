"""Commands of `estelam contract`: export the contract for other languages."""

from pathlib import Path

from estelam.cli import output
from estelam.data_model import contract_files


def export_contract(folder: Path, *, protoset: bool, as_json: bool) -> None:
    """Write the proto files, errors.json and, if asked, the descriptor set into *folder*."""
    with output.user_errors(as_json=as_json):
        written = contract_files.write(folder, protoset=protoset)
    names = [str(path.relative_to(folder)) for path in written]
    output.print_record({"folder": folder, "files": names}, as_json=as_json, title="The contract")
