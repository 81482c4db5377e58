"""The values of a message with their sensitivity in the data model."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from estelam.data_model.model import Field, load
from tests.guarantees.test_8_no_identifier_leaks import forms

FIELDS = {field.doc.full_name: field for _, field in load().fields()}
SHORTEST_BYTES = 4


def values(message: Message) -> Iterator[tuple[Field, Any]]:
    """Every scalar value in *message*, at any depth, with its field in the data model."""
    for descriptor, value in message.ListFields():
        field = FIELDS.get(descriptor.full_name)
        if field is None or descriptor.enum_type is not None:
            continue
        for one in value if descriptor.is_repeated else [value]:
            if isinstance(one, Message):
                yield from values(one)
            else:
                yield field, one


def stands_in(value: object, haystack: bytes) -> bool:
    """Whether *haystack* contains *value* in any readable form; a few bytes, as a bare answer, tell nothing."""
    if isinstance(value, bytes):
        return len(value) > SHORTEST_BYTES and (value in haystack or value.hex().encode() in haystack)
    return any(form in haystack for form in forms(str(value)))
