"""The GraphQL side, changing single objects: tables that are gone, and lineage that no push can express.

As in `setup`, nothing is tried again by itself; all of it may be repeated by the caller without harm, since nodes and
edges are created or updated and deleting what is gone deletes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mc_push_dagster.errors import Rejected
from mc_push_dagster.flow.answers import LineageNode
from mc_push_dagster.gateway import documents
from mc_push_dagster.gateway.client import GraphQLClient
from mc_push_dagster.gateway.parse import at, node_of, time_of

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""The documented `expireAt` of what shall stay; without it custom nodes and edges go after 7 days (push-ingest-api)."""
_DELETE_AT_ONCE = 1000
"""push-ingest-api, "Push table deletion": at most 1,000 MCONs per call."""


def delete_pushed_tables(client: GraphQLClient, mcons: Sequence[str]) -> int:
    """Delete push-ingested tables with their lineage nodes and return how many were deleted; 1,000 a call.

    Each call is all or nothing. Column lineage stays until it expires.

    Raises:
        Rejected: if Monte Carlo says that a call did not succeed; calls before it stand.
        MaybeDelivered: if no answer came: list the tables before trying again.
    """
    deleted = 0
    for start in range(0, len(mcons), _DELETE_AT_ONCE):
        data = client.mutate(documents.DELETE_TABLES, {"mcons": list(mcons[start : start + _DELETE_AT_ONCE])})
        answer = data.get("deletePushIngestedTables") or {}
        if not answer.get("success"):
            raise Rejected(f"Monte Carlo deleted {deleted} tables and refused the others", details=answer)
        deleted += int(answer.get("deletedCount") or 0)
    return deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRef:
    """An object in the lineage graph: a table by its full table id, or something of one's own (a report, a file)."""

    object_type: str
    """`table`, `view`, or a type of one's own."""
    object_id: str
    resource_uuid: str

    def variables(self) -> dict[str, Any]:
        return {"objectType": self.object_type, "objectId": self.object_id, "resourceId": self.resource_uuid}


def put_lineage_node(
    client: GraphQLClient,
    node: NodeRef,
    *,
    name: str | None = None,
    properties: Mapping[str, str] | None = None,
    expires_at: datetime = NEVER,
) -> LineageNode:
    """Create or update a custom lineage node."""
    variables = {
        "type": node.object_type,
        "id": node.object_id,
        "resource": node.resource_uuid,
        "name": name,
        "properties": [{"propertyName": n, "propertyValue": v} for n, v in (properties or {}).items()],
        "expireAt": expires_at,
    }
    data = client.mutate(documents.LINEAGE_NODE, variables)
    return node_of(at(data, "createOrUpdateLineageNode", "node"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomEdge:
    """A custom edge as Monte Carlo keeps it."""

    source_mcon: str
    destination_mcon: str
    expires_at: datetime | None


def put_lineage_edge(
    client: GraphQLClient, source: NodeRef, destination: NodeRef, *, expires_at: datetime = NEVER
) -> CustomEdge:
    """Create or update a custom lineage edge from `source` to what is downstream of it."""
    variables = {"source": source.variables(), "destination": destination.variables(), "expireAt": expires_at}
    edge = at(client.mutate(documents.LINEAGE_EDGE, variables), "createOrUpdateLineageEdge", "edge")
    return CustomEdge(
        source_mcon=at(edge, "source", "mcon"),
        destination_mcon=at(edge, "destination", "mcon"),
        expires_at=time_of(edge.get("expireAt")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedNode:
    """What went with a lineage node."""

    objects: int
    nodes: int
    edges: int


def delete_lineage_node(client: GraphQLClient, mcon: str) -> DeletedNode:
    """Delete a custom lineage node with its edges."""
    answer = client.mutate(documents.DELETE_LINEAGE_NODE, {"mcon": mcon}).get("deleteLineageNode") or {}
    return DeletedNode(
        objects=answer.get("objectsDeleted") or 0,
        nodes=answer.get("nodesDeleted") or 0,
        edges=answer.get("edgesDeleted") or 0,
    )
