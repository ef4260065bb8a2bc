"""From the JSON of GraphQL answers to their nouns; what is missing is a broken contract, named by its path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from mc_push_dagster.errors import BrokenContract
from mc_push_dagster.flow.answers import CatalogEntry, LineageNode, PushStatus, QueryGroup, Resource
from mc_push_dagster.model import Column

LAST_PAGE = {"hasNextPage": False, "endCursor": None}
Page = Callable[[str | None], tuple[dict[str, Any], dict[str, Any]]]


def pages(page: Page) -> Iterator[dict[str, Any]]:
    """Follow cursors to the last page; a cursor that does not move is an endless list, not a long one."""
    after: str | None = None
    while True:
        answer, info = page(after)
        yield answer
        if not info.get("hasNextPage"):
            return
        following = info.get("endCursor")
        if not following or following == after:
            raise BrokenContract("a GraphQL list says that it goes on, but gives no new cursor")
        after = following


def at(value: Any, *path: str) -> Any:
    """Walk into an answer.

    Raises:
        BrokenContract: if a step is missing.
    """
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            raise BrokenContract(f"a GraphQL answer lacks {'.'.join(path)}")
        value = value[step]
    return value


def time_of(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BrokenContract(f"a GraphQL answer has {value!r} where a time belongs") from None
    # The server keeps UTC; some of its fields leave the zone out.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def need_time(value: Mapping[str, Any], name: str) -> datetime:
    moment = time_of(at(value, name))
    if moment is None:
        raise BrokenContract(f"a GraphQL answer has no {name}")
    return moment


def resource(node: Mapping[str, Any]) -> Resource:
    return Resource(
        uuid=at(node, "uuid"),
        name=node.get("name"),
        connection_type=at(node, "connectionType"),
        push_events=tuple(
            PushStatus(
                event_type=at(e, "eventType"),
                status=at(e, "status"),
                first_received=time_of(e.get("firstReceived")),
                last_received=time_of(e.get("lastReceived")),
                last_invocation_id=e.get("lastInvocationId"),
            )
            for e in node.get("pushEvents") or ()
        ),
    )


def entry(node: Mapping[str, Any]) -> CatalogEntry:
    return CatalogEntry(
        mcon=at(node, "mcon"),
        full_table_id=at(node, "fullTableId"),
        table_type=node.get("tableType"),
        ingest_type=node.get("ingestType"),
        invocation_id=node.get("ingestInvocationId"),
        last_observed=time_of(node.get("lastObserved")),
        is_deleted=bool(node.get("isDeleted")),
    )


def column_of(node: Mapping[str, Any]) -> Column:
    return Column(name=at(node, "name"), type=at(node, "fieldType") or "", description=node.get("description") or None)


def node_of(node: Mapping[str, Any]) -> LineageNode:
    return LineageNode(
        mcon=at(node, "mcon"),
        display_name=node.get("displayName"),
        object_type=node.get("objectType"),
        is_custom=bool(node.get("isCustom")),
        expires_at=time_of(node.get("expireAt")),
    )


def query_group(node: Mapping[str, Any]) -> QueryGroup:
    return QueryGroup(
        query_hash=at(node, "queryHash"),
        day=node.get("date"),
        user=node.get("user"),
        category=node.get("category"),
        count=at(node, "count"),
        latest_at=time_of(node.get("latestQueryTimestamp")),
    )
