"""Rows, bytes and last change of file tables that carry no statistics, from their files: opt-in, a query a table."""

from __future__ import annotations

from dataclasses import replace

from mc_push_dagster.warehouses._spark_information import Information, from_millis
from mc_push_dagster.warehouses._thrift import Session, StatementError

_FILE_PROVIDERS = frozenset({"parquet", "orc", "csv", "json", "text", "avro"})
"""Providers with the hidden column `_metadata` (Spark, "File source metadata column"); Hive-format tables have none."""
_SIZE = "max(_metadata.file_size) AS size"
_AT = "max(unix_millis(_metadata.file_modification_time)) AS at"


class FileMeasures:
    """Fills what the catalog does not know, and leaves what it does."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def fill(self, table: str, found: Information) -> Information:
        """`found` with the measures of the files of `table` (a quoted name); unchanged where they cannot be read.

        Reads the files' footers or, for text formats, the files. A file without rows counts neither bytes nor time.
        """
        if found.is_view or found.snapshot is not None or (found.provider or "").lower() not in _FILE_PROVIDERS:
            return found
        by_file = f"SELECT count(*) AS n, {_SIZE}, {_AT} FROM {table} GROUP BY _metadata.file_path"  # noqa: S608 - quoted
        try:
            rows = list(self._session.rows(f"SELECT sum(n), sum(size), max(at) FROM ({by_file})"))  # noqa: S608
        except StatementError:
            return found
        count, size, millis = rows[0]
        return replace(
            found,
            row_count=int(count or 0),
            byte_count=found.byte_count if size is None else int(size),
            changed_at=from_millis(millis) if millis is not None else None,
        )
