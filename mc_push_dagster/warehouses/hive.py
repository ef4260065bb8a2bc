"""Hive over HiveServer2: catalog in bulk calls, query log from its log files, view lineage by EXPLAIN DEPENDENCY."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from mc_push_dagster.errors import PushError
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    ColumnEdge,
    DataChange,
    Evidence,
    EvidenceKind,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableColumns,
    TableRef,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses._halving import Unread
from mc_push_dagster.warehouses._hive_catalog import DatabaseReader, HiveTable, quote
from mc_push_dagster.warehouses._hive_log import HiveLog
from mc_push_dagster.warehouses._spark_names import Names, Place, distinct
from mc_push_dagster.warehouses._thrift import Session, StatementError
from mc_push_dagster.warehouses._thrift_settings import ThriftOptions, ThriftSettings
from mc_push_dagster.warehouses._thrift_warehouse import ThriftWarehouse
from mc_push_dagster.warehouses.base import YES, Access, Capability, Connect, Support, impossible, not_yet

_CATALOG = "hive"
"""Stands where other engines have a catalog; Hive's SQL never names it."""


class HiveOptions(ThriftOptions):
    """Under which names tables are pushed, and where the server's log files lie."""

    names: Literal["hive", "iomete"] = Field(
        default="hive",
        description="What `database` and `schema` hold: hive (database twice) or iomete (database, `default`).",
    )
    row_counts: bool = Field(
        default=False, description="Ask each table for its row count, one DESCRIBE a table; Hive keeps it only there."
    )
    query_log: str | None = Field(
        default=None, description="HiveServer2's log file, or the folder of its log files; a path or any fsspec URL."
    )


class HiveSettings(ThriftSettings, HiveOptions):
    """The server, and where its log files lie."""


class Hive(ThriftWarehouse):
    """Hive over Thrift. `connect` opens a pyhive connection (or anything with its `client` and `sessionHandle`)."""

    name = "hive"
    dialect = "hive"
    resource_type = "data-lake"
    log_type = "hive-s3"
    settings = HiveSettings
    lent_settings = HiveOptions
    statement_budget = (
        "Per database about 12 remote calls (SHOW TABLE EXTENDED, GetTables, GetColumns), a DESCRIBE a view, and with "
        "`row_counts` one a table."
    )
    capabilities: ClassVar[Mapping[Capability, Support]] = {
        Capability.SCHEMA: YES,
        Capability.VIEW_TEXT: YES,
        Capability.DESCRIPTIONS: YES,
        Capability.TAGS: impossible("Hive knows no tags"),
        Capability.ROW_COUNT: YES,
        Capability.BYTE_COUNT: YES,
        Capability.DATA_CHANGE: YES,
        Capability.QUERY_LOG: YES,
        Capability.TABLE_LINEAGE: YES,
        Capability.COLUMN_LINEAGE: not_yet("Hive reports the tables of a view; columns come from the SQL parser"),
        Capability.DRIFT: YES,
    }

    def __init__(self, connect: Connect, *, scope: Scope | None = None, settings: HiveOptions | None = None) -> None:
        settings = settings or HiveOptions()
        names = Names(settings.names, home=_CATALOG)
        super().__init__(connect, scope=scope, names=names, where=settings.where)
        self._settings = settings
        log = self._settings.query_log
        self._log = HiveLog(log, zone=self._settings.zone) if log else None

    @classmethod
    def from_settings(cls, settings: HiveOptions | None, *, scope: Scope) -> Self:
        settings = settings or HiveOptions()
        return cls(settings.connect, scope=scope, settings=settings)

    def quote(self, identifier: str) -> str:
        return quote(identifier)

    def tables(self) -> Iterator[TableSnapshot | Gap]:
        for place, item in self._read("tables"):
            yield item if isinstance(item, Gap) else _snapshot(place.ref(item.name), item)

    def columns(self) -> Iterator[TableColumns | Gap]:
        for place, item in self._read("columns"):
            yield item if isinstance(item, Gap) else TableColumns(ref=place.ref(item[0]), columns=item[1])

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        if self._log is not None:
            for record in self._log.records(window):
                yield replace(record, database=_CATALOG)

    def lineage(self, window: Window) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        """The tables that each view reads, by EXPLAIN DEPENDENCY, which executes nothing."""
        with self._session() as session:
            for place, reader in self._places(session):
                try:
                    views = list(reader.views())
                except StatementError as error:
                    yield _unlisted(place, error)
                    continue
                for view in views:
                    if self.scope.covers(place.ref(view)):
                        yield from self._of_view(session, place, view, reader)

    def _of_view(
        self, session: Session, place: Place, view: str, reader: DatabaseReader
    ) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        ref = place.ref(view)
        try:
            rows = list(session.rows(f"EXPLAIN DEPENDENCY SELECT * FROM {reader.qualified(view)}"))  # noqa: S608 - quoted
        except StatementError as error:
            yield Gap(subject=str(ref), reason=f"Hive cannot resolve the view: {error}", ref=ref)
            return
        me = f"{place.namespace}@{view}"
        for table in json.loads("".join(row[0] for row in rows))["input_tables"]:
            # A view's own sources carry it as their parent; their sources carry them.
            if me not in _parents(table):
                continue
            database, _, name = table["tablename"].partition("@")
            yield LineageEdge(
                source=self._names.ref(_CATALOG, database, name),
                destination=ref,
                source_type=AssetType.VIEW if "VIEW" in table["tabletype"] else AssetType.TABLE,
                destination_type=AssetType.VIEW,
                evidence=Evidence(kind=EvidenceKind.PLAN, reference=str(ref)),
            )

    def check_access(self) -> Iterator[Access]:
        """One answer a capability; all but the query log come from the same bulk calls."""
        try:
            with self._session() as session:
                found = len(list(self._places(session)))
            granted, detail = found > 0, f"{found} databases"
        except PushError as error:
            granted, detail = False, str(error)
        for capability, support in self.capabilities.items():
            if support.state == "yes" and capability is not Capability.QUERY_LOG:
                yield Access(capability=capability, granted=granted, detail=detail)
        logged, log = (False, "`query_log` is not set: name HiveServer2's log file or folder")
        if self._log is not None:
            logged, log = self._log.check()
        yield Access(capability=Capability.QUERY_LOG, granted=logged, detail=log)

    def _places(self, session: Session) -> Iterator[tuple[Place, DatabaseReader]]:
        found = [self._names.place(_CATALOG, row[0]) for row in session.rows("SHOW DATABASES")]
        for place in distinct(found):
            if self.scope.covers_schema(place.database, place.schema):
                describe = self._settings.row_counts
                yield place, DatabaseReader(session, place.namespace, zone=self._settings.zone, describe_all=describe)

    def _read(self, what: Literal["tables", "columns"]) -> Iterator[tuple[Place, Any]]:
        """Each table in scope with its place, as `DatabaseReader` gives it; what cannot be read as a gap."""
        with self._session() as session:
            for place, reader in self._places(session):
                try:
                    for item in getattr(reader, what)():
                        name = item[0] if isinstance(item, tuple) else item.name
                        ref = place.ref(name)
                        if not self.scope.covers(ref):
                            continue
                        if isinstance(item, Unread):
                            reason = f"Hive cannot describe it: {item.reason}"
                            yield place, Gap(subject=str(ref), reason=reason, ref=ref)
                        else:
                            yield place, item
                except StatementError as error:
                    yield place, _unlisted(place, error)


def _parents(table: dict[str, str]) -> list[str]:
    return [p.strip() for p in table.get("tableParents", "").strip("[]").split(",")]


def _unlisted(place: Place, error: StatementError) -> Gap:
    return Gap(subject=place.namespace, reason=f"its tables cannot be listed: {error}")


def _snapshot(ref: TableRef, table: HiveTable) -> TableSnapshot:
    return TableSnapshot(
        ref=ref,
        asset_type=AssetType.VIEW if table.is_view else AssetType.TABLE,
        native_type=table.kind,
        description=table.comment,
        view_query=table.view_text,
        created_at=table.created_at,
        row_count=table.row_count,
        byte_count=table.byte_count,
        data_change=DataChange(at=table.changed_at, source=ChangeSource.FILE) if table.changed_at else None,
    )
