"""The lineage that Snowflake itself reports: writes (ACCESS_HISTORY), views (OBJECT_DEPENDENCIES), dynamic tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from mc_push_dagster.model import ColumnEdge, Evidence, EvidenceKind, Gap, LineageEdge, Scope, TableRef, Window, utc
from mc_push_dagster.warehouses import _snowflake_rows as rows
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster.warehouses import _snowflake_usage as usage
from mc_push_dagster.warehouses._snowflake_grants import grant_for, named
from mc_push_dagster.warehouses._snowflake_session import UNREADABLE, Denied, Key, Reader, Row
from mc_push_dagster.warehouses._snowflake_settings import SnowflakeOptions

log = logging.getLogger(__name__)

Edge = LineageEdge | ColumnEdge


def edges(
    reader: Reader, window: Window, *, scope: Scope, options: SnowflakeOptions, databases: list[str]
) -> Iterator[Edge | Gap]:
    """Edges into tables in scope: those of writes in `window`, and the standing ones of views and dynamic tables."""
    if options.access_history != "off":
        optional = options.access_history == "auto"
        for statement, edge, key in (
            (usage.table_lineage(window), _table_edge, _table_key),
            (usage.column_lineage(window), _column_edge, _column_key),
        ):
            try:
                for item in _read(reader, statement, edge, key, subject="ACCESS_HISTORY", optional=optional):
                    if isinstance(item, Gap) or scope.covers(item.destination):
                        yield item
            except Denied:
                log.info("Snowflake: ACCESS_HISTORY cannot be read; lineage of writes comes from the query log")
                break
    yield from _read(reader, usage.dependencies(scope), _dependency, _dependency_key, subject="OBJECT_DEPENDENCIES")
    if databases:
        for item in _read(reader, usage.dynamic_tables(databases[0]), _dynamic, _dynamic_key, subject="DYNAMIC_TABLES"):
            if isinstance(item, Gap) or scope.covers(item.destination):
                yield item


def _read(
    reader: Reader,
    statement: sql.Statement,
    edge: Callable[[Row], Edge | None],
    key: Key,
    *,
    subject: str,
    optional: bool = False,
) -> Iterator[Edge | Gap]:
    """The edges of one source; what cannot be read is a gap, or raised where it is `optional` and denied."""
    try:
        for row in reader.rows(statement, key=key):
            found = edge(row)
            if found is not None and found.source != found.destination:
                yield found
    except UNREADABLE as error:
        if optional and isinstance(error, Denied):
            raise
        yield Gap(subject=f"lineage from {subject}", reason=f"{error}; {_way_out(subject, reader.role)}")


def _way_out(subject: str, role: str | None) -> str:
    if subject == "DYNAMIC_TABLES":
        return f"GRANT MONITOR ON ALL DYNAMIC TABLES IN DATABASE <database> TO ROLE {named(role)}"
    return grant_for(subject, role)


def _native(row: Row) -> Evidence:
    return Evidence(
        kind=EvidenceKind.NATIVE,
        reference=row["query_id"],
        first_seen=utc(row["first_seen"]),
        last_seen=utc(row["last_seen"]),
    )


def _standing(view: TableRef) -> Evidence:
    return Evidence(kind=EvidenceKind.NATIVE, reference=str(view))


def _table_edge(row: Row) -> LineageEdge | None:
    source, destination = rows.qualified(row["source"]), rows.qualified(row["destination"])
    if source is None or destination is None:
        return None
    return LineageEdge(
        source=source,
        destination=destination,
        evidence=_native(row),
        source_type=rows.asset_type(row["source_domain"]),
        destination_type=rows.asset_type(row["destination_domain"]),
    )


def _column_edge(row: Row) -> ColumnEdge | None:
    source, destination = rows.qualified(row["source"]), rows.qualified(row["destination"])
    if source is None or destination is None or not row["source_column"] or not row["destination_column"]:
        return None
    return ColumnEdge(
        source=source,
        source_column=row["source_column"],
        destination=destination,
        destination_column=row["destination_column"],
        evidence=_native(row),
        source_type=rows.asset_type(row["source_domain"]),
        destination_type=rows.asset_type(row["destination_domain"]),
    )


def _dependency(row: Row) -> LineageEdge:
    destination = rows.ref(row, "referencing_", database="database", name="object_name")
    return LineageEdge(
        source=rows.ref(row, "referenced_", database="database", name="object_name"),
        destination=destination,
        evidence=_standing(destination),
        source_type=rows.asset_type(row["referenced_object_domain"]),
        destination_type=rows.asset_type(row["referencing_object_domain"]),
    )


def _dynamic(row: Row) -> LineageEdge | None:
    source = rows.qualified(row["source"])
    if source is None:
        return None
    destination = TableRef(database=row["database_name"], schema=row["schema_name"], name=row["name"])
    return LineageEdge(
        source=source,
        destination=destination,
        evidence=_standing(destination),
        source_type=rows.asset_type(row["source_domain"]),
    )


def _table_key(row: Row) -> tuple[str, ...]:
    return (row["destination"], row["source"], row["destination_domain"], row["source_domain"])


def _column_key(row: Row) -> tuple[str, ...]:
    return (row["destination"], row["destination_column"], row["source"], row["source_column"], *_domains(row))


def _domains(row: Row) -> tuple[str, str]:
    return (row["destination_domain"], row["source_domain"])


def _dependency_key(row: Row) -> tuple[str, ...]:
    parts = ("database", "schema", "object_name")
    return tuple(row[f"{side}_{part}"] for side in ("referencing", "referenced") for part in parts)


def _dynamic_key(row: Row) -> tuple[str, ...]:
    return (row["database_name"], row["schema_name"], row["name"], row["source"] or "")
