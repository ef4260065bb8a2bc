"""BigQuery: over a user's own resource or over plain settings, catalog, lineage and query log by INFORMATION_SCHEMA.

docs/bigquery.md shows the IAM roles, the settings and what each read costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Self

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
from mc_push_dagster.warehouses import _bigquery_sql as sql
from mc_push_dagster.warehouses._bigquery_access import check
from mc_push_dagster.warehouses._bigquery_catalog import Catalog
from mc_push_dagster.warehouses._bigquery_connect import connect_by, connect_over
from mc_push_dagster.warehouses._bigquery_log import JobLog
from mc_push_dagster.warehouses._bigquery_session import Reader
from mc_push_dagster.warehouses._bigquery_settings import BigQueryOptions, BigQuerySettings
from mc_push_dagster.warehouses.base import (
    YES,
    Access,
    Capability,
    Connect,
    Support,
    Warehouse,
    impossible,
    not_yet,
)

__all__ = ["BigQuery", "BigQueryIceberg", "BigQueryOptions", "BigQuerySettings"]


class BigQuery(Warehouse):
    """Some projects in some regions; `connect` returns a `google.cloud.bigquery.Client`."""

    name = "bigquery"
    dialect = "bigquery"
    resource_type = "bigquery"
    log_type = "bigquery"
    settings = BigQuerySettings
    lent_settings = BigQueryOptions
    capabilities: ClassVar[Mapping[Capability, Support]] = {
        Capability.SCHEMA: YES,
        Capability.VIEW_TEXT: YES,
        Capability.DESCRIPTIONS: YES,
        Capability.TAGS: YES,
        Capability.ROW_COUNT: YES,
        Capability.BYTE_COUNT: YES,
        Capability.DATA_CHANGE: YES,
        Capability.QUERY_LOG: YES,
        Capability.TABLE_LINEAGE: YES,
        Capability.COLUMN_LINEAGE: not_yet("jobs name tables only (the Data Lineage API has columns); SQL gives them"),
        Capability.DRIFT: YES,
    }
    # The docs say "near real-time" and give no figure ("JOBS view"): this is ours, with two earlier hours read again.
    query_log_latency = timedelta(minutes=15)
    late_windows = 2
    # A fingerprint is billed for at least 10 MB a view it reads ("Introduction to INFORMATION_SCHEMA", on pricing).
    drift_interval = timedelta(minutes=15)
    statement_budget = (
        "each project and region 4 jobs for tables (TABLES, TABLE_STORAGE, TABLE_OPTIONS, VIEWS) and 1 for columns; "
        "each project 2 requests for its datasets; 1 request a table that TABLE_STORAGE does not show, up to "
        "table_get_limit"
    )
    biglake: ClassVar[bool] = False
    """Read only Iceberg tables that BigQuery manages."""

    def __init__(
        self,
        connect: Connect,
        *,
        scope: Scope | None = None,
        options: BigQueryOptions | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(connect, scope=scope)
        self.options = options or BigQueryOptions()
        self._sleep = sleep
        self._first_wait = 1.0

    @classmethod
    def from_settings(cls, settings: BigQuerySettings, *, scope: Scope) -> Self:
        return cls(connect_by(settings), scope=scope, options=settings)

    @classmethod
    def over(cls, resource: Any, *, scope: Scope | None = None, options: BigQueryOptions | None = None) -> Self:
        """Build the warehouse over a user's own `BigQueryResource`, or anything whose `get_client()` is alike.

        Its clients are closed on every path, which the resource itself does not do.

        Raises:
            FixConfiguration: if the resource cannot give a client.
        """
        return cls(connect_over(resource), scope=scope, options=options)

    def tables(self) -> Iterator[TableSnapshot | Gap]:
        with self._catalog() as catalog:
            yield from catalog.tables()

    def columns(self) -> Iterator[TableColumns | Gap]:
        with self._catalog() as catalog:
            yield from catalog.columns()

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        with self._catalog() as catalog:
            yield from catalog.fingerprints()

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        """The queries that ended in `window`, by their end.

        Raises:
            FixAccess: if the jobs of a project may not be read.
            WarehouseUnavailable: if the log cannot be read to its end.
        """
        with self._catalog() as catalog:
            yield from JobLog(catalog, self.options).queries(window)

    def lineage(self, window: Window) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        with self._catalog() as catalog:
            yield from JobLog(catalog, self.options).lineage(window)

    def check_access(self) -> Iterator[Access]:
        with self._catalog() as catalog:
            for access in check(catalog, self.options):
                if self.capabilities[access.capability] is YES:
                    yield access

    def quote(self, identifier: str) -> str:
        return sql.quoted(identifier)

    @contextmanager
    def _catalog(self) -> Iterator[Catalog]:
        """A catalog whose client is closed on every path; each read has its own, so that threads share none."""
        with Reader(self._connect, self.options, sleep=self._sleep, first_wait=self._first_wait) as reader:
            yield Catalog(reader, self.scope, self.options, biglake=self.biglake)


class BigQueryIceberg(BigQuery):
    """BigLake mode: the Iceberg tables that BigQuery manages (`managed_table_type = 'BIGLAKE'`), and nothing else.

    Views are no part of it. The query log is that of the whole projects: a job does not say which formats it read.
    """

    name = "bigquery_iceberg"
    biglake = True
    capabilities: ClassVar[Mapping[Capability, Support]] = {
        **BigQuery.capabilities,
        Capability.VIEW_TEXT: impossible("Iceberg tables are no views; the type `bigquery` reads the views over them"),
    }
