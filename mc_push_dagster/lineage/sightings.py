"""What was seen, when, and how often: edges are given out once for each kind of statement, not once for each run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mc_push_dagster.lineage.confidence import Judge
from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.relations import STAR
from mc_push_dagster.lineage.session import Held
from mc_push_dagster.lineage.statement import Skipped, Statement
from mc_push_dagster.lineage.steps import Flow
from mc_push_dagster.model import AssetType, ColumnEdge, Evidence, EvidenceKind, LineageEdge, TableRef

NAMELESS = "a table's full name is not known"
_KEPT = 20_000
_PARTS = 3
Item = LineageEdge | ColumnEdge | Skipped


@dataclass(slots=True)
class _Seen:
    """One flow, with the time it was seen first and last."""

    held: Held[Statement]
    first: datetime | None
    last: datetime | None
    reference: str | None
    told: bool = True
    """False if something changed since its edges were given out."""

    def again(self, statement: Statement) -> None:
        """Note another run of the same statement."""
        at = statement.at
        if at is None:
            return
        if self.first is None or at < self.first:
            self.first, self.told = at, False
        if self.last is None or at > self.last:
            self.last, self.reference, self.told = at, statement.query_id, False


class Sightings:
    """Turns what sessions moved into edges; memory holds the 20,000 flows seen last."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._seen: OrderedDict[Flow, _Seen] = OrderedDict()

    def see(self, held: Held[Statement]) -> Iterator[Item]:
        """The edges of a flow that was not seen before; of others when they are forgotten."""
        if held.destination is None:
            return
        statement = held.tag
        if held.changed or statement.view is not None:
            yield from self._edges(_Seen(held, statement.at, statement.at, statement.query_id), held.destination)
            return
        seen = self._seen.get(held.flow)
        if seen is not None:
            seen.again(statement)
            self._seen.move_to_end(held.flow)
            return
        seen = self._seen[held.flow] = _Seen(held, statement.at, statement.at, statement.query_id)
        yield from self._edges(seen, held.destination)
        if len(self._seen) > _KEPT:
            yield from self._forget()

    def rest(self) -> Iterator[Item]:
        """The edges whose times changed after they were given out."""
        while self._seen:
            yield from self._forget()

    def _forget(self) -> Iterator[Item]:
        _, seen = self._seen.popitem(last=False)
        if not seen.told and seen.held.destination is not None:
            yield from (item for item in self._edges(seen, seen.held.destination) if not isinstance(item, Skipped))

    def _edges(self, seen: _Seen, destination: Name) -> Iterator[Item]:
        held = seen.held
        target = ref_of(destination)
        sources = {name: ref for name in held.reads if (ref := ref_of(name)) is not None}
        if target is None or len(sources) < len(held.reads):
            yield Skipped(reason=NAMELESS, query_id=held.tag.query_id)
        if target is None:
            return
        kind = AssetType.VIEW if held.flow.view else AssetType.TABLE
        opinion = self._judge.opinion(held.tag.sql, held)
        for ref in sources.values():
            if ref != target:
                evidence = _evidence(seen, self._judge.table(ref, target, held.flow, opinion))
                yield LineageEdge(source=ref, destination=target, evidence=evidence, destination_type=kind)
        given: set[tuple[TableRef, str, str]] = set()
        for (name, path), target_column in held.columns:
            ref = sources.get(name) or ref_of(name)
            if ref is None or STAR in (path, target_column) or ref == target:
                continue
            column = self._judge.listed_column(ref, path)
            if (ref, column, target_column) in given:
                continue
            given.add((ref, column, target_column))
            evidence = _evidence(seen, self._judge.column(ref, column, target, target_column, held.flow, opinion))
            yield ColumnEdge(
                source=ref,
                source_column=column,
                destination=target,
                destination_column=target_column,
                evidence=evidence,
                destination_type=kind,
            )


def ref_of(name: Name) -> TableRef | None:
    """The identity of a table whose name has all three parts."""
    if len(name) != _PARTS or not all(name):
        return None
    database, schema, table = name
    return TableRef(database=database, schema=schema, name=table)


def _evidence(seen: _Seen, confidence: float) -> Evidence:
    view = seen.held.tag.view
    return Evidence(
        kind=EvidenceKind.VIEW if view is not None else EvidenceKind.QUERY,
        reference=str(view) if view is not None else seen.reference,
        first_seen=seen.first,
        last_seen=seen.last,
        confidence=confidence,
    )
