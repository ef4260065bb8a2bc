"""The lineage of one warehouse: what it says itself, what views say and what the query log says, as one graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from mc_push_dagster.model import ColumnEdge, Evidence, EvidenceKind, LineageEdge, TableRef, Target

Edge = LineageEdge | ColumnEdge
Key = tuple[TableRef, str, TableRef, str]

_RANK = {kind: rank for rank, kind in enumerate(EvidenceKind)}
UNCONFIRMED = 0.85
"""Factor for an edge that the warehouse's own lineage of the same destination does not have."""


class Graph:
    """Edges by their ends, each with the best evidence there is for it. The order of adding does not matter."""

    def __init__(self) -> None:
        self._edges: dict[Key, Edge] = {}
        self._native: dict[bool, set[TableRef]] = {False: set(), True: set()}
        """Destinations of which the warehouse itself knows sources: tables (False) and columns (True)."""

    def add(self, edge: Edge) -> None:
        """Add an edge, or merge it with the same edge known from elsewhere."""
        key = key_of(edge)
        before = self._edges.get(key)
        self._edges[key] = edge if before is None else _merged(before, edge)
        if edge.evidence.kind is EvidenceKind.NATIVE:
            self._native[isinstance(edge, ColumnEdge)].add(edge.destination)

    def extend(self, edges: Iterable[Edge]) -> None:
        """Add many."""
        for edge in edges:
            self.add(edge)

    def __len__(self) -> int:
        return len(self._edges)

    def edges(self) -> Iterator[Edge]:
        """All edges, tables before columns, ordered by their ends; native lineage weighs on what contradicts it."""
        ordered = sorted(self._edges.items(), key=lambda item: (isinstance(item[1], ColumnEdge), item[0]))
        for _, edge in ordered:
            evidence = edge.evidence
            if self._is_unconfirmed(edge):
                evidence = replace(evidence, confidence=round(evidence.confidence * UNCONFIRMED, 3))
                edge = replace(edge, evidence=evidence)
            yield edge

    def _is_unconfirmed(self, edge: Edge) -> bool:
        """True if the warehouse's own lineage of the destination does not have the edge, nor, for columns, its tables.

        Many warehouses report tables only. The ledger has the same rule in SQL (`ledger.due`).
        """
        if edge.evidence.kind is EvidenceKind.NATIVE:
            return False
        columns = isinstance(edge, ColumnEdge)
        if edge.destination in self._native[columns]:
            return True
        if not columns or edge.destination not in self._native[False]:
            return False
        tables = self._edges.get((edge.source, "", edge.destination, ""))
        return tables is None or tables.evidence.kind is not EvidenceKind.NATIVE

    def pushed(self, level: float) -> Iterator[Edge]:
        """The edges that may be pushed: those of at least the confidence `level` (0 to 1)."""
        return (edge for edge in self.edges() if edge.evidence.confidence >= level)

    def kept(self, level: float) -> Iterator[Edge]:
        """The edges that are only kept and shown."""
        return (edge for edge in self.edges() if edge.evidence.confidence < level)


def key_of(edge: Edge) -> Key:
    """What makes two edges the same."""
    if isinstance(edge, ColumnEdge):
        return (edge.source, edge.source_column, edge.destination, edge.destination_column)
    return (edge.source, "", edge.destination, "")


def across(edges: Iterable[Edge], target_of: Callable[[TableRef], Target | None]) -> Iterator[Edge]:
    """Mark the edges whose source lives in another Monte Carlo resource; `target_of` names it, None is this one."""
    for edge in edges:
        target = target_of(edge.source)
        yield edge if target is None else replace(edge, source_target=target)


def _merged(one: Edge, other: Edge) -> Edge:
    best, second = sorted((one, other), key=_worth)
    evidence = replace(
        best.evidence,
        first_seen=_extreme(min, best.evidence.first_seen, second.evidence.first_seen),
        last_seen=_extreme(max, best.evidence.last_seen, second.evidence.last_seen),
        confidence=max(best.evidence.confidence, second.evidence.confidence),
    )
    return replace(best, evidence=evidence, source_target=best.source_target or second.source_target)


def _worth(edge: Edge) -> tuple[int, float, bool, float, str]:
    """What sorts better evidence first: kind, confidence, time; by its reference at last, so that it is decided."""
    evidence: Evidence = edge.evidence
    seen = evidence.last_seen
    return (
        _RANK[evidence.kind],
        -evidence.confidence,
        seen is None,
        -seen.timestamp() if seen is not None else 0.0,
        evidence.reference or "",
    )


def _extreme(
    choose: Callable[[datetime, datetime], datetime], one: datetime | None, other: datetime | None
) -> datetime | None:
    if one is None or other is None:
        return one or other
    return choose(one, other)
