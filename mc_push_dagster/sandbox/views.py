"""What the pages show, read from the store: plain data for the templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mc_push_dagster.sandbox import detectors, drawing
from mc_push_dagster.sandbox.clock import moment, stamp
from mc_push_dagster.sandbox.journal import SeenRequest, seen
from mc_push_dagster.sandbox.lineage_view import graph
from mc_push_dagster.sandbox.reading import Reading
from mc_push_dagster.sandbox.resolvers.tables import samples
from mc_push_dagster.sandbox.world import World

PER_PAGE = 50
MOST_POINTS = 400
_INGEST = "path GLOB '/ingest/*'"
_BODY_SHOWN = 40_000
MOST_HOPS = 5
_COUNTS = """
SELECT (SELECT count(*) FROM asset WHERE deleted_at IS NULL) AS tables,
  (SELECT coalesce(sum(json_array_length(fields)), 0) FROM asset WHERE deleted_at IS NULL) AS columns,
  (SELECT count(*) FROM edge WHERE expires_at > ?1) AS edges,
  (SELECT count(*) FROM column_edge WHERE expires_at > ?1) AS column_edges,
  (SELECT count(*) FROM query) AS queries,
  (SELECT count(*) FROM invocation) AS accepted,
  (SELECT count(*) FROM invocation WHERE applied = 0) AS waiting,
  (SELECT count(*) FROM request WHERE path GLOB '/ingest/*' AND coalesce(status, 0) <> 202) AS refused,
  (SELECT coalesce(sum(size), 0) FROM request WHERE path GLOB '/ingest/*') AS bytes
"""

Fields = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    rows: list[Any]
    number: int
    total: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PER_PAGE))


@contextmanager
def looking(world: World) -> Iterator[Reading]:
    """Everything that is visible by now."""
    world.intake.settle()
    with world.store.read() as db:
        yield Reading(world=world, db=db, now=world.clock.now())


def overview(at: Reading) -> dict[str, Any]:
    one = at.row(_COUNTS, at.stamp)
    assert one is not None
    since = stamp(at.now - timedelta(hours=48))
    pushed = [(moment(r["at"]), r["events"]) for r in at.rows("SELECT at, events FROM invocation WHERE at > ?", since)]
    return {
        "counts": dict(one),
        "activity": drawing.by_hour(pushed, end=at.now, hours=48),
        "warehouses": _warehouses(at),
        "recent": _requests(at, "WHERE invocation IS NOT NULL", 8),
        "refused": _requests(at, f"WHERE {_INGEST} AND coalesce(status, 0) <> 202", 6),
        "faults": [f for f in at.world.faults.describe() if f["left"] != 0],
        "shift": at.world.clock.shift(),
    }


def _warehouses(at: Reading) -> list[dict[str, Any]]:
    receipts: dict[str, list[dict[str, Any]]] = {}
    for row in at.rows("SELECT * FROM receipt ORDER BY event_type"):
        receipts.setdefault(row["warehouse"], []).append(dict(row))
    sql = (
        "SELECT w.*, (SELECT count(*) FROM asset AS a WHERE a.warehouse = w.uuid AND a.deleted_at IS NULL) AS tables"
        " FROM warehouse AS w ORDER BY w.created_at, w.uuid"
    )
    sources: dict[str, list[dict[str, Any]]] = {}
    for row in at.rows("SELECT * FROM connection ORDER BY capability"):
        sources.setdefault(row["warehouse"], []).append(dict(row))
    return [
        dict(r) | {"receipts": receipts.get(r["uuid"], []), "sources": sources.get(r["uuid"], [])} for r in at.rows(sql)
    ]


def _requests(at: Reading, where: str, most: int, start: int = 0) -> list[SeenRequest]:
    columns = "seq, at, method, path, status, outcome, invocation, reason, NULL AS body, size, trace_id, label"
    sql = f"SELECT {columns} FROM request {where} ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608 - texts of this file
    return [seen(r) for r in at.rows(sql, most, start)]


def tables(at: Reading, search: str, number: int) -> Page:
    where = "instr(lower(full_table_id), lower(?)) > 0"
    total = at.row(f"SELECT count(*) FROM asset WHERE {where}", search)  # noqa: S608
    rows = at.rows(
        f"SELECT * FROM asset WHERE {where} ORDER BY deleted_at IS NOT NULL, database, schema, name"  # noqa: S608
        " LIMIT ? OFFSET ?",
        search,
        PER_PAGE,
        (number - 1) * PER_PAGE,
    )
    return Page(rows=[_listed(at, dict(r)) for r in rows], number=number, total=total[0] if total else 0)


def _listed(at: Reading, table: dict[str, Any]) -> dict[str, Any]:
    pushed = detectors.hourly(samples(at, table["mcon"]))
    counted = [(s.at, float(s.row_count)) for s in pushed if s.row_count is not None]
    return table | {
        "columns": len(json.loads(table["fields"])) if table["fields"] else None,
        "row_count": next((s.row_count for s in reversed(pushed) if s.row_count is not None), None),
        "last_update": next((s.last_update for s in reversed(pushed) if s.last_update is not None), None),
        "spark": drawing.chart(drawing.thin(counted, 60), width=120, height=28),
        "freshness": detectors.freshness(pushed, at.now),
        "volume": detectors.volume(pushed, at.now),
    }


def table(at: Reading, mcon: str, hops: int) -> dict[str, Any] | None:
    row = at.row("SELECT * FROM asset WHERE mcon = ?", mcon)
    if row is None:
        return None
    pushed = detectors.hourly(samples(at, mcon))
    charts = {
        "rows": [(s.at, float(s.row_count)) for s in pushed if s.row_count is not None],
        "bytes": [(s.at, float(s.byte_count)) for s in pushed if s.byte_count is not None],
        "age": [(s.at, (s.at - s.last_update).total_seconds()) for s in pushed if s.last_update is not None],
    }
    versions = [dict(r) for r in at.rows("SELECT * FROM schema_version WHERE mcon = ? ORDER BY seq", mcon)]
    return _listed(at, dict(row)) | {
        "fields": json.loads(row["fields"]) if row["fields"] else None,
        "tags": json.loads(row["tags"]) if row["tags"] else [],
        "warehouse_name": _warehouse_name(at, row["warehouse"]),
        "charts": {
            name: drawing.chart(drawing.thin(points, MOST_POINTS), width=640, height=132, zero=name == "age", margin=8)
            for name, points in charts.items()
        },
        "history": _history(versions),
        "graph": graph(at, mcon, hops),
        "column_edges": _column_edges(at, mcon),
        "invocations": _invocations(at, mcon),
    }


def _warehouse_name(at: Reading, identity: str) -> str:
    row = at.row("SELECT name FROM warehouse WHERE uuid = ?", identity)
    return row["name"] if row else identity


def _history(versions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each stored schema against the one before, the newest first."""
    found = []
    before: Fields = []
    for version in versions:
        now: Fields = json.loads(version["fields"])
        old, new = ({f["name"]: f["type"] for f in fields} for fields in (before, now))
        found.append(
            {
                "at": moment(version["at"]),
                "invocation": version["invocation"],
                "columns": len(now),
                "added": [n for n in new if n not in old] if before else [],
                "removed": [n for n in old if n not in new],
                "retyped": [(n, old[n], new[n]) for n in new if n in old and old[n] != new[n]],
            }
        )
        before = now
    return found[::-1]


def _column_edges(at: Reading, mcon: str) -> list[dict[str, Any]]:
    sql = (
        "SELECT * FROM column_edge WHERE (destination = ? OR source = ?) AND expires_at > ?"
        " ORDER BY destination = ? DESC, destination_column, source LIMIT 200"
    )
    return [dict(r) for r in at.rows(sql, mcon, mcon, at.stamp, mcon)]


def _invocations(at: Reading, mcon: str) -> list[dict[str, Any]]:
    sql = (
        "SELECT i.* FROM invocation AS i WHERE i.id IN (SELECT invocation FROM sample WHERE mcon = ?1 UNION"
        " SELECT invocation FROM schema_version WHERE mcon = ?1 UNION SELECT invocation FROM asset WHERE mcon = ?1)"
        " ORDER BY i.seq DESC LIMIT 6"
    )
    return [dict(r) for r in at.rows(sql, mcon)]


def queries(at: Reading, search: str, number: int) -> Page:
    source = "FROM query AS q JOIN query_text AS t ON t.hash = q.hash WHERE instr(lower(t.text), lower(?)) > 0"
    total = at.row(f"SELECT count(*) {source}", search)
    rows = at.rows(
        f"SELECT q.*, substr(t.text, 1, 2000) AS text {source} ORDER BY q.started_at DESC, q.seq DESC LIMIT ? OFFSET ?",
        search,
        PER_PAGE,
        (number - 1) * PER_PAGE,
    )
    listed = [
        dict(r) | {"started": moment(r["started_at"]), "took": moment(r["ended_at"]) - moment(r["started_at"])}
        for r in rows
    ]
    return Page(rows=listed, number=number, total=total[0] if total else 0)


_SHOWN = {
    "pushes": f"WHERE {_INGEST}",
    "refused": f"WHERE {_INGEST} AND coalesce(status, 0) <> 202",
    "graphql": "WHERE path = '/graphql'",
    "all": "",
}


def requests(at: Reading, shown: str, number: int) -> Page:
    where = _SHOWN.get(shown, _SHOWN["pushes"])
    total = at.row(f"SELECT count(*) FROM request {where}")  # noqa: S608
    rows = _requests(at, where, PER_PAGE, (number - 1) * PER_PAGE)
    return Page(rows=rows, number=number, total=total[0] if total else 0)


def request(at: Reading, *, seq: str | None, invocation: str | None) -> dict[str, Any] | None:
    """One request, by its number or by the invocation id it was answered."""
    field, value = ("seq", seq) if seq is not None else ("invocation", invocation)
    row = at.row(f"SELECT * FROM request WHERE {field} = ?", value)  # noqa: S608
    if row is None:
        return None
    one = seen(row)
    taken = at.row("SELECT * FROM invocation WHERE id = ?", one.invocation_id) if one.invocation_id else None
    return {
        "one": one,
        "taken": dict(taken) | {"notes": json.loads(taken["notes"] or "[]")} if taken else None,
        "body": _pretty(one.body),
        "cut": one.body is not None and len(one.body) > _BODY_SHOWN,
        "milliseconds": row["milliseconds"],
        "key_id": row["key_id"],
    }


def _pretty(body: bytes | None) -> str | None:
    if body is None:
        return None
    if len(body) <= _BODY_SHOWN:
        try:
            return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        except ValueError:
            pass
    return body[:_BODY_SHOWN].decode("utf-8", "replace")
