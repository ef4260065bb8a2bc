"""A HiveServer2 session for reading: statements and bulk metadata calls, in pages, with the server's words for errors.

Built over pyhive's connection and generated client. Absorbed here: results of DDL (pyhive: `TypeError`), errors whose
text is the whole reply with a hundred stack lines, and the bulk calls GetTables and GetColumns, which pyhive lacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from mc_push_dagster.errors import PushError, WarehouseUnavailable
from mc_push_dagster.warehouses._thrift_transport import spoken

OWN = "/* mc-push-dagster */ "
"""Begins each of our statements, so that a query log can leave them out (a `--` comment HiveServer2 takes away)."""

Row = tuple[Any, ...]

_NOISE = re.compile(r"^(Error running query: |Error while compiling statement: |Error while processing statement: )+")
_EXCEPTION = re.compile(r"(?:[a-z]\w*\.)+[A-Z][\w$]*(?:Exception|Error): ?")
_STATE = re.compile(r"\[([A-Z_][A-Z0-9_.]+)\]")

_EMPTY = re.compile(r"(?:\[[A-Z0-9_.]+\])?\s*$|at |==|'|\+-|:-|\*")
"""Lines of a message that say nothing: stack, plan, SQL, or the error class alone."""


class StatementError(PushError):
    """The server refused one statement; the session is good for the next one."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The server's error class or SQL state, e.g. `TABLE_OR_VIEW_NOT_FOUND`."""


def first_sentence(message: str) -> str:
    """The server's message without class names, plan and stack: its first line that says something."""
    text = _NOISE.sub("", message.strip())
    lines = [_EXCEPTION.sub("", line).strip(" ;") for line in text.splitlines()]
    # Spark writes its error class twice, or for lack of one a number that says nothing.
    lines = [re.sub(r"^(?:\[[A-Z0-9_.]+\] *)*", lambda m: _last_class(m[0]), line) for line in lines]
    kept = [line.strip() for line in lines if not _EMPTY.match(line)]
    return (kept[0] if kept else "the server gave no reason")[:400]


def _last_class(prefix: str) -> str:
    found = _STATE.findall(prefix)
    return f"[{found[-1]}] " if found and not found[-1].startswith("_LEGACY") else ""


class Session:
    """One open session. `connection` is pyhive's, or anything with `client` and `sessionHandle` of the same kind."""

    def __init__(self, connection: Any, *, where: str = "the Thrift server", page: int = 5_000) -> None:
        self._client = connection.client
        self._handle = connection.sessionHandle
        self._where = where
        self._page = page
        self.calls = 0
        """Remote calls made so far: opening and closing the session are not counted."""

    def rows(self, sql: str, *, page: int | None = None) -> Generator[Row, None, None]:
        """Run `sql` and yield its rows, page by page; nothing for a statement without a result.

        Raises:
            StatementError: if the server refuses the statement.
            WarehouseUnavailable: if the server breaks off.
        """
        from TCLIService import ttypes

        request = ttypes.TExecuteStatementReq(self._handle, OWN + sql, runAsync=False)
        return self._results(self._call("ExecuteStatement", request).operationHandle, page)

    def run(self, sql: str) -> None:
        """Run `sql` for its effect on the session."""
        for _ in self.rows(sql):
            pass

    def column_rows(self, schema: str, tables: str = "%", *, page: int = 20_000) -> Generator[Row, None, None]:
        """Rows of Thrift GetColumns for the tables of `schema` that match (JDBC's column order, 23 fields or more)."""
        from TCLIService import ttypes

        request = ttypes.TGetColumnsReq(self._handle, schemaName=pattern(schema), tableName=tables, columnName="%")
        return self._results(self._call("GetColumns", request).operationHandle, page)

    def table_rows(self, schema: str, tables: str = "%") -> Generator[Row, None, None]:
        """Rows of Thrift GetTables: catalog, schema, name, type, remarks."""
        from TCLIService import ttypes

        request = ttypes.TGetTablesReq(self._handle, schemaName=pattern(schema), tableName=tables)
        return self._results(self._call("GetTables", request).operationHandle, None)

    def _call(self, name: str, request: Any) -> Any:
        self.calls += 1
        with spoken(self._where):
            reply = getattr(self._client, name)(request)
        self._check(reply)
        return reply

    def _check(self, reply: Any) -> None:
        status = reply.status
        if status.statusCode in (0, 1):  # SUCCESS, SUCCESS_WITH_INFO
            return
        message = status.errorMessage or ""
        if "Invalid SessionHandle" in message or "Session is closed" in message:
            raise WarehouseUnavailable(f"{self._where} lost the session; it was restarted or closed an idle session")
        found = _STATE.search(message)
        raise StatementError(first_sentence(message), code=found[1] if found else status.sqlState or None)

    def _results(self, operation: Any, page: int | None) -> Generator[Row, None, None]:
        from TCLIService import ttypes

        # Until an empty page: hasMoreRows is always False, and a server may cut pages shorter than asked.
        try:
            while operation.hasResultSet:
                fetch = ttypes.TFetchResultsReq(
                    operation, ttypes.TFetchOrientation.FETCH_NEXT, page or self._page, fetchType=0
                )
                rows = _decoded(self._call("FetchResults", fetch).results)
                if not rows:
                    break
                yield from rows
        finally:
            self._close(operation)

    def _close(self, operation: Any) -> None:
        from TCLIService import ttypes

        try:
            self._call("CloseOperation", ttypes.TCloseOperationReq(operation))
        except (StatementError, WarehouseUnavailable):
            return  # the server forgets the operation with the session


@contextmanager
def opened(connect: Callable[[], Any], *, where: str) -> Iterator[Session]:
    """A session over a new connection, closed on every path; a server that died is not asked to say goodbye."""
    connection = connect()
    try:
        yield Session(connection, where=where)
    finally:
        _close_quietly(connection)


def _close_quietly(connection: Any) -> None:
    """Close without a word: what broke the connection was raised already, and must not be covered up."""
    from pyhive.exc import Error
    from thrift.Thrift import TException

    try:
        connection.close()
    except (TException, Error, OSError, EOFError, HTTPException, PushError):
        # pyhive closes its socket only after the server has answered its goodbye.
        socket = getattr(connection, "_transport", None)
        if socket is not None:
            socket.close()


def _decoded(results: Any) -> list[Row]:
    if results is None or not results.columns:
        return []
    return list(zip(*(_column(c) for c in results.columns), strict=True))


def _column(column: Any) -> list[Any]:
    held = next(v for v in vars(column).values() if v is not None)
    nulls = held.nulls if isinstance(held.nulls, bytes) else bytes(held.nulls or b"")
    if not any(nulls):
        return list(held.values)
    return [
        None if i >> 3 < len(nulls) and nulls[i >> 3] & (1 << (i & 7)) else value for i, value in enumerate(held.values)
    ]


def pattern(name: str) -> str:
    """`name` as a JDBC pattern that matches nothing else: Spark and Hive take `_` and `%` as wildcards."""
    return name.replace("_", r"\_").replace("%", r"\%")
