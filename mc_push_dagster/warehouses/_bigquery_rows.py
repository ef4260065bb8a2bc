"""Rows of BigQuery's views become our nouns; pure functions, no connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    DataChange,
    Evidence,
    EvidenceKind,
    LineageEdge,
    QueryRecord,
    TableRef,
    TableSnapshot,
    Tag,
    utc,
)
from mc_push_dagster.warehouses._bigquery_literals import literal

Row = Mapping[str, Any]

MEASURED = ("BASE TABLE", "CLONE", "SNAPSHOT", "MATERIALIZED VIEW")
"""Kinds that hold rows of their own; views and external tables do not."""

_VIEWS = ("VIEW", "MATERIALIZED VIEW")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What one table holds; None is unknown."""

    row_count: int | None = None
    byte_count: int | None = None
    data_change: DataChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One table with what the views beside TABLES know of it."""

    row: Row
    measures: Measures = Measures()
    options: tuple[Row, ...] = ()
    view_definition: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return key(self.row)

    @property
    def is_shard(self) -> bool:
        return self.row["asset_name"] != self.row["table_name"]


def key(row: Row) -> tuple[str, str, str]:
    """The order of every catalog statement: dataset, name of the asset, name of the table."""
    return (row["table_schema"], row["asset_name"], row["table_name"])


def stored(row: Row, *, biglake: bool) -> Measures:
    """Measures from TABLE_STORAGE; Iceberg tables of BigQuery have no logical bytes there."""
    at = row["storage_last_modified_time"]
    return Measures(
        row_count=whole(row["total_rows"]),
        byte_count=whole(row["current_physical_bytes"] if biglake else row["total_logical_bytes"]),
        data_change=None if at is None else DataChange(at=at, source=ChangeSource.STORAGE),
    )


def asked(rows: int | None, size: int | None, modified: datetime | None, *, biglake: bool) -> Measures:
    """Measures from tables.get, whose lastModifiedTime moves with labels and schema, too."""
    change = None if modified is None or biglake else DataChange(at=modified, source=ChangeSource.DDL_POLLUTED)
    return Measures(row_count=whole(rows), byte_count=whole(size), data_change=change)


def is_biglake(row: Row) -> bool:
    return row["managed_table_type"] == "BIGLAKE"


def snapshot(project: str, shards: Sequence[Found]) -> TableSnapshot:
    """One asset: a table, or all shards of a date-sharded one, the newest last.

    Raises:
        ValueError: if an option of it is no GoogleSQL literal.
    """
    newest = shards[-1]
    kind = newest.row["table_type"]
    description, tags = described(newest.options)
    changes = [found.measures.data_change for found in shards]
    known = [change for change in changes if change is not None]
    return TableSnapshot(
        ref=TableRef(database=project, schema=newest.row["table_schema"], name=newest.row["asset_name"]),
        asset_type=AssetType.VIEW if kind in _VIEWS else AssetType.TABLE,
        native_type=native_type(newest),
        description=description,
        view_query=view_text(newest),
        created_at=min((found.row["creation_time"] for found in shards if found.row["creation_time"]), default=None),
        tags=tags,
        row_count=total(found.measures.row_count for found in shards),
        byte_count=total(found.measures.byte_count for found in shards),
        # The latest change is only known if no shard hides its own.
        data_change=max(known, key=lambda change: change.at) if len(known) == len(changes) else None,
    )


def native_type(found: Found) -> str:
    """What BigQuery calls the object; a managed Iceberg table is `BIGLAKE TABLE`, shards are a `SHARDED TABLE`."""
    if found.is_shard:
        return "SHARDED TABLE"
    return "BIGLAKE TABLE" if is_biglake(found.row) else str(found.row["table_type"])


def view_text(found: Found) -> str | None:
    return found.view_definition or found.row["ddl"] or None


def total(values: Iterable[int | None]) -> int | None:
    """The sum, None if any part is unknown."""
    result = 0
    for value in values:
        if value is None:
            return None
        result += value
    return result


def described(options: Iterable[Row]) -> tuple[str | None, tuple[Tag, ...]]:
    """Description and labels from options, whose values are GoogleSQL literals.

    Raises:
        ValueError: if a value is no such literal.
    """
    description: str | None = None
    tags: list[Tag] = []
    for option in options:
        value = literal(option["option_value"])
        if option["option_name"] == "description" and isinstance(value, str):
            description = value or None
        elif option["option_name"] == "labels" and isinstance(value, list):
            tags = [_tag(item) for item in value]
    return description, tuple(sorted(tags, key=lambda tag: tag.key))


def _tag(item: object) -> Tag:
    match item:
        case (str(name), str() | None as value):
            return Tag(key=name, value=value or "")
    raise ValueError("a label is no pair of texts")


def column(row: Row) -> Column:
    return Column(name=row["column_name"], type=row["data_type"], description=row["description"] or None)


_NUMBERS = ("total_bytes_processed", "total_bytes_billed", "total_slot_ms")
_TEXTS = ("statement_type", "priority", "reservation_id", "parent_job_id")
_CHANGED = ("inserted_row_count", "updated_row_count", "deleted_row_count")


def query(row: Row, region: str) -> QueryRecord:
    """One job; JOBS knows how many rows DML changed, and not how many a SELECT returned."""
    error = row["error_result"] or {}
    failed = bool(error.get("reason") or error.get("message"))
    project = row["project_id"]
    return QueryRecord(
        text=row["query"],
        started_at=utc(row["start_time"] or row["creation_time"]),
        ended_at=utc(row["end_time"]),
        query_id=row["job_id"],
        user=row["user_email"],
        error_code=(error.get("reason") or None) if failed else None,
        error_text=(error.get("message") or error.get("reason")) if failed else None,
        database=project,
        session_id=(row["session_info"] or {}).get("session_id") or row["parent_job_id"],
        extra=_extra(row, region),
    )


def _extra(row: Row, region: str) -> dict[str, Any]:
    extra: dict[str, Any] = {"project_id": row["project_id"], "location": region}
    extra |= {name: row[name] for name in _TEXTS if row[name]}
    extra |= {name: whole(row[name]) for name in _NUMBERS if row[name] is not None}
    if row["cache_hit"] is not None:
        extra["cache_hit"] = row["cache_hit"]
    changed = row["dml_statistics"] or {}
    extra |= {name: whole(changed[name]) for name in _CHANGED if changed.get(name) is not None}
    labels = {label["key"]: label["value"] or "" for label in row["labels"] or ()}
    if labels:
        extra["labels"] = labels
    written = row["destination_table"] or {}
    if written.get("table_id") and not str(written["dataset_id"]).startswith("_"):
        extra["destination_table"] = ".".join(str(written[f"{part}_id"]) for part in ("project", "dataset", "table"))
    return extra


def edge(row: Row) -> LineageEdge:
    """One row of the lineage statement."""
    source, destination = (
        TableRef(database=row[f"{end}_project"], schema=row[f"{end}_dataset"], name=row[f"{end}_name"])
        for end in ("source", "destination")
    )
    evidence = Evidence(
        kind=EvidenceKind.NATIVE,
        reference=row["job_id"],
        first_seen=utc(row["first_seen"]),
        last_seen=utc(row["last_seen"]),
    )
    return LineageEdge(source=source, destination=destination, evidence=evidence)


def share(project: str, row: Row) -> LineageEdge:
    """One row of the shares statement: a table and itself as another project's linked dataset shows it."""
    source = TableRef(database=project, schema=row["table_schema"], name=row["asset_name"])
    home = {"database": row["linked_schema_catalog_name"], "schema": row["linked_schema_name"]}
    destination = TableRef(**home, name=source.name)
    kind = AssetType.VIEW if row["table_type"] in _VIEWS else AssetType.TABLE
    return LineageEdge(
        source=source,
        destination=destination,
        evidence=Evidence(kind=EvidenceKind.NATIVE, reference=str(destination)),
        source_type=kind,
        destination_type=kind,
    )


def whole(value: Any) -> int | None:
    """A plain int of what the client gives for INT64 and NUMERIC."""
    return None if value is None else int(value)
