"""What the ledger hands out: frozen copies of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from mc_push_dagster.model import AssetType, Column, ColumnEdge, Feed, LineageEdge, TableRef, Target, Window


class PushKind(StrEnum):
    """What a push set out to send."""

    CATALOG = "catalog"
    SCHEMA = "schema"
    """Schema only, after drift: neither volume nor freshness."""
    LINEAGE = "lineage"
    QUERY_LOGS = "query_logs"
    MANIFEST = "manifest"
    """What `collect` wrote, perhaps on another machine."""


class PushState(StrEnum):
    """How far a push is."""

    RUNNING = "running"
    """At work, or broken off: who holds its lease tells which."""
    INCOMPLETE = "incomplete"
    """It ended, and some bodies did not arrive; the next push of its kind sends them."""
    COMPLETE = "complete"
    """Every body arrived, save events that were set aside by name."""
    SUPERSEDED = "superseded"
    """It broke off before all was collected; its bodies arrived, a later push collected afresh."""


class BatchState(StrEnum):
    """How far a body is."""

    PENDING = "pending"
    """Durable, not sent."""
    SENDING = "sending"
    """Its first byte may have left; without a receipt nobody knows whether it arrived."""
    ACKNOWLEDGED = "acknowledged"
    """The gateway gave an invocation id; it is never sent again."""
    SPLIT = "split"
    """Other bodies carry its events."""
    SET_ASIDE = "set aside"
    """One event that the gateway refuses."""
    SUPERSEDED = "superseded"
    """What it says is no longer true, or its file is lost: a fresh collection takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRecord:
    """One push."""

    push_id: str
    kind: PushKind
    warehouse: str
    target: Target
    hour: datetime
    window: Window | None
    """For query logs: the window that was asked for."""
    started_at: datetime
    finished_at: datetime | None
    state: PushState
    manifest: str | None
    """URI in the outbox."""
    outbox: str | None = None
    """Identity of the outbox that holds its bodies."""
    outcome: Mapping[str, Any] = field(default_factory=dict)
    """JSON: counts, gaps, events set aside, held_back, maybe_twice (see `flow.journal`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One body of a push."""

    push_id: str
    seq: int
    feed: Feed
    state: BatchState
    sha256: str
    size: int
    """Bytes of the body."""
    events: int
    attempts: int
    maybe_twice: bool
    """Sent again although an earlier attempt may have arrived."""
    applied: bool
    """Its consequences (samples, schemas, edges) stand in the ledger."""
    covers: Window | None = None
    """For query logs: the end times of its queries lie in here."""
    refused: tuple[str, ...] = ()
    """Names of its events that were set aside."""
    reason: str | None = None
    """Why it was set aside or superseded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A body that is durable in the outbox and enters the ledger."""

    feed: Feed
    sha256: str
    size: int
    events: int
    covers: Window | None = None
    keys: tuple[int, ...] = ()
    """For query logs: 63-bit keys of its queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedTable:
    """What one metadata event says."""

    ref: TableRef
    columns: tuple[Column, ...] | None
    digest: str | None
    row_count: int | None = None
    byte_count: int | None = None
    changed_at: datetime | None = None
    is_view: bool = False

    @property
    def measured(self) -> bool:
        return not (self.row_count is None and self.byte_count is None and self.changed_at is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The gateway's word that it took a body."""

    push_id: str
    seq: int
    feed: Feed
    invocation_id: str
    events: int
    size: int
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The volume and freshness of one table as Monte Carlo got them for one UTC hour."""

    ref: TableRef
    hour: datetime
    row_count: int | None
    byte_count: int | None
    changed_at: datetime | None
    push_id: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Which push may send one table's volume and freshness in one hour."""

    push_id: str
    settled: bool
    """They went out and were acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDigests:
    """The digests of a `TableRecord`, by themselves."""

    digest: str | None
    pushed_digest: str | None
    gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """What is known of one table or view."""

    ref: TableRef
    asset_type: AssetType
    native_type: str
    columns: tuple[Column, ...] | None
    """The last schema that was pushed, or, before any was, the last one read; None if it was never read."""
    digest: str | None
    pushed_digest: str | None
    """Digest of the last schema that Monte Carlo acknowledged; None if none was."""
    pushed_at: datetime | None
    first_seen: datetime
    last_seen: datetime | None
    """When a catalog listed it last; None for a table that only lineage names."""
    gone_since: datetime | None
    """Set when a complete catalog no longer listed it; cleared when it is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRecord:
    """One edge, with when it was seen and pushed."""

    edge: LineageEdge | ColumnEdge
    first_seen: datetime
    last_seen: datetime
    pushed_at: datetime | None
    push_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRecord:
    """A stretch of the query log that was pushed."""

    window: Window
    push_id: str
    """The push that looked at it last."""
    queries: int
    """Queries of it that were acknowledged, by all pushes."""
    complete: bool
    """False while the log was still growing when it was read: read it again."""
    updated_at: datetime
