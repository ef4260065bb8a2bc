"""Snowflake: over a user's own resource or over plain settings, catalog, lineage and query log by its system views.

docs/snowflake.md shows the grants, the settings and what each read costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from mc_push_dagster.errors import FixAccess
from mc_push_dagster.model import (
    ColumnEdge,
    Fingerprint,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableColumns,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses import _snowflake_rows as rows
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster.warehouses import _snowflake_usage as usage
from mc_push_dagster.warehouses._snowflake_access import check
from mc_push_dagster.warehouses._snowflake_catalog import Catalog
from mc_push_dagster.warehouses._snowflake_grants import grant_for
from mc_push_dagster.warehouses._snowflake_lineage import edges
from mc_push_dagster.warehouses._snowflake_session import (
    UNREADABLE,
    Denied,
    Reader,
    Row,
    connect_by,
    connect_over,
)
from mc_push_dagster.warehouses._snowflake_settings import SnowflakeOptions, SnowflakeSettings
from mc_push_dagster.warehouses.base import (
    YES,
    Access,
    Capability,
    Connect,
    Support,
    Warehouse,
)

__all__ = ["Snowflake", "SnowflakeOptions", "SnowflakeSettings"]


class Snowflake(Warehouse):
    """One Snowflake account; `connect` returns a connection of snowflake-connector-python."""

    name = "snowflake"
    dialect = "snowflake"
    resource_type = "snowflake"
    log_type = "snowflake"
    settings = SnowflakeSettings
    lent_settings = SnowflakeOptions
    capabilities: ClassVar[Mapping[Capability, Support]] = {
        Capability.SCHEMA: YES,
        Capability.VIEW_TEXT: YES,
        Capability.DESCRIPTIONS: YES,
        Capability.TAGS: Support("yes", "Enterprise Edition has tags"),
        Capability.ROW_COUNT: YES,
        Capability.BYTE_COUNT: YES,
        Capability.DATA_CHANGE: Support(
            "yes", "from the log of writes (Enterprise Edition), else LAST_ALTERED where the last change was no DDL"
        ),
        Capability.QUERY_LOG: YES,
        Capability.TABLE_LINEAGE: YES,
        Capability.COLUMN_LINEAGE: Support("yes", "from the log of writes (Enterprise Edition)"),
        Capability.DRIFT: YES,
    }
    # Account Usage, "QUERY_HISTORY view": latency up to 45 minutes; rounded up to whole hours.
    query_log_latency = timedelta(hours=1)
    late_windows = 3
    # A read of INFORMATION_SCHEMA starts a suspended warehouse, and each start is billed for at least 60 seconds.
    drift_interval = timedelta(hours=1)
    statement_budget = (
        "2 to begin with (tags, writes) and 1 to list databases for tables and columns each; each database 1 for its "
        "tables, 1 for its columns, and where it has any 1 for materialized views, 1 for dynamic tables, 2 for "
        "structured types; account_usage: 4 in all, and the same where there are any"
    )

    def __init__(
        self,
        connect: Connect,
        *,
        scope: Scope | None = None,
        options: SnowflakeOptions | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(connect, scope=scope)
        self.options = options or SnowflakeOptions()
        self._clock = clock
        self._sleep = sleep

    @classmethod
    def from_settings(cls, settings: SnowflakeSettings, *, scope: Scope) -> Self:
        return cls(connect_by(settings), scope=scope, options=settings)

    @classmethod
    def over(cls, resource: Any, *, scope: Scope | None = None, options: SnowflakeOptions | None = None) -> Self:
        """Build the warehouse over a user's own `SnowflakeResource`, or anything whose `get_connection()` is alike.

        Its connections are closed on every path, which the resource itself does not do after an error.
        """
        options = options or SnowflakeOptions()
        return cls(connect_over(resource, options), scope=scope, options=options)

    def tables(self) -> Iterator[TableSnapshot | Gap]:
        with self._catalog() as catalog:
            yield from catalog.tables(self._clock())

    def columns(self) -> Iterator[TableColumns | Gap]:
        with self._catalog() as catalog:
            yield from catalog.columns()

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        with self._catalog() as catalog:
            yield from catalog.fingerprints()

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        """The statements that ended in `window`, by their end.

        Raises:
            FixAccess: if QUERY_HISTORY may not be read.
            WarehouseUnavailable: if the log cannot be read to its end.
        """
        statement = usage.queries(window, own_tag=self.options.query_tag, chosen=self.options.query_log)
        with self._reader() as reader:
            try:
                for row in reader.rows(statement, key=_query_key):
                    yield rows.query(row)
            except Denied as error:
                raise FixAccess(f"Snowflake's query log: {error}; {grant_for('QUERY_HISTORY', reader.role)}") from error

    def lineage(self, window: Window) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        with self._reader() as reader:
            try:
                databases = Catalog(reader, self.scope, self.options).databases()
            except UNREADABLE as error:
                databases = []
                yield Gap(subject="lineage of dynamic tables", reason=str(error))
            yield from edges(reader, window, scope=self.scope, options=self.options, databases=databases)

    def check_access(self) -> Iterator[Access]:
        with self._reader() as reader:
            yield from check(reader, self.scope, self.options)

    def quote(self, identifier: str) -> str:
        return sql.quoted(identifier)

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        """A reader whose connection is closed on every path; each read has its own, so that threads share none."""
        with Reader(self._connect, timeout_seconds=self.options.timeout_seconds, sleep=self._sleep) as reader:
            yield reader

    @contextmanager
    def _catalog(self) -> Iterator[Catalog]:
        with self._reader() as reader:
            yield Catalog(reader, self.scope, self.options)


def _query_key(row: Row) -> tuple[datetime, str]:
    return (row["end_time"], row["query_id"])
