"""Every number in a file that a program reads has bounds, which are checked when the file is read."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from estelam.auth.grants import AccessTable, Quota
from estelam.catalogue.model import Catalogue
from estelam.cli.sections import section_kinds
from estelam.core.settings import MAX_DURATION
from estelam.loading.manifest import Manifest
from quality.slo import Rulebook

FILES: dict[str, type[BaseModel]] = {
    **section_kinds(),
    **{kind.__name__: kind for kind in (AccessTable, Catalogue, Manifest, Rulebook)},
}


def numbers(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each place in a JSON *schema* that takes a number."""
    if isinstance(schema, dict):
        if schema.get("type") in {"number", "integer"}:
            yield path, schema
        for key, inner in schema.items():
            yield from numbers(inner, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from numbers(inner, f"{path}/{index}")


@pytest.mark.parametrize("name", FILES)
def test_numbers_are_bounded(name: str) -> None:
    """A number has a least and a greatest value; the least of a fraction is not merely above 0, as 1e-320 is."""
    unbounded = [
        path
        for path, schema in numbers(FILES[name].model_json_schema())
        if not {"minimum", "maximum"} <= schema.keys() or not abs(schema["maximum"]) < 1e19
    ]

    assert [] == unbounded


def durations() -> Iterator[Any]:
    for name, kind in FILES.items():
        for field, about in kind.model_fields.items():
            if about.annotation is timedelta:
                yield pytest.param(about, id=f"{name}.{field}")


@pytest.mark.parametrize("about", [*durations()])
def test_durations_are_bounded(about: Any) -> None:
    """A duration is at least a second, and at most a hundred years."""
    bounds = {type(bound).__name__: getattr(bound, type(bound).__name__.lower()) for bound in about.metadata}

    assert timedelta(seconds=1) <= bounds["Ge"] < bounds["Le"] <= MAX_DURATION


@pytest.mark.parametrize(
    "quota",
    [
        {"rate": 1e-320, "burst": 1},
        {"rate": 1.0, "burst": int("9" * 400)},
        {"rate": float("inf"), "burst": 1},
        {"rate": float("nan"), "burst": 1},
        {"rate": 1.0, "burst": 1, "miss_cost": 10**18},
        {"rate": 0.001, "burst": 999_999_999},
    ],
    ids=str,
)
def test_impossible_quota(quota: dict[str, Any]) -> None:
    """A quota whose state no reply could show is refused where it is read, and fails no inquiry."""
    with pytest.raises(ValidationError):
        Quota(**quota)
