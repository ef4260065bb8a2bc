"""SQL to lineage: statements become table and column edges, schema-aware, in the dialects of the warehouses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mc_push_dagster.lineage.catalog import Catalog, DictCatalog
from mc_push_dagster.lineage.statement import Skipped, Statement

if TYPE_CHECKING:
    from mc_push_dagster.lineage.edges import derive

if TYPE_CHECKING:
    from mc_push_dagster.lineage.edges import derive
    from mc_push_dagster.lineage.graph import Graph, across

__all__ = ["Catalog", "DictCatalog", "Graph", "Skipped", "Statement", "across", "derive"]


def __getattr__(name: str) -> object:
    # sqlglot costs 0.15 s to import: only those who derive pay for it.
    if name == "derive":
        from mc_push_dagster.lineage.edges import derive

        return derive
    if name in ("Graph", "across"):
        from mc_push_dagster.lineage import graph

        return getattr(graph, name)
    raise AttributeError(name)
