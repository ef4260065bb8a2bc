"""The query log of a DuckDB database: a table that its user keeps, since DuckDB keeps none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from mc_push_dagster.errors import BrokenContract, FixConfiguration
from mc_push_dagster.model import QueryRecord, Window

OWN = "/* mc_push_dagster */"
"""Opens each of our statements, so that a log that records them too is read without them."""

QUERY_LOG_COLUMNS: Mapping[str, str] = {
    "query_id": "VARCHAR",
    "session_id": "VARCHAR",
    "user_name": "VARCHAR",
    "database_name": "VARCHAR",
    "schema_name": "VARCHAR",
    "query_text": "VARCHAR NOT NULL",
    "started_at": "TIMESTAMPTZ NOT NULL",
    "ended_at": "TIMESTAMPTZ NOT NULL",
    "returned_rows": "BIGINT",
    "error_code": "VARCHAR",
    "error_text": "VARCHAR",
    "objects_modified": 'STRUCT("database" VARCHAR, "schema" VARCHAR, "name" VARCHAR)[]',
}
"""The log's columns, in any order. Those that are NOT NULL must exist; a TIMESTAMP without zone is taken as UTC.
`database_name` and `schema_name` are the session's defaults; `objects_modified` lists the tables whose data changed."""

_REQUIRED = tuple(name for name, kind in QUERY_LOG_COLUMNS.items() if kind.endswith("NOT NULL"))
_FETCH = 1000  # rows handed over at once
_SLICE = 50_000  # queries sorted at once; about 100 MB at 2 kB of text each, which DuckDB spills where memory is short
_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PART = re.compile(r'(?:^|\.)(?:"((?:[^"]|"")+)"|([^."]+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLog:
    """A query log as it was found."""

    table: str
    """Its quoted name."""
    columns: Mapping[str, str]
    """Types by lower-case name."""

    @classmethod
    def find(cls, connection: Any, parts: Sequence[str]) -> Self:
        """Look at the table named by `parts`.

        Raises:
            FixConfiguration: if it does not exist or lacks a required column.
        """
        import duckdb

        dotted, table = ".".join(parts), ".".join(map(quote, parts))
        try:
            described = connection.execute(f"{OWN} DESCRIBE {table}").fetchall()
        except duckdb.ProgrammingError as error:
            raise FixConfiguration(f"the query_log_table {dotted} cannot be read: {first_line(error)}") from error
        columns = {row[0].lower(): row[1] for row in described}
        missing = [name for name in _REQUIRED if name not in columns]
        if missing:
            raise FixConfiguration(f"the query_log_table {dotted} has no column {' and no column '.join(missing)}")
        return cls(table=table, columns=columns)

    @property
    def knows_writes(self) -> bool:
        return "objects_modified" in self.columns

    def last_writes(self) -> str:
        """SQL that yields, by table (`db`, `sc`, `tb` in lower case), the microsecond of its last successful write.

        Lower case, because DuckDB compares names without regard to case: a statement may write a table in any case.
        """
        return f"""SELECT lower(m."database") AS db, lower(m."schema") AS sc, lower(m."name") AS tb,
                max(epoch_us(ended_at)) AS changed
            FROM (SELECT unnest(log.objects_modified) AS m, log.ended_at FROM {self.table} log
                  WHERE {self._column("error_code")} IS NULL AND {self._column("error_text")} IS NULL)
            GROUP BY ALL"""  # noqa: S608

    def read(self, connection: Any, window: Window) -> Iterator[QueryRecord]:
        """The statements that ended in `window`, by their end, our own left out.

        Raises:
            BrokenContract: if a row lacks a required value.
        """
        names = ("query_id", "user_name", "returned_rows", "error_code", "error_text", "database_name", "schema_name")
        optional = ", ".join(self._column(name) for name in (*names, "session_id"))
        sql = f"""{OWN} SELECT log.query_text, epoch_us(log.started_at), epoch_us(log.ended_at), {optional}
            FROM {self.table} log
            WHERE {self._ended_in("$1", "$2")} AND NOT coalesce(starts_with(log.query_text, $3), false)
            ORDER BY log.ended_at{", log.query_id" if "query_id" in self.columns else ""}"""  # noqa: S608
        with closing(connection.cursor()) as planner:
            for start, end in self._slices(planner, _micros(window.start), _micros(window.end)):
                for row in rows_of(connection.execute(sql, [start, end, OWN])):
                    yield _record(row)

    def _slices(self, cursor: Any, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut a time span, in microseconds, at full seconds into spans of about `_SLICE` queries; none if empty.

        One ORDER BY over the whole would hold or spill every text of the window.
        """
        sql = f"""{OWN} SELECT epoch_us(log.ended_at) // {_SECOND}, count(*) FROM {self.table} log
            WHERE {self._ended_in("$1", "$2")} GROUP BY 1 ORDER BY 1"""  # noqa: S608
        held = 0
        for second, count in rows_of(cursor.execute(sql, [start, end])):
            if held and held + count > _SLICE:
                yield start, second * _SECOND
                start, held = second * _SECOND, 0
            held += count
        if held:
            yield start, end

    def _column(self, name: str) -> str:
        """The SQL of a documented column: NULL where this log does not have it."""
        return f"log.{name}" if name in self.columns else "NULL"

    def _ended_in(self, start: str, end: str) -> str:
        """Half-open condition on the end; `start` and `end` are placeholders of microseconds since 1970.

        The bounds take the column's type, so that DuckDB can skip the row groups of other times.
        """
        make = "make_timestamptz" if "TIME ZONE" in self.columns["ended_at"] else "make_timestamp"
        return f"log.ended_at >= {make}({start}) AND log.ended_at < {make}({end})"


def table_parts(name: str) -> tuple[str, ...]:
    """Cut a table name into its one to three parts; a part that holds a dot stands in double quotes.

    Raises:
        FixConfiguration: if it is no such name.
    """
    found = list(_PART.finditer(name))
    if not 1 <= len(found) <= 3 or name.startswith(".") or "".join(match.group() for match in found) != name:
        raise FixConfiguration(f"query_log_table is no table name: {name!r}; write schema.table or db.schema.table")
    return tuple(match[1].replace('""', '"') if match[1] else match[2] for match in found)


def quote(identifier: str) -> str:
    """Return `identifier` in double quotes, embedded ones doubled."""
    return '"' + identifier.replace('"', '""') + '"'


def first_line(error: Exception) -> str:
    """DuckDB's message without the excerpt of SQL that follows it, which may hold values."""
    return str(error).partition("\n")[0]


def chunks_of(cursor: Any, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield a result's rows in lists of `size`."""
    return iter(lambda: cursor.fetchmany(size), [])


def rows_of(cursor: Any) -> Iterator[tuple[Any, ...]]:
    """Yield a result's rows, fetched a thousand at a time."""
    for rows in chunks_of(cursor, _FETCH):
        yield from rows


def moment(micros: int) -> datetime:
    """The time that lies `micros` microseconds after the start of 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _record(row: Sequence[Any]) -> QueryRecord:
    text, started, ended, query_id, user, returned, code, error, database, schema, session = row
    if text is None or started is None:
        raise BrokenContract(f"the query log's row {query_id!r} lacks query_text or started_at")
    return QueryRecord(
        text=text,
        started_at=moment(started),
        ended_at=moment(ended),
        query_id=query_id,
        user=user,
        returned_rows=returned,
        error_code=code,
        error_text=error,
        database=database,
        schema=schema,
        session_id=session,
    )
