"""The catalog: tables, their schemas over time, their measures, the state of their detectors, and their deletion."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from mc_push_dagster.sandbox import detectors
from mc_push_dagster.sandbox.clock import moment
from mc_push_dagster.sandbox.contract import DELETE_LIMIT
from mc_push_dagster.sandbox.reading import (
    Node,
    Reading,
    Resolver,
    connection,
    page_of,
    reading,
    refuse_unserved,
    window,
)
from mc_push_dagster.sandbox.resolvers.account import warehouse_node

INGEST_TYPE = "push_ingest"
"""Inferred: no source names the value."""

_FILTERS = {
    "dwId": "warehouse = ?",
    "warehouse": "warehouse = ?",
    "mcon": "mcon = ?",
    "mcons": "mcon IN (SELECT value FROM json_each(?))",
    "fullTableId": "full_table_id = ? COLLATE NOCASE",
    "tableId": "full_table_id = ? COLLATE NOCASE",
    "friendlyName": "name = ?",
    "projectName": "database = ?",
    "dataset": "schema = ?",
    "tableType": "type = ?",
    "description": "description = ?",
    "ingestInvocationId": "invocation = ?",
    "isDeleted": "(deleted_at IS NOT NULL) = ?",
    "lastObserved_Gt": "last_seen > ?",
    "search": "instr(lower(full_table_id), lower(?)) > 0",
    "ingestType": f"'{INGEST_TYPE}' = lower(?)",
}
_ORDERS = {"fullTableId": "full_table_id", "lastObserved": "last_seen", "mcon": "mcon", "discoveredTime": "first_seen"}
_METRICS = {"total_row_count": "row_count", "total_byte_count": "byte_count"}
"""push-ingest-api, "Check volume and freshness metrics": the useful names of metrics."""
_MOST_POINTS = 5000


def _table(row: sqlite3.Row) -> Node:
    return {
        "id": row["mcon"],
        "mcon": row["mcon"],
        "tableId": row["full_table_id"],
        "fullTableId": row["full_table_id"],
        "friendlyName": row["name"],
        "projectName": row["database"],
        "dataset": row["schema"],
        "description": row["description"],
        "tableType": row["type"],
        "createdTime": row["created_on"],
        "viewQuery": row["view_query"],
        "isDeleted": row["deleted_at"] is not None,
        "deletedAt": row["deleted_at"],
        "discoveredTime": row["first_seen"],
        "lastObserved": row["last_seen"],
        "ingestType": INGEST_TYPE,
        "ingestInvocationId": row["invocation"],
        "warehouseUuid": row["warehouse"],
    }


def _get_table(
    _source: Any,
    info: GraphQLResolveInfo,
    dwId: str | None = None,  # noqa: N803
    fullTableId: str | None = None,  # noqa: N803
    mcon: str | None = None,
) -> Node | None:
    at = reading(info)
    if mcon is not None:
        row = at.row("SELECT * FROM asset WHERE mcon = ?", mcon)
    elif dwId is not None and fullTableId is not None:
        # A name that was a table and became a view has two rows; the one seen last is the one that is meant.
        row = at.row(
            "SELECT * FROM asset WHERE warehouse = ? AND full_table_id = ? COLLATE NOCASE AND deleted_at IS NULL"
            " ORDER BY last_seen DESC LIMIT 1",
            dwId,
            fullTableId,
        )
    else:
        raise GraphQLError("Give mcon, or dwId and fullTableId")
    return _table(row) if row else None


def _get_tables(_source: Any, info: GraphQLResolveInfo, **given: Any) -> Node:
    refuse_unserved(given, {*_FILTERS, "first", "after", "offset", "last", "before", "orderBy"})
    wanted = {n: v for n, v in given.items() if n in _FILTERS and v is not None}
    values = [json.dumps(v) if n == "mcons" else v for n, v in wanted.items()]
    where = " AND ".join(_FILTERS[n] for n in wanted) or "1"
    start, length = window(given)
    # Texts from the two mappings above; what the client gave travels as bind parameters.
    sql = f"SELECT * FROM asset WHERE {where} ORDER BY {_order(given.get('orderBy'))} LIMIT ? OFFSET ?"  # noqa: S608
    rows = reading(info).rows(sql, *values, length + 1, start)
    return connection([_table(r) for r in rows[:length]], start, more=len(rows) > length)


def _order(wanted: str | None) -> str:
    name = (wanted or "mcon").removeprefix("-")
    if name not in _ORDERS:
        raise GraphQLError(f"The sandbox orders by {', '.join(_ORDERS)}")
    return f"{_ORDERS[name]} {'DESC' if wanted and wanted.startswith('-') else 'ASC'}, mcon"


def _warehouse(table: Node, info: GraphQLResolveInfo) -> Node:
    row = reading(info).row("SELECT * FROM warehouse WHERE uuid = ?", table["warehouseUuid"])
    assert row is not None
    return warehouse_node(row)


def _versions(table: Node, info: GraphQLResolveInfo, **given: Any) -> Node:
    refuse_unserved(given, {"first", "after", "offset", "last", "before", "orderBy"})
    order = given.get("orderBy") or "-timestamp"
    if order not in ("timestamp", "-timestamp"):
        raise GraphQLError("The sandbox orders versions by timestamp or -timestamp")
    rows = reading(info).rows("SELECT * FROM schema_version WHERE mcon = ? ORDER BY seq", table["mcon"])
    nodes = [
        {"id": f"{table['mcon']}#{n}", "versionId": f"v{n}", "timestamp": r["at"], "stored": r["fields"]}
        for n, r in enumerate(rows)
    ]
    return page_of(nodes if order == "timestamp" else nodes[::-1], given)


def _fields(version: Node, _info: GraphQLResolveInfo, **given: Any) -> Node:
    refuse_unserved(given, {"first", "after", "offset", "last", "before", "search", "name"})
    search, name = (given.get("search") or "").lower(), given.get("name")
    nodes = [
        {
            "id": f"{version['id']}/{n}",
            "name": f["name"],
            "fieldType": f["type"],
            "description": f.get("description"),
        }
        for n, f in enumerate(json.loads(version["stored"]))
        if search in f["name"].lower() and name in (None, f["name"])
    ]
    return page_of(nodes, given)


def samples(at: Reading, mcon: str) -> list[detectors.Sample]:
    """Everything that was pushed about a table's measures, the oldest first."""
    return [
        detectors.Sample(
            at=moment(r["at"]),
            row_count=r["row_count"],
            byte_count=r["byte_count"],
            last_update=moment(r["last_update"]) if r["last_update"] else None,
        )
        for r in at.rows("SELECT * FROM sample WHERE mcon = ? ORDER BY at, seq", mcon)
    ]


def _last_updated(table: Node, info: GraphQLResolveInfo) -> str | None:
    row = reading(info).row(
        "SELECT last_update FROM sample WHERE mcon = ? AND last_update IS NOT NULL ORDER BY at DESC, seq DESC LIMIT 1",
        table["mcon"],
    )
    return row[0] if row else None


def _thresholds(table: Node, info: GraphQLResolveInfo) -> Node:
    at = reading(info)
    pushed = samples(at, table["mcon"])
    fresh, size = detectors.freshness(pushed, at.now), detectors.volume(pushed, at.now)
    expected = detectors.expected_update(pushed, at.now)
    return {
        "freshness": {
            "status": fresh.status,
            "reason": fresh.reason,
            "expected": expected.total_seconds() if expected else None,
            "lastUpdate": _last_updated(table, info),
        },
        # No anomaly model here, hence no limits: lower and upper stay null.
        "size": {
            "metric": "total_row_count",
            "ucsStatus": size.status,
            "ucsReason": size.reason,
            "sdStatus": size.status,
            "sdReason": size.reason,
        },
    }


def _metrics(
    _source: Any,
    info: GraphQLResolveInfo,
    metricName: str,  # noqa: N803
    startTime: str,  # noqa: N803
    metricsFilter: Node,  # noqa: N803
    endTime: str | None = None,  # noqa: N803
    first: int | None = None,
    deduplicateValues: bool | None = None,  # noqa: N803
) -> Node:
    at = reading(info)
    refuse_unserved(metricsFilter, {"mcon", "fullTableId", "dwId"})
    table = _get_table(None, info, **{k: metricsFilter.get(k) for k in ("mcon", "fullTableId", "dwId")})
    column = _METRICS.get(metricName)
    rows: list[sqlite3.Row] = []
    if table is not None and column is not None:
        sql = f"SELECT at, {column} AS value FROM sample WHERE mcon = ? AND {column} IS NOT NULL"  # noqa: S608
        rows = at.rows(f"{sql} AND at >= ? AND at <= ? ORDER BY at, seq", table["mcon"], startTime, endTime or at.stamp)
    if deduplicateValues:
        rows = [r for i, r in enumerate(rows) if i == 0 or rows[i - 1]["value"] != r["value"]]
    most = _MOST_POINTS if first is None else first
    points = [
        {
            "fullTableId": table["fullTableId"] if table else None,
            "metric": metricName,
            "value": row["value"],
            "timestamp": row["at"],
            "measurementTimestamp": row["at"],
        }
        for row in rows[:most]
    ]
    return {"metrics": points, "metricsJson": json.dumps(points), "isPartialDateRange": len(rows) > most}


def _delete(_source: Any, info: GraphQLResolveInfo, mcons: list[str]) -> Node:
    at = reading(info)
    wanted = list(dict.fromkeys(mcons))
    if len(wanted) > DELETE_LIMIT:
        raise GraphQLError(f"At most {DELETE_LIMIT} MCONs per call")
    given = json.dumps(wanted)
    with at.world.store.write() as db:
        there = {
            r[0]
            for r in db.execute(
                "SELECT mcon FROM asset WHERE deleted_at IS NULL AND mcon IN (SELECT value FROM json_each(?))", (given,)
            )
        }
        if missing := [m for m in wanted if m not in there]:
            raise GraphQLError(f"Not deleted: {len(missing)} MCONs are not push-ingested tables, e.g. {missing[0]}")
        chosen = "(SELECT value FROM json_each(?))"
        db.execute(f"UPDATE asset SET deleted_at = ? WHERE mcon IN {chosen}", (at.stamp, given))  # noqa: S608
        db.execute(f"DELETE FROM edge WHERE source IN {chosen} OR destination IN {chosen}", (given, given))  # noqa: S608
        db.execute(f"DELETE FROM node WHERE mcon IN {chosen}", (given,))  # noqa: S608
    return {"success": True, "deletedCount": len(wanted)}


RESOLVERS: dict[str, Resolver] = {
    "Query.getTable": _get_table,
    "Query.getTables": _get_tables,
    "Query.getMetricsV4": _metrics,
    "Mutation.deletePushIngestedTables": _delete,
    "WarehouseTable.warehouse": _warehouse,
    "WarehouseTable.versions": _versions,
    "WarehouseTable.thresholds": _thresholds,
    "WarehouseTable.lastUpdatedOn": _last_updated,
    "TableSchemaVersion.fields": _fields,
}
