"""Who asks, which warehouses there are, what was pushed to them, and the keys."""

from __future__ import annotations

import json
import sqlite3
import uuid
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from mc_push_dagster.sandbox.clock import moment
from mc_push_dagster.sandbox.contract import API_SCOPE, STALE_AFTER
from mc_push_dagster.sandbox.keys import add_key
from mc_push_dagster.sandbox.reading import Node, Reading, Resolver, reading

_FEEDS = ("METADATA", "LINEAGE", "QUERY_LOGS", "ETL_METADATA", "ETL_RUNS")
"""schema, `PushEventType`."""
_USER: Node = {
    "id": "sandbox-user",
    "email": "sandbox@localhost",
    "firstName": "Sandbox",
    "lastName": "User",
    "displayName": "Sandbox User (not Monte Carlo)",
}


def warehouse_node(row: sqlite3.Row) -> Node:
    return {
        "id": row["uuid"],
        "uuid": row["uuid"],
        "name": row["name"],
        "connectionType": row["connection_type"],
        "createdOn": row["created_at"],
        "isDeleted": False,
    }


def _user(_source: Any, _info: GraphQLResolveInfo) -> Node:
    return _USER


def _account(_source: Any, info: GraphQLResolveInfo) -> Node:
    identity = reading(info).world.account.uuid
    return {
        "id": identity,
        "uuid": identity,
        "name": "Sandbox (not Monte Carlo)",
        "activeCollectionRegions": [],
        "bi": [],
        "etlContainers": [],
        "tableauAccounts": [],
        "dataCollectors": [_collector(identity)],
    }


def _collector(account: str) -> Node:
    """The one deployment of the account: `dcId` and `deploymentId` of a custom integration name it."""
    identity = str(uuid.uuid5(uuid.UUID(account), "deployment"))
    return {"id": identity, "uuid": identity, "name": "Sandbox deployment", "active": True, "agents": []}


def _warehouses(_source: Any, info: GraphQLResolveInfo) -> list[Node]:
    return [warehouse_node(r) for r in reading(info).rows("SELECT * FROM warehouse ORDER BY created_at, uuid")]


def _warehouse_collector(_warehouse: Node, info: GraphQLResolveInfo) -> Node:
    return _collector(reading(info).world.account.uuid)


def _push_events(warehouse: Node, info: GraphQLResolveInfo) -> list[Node]:
    at = reading(info)
    found = {r["event_type"]: r for r in at.rows("SELECT * FROM receipt WHERE warehouse = ?", warehouse["uuid"])}
    return [_push_event(feed, found.get(feed), at) for feed in _FEEDS]


def _push_event(feed: str, row: sqlite3.Row | None, at: Reading) -> Node:
    if row is None:
        return {"eventType": feed, "status": "NEVER_RECEIVED"}
    fresh = at.now - moment(row["last_at"]) <= STALE_AFTER
    return {
        "eventType": feed,
        "status": "ACTIVE" if fresh else "STALE",
        "firstReceived": row["first_at"],
        "lastReceived": row["last_at"],
        "lastInvocationId": row["last_invocation"],
    }


def _keys(
    _source: Any,
    info: GraphQLResolveInfo,
    scope: str | None = None,
    resourceUuid: str | None = None,  # noqa: N803
) -> list[Node]:
    at = reading(info)
    rows = at.rows("SELECT * FROM integration_key WHERE scope <> ? ORDER BY created_at, id", API_SCOPE)
    names = {r["uuid"]: warehouse_node(r) for r in at.rows("SELECT * FROM warehouse")}
    found = []
    for row in rows:
        allowed = json.loads(row["warehouses"]) if row["warehouses"] else []
        if scope is not None and row["scope"].lower() != scope.lower():
            continue
        if resourceUuid is not None and allowed and resourceUuid not in allowed:
            continue
        found.append(
            {
                "id": row["id"],
                "description": row["description"],
                "scope": row["scope"],
                "warehouses": [names[w] for w in allowed if w in names],
                "createdTime": row["created_at"],
                "createdBy": _USER,
            }
        )
    return found


def _create_key(
    _source: Any,
    info: GraphQLResolveInfo,
    description: str,
    scope: str,
    warehouseIds: list[str | None] | None = None,  # noqa: N803
) -> Node:
    at = reading(info)
    wanted = [w for w in warehouseIds or () if w]
    known = {r["uuid"] for r in at.rows("SELECT uuid FROM warehouse")}
    if unknown := [w for w in wanted if w not in known]:
        raise GraphQLError(f"No warehouse {', '.join(unknown)}")
    with at.world.store.write() as db:
        key = add_key(db, scope=scope, description=description, now=at.now, warehouses=wanted)
    return {"key": {"id": key.id, "secret": key.secret}}


def _delete_key(_source: Any, info: GraphQLResolveInfo, keyId: str) -> Node:  # noqa: N803
    with reading(info).world.store.write() as db:
        gone = db.execute("DELETE FROM integration_key WHERE id = ? AND scope <> ?", (keyId, API_SCOPE)).rowcount
    return {"deleted": gone == 1}


RESOLVERS: dict[str, Resolver] = {
    "Query.getUser": _user,
    "Query.getIntegrationKeys": _keys,
    "Mutation.createIntegrationKey": _create_key,
    "Mutation.deleteIntegrationKey": _delete_key,
    "User.account": _account,
    "Account.warehouses": _warehouses,
    "Warehouse.dataCollector": _warehouse_collector,
    "Warehouse.pushEvents": _push_events,
}
