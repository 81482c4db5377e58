"""Methods of the installed contracts by their full names."""

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default

from estelam.core.exceptions import UserFacingError


class UnknownMethodError(UserFacingError):
    """No imported contract has a method of the given name."""


def find_method(name: str) -> MethodDescriptor:
    """Return the method *name* (package.Service/Method) of an imported contract.

    Raises:
        UnknownMethodError: There is none.
    """
    service, _, method = name.partition("/")
    try:
        return Default().FindServiceByName(service).methods_by_name[method]
    except KeyError:
        raise UnknownMethodError(f"{name}: no such method; a method's name is package.Service/Method") from None
