"""DuckDB: a database file and what is attached to it.

DuckDB keeps no query log. A table of the user's own (`query_log_table`, columns as in `QUERY_LOG_COLUMNS`) serves as
one, and its record of writes tells when each table's data last changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import groupby
from typing import Any, ClassVar, Self

from pydantic import Field

from mc_push_dagster.errors import FixAccess, FixConfiguration, PushError, WarehouseUnavailable
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    DataChange,
    Fingerprint,
    Gap,
    QueryRecord,
    Scope,
    TableColumns,
    TableRef,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses._duckdb_log import (
    OWN,
    QUERY_LOG_COLUMNS,
    QueryLog,
    chunks_of,
    first_line,
    moment,
    quote,
    rows_of,
    table_parts,
)
from mc_push_dagster.warehouses.base import (
    YES,
    Access,
    Capability,
    Connect,
    Settings,
    Support,
    Warehouse,
    impossible,
    scope_condition,
)
from mc_push_dagster.warehouses.lent import connect_through

__all__ = ["QUERY_LOG_COLUMNS", "DuckDB", "DuckDBOptions", "DuckDBSettings"]

_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog")
_CHUNK = 64  # tables counted by one statement


class DuckDBOptions(Settings):
    """What is to be known besides the connection."""

    query_log_table: str | None = Field(
        default=None, description='The table that holds the query log, e.g. ops.query_log or "my db".ops.query_log.'
    )


class DuckDBSettings(DuckDBOptions):
    """Where the DuckDB file is."""

    path: str = Field(min_length=1, description="The database file.")
    attach: dict[str, str] = Field(default={}, description="More database files, by the name they get.")
    memory_limit: str = Field(default="128MB", pattern=r"^\d+ ?[KMGT]i?B$", description="What DuckDB may use to read.")


class DuckDB(Warehouse):
    """A DuckDB database; `connect` returns a connection or, inside a process that has the file open, `con.cursor()`."""

    name = "duckdb"
    dialect = "duckdb"
    resource_type = "data-lake"
    log_type = "generic"
    settings = DuckDBSettings
    lent_settings = DuckDBOptions
    drift_interval = timedelta(seconds=30)
    statement_budget = (
        f"1 for the tables, 1 per {_CHUNK} tables for row counts, 1 for the columns, 1 per view to bind it"
    )
    capabilities: ClassVar[Mapping[Capability, Support]] = {
        Capability.SCHEMA: YES,
        Capability.VIEW_TEXT: YES,
        Capability.DESCRIPTIONS: YES,
        Capability.TAGS: impossible("DuckDB has no statement that tags a table"),
        Capability.ROW_COUNT: YES,
        Capability.BYTE_COUNT: impossible("DuckDB keeps no size per table: tables share the blocks of its file"),
        Capability.DATA_CHANGE: Support("yes", "from the writes in the query log, where query_log_table is set"),
        Capability.QUERY_LOG: Support(
            "yes", "from a table of yours, named by query_log_table; DuckDB itself keeps none"
        ),
        Capability.TABLE_LINEAGE: impossible("DuckDB records no dependencies of views; lineage comes from SQL"),
        Capability.COLUMN_LINEAGE: impossible("DuckDB records no dependencies of views; lineage comes from SQL"),
        Capability.DRIFT: YES,
    }

    def __init__(self, connect: Connect, *, scope: Scope | None = None, query_log_table: str | None = None) -> None:
        super().__init__(connect, scope=scope)
        self._log_parts = table_parts(query_log_table) if query_log_table is not None else ()

    @classmethod
    def from_settings(cls, settings: DuckDBSettings, *, scope: Scope) -> Self:
        return cls(lambda: _open(settings), scope=scope, query_log_table=settings.query_log_table)

    @classmethod
    def over(cls, resource: Any, *, scope: Scope | None = None, options: DuckDBOptions | None = None) -> Self:
        """Build the warehouse over a user's own `DuckDBResource`, or anything whose `get_connection()` is alike."""
        log = options.query_log_table if options is not None else None
        return cls(connect_through(resource), scope=scope, query_log_table=log)

    def tables(self) -> Iterator[TableSnapshot | Gap]:
        with _reading(), self.connection() as connection, closing(connection.cursor()) as counter:
            log = None
            try:
                log = self._log(connection)
            except FixConfiguration as error:
                yield Gap(subject="query log", reason=f"{error}; no data-change times are known")
            sql, values = self._table_statement(log)
            for rows in chunks_of(connection.execute(sql, values), _CHUNK):
                found = [(ref, row) for row in rows if self.scope.covers(ref := _ref(row))]
                counts = _counts(counter, [ref for ref, row in found if row[3] == "BASE TABLE" and row[4] == "duckdb"])
                for ref, row in found:
                    count = counts.get(ref)
                    if isinstance(count, Gap):
                        yield count
                    else:
                        yield _snapshot(ref, row, count)

    def columns(self) -> Iterator[TableColumns | Gap]:
        bind = _Bind()
        sql = f"""{OWN} SELECT c.database_name, c.schema_name, c.table_name, column_name, data_type, c.comment, is_view
            FROM duckdb_columns() c LEFT JOIN
                 (SELECT database_name, schema_name, view_name, true AS is_view FROM duckdb_views()) v
              ON (c.database_name, c.schema_name, c.table_name) = (v.database_name, v.schema_name, v.view_name)
            WHERE {self._in_scope("c.", "table_name", bind)}
            ORDER BY c.database_name, c.schema_name, c.table_name, column_index"""  # noqa: S608
        with _reading(), self.connection() as connection, closing(connection.cursor()) as binder:
            for ref, rows in groupby(rows_of(connection.execute(sql, bind.values)), key=_ref):
                if not self.scope.covers(ref):
                    continue
                listed = list(rows)
                broken = _unbound(binder, ref) if listed[0][6] else None
                columns = tuple(Column(name=row[3], type=row[4], description=row[5] or None) for row in listed)
                yield broken or TableColumns(ref=ref, columns=columns)

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        """The statements that ended in `window`, by their end; sorted a slice at a time, so that memory stays constant.

        Raises:
            FixConfiguration: if the query log is missing or lacks a required column.
            BrokenContract: if a row lacks a required value.
        """
        with _reading(), self.connection() as connection:
            log = self._log(connection)
            if log is not None:
                yield from log.read(connection, window)

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        bind = _Bind()
        # Each part carries its length: no two schemas give the same text. XOR makes the order of rows irrelevant.
        text = "concat(" + ", ".join(f"length({c}), ':', {c}" for c in _DIGESTED) + ")"
        sql = f"""{OWN} SELECT d.database_name, coalesce(n, 0), coalesce(digest, 0)
            FROM duckdb_databases() d LEFT JOIN
                 (SELECT c.database_name, count(*) AS n, bit_xor(md5_number({text})) AS digest FROM duckdb_columns() c
                  WHERE {self._in_scope("c.", "table_name", bind)} GROUP BY c.database_name) s USING (database_name)
            WHERE NOT d.internal ORDER BY d.database_name"""  # noqa: S608
        with _reading(), self.connection() as connection:
            for database, count, digest in rows_of(connection.execute(sql, bind.values)):
                if self.scope.covers_database(database):
                    yield Fingerprint(database=database, digest=f"{count}-{digest:032x}")

    def check_access(self) -> Iterator[Access]:
        probes = {
            Capability.SCHEMA: ("columns", "duckdb_columns()", "table_name"),
            Capability.VIEW_TEXT: ("views", "duckdb_views()", "view_name"),
            Capability.DESCRIPTIONS: ("tables", "duckdb_tables()", "table_name"),
            Capability.ROW_COUNT: ("tables", "duckdb_tables()", "table_name"),
            Capability.DRIFT: ("columns", "duckdb_columns()", "table_name"),
        }
        try:
            with _reading(), self.connection() as connection:
                for capability, (noun, function, column) in probes.items():
                    bind = _Bind()
                    sql = f"{OWN} SELECT count(*) FROM {function} c WHERE {self._in_scope('c.', column, bind)}"  # noqa: S608
                    count = connection.execute(sql, bind.values).fetchall()[0][0]
                    yield Access(capability=capability, granted=True, detail=f"{count:,} {noun} in scope")
                yield from self._log_access(connection)
        except (FixAccess, FixConfiguration, WarehouseUnavailable) as error:
            for capability in (*probes, Capability.DATA_CHANGE, Capability.QUERY_LOG):
                yield Access(capability=capability, granted=False, detail=str(error))

    def _log_access(self, connection: Any) -> Iterator[Access]:
        try:
            log = self._log(connection)
            problem = "no query_log_table is set; DuckDB itself keeps no query log" if log is None else None
        except FixConfiguration as error:
            log, problem = None, str(error)
        writes = problem or (None if log and log.knows_writes else "the log has no objects_modified")
        yield Access(
            capability=Capability.DATA_CHANGE,
            granted=writes is None,
            detail=writes or "from objects_modified of the log",
        )
        if log is not None:
            count = connection.execute(f"{OWN} SELECT count(*) FROM {log.table}").fetchall()[0][0]  # noqa: S608
            yield Access(capability=Capability.QUERY_LOG, granted=True, detail=f"{count:,} statements in the log")
        else:
            yield Access(capability=Capability.QUERY_LOG, granted=False, detail=problem or "")

    def _log(self, connection: Any) -> QueryLog | None:
        return QueryLog.find(connection, self._log_parts) if self._log_parts else None

    def _in_scope(self, prefix: str, name: str, bind: _Bind) -> str:
        """A condition on a duckdb_...() function: no system object, and in scope."""
        columns = (f"{prefix}database_name", f"{prefix}schema_name", f"{prefix}{name}")
        skipped = ", ".join(map(bind, _SYSTEM_SCHEMAS))
        mine = f"NOT {prefix}internal AND {columns[0]} <> 'temp' AND {columns[1]} NOT IN ({skipped})"
        return f"{mine} AND {scope_condition(self.scope, columns, bind)}"

    def _table_statement(self, log: QueryLog | None) -> tuple[str, list[Any]]:
        bind = _Bind()
        writes = "SELECT NULL::VARCHAR AS db, NULL::VARCHAR AS sc, NULL::VARCHAR AS tb, NULL::BIGINT AS changed"
        if log is not None and log.knows_writes:
            writes = log.last_writes()
        listed = " UNION ALL ".join(
            f"""SELECT o.database_name, o.schema_name, o.{name} AS name, '{kind}' AS kind, o.comment, {text} AS text
                FROM {function} o WHERE {self._in_scope("o.", name, bind)}"""  # noqa: S608
            for kind, function, name, text in (
                ("BASE TABLE", "duckdb_tables()", "table_name", "NULL"),
                ("VIEW", "duckdb_views()", "view_name", "o.sql"),
            )
        )
        sql = f"""{OWN} WITH listed AS ({listed}), writes AS ({writes})
            SELECT l.database_name, l.schema_name, l.name, l.kind, d.type, l.comment, l.text,
                   CASE WHEN l.kind = 'BASE TABLE' THEN changed END
            FROM listed l JOIN duckdb_databases() d USING (database_name)
            LEFT JOIN writes ON (lower(l.database_name), lower(l.schema_name), lower(l.name)) = (db, sc, tb)
            ORDER BY l.database_name, l.schema_name, l.name"""  # noqa: S608
        return sql, bind.values


_DIGESTED = ("c.schema_name", "c.table_name", "c.column_name", "c.data_type")


class _Bind:
    """Collects bind values and hands out their placeholders."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def __call__(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


def _open(settings: DuckDBSettings) -> Any:
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": settings.memory_limit,
        "autoinstall_known_extensions": "false",
    }
    path = settings.path
    try:
        connection = duckdb.connect(path, read_only=True, config=config)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            for name, path in settings.attach.items():
                place = path.replace("'", "''")  # DuckDB 1.4 takes no bind value here
                connection.execute(f"ATTACH IF NOT EXISTS '{place}' AS {quote(name)} (READ_ONLY)")
        except duckdb.Error:
            connection.close()
            raise
    except duckdb.Error as error:
        raise _diagnosis(path, error) from error
    return connection


def _diagnosis(path: str, error: Exception) -> PushError:
    """Say in one sentence why a file could not be opened, and the way out."""
    text = str(error)
    if "set lock on file" in text:
        holder = re.search(r"PID (\d+)", text)
        who = f" (process {holder[1]})" if holder else ""
        return WarehouseUnavailable(f"{path} is being written by another process{who}: try again when it is done")
    if "different configuration" in text:
        return FixConfiguration(
            f"{path} is open in this process with other settings: close that connection, or pass DuckDB a factory of "
            "its cursors (connect=connection.cursor)"
        )
    try:
        with open(path, "rb") as file:
            file.read(1)
    except PermissionError:
        return FixAccess(f"{path} may not be read by this user: grant read access to the file and its folder")
    except FileNotFoundError:
        return FixConfiguration(f"{path} does not exist: set `path` to a DuckDB file")
    except OSError as fault:
        return FixConfiguration(f"{path} is no readable file: {fault.strerror}")
    return FixConfiguration(f"{path} is no DuckDB file that this version reads: {first_line(error)}")


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what DuckDB raises while we read into an error that says what to do."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise WarehouseUnavailable(f"DuckDB broke off: {first_line(error)}") from error


def _ref(row: Sequence[Any]) -> TableRef:
    return TableRef(database=row[0], schema=row[1], name=row[2])


def _quoted(ref: TableRef) -> str:
    return ".".join(map(quote, ref.parts))


def _snapshot(ref: TableRef, row: Sequence[Any], count: int | None) -> TableSnapshot:
    _, _, _, kind, _, comment, text, changed = row
    return TableSnapshot(
        ref=ref,
        asset_type=AssetType.VIEW if kind == "VIEW" else AssetType.TABLE,
        native_type=kind,
        description=comment or None,
        view_query=text,
        row_count=count,
        data_change=None if changed is None else DataChange(at=moment(changed), source=ChangeSource.WRITE_LOG),
    )


def _counts(cursor: Any, refs: Sequence[TableRef]) -> dict[TableRef, int | Gap]:
    """Count rows. duckdb_tables().estimated_size will not do: it still counts deleted rows, after a checkpoint too.

    count(*) reads no column: 64 ms for 50 million rows of which a tenth was deleted.
    """
    import duckdb

    if not refs:
        return {}
    sql = " UNION ALL ".join(f"SELECT {i}, count(*) FROM {_quoted(ref)}" for i, ref in enumerate(refs))  # noqa: S608
    try:
        return {refs[i]: count for i, count in cursor.execute(f"{OWN} {sql}").fetchall()}
    except duckdb.ProgrammingError as error:
        if len(refs) == 1:
            reason = f"it was dropped while the catalog was read: {first_line(error)}"
            return {refs[0]: Gap(subject=str(refs[0]), reason=reason, ref=refs[0])}
        half = len(refs) // 2
        return _counts(cursor, refs[:half]) | _counts(cursor, refs[half:])


def _unbound(cursor: Any, ref: TableRef) -> Gap | None:
    """Say why a view cannot be used. DuckDB goes on listing the columns of a view whose tables are gone or changed."""
    import duckdb

    try:
        cursor.execute(f"{OWN} DESCRIBE {_quoted(ref)}")
    except duckdb.ProgrammingError as error:
        reason = f"the view cannot be bound; recreate or drop it: {first_line(error)}"
        return Gap(subject=str(ref), reason=reason, ref=ref)
    except duckdb.Error:
        return None  # a file or an extension behind the view is out of reach from here; the recorded columns stand
    return None
