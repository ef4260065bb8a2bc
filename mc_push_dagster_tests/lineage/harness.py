"""Lineage in a notation that fits on a line: `orders.id > report.id`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mc_push_dagster.lineage import DictCatalog, Skipped, Statement, derive
from mc_push_dagster.lineage.cases import answer
from mc_push_dagster.model import ColumnEdge, LineageEdge, TableRef

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP: dict[str, list[str]] = {
    "orders": ["id", "customer_id", "total", "placed_at"],
    "customers": ["id", "name", "country"],
    "lines": ["order_id", "sku", "quantity", "price"],
    "report": ["id", "name", "amount"],
}


def lineage(sql: str | list[str], dialect: str = "generic", *, schemas: Any = SHOP, **case: Any) -> dict[str, Any]:
    """The answer to a case; it must hold no error."""
    found = answer({"sql": sql, "dialect": dialect, "schemas": schemas, **case})
    assert found["error"] is None, found["error"]
    return found


def tables(found: Mapping[str, Any]) -> set[str]:
    """Edges between tables: {"orders > report"}."""
    return {f"{e['source']} > {e['destination']}" for e in found["tables"]}


def columns(found: Mapping[str, Any]) -> set[str]:
    """Edges between columns: {"orders.id > report.id"}; of a bare query {"orders.id > id"}."""
    return {
        f"{e['source_table']}.{e['source_column']} > "
        + ".".join(p for p in (e["destination_table"], e["destination_column"]) if p)
        for e in found["columns"]
    }


def ref(name: str, schema: str = "S", database: str = "D") -> TableRef:
    return TableRef(database=database, schema=schema, name=name)


def statements(*sql: str, session: str | None = "1", **more: Any) -> list[Statement]:
    """One statement a second, in one session, with the defaults D and S."""
    defaults = {"database": "D", "schema": "S"} | more
    return [
        Statement(sql=text, query_id=f"q{i}", at=NOON + timedelta(seconds=i), session_id=session, **defaults)
        for i, text in enumerate(sql)
    ]


def run(
    log: list[Statement], *, dialect: str = "snowflake", catalog: DictCatalog | None = None, **more: Any
) -> tuple[set[str], set[str], list[str]]:
    """Table edges, column edges and reasons of what was skipped, of a log."""
    edges: set[str] = set()
    found: set[str] = set()
    skipped: list[str] = []
    for item in derive(log, dialect=dialect, catalog=catalog or DictCatalog({}), **more):
        if isinstance(item, Skipped):
            skipped.append(item.reason)
        elif isinstance(item, LineageEdge):
            edges.add(f"{item.source.name} > {item.destination.name}")
        elif isinstance(item, ColumnEdge):
            found.add(f"{item.source.name}.{item.source_column} > {item.destination.name}.{item.destination_column}")
    return edges, found, skipped
