"""Queries by table, over the pushed query logs."""

from __future__ import annotations

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
    # sqlglot is imported by who asks for queries, not by every push.
    from mc_push_dagster.sandbox.attribution import attribute, touches

    at = reading(info)
    if not 1 <= limit <= QUERIES_LIMIT:
        raise GraphQLError(f"limit is between 1 and {QUERIES_LIMIT}")
    if moment(endTime) < moment(startTime):
        raise GraphQLError("endTime is before startTime")
    table = at.row("SELECT * FROM asset WHERE mcon = ?", mcon)
    if table is None:
        return {"aggregatedQueries": [], "pageInfo": {"hasNextPage": False}}
    found = []
    for row in at.rows(_CANDIDATES, table["warehouse"], startTime, endTime, table["name"], user, user):
        parsed = attribute(row["text"], row["log_type"])
        names = parsed.reads if queryType == "read" else parsed.writes
        if not touches(names, table["database"], table["schema"], table["name"]):
            continue
        if category is None or category == parsed.category:
            found.append((row, parsed.category))
    start = read_cursor(endCursor) if endCursor else 0
    page = found[start : start + limit]
    end = start + len(page)
    more = end < len(found)
    return {
        "aggregatedQueries": [
            {
                "date": row["day"],
                "queryHash": row["hash"],
                "groupId": row["hash"],
                "user": row["user"],
                "category": kind,
                "latestQuery": row["text"][: max(0, queryCharacters)],
                "latestQueryId": row["query_id"],
                "latestQueryTimestamp": row["latest"],
                "count": row["count"],
                "averageRunTime": round(row["milliseconds"]),
            }
            for row, kind in page
        ],
        "pageInfo": {"hasNextPage": more, "endCursor": cursor(end) if more else None},
    }


RESOLVERS: dict[str, Resolver] = {"Query.getAggregatedQueries": _aggregated}
