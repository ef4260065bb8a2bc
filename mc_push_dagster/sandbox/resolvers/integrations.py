"""Custom integrations and the credentials they collect with (IOMETE guide, "Create the Custom Integration")."""

from __future__ import annotations

import socket
import sqlite3
import uuid
from typing import Any
from urllib.parse import urlsplit

from graphql import GraphQLEnumType, GraphQLError, GraphQLResolveInfo

from mc_push_dagster.sandbox.keys import add_warehouse
from mc_push_dagster.sandbox.reading import Node, Reading, Resolver, reading

CONNECT_SECONDS = 5.0
_REUSABLE = {"METADATA": "metadata", "QUERY_LOGS": "queryLogs", "LINEAGE": "lineage"}
"""schema, `ReusableCapability`, to the argument that configures it."""
_JOB_TYPES = {"metadata": "metadata", "queryLogs": "query_logs", "lineage": "lineage", "monitors": "sql_query"}
_NOT_LOGGED_IN = (
    "testSparkCredentials: the sandbox only saw that {host}:{port} takes connections;"
    " it did not log in, and kept no password"
)


def _test_spark(
    _source: Any,
    info: GraphQLResolveInfo,
    httpMode: Node | None = None,  # noqa: N803
    binaryMode: Node | None = None,  # noqa: N803
    connectionOptions: Node | None = None,  # noqa: N803
) -> Node:
    at = reading(info)
    if (httpMode is None) == (binaryMode is None):
        raise GraphQLError("Give either httpMode or binaryMode")
    host, port = _http_address(httpMode["url"]) if httpMode else _binary_address(binaryMode or {})
    note = "testSparkCredentials: nothing was tried (skipValidation)"
    if not (connectionOptions or {}).get("skipValidation"):
        try:
            socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise GraphQLError(f"Could not connect to {host}:{port}: {error.strerror or error}") from error
        note = _NOT_LOGGED_IN.format(host=host, port=port)
    at.notes.append(note)
    key = f"sandbox-credentials/{uuid.uuid4()}"
    with at.world.store.write() as db:
        db.execute("INSERT INTO credentials VALUES (?, ?, ?, ?)", (key, "SPARK", note, at.stamp))
    return {"key": key, "success": True}


def _http_address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise GraphQLError("httpMode.url must be like http://host:10000/cliservice") from error
    if not parts.hostname:
        raise GraphQLError("httpMode.url must be like http://host:10000/cliservice")
    return parts.hostname, port


def _binary_address(given: Node) -> tuple[str, int]:
    if not 1 <= given["port"] <= 65535:
        raise GraphQLError("binaryMode.port must be between 1 and 65535")
    return given["host"], given["port"]


def _custom_integration(
    _source: Any,
    info: GraphQLResolveInfo,
    name: str | None = None,
    warehouseUuid: str | None = None,  # noqa: N803
    **capabilities: Node | None,
) -> Node:
    at = reading(info)
    given = {c: v for c, v in capabilities.items() if v is not None}
    types = info.schema.type_map["ConnectionModelType"]
    assert isinstance(types, GraphQLEnumType)
    for capability, wanted in given.items():
        _check_capability(at, capability, wanted, set(types.values))
    with at.world.store.write() as db:
        warehouse = _warehouse(db, at, name, warehouseUuid)
        for capability, wanted in given.items():
            _configure(db, at, warehouse, capability, wanted)
        for capability, wanted in given.items():
            _check_reuse(db, warehouse, capability, wanted)
        connections = _connections(db, warehouse)
    return {"result": {"warehouseUuid": warehouse, "connections": connections}}


def _check_capability(at: Reading, capability: str, wanted: Node, known_types: set[str]) -> None:
    """The rules of `CapabilityConfigInput` (schema, its description)."""
    mode = wanted["mode"]
    if mode == "PUSH" and capability == "monitors":
        raise GraphQLError("monitors: PUSH is not supported, monitors need a connection to query")
    if mode == "REUSE" and not wanted.get("reuseCapability"):
        raise GraphQLError(f"{capability}: REUSE needs reuseCapability")
    if mode == "COLLECT":
        if missing := [f for f in ("connectionType", "credentialsKey", "deploymentId") if not wanted.get(f)]:
            raise GraphQLError(f"{capability}: COLLECT needs {', '.join(missing)}")
        if _model_type(wanted["connectionType"]) not in known_types:
            raise GraphQLError(f"{capability}: unknown connectionType {wanted['connectionType']}")
        # Inferred: only a key that a credentials test has given counts.
        if at.row("SELECT 1 FROM credentials WHERE key = ?", wanted["credentialsKey"]) is None:
            raise GraphQLError(f"{capability}: no such credentialsKey; run testSparkCredentials first")


def _warehouse(db: sqlite3.Connection, at: Reading, name: str | None, identity: str | None) -> str:
    if identity is None:
        if not name:
            raise GraphQLError("name is required to create an integration")
        return add_warehouse(db, name, "CUSTOM_INTEGRATION", at.now)
    if name is None:
        found = db.execute("SELECT count(*) FROM warehouse WHERE uuid = ?", (identity,)).fetchone()[0]
    else:
        found = db.execute("UPDATE warehouse SET name = ? WHERE uuid = ?", (name, identity)).rowcount
    if not found:
        raise GraphQLError(f"No warehouse {identity}")
    return identity


def _configure(db: sqlite3.Connection, at: Reading, warehouse: str, capability: str, wanted: Node) -> None:
    mode = wanted["mode"]
    kind = _model_type(wanted["connectionType"]) if mode == "COLLECT" else None
    db.execute(
        "INSERT INTO connection VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (warehouse, capability) DO UPDATE SET"
        " uuid = excluded.uuid, mode = excluded.mode, type = excluded.type, name = excluded.name,"
        " reuse = excluded.reuse",
        (
            *(str(uuid.uuid4()), warehouse, capability, mode, kind),
            *(f"{kind} for {capability}" if kind else None, _REUSABLE.get(wanted.get("reuseCapability") or "")),
            at.stamp,
        ),
    )


def _check_reuse(db: sqlite3.Connection, warehouse: str, capability: str, wanted: Node) -> None:
    if wanted["mode"] != "REUSE":
        return
    other = _REUSABLE[wanted["reuseCapability"]]
    row = db.execute(
        "SELECT mode FROM connection WHERE warehouse = ? AND capability = ?", (warehouse, other)
    ).fetchone()
    if other == capability or row is None or row["mode"] != "COLLECT":
        raise GraphQLError(f"{capability}: there is no connection of {other} to reuse")


def _connections(db: sqlite3.Connection, warehouse: str) -> list[Node]:
    """The connections of an integration; a capability that is pushed has none."""
    rows = {r["capability"]: r for r in db.execute("SELECT * FROM connection WHERE warehouse = ?", (warehouse,))}
    found = []
    for capability, row in sorted(rows.items()):
        shown = rows.get(row["reuse"]) if row["mode"] == "REUSE" else row
        if shown is not None and shown["mode"] == "COLLECT":
            users = [c for c, r in rows.items() if c == shown["capability"] or r["reuse"] == shown["capability"]]
            jobs = sorted(_JOB_TYPES[c] for c in users)
            found.append({"capability": capability, "connection": _connection(shown, jobs)})
    return found


def _connection(row: sqlite3.Row, jobs: list[str]) -> Node:
    return {
        "id": row["uuid"],
        "uuid": row["uuid"],
        "type": row["type"],
        "name": row["name"],
        "jobTypes": jobs,
        "createdOn": row["created_at"],
        "isActive": True,
        "connectionIdentifiers": [],
    }


def _model_type(text: str) -> str:
    return text.upper().replace("-", "_")


def _warehouse_connections(warehouse: Node, info: GraphQLResolveInfo) -> list[Node]:
    found = {c["connection"]["uuid"]: c["connection"] for c in _connections(reading(info).db, warehouse["uuid"])}
    return list(found.values())


RESOLVERS: dict[str, Resolver] = {
    "Mutation.testSparkCredentials": _test_spark,
    "Mutation.createOrUpdateCustomIntegration": _custom_integration,
    "Warehouse.connections": _warehouse_connections,
}
