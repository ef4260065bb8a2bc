"""Spark Thrift Server, and what speaks its protocol: IOMETE, Kyuubi. Catalog in bulk calls, query log and lineage from
event logs and plans.

Reading never executes user data: SHOW, DESCRIBE, EXPLAIN, Iceberg's metadata tables and Thrift's metadata calls
only, save for `file_measures`, which is off by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field

from mc_push_dagster.errors import PushError
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    ColumnEdge,
    DataChange,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableColumns,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses._halving import Unread
from mc_push_dagster.warehouses._spark_catalog import SchemaReader, quote, unquoted
from mc_push_dagster.warehouses._spark_eventlog import EventLog, Operation
from mc_push_dagster.warehouses._spark_information import Information
from mc_push_dagster.warehouses._spark_lineage import PlanReader
from mc_push_dagster.warehouses._spark_measures import FileMeasures
from mc_push_dagster.warehouses._spark_names import SESSION_CATALOG, Names, Place, Shape, distinct
from mc_push_dagster.warehouses._thrift import Session, StatementError
from mc_push_dagster.warehouses._thrift_settings import ThriftOptions, ThriftSettings
from mc_push_dagster.warehouses._thrift_warehouse import ThriftWarehouse
from mc_push_dagster.warehouses.base import (
    YES,
    Access,
    Capability,
    Connect,
    Support,
    not_yet,
)

_FROM_CATALOG = (
    Capability.SCHEMA,
    Capability.VIEW_TEXT,
    Capability.DESCRIPTIONS,
    Capability.ROW_COUNT,
    Capability.BYTE_COUNT,
    Capability.DATA_CHANGE,
    Capability.DRIFT,
)


class SparkOptions(ThriftOptions):
    """Which catalogs, under which names, and where the event logs lie."""

    catalogs: tuple[str, ...] = Field(default=(SESSION_CATALOG,), description="Which catalogs are read.")
    names: Shape = Field(
        default="iomete",
        description="What `database` and `schema` hold: iomete (database, `default`), hive (database twice), catalog.",
    )
    file_measures: bool = Field(
        default=False,
        description="Read rows, bytes and last change of plain file tables from their files: a query a table.",
    )
    event_log: str | None = Field(
        default=None, description="spark.eventLog.dir: a folder or any fsspec URL; query logs and lineage come from it."
    )
    event_log_index: str | None = Field(
        default=None,
        description="A file that remembers what was read of the event log; without it each process reads all.",
    )
    ignore_users: tuple[str, ...] = Field(default=(), description="Statements of these users are not query log.")
    explain: bool = Field(
        default=True, description="Resolve views and logged statements with EXPLAIN EXTENDED, which executes nothing."
    )


class SparkSettings(ThriftSettings, SparkOptions):
    """The server, its catalogs, and where its event logs lie."""


class Spark(ThriftWarehouse):
    """Spark over Thrift. `connect` opens a pyhive connection (or anything with its `client` and `sessionHandle`)."""

    name = "spark"
    dialect = "spark"
    resource_type = "spark"
    log_type = "databricks-metastore-sql-warehouse"
    settings = SparkSettings
    lent_settings = SparkOptions
    statement_budget = (
        "Per schema 8 to 12 remote calls whatever its size (GetColumns, SHOW TABLE EXTENDED, and GetTables where "
        "commented tables have statistics); in other catalogs than spark_catalog a DESCRIBE a table."
    )
    capabilities: ClassVar[Mapping[Capability, Support]] = {
        Capability.SCHEMA: YES,
        Capability.VIEW_TEXT: YES,
        Capability.DESCRIPTIONS: YES,
        Capability.TAGS: not_yet("Spark prints table properties as one text that cannot be cut with certainty"),
        Capability.ROW_COUNT: YES,
        Capability.BYTE_COUNT: YES,
        Capability.DATA_CHANGE: YES,
        Capability.QUERY_LOG: YES,
        Capability.TABLE_LINEAGE: YES,
        Capability.COLUMN_LINEAGE: YES,
        Capability.DRIFT: YES,
    }

    def __init__(self, connect: Connect, *, scope: Scope | None = None, settings: SparkOptions | None = None) -> None:
        settings = settings or SparkOptions()
        names = Names(settings.names, others=tuple(c for c in settings.catalogs if c != SESSION_CATALOG))
        super().__init__(connect, scope=scope, names=names, where=settings.where)
        self._settings = settings
        self._log = self._event_log()

    @classmethod
    def from_settings(cls, settings: SparkOptions | None, *, scope: Scope) -> Self:
        settings = settings or SparkOptions()
        return cls(settings.connect, scope=scope, settings=settings)

    def quote(self, identifier: str) -> str:
        return quote(identifier)

    # -- catalog --------------------------------------------------------------------------------------------------

    def tables(self) -> Iterator[TableSnapshot | Gap]:
        with self._session() as session:
            measures = FileMeasures(session) if self._settings.file_measures else None
            for place in self._places(session):
                if isinstance(place, Gap):
                    yield place
                    continue
                reader = self._reader(session, place)
                for item in _guarded(reader.tables(), place):
                    if isinstance(item, Gap):
                        yield item
                    elif isinstance(item, Unread):
                        yield from self._gap(place, item)
                    elif self.scope.covers(place.ref(item[0])):
                        found = item[1] if measures is None else measures.fill(reader.qualified(item[0]), item[1])
                        yield _snapshot(place, item[0], found)

    def columns(self) -> Iterator[TableColumns | Gap]:
        with self._session() as session:
            for place in self._places(session):
                if isinstance(place, Gap):
                    yield place
                    continue
                for item in _guarded(self._reader(session, place).columns(), place):
                    if isinstance(item, Gap):
                        yield item
                    elif isinstance(item, Unread):
                        yield from self._gap(place, item)
                    elif self.scope.covers(place.ref(item[0])):
                        yield TableColumns(ref=place.ref(item[0]), columns=item[1])

    # -- query log and lineage ------------------------------------------------------------------------------------

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        if self._log is None:
            return
        for operation in self._log.operations(window):
            yield replace(operation.record, database=SESSION_CATALOG, schema=operation.namespace)

    def lineage(self, window: Window) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        """Edges of the statements that ended in `window`, from their analysed plans, and of all views in scope."""
        plans = PlanReader(self._names, self.scope)
        unplanned: list[Operation] = []
        if self._log is not None:
            for operation in self._log.operations(window, with_plans=True):
                if operation.record.failed:
                    continue
                edges = plans.of_statement(operation.plan, operation.record) if operation.plan else None
                if edges is not None:
                    yield from edges
                elif plans.may_write(operation.record.text):
                    unplanned.append(replace(operation, plan=None))
        if not self._settings.explain:
            return
        with self._session() as session:
            plans.prepare(session)
            yield from self._view_lineage(session, plans)
            for operation in unplanned:
                yield from plans.explained(session, operation.record, operation.namespace)

    def _view_lineage(self, session: Session, plans: PlanReader) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        for place in self._places(session):
            if isinstance(place, Gap):
                yield place
                continue
            reader = self._reader(session, place)
            for item in _guarded(reader.views(), place):
                if isinstance(item, Gap):
                    yield item
                elif self.scope.covers(place.ref(item)):
                    name = (place.catalog, place.namespace, item)
                    yield from plans.of_view(session, place.ref(item), name, reader.qualified(item))

    # -- access ---------------------------------------------------------------------------------------------------

    def check_access(self) -> Iterator[Access]:
        """One answer a capability; what the catalog tells, it tells in the same calls."""
        try:
            with self._session() as session:
                granted, detail = self._check_catalog(session)
                planned, plan = self._check_plans(session)
        except PushError as error:
            granted, detail = planned, plan = False, str(error)
        for capability in _FROM_CATALOG:
            yield Access(capability=capability, granted=granted, detail=detail)
        for capability in (Capability.TABLE_LINEAGE, Capability.COLUMN_LINEAGE):
            yield Access(capability=capability, granted=planned, detail=plan)
        logged, log = (False, "`event_log` is not set: name the folder of spark.eventLog.dir")
        if self._log is not None:
            logged, log = self._log.check()
        yield Access(capability=Capability.QUERY_LOG, granted=logged, detail=log)

    def _check_catalog(self, session: Session) -> tuple[bool, str]:
        places = list(self._places(session))
        gaps = [p for p in places if isinstance(p, Gap)]
        readable = [p for p in places if not isinstance(p, Gap)]
        detail = f"{len(readable)} databases" + "".join(f"; {g.subject}: {g.reason}" for g in gaps)
        if readable:
            try:
                self._reader(session, readable[0]).names()
            except StatementError as error:
                return False, f"{readable[0].catalog}.{readable[0].namespace}: its tables cannot be listed: {error}"
        return bool(readable) and not gaps, detail

    def _check_plans(self, session: Session) -> tuple[bool, str]:
        try:
            session.run("EXPLAIN EXTENDED SELECT 1")
        except StatementError as error:
            return False, f"EXPLAIN is refused: {error}"
        return True, "EXPLAIN EXTENDED answers"

    # -- parts ----------------------------------------------------------------------------------------------------

    def _reader(self, session: Session, place: Place) -> SchemaReader:
        return SchemaReader(session, place.catalog, place.namespace, zone=self._settings.zone)

    def _places(self, session: Session) -> Iterator[Place | Gap]:
        """The namespaces in scope, in the contract's order, after a gap for each catalog that cannot be listed."""
        places: list[Place] = []
        for catalog in self._settings.catalogs:
            listing = "SHOW DATABASES" if catalog == SESSION_CATALOG else f"SHOW NAMESPACES IN {quote(catalog)}"
            try:
                found = [unquoted(row[0]) for row in session.rows(listing)]
            except StatementError as error:
                yield Gap(subject=catalog, reason=f"its databases cannot be listed: {error}")
                continue
            places += [self._names.place(catalog, namespace) for namespace in found]
        yield from (p for p in distinct(places) if self.scope.covers_schema(p.database, p.schema))

    def _gap(self, place: Place, item: Unread) -> Iterator[Gap]:
        ref = place.ref(item.name)
        if self.scope.covers(ref):
            yield Gap(subject=str(ref), reason=f"Spark cannot describe it: {item.reason}", ref=ref)

    def _event_log(self) -> EventLog | None:
        if self._settings.event_log is None:
            return None
        return EventLog(
            self._settings.event_log, index=self._settings.event_log_index, ignore_users=self._settings.ignore_users
        )


def _guarded(items: Iterator[Any], place: Place) -> Iterator[Any]:
    """What a schema yields; a gap where not even its names can be listed."""
    try:
        yield from items
    except StatementError as error:
        yield Gap(subject=f"{place.catalog}.{place.namespace}", reason=f"its tables cannot be listed: {error}")


def _snapshot(place: Place, table: str, found: Information) -> TableSnapshot:
    iceberg = found.snapshot
    change = found.changed_at and DataChange(at=found.changed_at, source=ChangeSource.FILE)
    if iceberg is not None:
        change = DataChange(at=iceberg.at, source=ChangeSource.SNAPSHOT) if iceberg.at else None
    return TableSnapshot(
        ref=place.ref(table),
        asset_type=AssetType.VIEW if found.is_view else AssetType.TABLE,
        native_type=found.kind if found.is_view or not found.provider else f"{found.kind} ({found.provider})",
        description=found.comment,
        view_query=found.view_text,
        created_at=found.created_at,
        row_count=iceberg.row_count if iceberg else found.row_count,
        byte_count=iceberg.byte_count if iceberg else found.byte_count,
        data_change=change,
    )
