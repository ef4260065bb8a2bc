"""From the model to the wire: plain dicts equal to what pycarlo's own `build_*_payload` functions make.

Plain dicts because `dataclasses_json` costs 50 us for one query and 800 us for one table of fifty columns. Unknown is
absent (design §5): no key carries None or an empty string, and there is no empty `volume` or `freshness` block.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mc_push_dagster.errors import BrokenContract
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    ColumnEdge,
    Feed,
    LineageEdge,
    QueryRecord,
    TableRef,
    TableSnapshot,
    Target,
    utc,
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it stands in a body's `events`, with the name by which people and receipts know it."""

    feed: Feed
    name: str
    """Monte Carlo's full table id (`db:schema.table`) of the table or the edge's destination; the query's id."""
    wire: dict[str, Any]
    cross_warehouse: bool = False
    """Every asset in it names its own resource; its body has no top-level one: `envelope(feed, None)`."""


def envelope(feed: Feed, target: Target | None) -> dict[str, Any]:
    """Return a body without its `events`; without a target, the one for cross-warehouse lineage.

    Raises:
        ValueError: if anything but lineage has no target.

    Source: push-ingest-api, "API reference": `log_type` for query logs, `resource_type` for the rest; pycarlo
    `build_lineage_payload`, "Cross-warehouse".
    """
    if target is None:
        if feed not in (Feed.LINEAGE, Feed.COLUMN_LINEAGE):
            raise ValueError(f"{feed.value} needs a target; only lineage can name one resource per asset")
        return {"event_type": feed.value}
    if feed is Feed.QUERY_LOG:
        return {"event_type": feed.value, "resource": {"uuid": target.resource_uuid, "log_type": target.log_type}}
    return {"event_type": feed.value, "resource": {"uuid": target.resource_uuid, "resource_type": target.resource_type}}


def timestamp(moment: datetime) -> str:
    """Write a time as pycarlo does: UTC, ISO 8601, microseconds where there are any, `Z`.

    Raises:
        ValueError: if `moment` has no time zone (pycarlo would take it for local time).
    """
    return (moment if moment.tzinfo is UTC else utc(moment)).isoformat()[:-6] + "Z"


def metadata_event(
    snapshot: TableSnapshot, *, with_measures: bool = True, forbid: Collection[ChangeSource] = ()
) -> Event:
    """Return the event of one table; without measures, neither volume nor freshness (a schema-only push).

    A data-change time of a provenance in `forbid` is left out. Source: push-ingest-api, "Table Schema", "View Schema".
    """
    ref = snapshot.ref
    metadata: dict[str, Any] = {"name": ref.name, "database": ref.database, "schema": ref.schema}
    if snapshot.description:
        metadata["description"] = snapshot.description
    if snapshot.view_query and snapshot.asset_type is AssetType.VIEW:  # "SQL definition - views only"
        metadata["view_query"] = snapshot.view_query
    if snapshot.created_at is not None:
        metadata["created_on"] = timestamp(snapshot.created_at)
    asset: dict[str, Any] = {"type": snapshot.asset_type.value, "metadata": metadata}
    if snapshot.tags:
        # A tag without a value is sent as a key alone (pycarlo `Tag`: "Value is optional for key-only tags").
        asset["tags"] = [{"key": t.key, "value": t.value} if t.value else {"key": t.key} for t in snapshot.tags]
    if snapshot.columns:
        asset["fields"] = [_field(c) for c in snapshot.columns]
    if with_measures:
        asset.update(_measures(snapshot, forbid))
    return Event(Feed.METADATA, ref.full_table_id, {"relational_asset": asset})


def _field(column: Column) -> dict[str, str]:
    if column.description:
        return {"name": column.name, "type": column.type, "description": column.description}
    return {"name": column.name, "type": column.type}


def _measures(snapshot: TableSnapshot, forbid: Collection[ChangeSource]) -> dict[str, Any]:
    blocks: dict[str, Any] = {}
    volume = {"row_count": snapshot.row_count, "byte_count": snapshot.byte_count}
    known = {name: count for name, count in volume.items() if count is not None}
    if known:
        blocks["volume"] = known
    change = snapshot.data_change
    if change is not None and change.source not in forbid:
        blocks["freshness"] = {"last_update_time": timestamp(change.at)}
    return blocks


def query_event(record: QueryRecord) -> Event:
    """Return the event of one finished query.

    Raises:
        BrokenContract: if a warehouse handed in a number that is no integer, or extras that are not JSON.
        ValueError: if a time has no zone.

    Source: push-ingest-api, "Query logs Schema".
    """
    started = timestamp(record.started_at)
    wire: dict[str, Any] = {"start_time": started, "end_time": timestamp(record.ended_at), "query_text": record.text}
    if record.query_id:
        wire["query_id"] = record.query_id
    if record.user:
        wire["user"] = record.user
    if record.error_code is not None:
        wire["error_code"] = str(record.error_code)  # the document says string, pycarlo lets an int through
    if record.error_text is not None:
        wire["error_text"] = record.error_text
    rows = record.returned_rows
    if rows is not None:
        count = rows if type(rows) is int else _plain_int(rows, record)
        if count >= 0:  # drivers write -1 for "not known"
            wire["returned_rows"] = count
    if record.extra:
        wire["extra"] = _json_values(record.extra, record)
    return Event(Feed.QUERY_LOG, record.query_id or f"query started {started}", wire)


def _plain_int(value: Any, record: QueryRecord) -> int:
    try:
        return operator.index(value)
    except TypeError:
        name = type(value).__name__
        raise BrokenContract(f"query {record.query_id}: returned_rows is a {name}, not an integer") from None


def _json_values(value: Any, record: QueryRecord) -> Any:
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _json_values(v, record) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(v, record) for v in value]
    raise BrokenContract(
        f"query {record.query_id}: its extras hold a {type(value).__name__}, which JSON has no form for"
    )


@dataclass(frozen=True, slots=True, order=True)
class _Asset:
    """A table on the wire: its name and, in the cross-warehouse form, where it lives."""

    ref: TableRef
    resource_uuid: str = ""
    resource_type: str = ""

    @property
    def alias(self) -> str:
        """The local `asset_id`: the same table has the same one in the whole body, whatever else is in it."""
        return f"{self.resource_uuid}/{self.ref.full_table_id}" if self.resource_uuid else self.ref.full_table_id

    def wire(self, kind: AssetType, *, with_alias: bool) -> dict[str, str]:
        ref = self.ref
        out = {"type": kind.value, "name": ref.name, "database": ref.database, "schema": ref.schema}
        if with_alias:
            out["asset_id"] = self.alias
        if self.resource_uuid:
            out |= {"resource_uuid": self.resource_uuid, "resource_type": self.resource_type}
        return out


@dataclass(slots=True)
class _Destination:
    """What flows into one table: its sources and, for column lineage, columns by destination column."""

    sources: set[tuple[TableRef, Target | None]]
    fields: dict[str, set[tuple[TableRef, Target | None, str]]]


class _Grouped:
    """Edges by destination, and what is known of each table's type."""

    def __init__(self) -> None:
        self.destinations: dict[TableRef, _Destination] = {}
        # An edge's type defaults to TABLE, so one edge that says VIEW knows better.
        self.views: set[tuple[TableRef, Target | None]] = set()

    def add(self, edge: LineageEdge | ColumnEdge) -> _Destination:
        if edge.source_type is AssetType.VIEW:
            self.views.add((edge.source, edge.source_target))
        if edge.destination_type is AssetType.VIEW:
            self.views.add((edge.destination, None))
        group = self.destinations.get(edge.destination)
        if group is None:
            group = self.destinations[edge.destination] = _Destination(set(), {})
        group.sources.add((edge.source, edge.source_target))
        return group

    def events(self, feed: Feed, target: Target | None) -> Iterator[Event]:
        """Yield one event per destination, those of one warehouse first, each kind in order of destination."""
        crossing = {ref for ref, group in self.destinations.items() if any(t is not None for _, t in group.sources)}
        if crossing and target is None:
            raise BrokenContract("an edge crosses warehouses, but the destination's own resource was not given")
        for cross in (False, True):
            for ref in sorted(r for r in self.destinations if (r in crossing) is cross):
                yield self._event(feed, ref, target if cross else None)

    def _event(self, feed: Feed, ref: TableRef, home: Target | None) -> Event:
        group = self.destinations[ref]
        columns = feed is Feed.COLUMN_LINEAGE
        sources = sorted((self._asset(r, t or home), (r, t) in self.views) for r, t in group.sources)
        wire: dict[str, Any] = {
            "destination": self._asset(ref, home).wire(self._type((ref, None)), with_alias=columns),
            "sources": [
                asset.wire(AssetType.VIEW if is_view else AssetType.TABLE, with_alias=columns)
                for asset, is_view in sources
            ],
        }
        if columns:
            wire["fields"] = [
                {
                    "name": name,
                    "source_fields": [
                        {"asset_id": asset.alias, "field_name": column}
                        for asset, column in sorted((self._asset(r, t or home), c) for r, t, c in group.fields[name])
                    ],
                }
                for name in sorted(group.fields)
            ]
        return Event(feed, ref.full_table_id, wire, cross_warehouse=home is not None)

    def _type(self, key: tuple[TableRef, Target | None]) -> AssetType:
        return AssetType.VIEW if key in self.views else AssetType.TABLE

    @staticmethod
    def _asset(ref: TableRef, home: Target | None) -> _Asset:
        return _Asset(ref) if home is None else _Asset(ref, home.resource_uuid, home.resource_type)


def lineage_events(edges: Iterable[LineageEdge], *, target: Target | None = None) -> Iterator[Event]:
    """Yield one event per destination, its sources sorted, each once; holds all edges while it groups them.

    Where a destination has a source in another resource, all assets of its event name their resource; `target`, the
    resource that is pushed to, is then the destination's.

    Raises:
        BrokenContract: if an edge crosses warehouses and `target` is None.

    Source: push-ingest-api, "Table Lineage Schema"; pycarlo `LineageAssetRef`.
    """
    grouped = _Grouped()
    for edge in edges:
        grouped.add(edge)
    return grouped.events(Feed.LINEAGE, target)


def column_lineage_events(edges: Iterable[ColumnEdge], *, target: Target | None = None) -> Iterator[Event]:
    """Yield one event per destination with all of its columns, sorted; holds all edges while it groups them.

    `asset_id` is on every asset and names the same table everywhere in a body (push-ingest-api, "Column lineage
    Schema": "local alias for cross-referencing within the payload").

    Raises:
        BrokenContract: if an edge crosses warehouses and `target` is None.
    """
    grouped = _Grouped()
    for edge in edges:
        group = grouped.add(edge)
        group.fields.setdefault(edge.destination_column, set()).add(
            (edge.source, edge.source_target, edge.source_column)
        )
    return grouped.events(Feed.COLUMN_LINEAGE, target)
