"""A Parquet file as a source: what its columns take is asked first, because equal values take no room on the disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import excess
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.datasets.folders.arrow import array_of_column
from mcr_bench.datasets.folders.lists import Padded

if TYPE_CHECKING:
    import pyarrow as pa

WIDEST = 8  # bytes of a number; a text has its number in the list of different texts


class ParquetFile:
    """An open source.

    keys: its columns.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        try:
            schema = pq.read_schema(path)
            texts = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
            self._file = pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damaged(error) from error
        self.keys = tuple(schema.names)

    def memory(self, key: str) -> int:
        """The bytes of memory that a column takes at least, by the number of its values."""
        stated, inner = self._file.metadata, f"{key}."
        groups = [stated.row_group(number) for number in range(stated.num_row_groups)]
        columns = [group.column(at) for group in groups for at in range(group.num_columns)]
        try:
            return WIDEST * sum(int(one.num_values) for one in columns if f"{one.path_in_schema}.".startswith(inner))
        except UnicodeDecodeError as error:
            raise self._damaged(error) from error

    def read(self, key: str, text: bool) -> Array | Padded:
        """The values of a column."""
        import pyarrow as pa

        if self.keys.count(key) > 1:
            raise UserError(f"'{self._path}' has two columns '{key}'. Rename one of them.")
        try:
            column = self._column(key)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damaged(error) from error
        return array_of_column(f"'{self._path}': '{key}'", column)

    def _column(self, key: str) -> "pa.ChunkedArray":
        """The column piece by piece, as what a file states of its size may be wrong."""
        import pyarrow as pa

        pieces, size = [], 0
        for batch in self._file.iter_batches(columns=[key], use_threads=False):
            pieces.append(batch.column(batch.schema.names.index(key)))
            size += pieces[-1].nbytes
            if reason := excess(size):
                raise UserError(f"'{self._path}': '{key}' {reason}. The rest was not read.")
        kind = self._file.schema_arrow.field(key).type
        return pa.chunked_array(pieces, pieces[0].type if pieces else kind)

    def _damaged(self, error: Exception) -> UserError:
        words = quoted(error)
        return UserError(
            f"'{self._path}' cannot be read as Parquet ({words}): it is damaged, or of another format. Copy it again, "
            "or save it again with pandas: t.to_parquet(FILE)."
        )
