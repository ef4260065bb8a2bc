"""The warehouse's tables as the last push saw them: definitions are built from this, and loading reads nothing else.

A push run writes it to Dagster's own state storage. It holds names, types and edges; no measures and no row values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import BaseModel, ConfigDict

from mc_push_dagster.model import AssetType, ColumnEdge, LineageEdge, Scope

if TYPE_CHECKING:
    from mc_push_dagster.ledger import EdgeRecord, TableRecord

Parts = tuple[str, str, str]
Schema = tuple[str, str]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TableState(_Frozen):
    """One table or view: `columns` holds (name, type, comment)."""

    parts: Parts
    view: bool
    native_type: str
    columns: tuple[tuple[str, str, str | None], ...] = ()


class WarehouseState(_Frozen):
    """A warehouse as Dagster shows it; `tables` holds the first `max_tables` by name, `schemas` counts all."""

    tables: tuple[TableState, ...] = ()
    edges: tuple[tuple[Parts, Parts], ...] = ()
    """(source, destination), sorted; only between tables that are listed."""
    column_edges: tuple[tuple[Parts, str, Parts, str], ...] = ()
    schemas: tuple[tuple[Schema, int], ...] = ()
    schema_edges: tuple[tuple[Schema, Schema], ...] = ()

    @property
    def total(self) -> int:
        return sum(count for _, count in self.schemas)

    @property
    def left_out(self) -> int:
        return self.total - len(self.tables)

    @classmethod
    def read(cls, path: Path | None) -> WarehouseState:
        """Read what a push wrote; an empty state where no push has run yet."""
        return cls.model_validate_json(path.read_bytes()) if path is not None and path.exists() else cls()


def gather(
    tables: Iterable[TableRecord],
    edges: Iterable[EdgeRecord],
    column_edges: Iterable[EdgeRecord],
    *,
    scope: Scope,
    max_tables: int,
) -> WarehouseState:
    """Make the state from one pass over the ledger; at most `max_tables` tables stand in memory with their columns."""
    schemas: Counter[Schema] = Counter()

    def in_scope() -> Iterator[TableRecord]:
        for table in tables:
            if scope.covers(table.ref):
                schemas[table.ref.database, table.ref.schema] += 1
                yield table

    first = nsmallest(max_tables, in_scope(), key=lambda table: table.ref)
    listed = {table.ref.parts for table in first}
    between: set[tuple[Parts, Parts]] = set()
    schema_edges: set[tuple[Schema, Schema]] = set()
    for edge in _pushed(edges):
        source, destination = edge.source.parts, edge.destination.parts
        if source in listed and destination in listed and source != destination:
            between.add((source, destination))
        if source[:2] != destination[:2] and source[:2] in schemas and destination[:2] in schemas:
            schema_edges.add((source[:2], destination[:2]))
    return WarehouseState(
        tables=tuple(_table(table) for table in first),
        edges=tuple(sorted(between)),
        column_edges=tuple(
            sorted(
                (edge.source.parts, edge.source_column, edge.destination.parts, edge.destination_column)
                for edge in _pushed(column_edges)
                if isinstance(edge, ColumnEdge) and edge.source.parts in listed and edge.destination.parts in listed
            )
        ),
        schemas=tuple(sorted(schemas.items())),
        schema_edges=tuple(sorted(schema_edges)),
    )


def _pushed(records: Iterable[EdgeRecord]) -> Iterator[LineageEdge | ColumnEdge]:
    """What Monte Carlo was given; an edge of another resource's table cannot be drawn here."""
    return (record.edge for record in records if record.pushed_at is not None and record.edge.source_target is None)


def _table(table: TableRecord) -> TableState:
    return TableState(
        parts=table.ref.parts,
        view=table.asset_type == AssetType.VIEW,
        native_type=table.native_type,
        columns=tuple((c.name, c.type, c.description) for c in table.columns or ()),
    )


def upload(instance: dg.DagsterInstance, key: str, write: Callable[[Path], None], folder: Path) -> str | None:
    """Write the state and upload it to Dagster's state storage if it changed; return the new version, or None.

    Dagster shows the new state when the code location is reloaded; it never reloads by itself.
    """
    storage = instance.defs_state_storage
    if storage is None:
        return None
    path = folder / "state"
    write(path)
    version = sha256(path.read_bytes()).hexdigest()[:16]
    if storage.get_latest_version(key) == version:
        return None
    storage.upload_state_from_path(key, version, path)
    return version
