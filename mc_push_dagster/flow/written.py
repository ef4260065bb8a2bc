"""Lineage of SQL where a warehouse's SQL calls tables by other names than Monte Carlo does.

Spark and Hive know a database and a table; what is pushed as database and schema is a choice (docs/iomete.md). SQL
is therefore resolved by the names that it is written with, and the edges are told by the names that are pushed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mc_push_dagster.lineage.catalog import Catalog
from mc_push_dagster.lineage.statement import Skipped, Statement
from mc_push_dagster.model import ColumnEdge, EvidenceKind, LineageEdge, TableRef
from mc_push_dagster.warehouses.base import Naming, Warehouse

if TYPE_CHECKING:
    from mc_push_dagster.lineage.opinion import SecondOpinion


def derived(
    warehouse: Warehouse,
    statements: Iterable[Statement],
    *,
    catalog: Catalog,
    workers: int = 1,
    opinion: SecondOpinion | None = None,
) -> Iterator[LineageEdge | ColumnEdge | Skipped]:
    """`lineage.derive` in the warehouse's dialect and names; `catalog` and views go by the names that are pushed."""
    from mc_push_dagster.lineage import derive  # sqlglot costs 0.15 s

    names = warehouse.names
    written = (_as_written(names, statement) for statement in statements)
    known = _Written(names, catalog)
    for item in derive(written, dialect=warehouse.dialect, catalog=known, workers=workers, opinion=opinion):
        yield item if isinstance(item, Skipped) else _as_pushed(names, item)


def _as_written(names: Naming, statement: Statement) -> Statement:
    if statement.view is None:
        return statement  # a logged query's defaults are those of its session: written names
    view = names.written(statement.view)
    return replace(statement, view=view, database=view.database, schema=view.schema)


def _as_pushed(names: Naming, edge: LineageEdge | ColumnEdge) -> LineageEdge | ColumnEdge:
    destination = names.pushed(edge.destination)
    evidence = edge.evidence
    if evidence.kind is EvidenceKind.VIEW:
        evidence = replace(evidence, reference=str(destination))
    return replace(edge, source=names.pushed(edge.source), destination=destination, evidence=evidence)


class _Written:
    """A catalog of pushed names, asked by written ones; goes to another process where `catalog` can."""

    def __init__(self, names: Naming, catalog: Catalog) -> None:
        self._names = names
        self._catalog = catalog

    def columns(self, ref: TableRef) -> Mapping[str, str] | None:
        return self._catalog.columns(self._names.pushed(ref))

    def find(self, parts: Sequence[str], database: str | None, schema: str | None) -> TableRef | None:
        full = [*(part for part in (database, schema)[: 3 - len(parts)]), *parts]
        if len(full) != 3 or not all(full):
            return None
        named = TableRef(database=str(full[0]), schema=str(full[1]), name=str(full[2]))
        pushed = self._names.pushed(named)
        found = self._catalog.find(pushed.parts, None, None)
        return None if found is None else self._names.written(found)
