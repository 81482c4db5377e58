"""The catalogue as a matrix: which organisation may call which method, filtered by a text."""

from collections.abc import Sequence
from dataclasses import dataclass

from estelam.catalogue.model import Catalogue, Grant, Method, Party, Service
from estelam.core.normalize import normalize_identifier, normalize_name


@dataclass(frozen=True, slots=True)
class Column:
    """A method, or a service that is only listed."""

    service: Service
    method: Method | None

    @property
    def named(self) -> Service | Method:
        """What the column is called by."""
        return self.method or self.service


@dataclass(frozen=True, slots=True)
class Row:
    """A consumer, with its grants for each column."""

    party: Party
    cells: tuple[tuple[Grant, ...], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The columns and rows that match a search."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def matrix(catalogue: Catalogue, search: str) -> Matrix:
    """Return the matrix of the grants of which consumer, service, provider, method, clause or id contains *search*."""
    found = [grant for grant in catalogue.grants if _matches(search, _texts(catalogue, grant))]
    columns = [one for one in _columns(catalogue) if any(_is_of(grant, one) for grant in found)]
    rows = [
        Row(party, tuple(tuple(grant for grant in mine if _is_of(grant, one)) for one in columns))
        for party in catalogue.parties
        if (mine := [grant for grant in found if grant.consumer == party.slug])
    ]
    return Matrix(tuple(columns), tuple(rows))


def _columns(catalogue: Catalogue) -> list[Column]:
    provided = [Column(service, method) for _, service, method in catalogue.methods()]
    return [*provided, *(Column(service, None) for service in catalogue.services if not service.methods)]


def _is_of(grant: Grant, column: Column) -> bool:
    return (grant.service, grant.method) == (column.service.slug, column.method.name if column.method else None)


def _texts(catalogue: Catalogue, grant: Grant) -> Sequence[str]:
    service, consumer = catalogue.service(grant.service), catalogue.party(grant.consumer)
    method = service.method(grant.method) if service else None
    provider = catalogue.party(service.provider) if service else None
    named = [each for one in (service, consumer, method, provider) if one for each in (one.fa, one.en)]
    slugs = [grant.id, grant.clause, grant.consumer, grant.service, grant.method or ""]
    return [*named, *slugs, consumer.legal_id or "" if consumer else ""]


def _matches(search: str, texts: Sequence[str]) -> bool:
    wanted = _folded(search)
    return any(wanted in _folded(text) for text in texts)


def _folded(text: str) -> str:
    return normalize_name(normalize_identifier(text)).casefold()
