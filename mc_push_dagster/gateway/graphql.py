"""The GraphQL side, reading: what Monte Carlo holds of what was pushed, as typed answers.

Monte Carlo's plans count GraphQL calls by the day (10,000 in the smallest), so lists come in pages of 500 and nothing
here asks once per table unless it is told to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.flow.answers import (
    CatalogEntry,
    DerivedColumns,
    Detectors,
    Direction,
    LineageNode,
    Measurement,
    Neighbourhood,
    PushStatus,
    QueryGroup,
    QueryKind,
    Resource,
    TableDetail,
)
from mc_push_dagster.gateway import documents
from mc_push_dagster.gateway.client import GraphQLClient
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.parse import (
    LAST_PAGE,
    at,
    column_of,
    entry,
    need_time,
    node_of,
    pages,
    query_group,
    resource,
)
from mc_push_dagster.model import Column, Window

PAGE = 500
_LINEAGE_TABLES = 12
"""`getTableLineage(mcons:)` takes at most twelve (SDK schema, description of the argument)."""
_ONE_BY_ONE = 10
"""Up to so many tables are asked for by name; more are found by reading the catalog's pages."""


class GraphQLReader:
    """Reads Monte Carlo's catalog, metrics and lineage; safe to share by threads. Errors: see `GraphQLClient.query`."""

    def __init__(self, connection: Connection, *, client: GraphQLClient | None = None) -> None:
        self._client = client or GraphQLClient(connection)

    def warehouses(self) -> tuple[Resource, ...]:
        """All resources of the account, each with what was last pushed to it. One call."""
        data = self._client.query(documents.WAREHOUSES)
        return tuple(resource(w) for w in at(data, "getUser", "account", "warehouses"))

    def push_events(self, resource_uuid: str) -> tuple[PushStatus, ...]:
        """When each kind of push last reached a resource. One call.

        Raises:
            FixConfiguration: if the account has no such resource.
        """
        for found in self.warehouses():
            if found.uuid.lower() == resource_uuid.lower():
                return found.push_events
        raise FixConfiguration(f"the Monte Carlo account of this API key has no resource {resource_uuid}")

    def tables(
        self,
        resource_uuid: str,
        *,
        full_table_ids: Collection[str] | None = None,
        invocation_id: str | None = None,
        deleted: bool | None = False,
    ) -> Iterator[CatalogEntry]:
        """Yield tables of the catalog, in pages of 500: all, those of one push request, or those named.

        `deleted` None gives deleted ones as well. Ten names or fewer cost one call each; more are sought in the pages
        of the whole resource, until all are found.
        """
        filters: dict[str, Any] = {"dwId": resource_uuid, "deleted": deleted}
        if invocation_id is not None:
            filters["invocation"] = invocation_id
        if full_table_ids is None:
            yield from self._tables(filters)
            return
        wanted = set(full_table_ids)
        if len(wanted) <= _ONE_BY_ONE:
            for name in sorted(wanted):
                yield from self._tables(filters | {"fullTableId": name})
            return
        for found in self._tables(filters):
            if found.full_table_id in wanted:
                wanted.remove(found.full_table_id)
                yield found
                if not wanted:
                    return

    def _tables(self, filters: Mapping[str, Any]) -> Iterator[CatalogEntry]:
        for page in pages(lambda after: self._tables_page(filters, after)):
            yield from (entry(edge["node"]) for edge in page["edges"])

    def _tables_page(self, filters: Mapping[str, Any], after: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        data = self._client.query(documents.TABLES, {**filters, "first": PAGE, "after": after})
        page = at(data, "getTables")
        return page, at(page, "pageInfo")

    def table(self, mcon: str) -> TableDetail | None:
        """Return one table with its newest columns; None if there is none. One call per 500 columns."""
        detail: dict[str, Any] | None = None
        columns: list[Column] = []

        def page(after: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
            nonlocal detail
            detail = self._client.query(documents.TABLE, {"mcon": mcon, "after": after}).get("getTable")
            versions = at(detail, "versions", "edges") if detail is not None else []
            fields = at(versions[0], "node", "fields") if versions else {"edges": [], "pageInfo": LAST_PAGE}
            return fields, at(fields, "pageInfo")

        for fields in pages(page):
            columns += [column_of(edge["node"]) for edge in fields["edges"]]
        if detail is None:
            return None
        return TableDetail(
            entry=entry(detail),
            description=detail.get("description"),
            view_query=detail.get("viewQuery"),
            columns=tuple(columns),
        )

    def detectors(self, mcon: str) -> Detectors:
        """Return how far the freshness and volume detectors of one table are. One call."""
        data = self._client.query(documents.DETECTORS, {"mcon": mcon})
        thresholds = (data.get("getTable") or {}).get("thresholds") or {}
        freshness, size = thresholds.get("freshness") or {}, thresholds.get("size") or {}
        return Detectors(
            freshness=freshness.get("status"),
            freshness_reason=freshness.get("reason"),
            size=size.get("sdStatus"),
            size_reason=size.get("sdReason"),
            unchanged_size=size.get("ucsStatus"),
            unchanged_size_reason=size.get("ucsReason"),
        )

    def metrics(self, mcon: str, metric: str, window: Window) -> tuple[Measurement, ...]:
        """Return the values of a metric (`total_row_count`, `total_byte_count` ...), at most 5,000. One call.

        Source of the names: push-ingest-api, "Check volume and freshness metrics".
        """
        variables = {"mcon": mcon, "metric": metric, "start": window.start, "end": window.end}
        data = self._client.query(documents.METRICS, variables)
        return tuple(
            Measurement(metric=at(m, "metric"), value=at(m, "value"), at=need_time(m, "measurementTimestamp"))
            for m in at(data, "getMetricsV4", "metrics") or ()
        )

    def lineage(self, mcons: Sequence[str], direction: Direction) -> Neighbourhood:
        """Return what is directly up- or downstream of tables. One call per twelve."""
        nodes: dict[str, LineageNode] = {}
        connected: dict[str, frozenset[str]] = {}
        for start in range(0, len(mcons), _LINEAGE_TABLES):
            some = list(mcons[start : start + _LINEAGE_TABLES])
            graph = self._client.query(documents.LINEAGE, {"mcons": some, "direction": direction}).get(
                "getTableLineage"
            )
            for node in (graph or {}).get("connectedNodes") or ():
                nodes[node["mcon"]] = node_of(node)
            for edge in (graph or {}).get("flattenedEdges") or ():
                others = frozenset(m for m in edge.get("directlyConnectedMcons") or () if m)
                connected[edge["mcon"]] = connected.get(edge["mcon"], frozenset()) | others
        return Neighbourhood(nodes=tuple(nodes.values()), connected=connected)

    def derived_columns(self, mcon: str, column: str) -> tuple[DerivedColumns, ...]:
        """Return the columns that take values from one column. One call per 1,000 tables."""
        found: list[DerivedColumns] = []

        def page(cursor: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
            variables = {"mcon": mcon, "column": column, "cursor": cursor}
            answer = self._client.query(documents.COLUMN_LINEAGE, variables).get("getDerivedTablesPartialLineage") or {}
            more = answer.get("isLastPage") is False
            return answer, {"hasNextPage": more, "endCursor": answer.get("cursor")}

        for answer in pages(page):
            found += [
                DerivedColumns(
                    mcon=at(d, "mcon"),
                    display_name=d.get("displayName"),
                    columns=tuple(at(c, "columnName") for c in d.get("columns") or ()),
                )
                for d in answer.get("destinations") or ()
            ]
        return tuple(found)

    def queries(self, mcon: str, kind: QueryKind, window: Window) -> Iterator[QueryGroup]:
        """Yield the queries that read or wrote a table, grouped by shape. One call per 1,000 groups."""

        def page(after: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
            variables = {"mcon": mcon, "kind": kind, "start": window.start, "end": window.end, "after": after}
            answer = self._client.query(documents.QUERIES, variables).get("getAggregatedQueries") or {}
            return answer, answer.get("pageInfo") or LAST_PAGE

        for answer in pages(page):
            yield from (query_group(q) for q in answer.get("aggregatedQueries") or ())

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
