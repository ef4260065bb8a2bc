"""What a push did, for people, for Dagster's metadata and for `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mc_push_dagster.model import Feed, Gap, TableRef, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An event that could not be sent, by name; the rest of its batch arrived."""

    feed: Feed
    name: str
    """Table, edge destination or query id."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """Volume and freshness that were not sent because this hour's went out already (design §5.4)."""

    tables: int
    hour: datetime
    push_ids: tuple[str, ...]
    """The pushes that hold the hour's claims, at most five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """How one table's schema differs from the last one pushed."""

    ref: TableRef
    change: str
    """`added`, `removed` or `changed`."""
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    columns_retyped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLine:
    """One table as it was pushed, for the table of at most 100 rows that people see."""

    ref: TableRef
    native_type: str
    columns: int | None
    row_count: int | None
    byte_count: int | None
    last_change: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What one push did. Everything in it is safe to show: no secrets, no row values."""

    push_id: str
    warehouse: str
    target: Target
    hour: datetime
    started_at: datetime
    finished_at: datetime
    dry_run: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    """Things, by their plural noun: tables, views, columns, edges, column_edges, queries ..."""
    events: Mapping[Feed, int] = field(default_factory=dict)
    requests: int = 0
    raw_bytes: int = 0
    """Bytes of all bodies as JSON, before any compression."""
    invocation_ids: Mapping[Feed, tuple[str, ...]] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    held_back: HeldBack | None = None
    changes: tuple[TableChange, ...] = ()
    """Schema drift against what was pushed before; empty on the first push."""
    largest: tuple[TableLine, ...] = ()
    manifest: str | None = None
    """URI of the manifest in the outbox."""
    maybe_twice: int = 0
    """Batches that were sent again after no answer came, so that the gateway may hold them twice."""

    @property
    def complete(self) -> bool:
        return not self.gaps and not self.set_aside
