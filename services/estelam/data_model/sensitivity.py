"""Which names of fields no log may show a value of: what the contracts call more than open."""

from functools import cache

from estelam.data_model.model import load
from estelam.inquiry.v1 import data_model_pb2 as pb


@cache
def redacted_fields() -> frozenset[str]:
    """The names of all fields that are not open, in whichever message."""
    return frozenset(field.doc.name for _, field in load().fields() if field.doc.sensitivity != pb.SENSITIVITY_OPEN)
