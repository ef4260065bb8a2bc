"""Statements to edges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mc_push_dagster.lineage.catalog import Catalog
from mc_push_dagster.lineage.statement import Skipped, Statement
from mc_push_dagster.model import ColumnEdge, Evidence, EvidenceKind, LineageEdge, TableRef

DERIVED = 0.9


def derive(
    statements: Iterable[Statement], *, dialect: str, catalog: Catalog, workers: int = 1
) -> Iterator[LineageEdge | ColumnEdge | Skipped]:
    """Yield the edges of each statement, in order; what cannot be used is yielded as `Skipped`, nothing is raised for it."""
    del workers
    for statement in statements:
        try:
            trees = sqlglot.parse(statement.sql, dialect=dialect)
        except (SqlglotError, RecursionError):
            yield Skipped(reason="not parsed", query_id=statement.query_id)
            continue
        for tree in trees:
            yield from _tables(tree, statement, catalog) if tree is not None else ()


def _tables(tree: exp.Expr, statement: Statement, catalog: Catalog) -> Iterator[LineageEdge | Skipped]:
    target = statement.view
    written: exp.Table | None = None
    if isinstance(tree, (exp.Create, exp.Insert, exp.Merge, exp.Update)):
        written = tree.this.find(exp.Table)
    if written is not None and target is None:
        target = _resolve(written, statement, catalog)
    if target is None:
        yield Skipped(reason="no destination", query_id=statement.query_id)
        return
    ctes = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    kind, reference = (
        (EvidenceKind.VIEW, str(statement.view)) if statement.view else (EvidenceKind.QUERY, statement.query_id)
    )
    evidence = Evidence(
        kind=kind, reference=reference, first_seen=statement.at, last_seen=statement.at, confidence=DERIVED
    )
    seen: set[TableRef] = {target}
    for table in tree.find_all(exp.Table):
        if table is written or table.name in ctes:
            continue
        source = _resolve(table, statement, catalog)
        if source is not None and source not in seen:
            seen.add(source)
            yield LineageEdge(source=source, destination=target, evidence=evidence)


def _resolve(table: exp.Table, statement: Statement, catalog: Catalog) -> TableRef | None:
    parts = [part.name for part in table.parts]
    found = catalog.find(parts, statement.database, statement.schema)
    if found is not None:
        return found
    full = [statement.database, statement.schema, None][: 3 - len(parts)] + parts
    if len(full) != 3 or not all(full):
        return None
    return TableRef(database=full[0] or "", schema=full[1] or "", name=full[2] or "")
