"""The lineage graph: table lineage, column lineage, and nodes and edges that are made by hand."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection, Iterable
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from mc_push_dagster.sandbox.clock import stamp
from mc_push_dagster.sandbox.contract import CUSTOM_LINEAGE_TTL, LINEAGE_MCONS_LIMIT
from mc_push_dagster.sandbox.reading import Node, Reading, Resolver, read_cursor, reading, refuse_unserved
from mc_push_dagster.sandbox.reading import cursor as write_cursor

_MOST_NODES = 500
_MOST_COLUMNS_PAGE = 1000


def neighbours(at: Reading, mcons: Collection[str], *, upstream: bool) -> dict[str, list[str]]:
    """For each of `mcons` the tables directly above (or below) it, over edges that have not expired."""
    near, far = ("destination", "source") if upstream else ("source", "destination")
    sql = (
        f"SELECT {near} AS near, {far} AS far FROM edge WHERE {near} IN (SELECT value FROM json_each(?))"  # noqa: S608
        " AND expires_at > ? ORDER BY 1, 2"
    )
    found: dict[str, list[str]] = {}
    for row in at.rows(sql, json.dumps(list(mcons)), at.stamp):
        found.setdefault(row["near"], []).append(row["far"])
    return found


def _lineage(
    _source: Any,
    info: GraphQLResolveInfo,
    direction: str,
    mcon: str | None = None,
    mcons: list[str] | None = None,
    hops: int | None = None,
    limit: int = _MOST_NODES,
    filters: list[Node] | None = None,
    **others: Any,
) -> Node:
    at = reading(info)
    refuse_unserved(others, set())
    if direction not in ("upstream", "downstream"):
        raise GraphQLError("direction is upstream or downstream")
    given: list[str] = [*([mcon] if mcon else []), *(mcons or [])]
    bases = list(dict.fromkeys(given))
    if not 1 <= len(bases) <= LINEAGE_MCONS_LIMIT:
        raise GraphQLError(f"Give mcon, or 1 to {LINEAGE_MCONS_LIMIT} mcons")
    if not 1 <= (hops or 1) <= 100:
        raise GraphQLError("hops is 1 or more")
    seen: dict[str, None] = {}
    edges: list[Node] = []
    frontier: list[str] = bases
    for _ in range(hops or 1):
        step = neighbours(at, frontier, upstream=direction == "upstream")
        edges += [{"mcon": m, "directlyConnectedMcons": found} for m, found in step.items()]
        frontier = [m for m in dict.fromkeys(f for found in step.values() for f in found) if m not in seen]
        frontier = [m for m in frontier if m not in bases]
        seen |= dict.fromkeys(frontier)
        if not frontier or len(seen) >= limit:
            break
    connected = [n for n in _nodes(at, list(seen)[:limit]) if _passes(n, filters or [])]
    own = _nodes(at, bases)
    return {
        "baseNode": own[0] if own else None,
        "baseNodes": own,
        "connectedNodes": connected,
        "flattenedEdges": edges,
    }


def _passes(node: Node, filters: Iterable[Node]) -> bool:
    for each in filters:
        inside = node["objectType"].lower() in {str(v).lower() for v in each["values"]}
        if inside != (each["operator"] == "INCLUDE"):
            return False
    return True


def _nodes(at: Reading, mcons: Collection[str]) -> list[Node]:
    rows = at.rows(
        "SELECT * FROM node WHERE mcon IN (SELECT value FROM json_each(?)) AND expires_at > ?",
        json.dumps(list(mcons)),
        at.stamp,
    )
    by_mcon = {r["mcon"]: r for r in rows}
    return [_node(by_mcon[m]) for m in mcons if m in by_mcon]


def _node(row: sqlite3.Row) -> Node:
    return {
        "mcon": row["mcon"],
        "displayName": row["name"],
        "objectType": row["object_type"],
        "isCustom": bool(row["custom"]),
        "expireAt": row["expires_at"],
    }


def _has(upstream: bool) -> Resolver:
    def resolve(node: Node, info: GraphQLResolveInfo) -> bool:
        return bool(neighbours(reading(info), [node["mcon"]], upstream=upstream))

    return resolve


def _derived(
    _source: Any,
    info: GraphQLResolveInfo,
    mcon: str | None = None,
    column: str | None = None,
    cursor: str | None = None,
    pageSize: int = 20,  # noqa: N803
) -> Node:
    at = reading(info)
    if mcon is None or column is None:
        raise GraphQLError("Give mcon and column")
    if not 1 <= pageSize <= _MOST_COLUMNS_PAGE:
        raise GraphQLError(f"pageSize is between 1 and {_MOST_COLUMNS_PAGE}")
    rows = at.rows(
        "SELECT destination, destination_column FROM column_edge WHERE source = ? AND lower(source_column) = lower(?)"
        " AND expires_at > ? ORDER BY 1, 2",
        mcon,
        column,
        at.stamp,
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["destination"], []).append(row["destination_column"])
    start = read_cursor(cursor) if cursor else 0
    page = list(found.items())[start : start + pageSize]
    end = start + len(page)
    return {
        "mcon": mcon,
        "sourceColumn": column,
        "destinations": [_destination(at, m, columns) for m, columns in page],
        "isLastPage": end >= len(found),
        "cursor": None if end >= len(found) else write_cursor(end),
    }


def _destination(at: Reading, mcon: str, columns: list[str]) -> Node:
    row = at.row("SELECT name, fields FROM asset WHERE mcon = ?", mcon)
    types = {f["name"].lower(): f["type"] for f in json.loads(row["fields"])} if row and row["fields"] else {}
    return {
        "mcon": mcon,
        "displayName": row["name"] if row else mcon.split("++", 4)[4],
        "columns": [{"columnName": c, "columnType": types.get(c.lower())} for c in columns],
    }


def _custom_mcon(at: Reading, given: Node) -> str:
    """The MCON of a hand-made node: by its resource's id, or by a resource that is only named."""
    resource, name = given.get("resourceId"), given.get("resourceName")
    if (resource is None) == (name is None):
        raise GraphQLError("Give either resourceId or resourceName")
    if resource is not None and at.row("SELECT 1 FROM warehouse WHERE uuid = ?", resource) is None:
        raise GraphQLError(f"No warehouse {resource}")
    account = at.world.account.uuid
    resource = resource or uuid.uuid5(uuid.UUID(account), str(name))
    return f"MCON++{account}++{resource}++{given['objectType']}++{given['objectId']}"


def _upsert_node(
    _source: Any,
    info: GraphQLResolveInfo,
    expireAt: str | None = None,  # noqa: N803
    name: str | None = None,
    properties: list[Node] | None = None,
    **given: Any,
) -> Node:
    at = reading(info)
    mcon = _custom_mcon(at, given)
    expires = expireAt or stamp(at.now + CUSTOM_LINEAGE_TTL)
    with at.world.store.write() as db:
        db.execute(
            "INSERT INTO node VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT (mcon) DO UPDATE SET name = excluded.name,"
            " properties = excluded.properties, expires_at = excluded.expires_at",
            (
                *(mcon, given["objectType"], given["objectId"], name or given["objectId"]),
                *(json.dumps(properties) if properties else None, expires),
            ),
        )
        row = db.execute("SELECT * FROM node WHERE mcon = ?", (mcon,)).fetchone()
    return {"node": _node(row)}


def _upsert_edge(
    _source: Any,
    info: GraphQLResolveInfo,
    source: Node,
    destination: Node,
    edgeType: str = "IS_DOWNSTREAM",  # noqa: N803
    expireAt: str | None = None,  # noqa: N803
) -> Node:
    at = reading(info)
    ends = [_custom_mcon(at, source), _custom_mcon(at, destination)]
    nodes = _nodes(at, ends)
    # Inferred: both ends must be there; code that makes them first works either way.
    if missing := [e for e in ends if e not in {n["mcon"] for n in nodes}]:
        raise GraphQLError(f"No lineage node {missing[0]}; make it with createOrUpdateLineageNode")
    expires = expireAt or stamp(at.now + CUSTOM_LINEAGE_TTL)
    with at.world.store.write() as db:
        db.execute(
            "INSERT INTO edge VALUES (?, ?, 1, ?, ?, ?, NULL) ON CONFLICT (source, destination) DO UPDATE SET"
            " edge_type = excluded.edge_type, expires_at = excluded.expires_at, last_seen = excluded.last_seen",
            (*ends, edgeType, expires, at.stamp),
        )
    by_mcon = {n["mcon"]: n for n in nodes}
    edge = {"source": by_mcon[ends[0]], "destination": by_mcon[ends[1]], "isCustom": True, "expireAt": expires}
    return {"edge": edge}


def _delete_node(_source: Any, info: GraphQLResolveInfo, mcon: str) -> Node:
    with reading(info).world.store.write() as db:
        edges = db.execute("DELETE FROM edge WHERE source = ? OR destination = ?", (mcon, mcon)).rowcount
        nodes = db.execute("DELETE FROM node WHERE mcon = ?", (mcon,)).rowcount
    return {"objectsDeleted": nodes, "nodesDeleted": nodes, "edgesDeleted": edges}


RESOLVERS: dict[str, Resolver] = {
    "Query.getTableLineage": _lineage,
    "Query.getDerivedTablesPartialLineage": _derived,
    "Mutation.createOrUpdateLineageNode": _upsert_node,
    "Mutation.createOrUpdateLineageEdge": _upsert_edge,
    "Mutation.deleteLineageNode": _delete_node,
    "LineageGraphNode.hasUpstreamNodes": _has(True),
    "LineageGraphNode.hasDownstreamNodes": _has(False),
}
