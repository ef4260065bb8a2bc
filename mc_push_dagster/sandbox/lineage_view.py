"""The lineage around a table, placed for drawing."""

from __future__ import annotations

import json
from typing import Any

from mc_push_dagster.sandbox import drawing
from mc_push_dagster.sandbox.reading import Reading
from mc_push_dagster.sandbox.resolvers.lineage import neighbours


def graph(at: Reading, mcon: str, hops: int) -> dict[str, Any]:
    """The lineage around a table, placed for drawing."""
    up, down = (_steps(at, mcon, hops, upstream=u) for u in (True, False))
    layer_of = drawing.layers(mcon, up, down)
    wanted = json.dumps(list(layer_of))
    edges = {
        (r["source"], r["destination"]): r
        for r in at.rows(
            "SELECT * FROM edge WHERE source IN (SELECT value FROM json_each(?)) AND"
            " destination IN (SELECT value FROM json_each(?)) AND expires_at > ?",
            wanted,
            wanted,
            at.stamp,
        )
    }
    nodes = {m: _graph_node(m) for m in layer_of}
    for row in at.rows("SELECT * FROM node WHERE mcon IN (SELECT value FROM json_each(?))", wanted):
        nodes[row["mcon"]] |= {"custom": bool(row["custom"]), "kind": row["object_type"]}
        if row["custom"]:
            nodes[row["mcon"]]["name"] = row["name"]
    there = "SELECT mcon FROM asset WHERE deleted_at IS NULL AND mcon IN (SELECT value FROM json_each(?))"
    for row in at.rows(there, wanted):
        nodes[row["mcon"]]["catalogued"] = True
    names = {m: n["name"] for m, n in nodes.items()}
    return {
        "drawn": drawing.arrange(layer_of, list(edges), names),
        "nodes": nodes,
        "custom": {pair for pair, row in edges.items() if row["custom"]},
        "size": (drawing.NODE_WIDTH, drawing.NODE_HEIGHT),
        "hops": hops,
    }


def _steps(at: Reading, mcon: str, hops: int, *, upstream: bool) -> list[dict[str, list[str]]]:
    steps: list[dict[str, list[str]]] = []
    frontier, known = [mcon], {mcon}
    for _ in range(hops):
        step = neighbours(at, frontier, upstream=upstream)
        frontier = [m for m in dict.fromkeys(f for found in step.values() for f in found) if m not in known]
        known.update(frontier)
        steps.append(step)
        if not frontier:
            break
    return steps


def _graph_node(mcon: str) -> dict[str, Any]:
    _, _, _, kind, identity = mcon.split("++", 4)
    place, _, name = identity.partition(".") if ":" in identity else ("", "", identity)
    return {
        "name": name or identity,
        "place": place.replace(":", "."),
        "kind": kind,
        "custom": False,
        "catalogued": False,
    }


def busiest(at: Reading) -> str | None:
    """The catalogued table with the most lineage."""
    row = at.row(
        "SELECT a.mcon FROM (SELECT source AS mcon FROM edge WHERE expires_at > ?1"
        " UNION ALL SELECT destination FROM edge WHERE expires_at > ?1) AS e JOIN asset AS a ON a.mcon = e.mcon"
        " WHERE a.deleted_at IS NULL GROUP BY a.mcon ORDER BY count(*) DESC, a.mcon LIMIT 1",
        at.stamp,
    )
    return row[0] if row else None
