"""Field names whose values must not appear in logs."""

from functools import cache

from estelam.data_model.model import load
from estelam.inquiry.v1 import data_model_pb2 as pb


@cache
def redacted_fields() -> frozenset[str]:
    """Return the names of all fields, of any message, whose sensitivity is above SENSITIVITY_OPEN."""
    return frozenset(field.doc.name for _, field in load().fields() if field.doc.sensitivity != pb.SENSITIVITY_OPEN)
