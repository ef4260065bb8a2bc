"""How far an edge can be trusted: whether the catalog knows both ends, and whether a second parser agrees.

Only `PARSED` follows from a measurement. The other figures are chosen, by one consideration: which edges the level of
confidence from which a configuration pushes (`minimum_confidence`, 0.5 by default) shall part from which.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mc_push_dagster.lineage.catalog import Catalog
from mc_push_dagster.lineage.names import dotted
from mc_push_dagster.lineage.opinion import SecondOpinion
from mc_push_dagster.lineage.session import Held
from mc_push_dagster.lineage.steps import Flow
from mc_push_dagster.model import TableRef

PARSED = 0.97
"""An edge of a statement that was parsed and resolved. Measured: the lowest share of labelled edges that the
benchmark accepts as right on the corpora (benchmarks/lineage_corpora.py demands 99 % of table edges, 97 % of column
edges); what it finds is above."""
SCANNED = 0.4
"""An edge that only keywords show. Chosen: below the default level, so shown, not pushed."""
UNKNOWN_TABLE = 0.8
"""Factor for each end that the catalog does not know. Chosen: a parsed edge with one unknown end stays above one that
only keywords show, and so does one with two."""
UNKNOWN_COLUMN = 0.5
"""Factor for a column that the catalog's copy of a known table lacks. Chosen: either the copy is old or the edge is
wrong, nothing tells which, and by the default level it is not pushed."""
AGREED = 0.99
"""A second parser of another make found the same tables. Chosen: above `PARSED`, short of certainty."""
DISPUTED = 0.8
"""Factor where it found others. Chosen: as much doubt as one end that the catalog does not know."""


class Judge:
    """Confidence of edges against one catalog."""

    def __init__(self, catalog: Catalog, opinion: SecondOpinion | None) -> None:
        self._columns = lru_cache(maxsize=50_000)(lambda ref: _listed(catalog, ref))
        self._opinion = opinion

    def opinion(self, sql: str, held: Held[Any]) -> bool | None:
        """Whether the second parser agrees on the tables of a statement; None if it was not asked or failed."""
        if self._opinion is None or held.destination is None or held.flow.tables_only:
            return None
        reads = {dotted(r).lower() for r in held.flow.reads}
        return self._opinion.agrees(sql, reads, dotted(held.destination).lower())

    def listed_column(self, ref: TableRef, path: str) -> str:
        """The column that the catalog lists for a path with struct fields; the path itself where it lists none."""
        listed = self._columns(ref) or frozenset()
        column = path
        while column.lower() not in listed and "." in column:
            column = column.rpartition(".")[0]
        return column if column.lower() in listed else path

    def table(self, source: TableRef, destination: TableRef, flow: Flow, agreed: bool | None) -> float:
        """The confidence of an edge between tables."""
        base = SCANNED if flow.tables_only else PARSED
        if agreed is not None:
            base = max(base, AGREED) if agreed else base * DISPUTED
        for ref in (source, destination):
            if self._columns(ref) is None:
                base *= UNKNOWN_TABLE
        return round(base, 3)

    def column(
        self, source: TableRef, column: str, destination: TableRef, target: str, flow: Flow, agreed: bool | None
    ) -> float:
        """The confidence of an edge between columns."""
        base = self.table(source, destination, flow, agreed)
        for ref, name in ((source, column), (destination, target)):
            listed = self._columns(ref)
            if listed is not None and name.lower() not in listed:
                base *= UNKNOWN_COLUMN
        return round(base, 3)


def _listed(catalog: Catalog, ref: TableRef) -> frozenset[str] | None:
    columns = catalog.columns(ref)
    return None if columns is None else frozenset(name.lower() for name in columns)
