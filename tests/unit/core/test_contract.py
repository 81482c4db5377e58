"""Methods by their full names."""

import pytest

from estelam.core.contract import UnknownMethodError, find_method
from estelam.promissory.v1 import note_inquiry_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"]


def test_method_is_found() -> None:
    """A method of an imported contract is found by its full name."""
    for method in SERVICE.methods:
        assert find_method(f"{SERVICE.full_name}/{method.name}") is method


@pytest.mark.parametrize("name", ["", "/", "CheckNote", "no.Service/CheckNote", f"{SERVICE.full_name}/None"])
def test_unknown_method(name: str) -> None:
    """Any other name is one error that names it."""
    with pytest.raises(UnknownMethodError, match="no such method"):
        find_method(name)
