"""Which edges are pushed: those that still hold, and that are believed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mc_push_dagster.ledger import tables as t
from mc_push_dagster.model import EvidenceKind

_NATIVE = EvidenceKind.NATIVE.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Which edges are to be pushed now."""

    columns: bool
    """Column edges, else table edges."""
    pushed_before: datetime
    """A destination is due if one of its edges was never pushed, or last before this."""
    alive_since: datetime
    """Edges that were not seen since are kept, not pushed."""
    views_since: datetime
    """The same for edges of view texts: all views are read each time, so an older edge is of a text that is gone."""
    minimum_confidence: float
    unconfirmed: float = 1.0
    """Factor on the confidence of an edge that the warehouse's own lineage of the same destination does not have."""

    def alive(self, target_uuid: str) -> sa.ColumnElement[bool]:
        """The edges of this kind that were seen lately, between tables that are not gone."""
        c = t.edges.c
        views_since, alive_since = (sa.literal(moment, t.Moment) for moment in (self.views_since, self.alive_since))
        gone = sa.select(t.tables.c.table_id).where(t.tables.c.gone_since.is_not(None))
        return sa.and_(
            c.target_uuid == target_uuid,
            _is_kind(c, columns=self.columns),
            c.source_id.not_in(gone),
            c.destination_id.not_in(gone),
            c.last_seen >= sa.case((c.evidence == EvidenceKind.VIEW.value, views_since), else_=alive_since),
        )

    def trusted(self, target_uuid: str) -> sa.ColumnElement[bool]:
        """The edges whose confidence, weighed by the warehouse's own lineage, is enough."""
        c = t.edges.c
        contradicted = c.destination_id.in_(self._known(target_uuid, columns=self.columns))
        if self.columns:
            # Many warehouses report tables only: they confirm a column edge by its tables.
            tables = t.edges.alias("confirming")
            pair = sa.exists().where(
                self._native(tables, target_uuid, columns=False),
                tables.c.destination_id == c.destination_id,
                tables.c.source_id == c.source_id,
            )
            contradicted |= c.destination_id.in_(self._known(target_uuid, columns=False)) & sa.not_(pair)
        factor = sa.case((sa.and_(c.evidence != _NATIVE, contradicted), self.unconfirmed), else_=1.0)
        return c.confidence * factor >= self.minimum_confidence

    def destinations(self, target_uuid: str, pushable: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """The destinations with an edge among the `pushable` that was never pushed, or not lately."""
        c = t.edges.c
        return sa.select(c.destination_id).where(pushable, c.pushed_at.is_(None) | (c.pushed_at < self.pushed_before))

    def _known(self, target_uuid: str, *, columns: bool) -> sa.Select[Any]:
        """The destinations of which the warehouse itself knows sources."""
        native = t.edges.alias("native_columns" if columns else "native_tables")
        return sa.select(native.c.destination_id).where(self._native(native, target_uuid, columns=columns))

    def _native(self, edges: Any, target_uuid: str, *, columns: bool) -> sa.ColumnElement[bool]:
        return sa.and_(
            edges.c.target_uuid == target_uuid,
            edges.c.evidence == _NATIVE,
            edges.c.last_seen >= sa.literal(self.alive_since, t.Moment),
            _is_kind(edges.c, columns=columns),
        )


def _is_kind(columns_of: Any, *, columns: bool) -> sa.ColumnElement[bool]:
    return columns_of.source_column.is_not(None) if columns else columns_of.source_column.is_(None)
