"""Lineage as it was seen and pushed, and the stretches of the query log that went out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from mc_push_dagster.ledger import tables as t
from mc_push_dagster.ledger.database import Database
from mc_push_dagster.ledger.due import Due
from mc_push_dagster.ledger.inventory import mark_applied
from mc_push_dagster.ledger.records import BatchState, EdgeRecord, WindowRecord
from mc_push_dagster.model import (
    AssetType,
    ColumnEdge,
    Evidence,
    EvidenceKind,
    LineageEdge,
    TableRef,
    Target,
    Window,
)

Edge = LineageEdge | ColumnEdge

_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeKey:
    """What makes an edge that edge, whatever the evidence."""

    source: TableRef
    destination: TableRef
    source_column: str | None = None
    destination_column: str | None = None
    source_uuid: str | None = None
    """The source's Monte Carlo resource, if it is another one than the destination's."""

    @classmethod
    def of(cls, edge: Edge) -> EdgeKey:
        return cls(
            source=edge.source,
            destination=edge.destination,
            source_column=edge.source_column if isinstance(edge, ColumnEdge) else None,
            destination_column=edge.destination_column if isinstance(edge, ColumnEdge) else None,
            source_uuid=edge.source_target.resource_uuid if edge.source_target else None,
        )

    def number(self, target_uuid: str) -> int:
        """The ledger's key of the edge that ends in the resource `target_uuid`."""
        columns = () if self.source_column is None else (self.source_column, self.destination_column or "")
        home = self.source_uuid or target_uuid
        return t.digest63(target_uuid, home, *self.source.parts, *self.destination.parts, *columns)


class Graph:
    """The part of the ledger that remembers edges and query windows."""

    _database: Database

    def record_edges(self, target_uuid: str, edges: Iterable[Edge], *, seen_at: datetime) -> None:
        """Remember edges: when they were first and last seen, and the most trusted evidence for each."""
        chunk: dict[int, Edge] = {}
        for edge in edges:
            key = EdgeKey.of(edge).number(target_uuid)
            before = chunk.get(key)
            if before is None or edge.evidence.confidence > before.evidence.confidence:
                chunk[key] = edge
            if len(chunk) >= _CHUNK:
                self._record(target_uuid, chunk, seen_at)
                chunk = {}
        if chunk:
            self._record(target_uuid, chunk, seen_at)

    def _record(self, target_uuid: str, edges: dict[int, Edge], seen_at: datetime) -> None:
        names: dict[int, dict[str, Any]] = {}
        rows = [_edge_row(target_uuid, key, edges[key], seen_at, names) for key in sorted(edges)]
        insert = self._database.insert(t.edges)
        new, old = insert.excluded, t.edges.c
        better = new.confidence >= old.confidence
        upsert = insert.on_conflict_do_update(
            index_elements=["edge_id"],
            set_={
                "first_seen": sa.case((new.first_seen < old.first_seen, new.first_seen), else_=old.first_seen),
                "last_seen": sa.case((new.last_seen > old.last_seen, new.last_seen), else_=old.last_seen),
                "source_type": new.source_type,
                "destination_type": new.destination_type,
                "source_target": new.source_target,
                "evidence": sa.case((better, new.evidence), else_=old.evidence),
                "reference": sa.case((better, new.reference), else_=old.reference),
                "confidence": sa.case((better, new.confidence), else_=old.confidence),
            },
        )
        named = self._database.insert(t.tables).on_conflict_do_nothing(index_elements=["table_id"])
        with self._database.write() as connection:
            connection.execute(named, [names[key] for key in sorted(names)])
            connection.execute(upsert, rows)

    def edges(
        self,
        target_uuid: str,
        *,
        destination: TableRef | None = None,
        source: TableRef | None = None,
        columns: bool = False,
    ) -> Iterator[EdgeRecord]:
        """Table edges (or column edges), those of one destination together, one row at a time."""
        where = sa.true()
        if destination is not None:
            where &= t.edges.c.destination_id == t.table_id(target_uuid, destination)
        if source is not None:
            where &= t.edges.c.source_id == t.table_id(target_uuid, source)
        yield from read_edges(self._database, target_uuid, columns=columns, where=where)

    def due_edges(self, target_uuid: str, due: Due) -> Iterator[EdgeRecord]:
        """All live edges of each destination that has one to be pushed, destination by destination; none of tables
        gone.

        All sources of a destination go out together, so that Monte Carlo never holds half of them.
        """
        trusted = due.alive(target_uuid) & due.trusted(target_uuid)
        where = trusted & t.edges.c.destination_id.in_(due.destinations(target_uuid, trusted))
        yield from read_edges(self._database, target_uuid, columns=due.columns, where=where)

    def count_doubted(self, target_uuid: str, due: Due) -> int:
        """How many live edges of a kind are kept and not pushed, because their confidence is too low."""
        doubted = due.alive(target_uuid) & sa.not_(due.trusted(target_uuid))
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(t.edges).where(doubted)) or 0)

    def record_pushed_edges(
        self, target_uuid: str, edges: Iterable[EdgeKey], *, push_id: str, seq: int, at: datetime
    ) -> None:
        """Record that an acknowledged body carried these edges, and that this is done."""
        rows = [{"b_id": key} for key in sorted({edge.number(target_uuid) for edge in edges})]
        update = (
            sa.update(t.edges).where(t.edges.c.edge_id == sa.bindparam("b_id")).values(pushed_at=at, push_id=push_id)
        )
        with self._database.write() as connection:
            if rows:
                connection.execute(update, rows)
            mark_applied(connection, push_id, seq)

    def record_window(self, target_uuid: str, window: Window, *, push_id: str, complete: bool, at: datetime) -> None:
        """Remember that a stretch of the query log went out; `complete` False if the log was still growing."""
        values = {"push_id": push_id, "complete": complete, "updated_at": at}
        sent = sa.select(sa.func.coalesce(sa.func.sum(t.batches.c.events), 0)).where(
            t.batches.c.target_uuid == target_uuid,
            t.batches.c.state == BatchState.ACKNOWLEDGED.value,
            t.batches.c.covers_start >= window.start,
            t.batches.c.covers_end <= window.end,
        )
        with self._database.write() as connection:
            values["queries"] = int(connection.scalar(sent) or 0)
            connection.execute(
                self._database.insert(t.windows)
                .values(target_uuid=target_uuid, window_start=window.start, window_end=window.end, **values)
                .on_conflict_do_update(
                    index_elements=["target_uuid", "window_start", "window_end"],
                    set_=values | {"complete": sa.or_(t.windows.c.complete, sa.literal(complete))},
                )
            )

    def windows(self, target_uuid: str, *, within: Window | None = None) -> tuple[WindowRecord, ...]:
        """The stretches of the query log that were pushed, the earliest first; with `within`, those that touch it."""
        query = (
            sa.select(t.windows)
            .where(t.windows.c.target_uuid == target_uuid)
            .order_by(t.windows.c.window_start, t.windows.c.window_end)
        )
        if within is not None:
            query = query.where(t.windows.c.window_start < within.end, t.windows.c.window_end > within.start)
        with self._database.read() as connection:
            return tuple(
                WindowRecord(
                    window=Window(start=row.window_start, end=row.window_end),
                    push_id=row.push_id,
                    queries=row.queries,
                    complete=row.complete,
                    updated_at=row.updated_at,
                )
                for row in connection.execute(query)
            )


_SOURCE = t.tables.alias("source")
_DESTINATION = t.tables.alias("destination")


def read_edges(
    database: Database, target_uuid: str, *, columns: bool, where: sa.ColumnElement[bool]
) -> Iterator[EdgeRecord]:
    """Table edges (or column edges) for which `where` holds, those of one destination together, one row at a time."""
    query = _edges_query(target_uuid, columns=columns).where(where)
    with database.read() as connection:
        for row in connection.execution_options(yield_per=_CHUNK).execute(query):
            yield _edge(row)


def _edges_query(target_uuid: str, *, columns: bool) -> sa.Select[Any]:
    c = t.edges.c
    return (
        sa.select(
            t.edges,
            *(_SOURCE.c[name].label(f"source_{name}") for name in _NAMES),
            *(_DESTINATION.c[name].label(f"destination_{name}") for name in _NAMES),
        )
        .join(_SOURCE, _SOURCE.c.table_id == c.source_id)
        .join(_DESTINATION, _DESTINATION.c.table_id == c.destination_id)
        .where(c.target_uuid == target_uuid, c.source_column.is_not(None) if columns else c.source_column.is_(None))
        .order_by(c.destination_id, c.destination_column, c.source_id, c.source_column)
    )


_NAMES: Sequence[str] = ("database_name", "schema_name", "table_name", "asset_type", "last_seen")


def _edge_row(
    target_uuid: str, key: int, edge: Edge, seen_at: datetime, names: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    home = edge.source_target
    source_uuid = home.resource_uuid if home else target_uuid
    column_edge = edge if isinstance(edge, ColumnEdge) else None
    evidence = edge.evidence
    return {
        "edge_id": key,
        "target_uuid": target_uuid,
        "source_id": _named(names, source_uuid, edge.source, edge.source_type, seen_at),
        "source_column": column_edge.source_column if column_edge else None,
        "source_type": edge.source_type.value,
        "source_target": orjson.dumps([home.resource_uuid, home.resource_type, home.log_type]).decode()
        if home
        else None,
        "destination_id": _named(names, target_uuid, edge.destination, edge.destination_type, seen_at),
        "destination_column": column_edge.destination_column if column_edge else None,
        "destination_type": edge.destination_type.value,
        "evidence": evidence.kind.value,
        "reference": evidence.reference,
        "confidence": evidence.confidence,
        "first_seen": evidence.first_seen or seen_at,
        # A view's text and a standing edge hold now; a query's edge was true when the query ran.
        "last_seen": (evidence.last_seen or seen_at) if evidence.kind is EvidenceKind.QUERY else seen_at,
    }


def _named(
    names: dict[int, dict[str, Any]], target_uuid: str, ref: TableRef, kind: AssetType, seen_at: datetime
) -> int:
    """Note a table that lineage names; what a catalog knows of it is left alone."""
    key = t.table_id(target_uuid, ref)
    names[key] = {
        "table_id": key,
        "target_uuid": target_uuid,
        "database_name": ref.database,
        "schema_name": ref.schema,
        "table_name": ref.name,
        "asset_type": kind.value,
        "native_type": "",
        "first_seen": seen_at,
    }
    return key


def _edge(row: Any) -> EdgeRecord:
    ends: dict[str, Any] = {
        "source": TableRef(
            database=row.source_database_name, schema=row.source_schema_name, name=row.source_table_name
        ),
        "destination": TableRef(
            database=row.destination_database_name, schema=row.destination_schema_name, name=row.destination_table_name
        ),
        # The catalog knows better than a statement whether a name is a view.
        "source_type": AssetType(row.source_asset_type if row.source_last_seen else row.source_type),
        "destination_type": AssetType(
            row.destination_asset_type if row.destination_last_seen else row.destination_type
        ),
        "source_target": None,
        "evidence": Evidence(
            kind=EvidenceKind(row.evidence),
            reference=row.reference,
            first_seen=row.first_seen,
            last_seen=row.last_seen,
            confidence=row.confidence,
        ),
    }
    if row.source_target is not None:
        uuid, resource_type, log_type = orjson.loads(row.source_target)
        ends["source_target"] = Target(resource_uuid=uuid, resource_type=resource_type, log_type=log_type)
    edge: Edge = (
        LineageEdge(**ends)
        if row.source_column is None
        else ColumnEdge(source_column=row.source_column, destination_column=row.destination_column, **ends)
    )
    return EdgeRecord(
        edge=edge, first_seen=row.first_seen, last_seen=row.last_seen, pushed_at=row.pushed_at, push_id=row.push_id
    )
