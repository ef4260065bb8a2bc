"""Queries by table, over the pushed query logs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from mc_push_dagster.sandbox.clock import moment
from mc_push_dagster.sandbox.contract import QUERIES_LIMIT
from mc_push_dagster.sandbox.reading import Node, Resolver, cursor, read_cursor, reading

_CANDIDATES = """
SELECT q.hash, q.log_type, q.user, t.text, substr(q.started_at, 1, 10) AS day, count(*) AS count,
  max(q.started_at) AS latest, max(q.query_id) AS query_id,
  avg((julianday(q.ended_at) - julianday(q.started_at)) * 86400000) AS milliseconds
FROM query AS q JOIN query_text AS t ON t.hash = q.hash
WHERE q.warehouse = ? AND q.started_at >= ? AND q.started_at <= ? AND instr(lower(t.text), lower(?)) > 0
  AND (? IS NULL OR q.user = ?)
GROUP BY q.hash, q.log_type, q.user, day ORDER BY latest DESC, q.hash
"""
"""A statement that touches a table has the table's name in it: parsing only those keeps this quick."""


def _aggregated(
    _source: Any,
    info: GraphQLResolveInfo,
    mcon: str,
    startTime: str,  # noqa: N803
    endTime: str,  # noqa: N803
    queryType: str,  # noqa: N803
    limit: int,
    endCursor: str | None = None,  # noqa: N803
    category: str | None = None,
    user: str | None = None,
    queryCharacters: int = 50,  # noqa: N803
) -> Node:
    at = reading(info)
    if not 1 <= limit <= QUERIES_LIMIT:
        raise GraphQLError(f"limit is between 1 and {QUERIES_LIMIT}")
    if moment(endTime) < moment(startTime):
        raise GraphQLError("endTime is before startTime")
    table = at.row("SELECT * FROM asset WHERE mcon = ?", mcon)
    if table is None:
        return {"aggregatedQueries": [], "pageInfo": {"hasNextPage": False}}
    rows = at.rows(_CANDIDATES, table["warehouse"], startTime, endTime, table["name"], user, user)
    found = [(r, kind) for r, kind in _touching(rows, table, queryType) if category in (None, kind)]
    start = read_cursor(endCursor) if endCursor else 0
    end = min(start + limit, len(found))
    more = end < len(found)
    return {
        "aggregatedQueries": [_query(row, kind, queryCharacters) for row, kind in found[start:end]],
        "pageInfo": {"hasNextPage": more, "endCursor": cursor(end) if more else None},
    }


def _touching(
    rows: Iterable[sqlite3.Row], table: sqlite3.Row, query_type: str
) -> Iterator[tuple[sqlite3.Row, str | None]]:
    """Those queries that read (or write) `table`, each with its category."""
    # sqlglot is imported by who asks for queries, not by every push.
    from mc_push_dagster.sandbox.attribution import attribute, touches

    for row in rows:
        parsed = attribute(row["text"], row["log_type"])
        names = parsed.reads if query_type == "read" else parsed.writes
        if touches(names, table["database"], table["schema"], table["name"]):
            yield row, parsed.category


def _query(row: sqlite3.Row, category: str | None, characters: int) -> Node:
    return {
        "date": row["day"],
        "queryHash": row["hash"],
        "groupId": row["hash"],
        "user": row["user"],
        "category": category,
        "latestQuery": row["text"][: max(0, characters)],
        "latestQueryId": row["query_id"],
        "latestQueryTimestamp": row["latest"],
        "count": row["count"],
        "averageRunTime": round(row["milliseconds"]),
    }


RESOLVERS: dict[str, Resolver] = {"Query.getAggregatedQueries": _aggregated}
