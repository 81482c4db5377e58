"""Read Parquet files in batches of text columns."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from estelam.loading.batch import ROWS, Batch
from estelam.loading.errors import LoadError
from estelam.loading.formats import ColumnFormat
from estelam.loading.header import complete, match_header
from estelam.loading.source import Source

_ZERO_FRACTION_OR_TIME = r"( 00:00:00)?(\.0+)?$"


def parquet_batches(source: Source, columns: Mapping[str, ColumnFormat], ignored: Collection[str]) -> Iterator[Batch]:
    """Yield the rows of the Parquet file *source*, which has *columns* and may have *ignored* ones.

    Raises:
        LoadError: a column is missing or unknown, or its type is not accepted.
        OSError, pyarrow.ArrowException: the file is damaged.
    """
    with pq.ParquetFile(source.path) as file:
        schema = file.schema_arrow
        header = match_header(str(source.path), schema.names, columns, ignored)
        fields = {name: schema.field(position) for name, position in header.positions.items()}
        for name, field in fields.items():
            _require_type(source, name, field.type, columns[name])
        size, total, first = source.path.stat().st_size, file.metadata.num_rows, 1
        for batch in file.iter_batches(ROWS, columns=[field.name for field in fields.values()]):
            end = first + batch.num_rows
            cells = {name: _as_text(batch.column(field.name)) for name, field in fields.items()}
            texts = complete(cells, columns, batch.num_rows)
            yield Batch(pa.arange(first, end), texts, [], size * (end - 1) // total, first, None).without_invalid_text()
            first = end


def _require_type(source: Source, name: str, kind: pa.DataType, column: ColumnFormat) -> None:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (_is_text(value) or _is_bytes(value) or pa.types.is_null(value) or column.parquet(value)):
        # A number instead of an identifier would have lost its leading zeros.
        raise LoadError(f"{source.path}: column {name} has the Parquet type {kind}; write it as text (string)")


def _as_text(column: Any) -> Any:
    """Return *column* as text: null is empty as in CSV, a number is written in digits, a date in ISO form."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_bytes(kind):
        return pc.fill_null(column.cast(pa.binary()), b"")
    text = column.cast(pa.string())
    if pa.types.is_decimal(kind) or pa.types.is_timestamp(kind):
        # A fraction or a time of day that is not zero stays, so that its row is rejected.
        text = pc.replace_substring_regex(text, _ZERO_FRACTION_OR_TIME, "")
    return pc.fill_null(text, "")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
