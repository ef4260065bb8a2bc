"""What verification is asked, what it asks Monte Carlo, and what it finds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from mc_push_dagster.flow.answers import (
    CatalogEntry,
    DerivedColumns,
    Detectors,
    Direction,
    Neighbourhood,
    PushStatus,
    QueryGroup,
    QueryKind,
)
from mc_push_dagster.model import ColumnEdge, Feed, LineageEdge, TableRef, Window

LATENCY: Mapping[Feed, timedelta] = {
    Feed.METADATA: timedelta(minutes=15),
    Feed.LINEAGE: timedelta(minutes=15),
    Feed.COLUMN_LINEAGE: timedelta(minutes=15),
    Feed.QUERY_LOG: timedelta(minutes=90),
}
"""How long what was accepted may stay invisible. push-ingest-api, "What is the Ingest API?": "normally under 15
minutes" for metadata and lineage, "normally under 1 hour" for query logs; elsewhere 45 to 60 minutes, hence half as
much again."""


class Verdict(StrEnum):
    SEEN = "seen"
    MISSING = "missing"
    """Not there although the documented latency has passed."""
    TOO_EARLY = "too early to tell"


class AcceptedBody(Protocol):
    """A receipt: which body was accepted, and when (the ledger's `Receipt` is one)."""

    @property
    def feed(self) -> Feed: ...
    @property
    def invocation_id(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...


class Reader(Protocol):
    """What is asked of Monte Carlo; `gateway.graphql.GraphQLReader` answers."""

    def push_events(self, resource_uuid: str) -> Sequence[PushStatus]: ...
    def tables(
        self,
        resource_uuid: str,
        *,
        full_table_ids: Collection[str] | None = None,
        invocation_id: str | None = None,
    ) -> Iterator[CatalogEntry]: ...
    def lineage(self, mcons: Sequence[str], direction: Direction) -> Neighbourhood: ...
    def derived_columns(self, mcon: str, column: str) -> Sequence[DerivedColumns]: ...
    def queries(self, mcon: str, kind: QueryKind, window: Window) -> Iterator[QueryGroup]: ...
    def detectors(self, mcon: str) -> Detectors: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What was accepted and is now looked for; every part may be empty."""

    resource_uuid: str
    receipts: Sequence[AcceptedBody]
    tables: Collection[TableRef] = ()
    edges: Sequence[LineageEdge] = ()
    column_edges: Sequence[ColumnEdge] = ()
    queried: Collection[TableRef] = ()
    """Tables that pushed queries wrote to, within `query_window`."""
    query_window: Window | None = None

    def accepted(self, *feeds: Feed) -> tuple[AcceptedBody, ...]:
        return tuple(r for r in self.receipts if r.feed in feeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What was found of a sample."""

    total: int
    seen: int = 0
    missing: tuple[str, ...] = ()
    too_early: tuple[str, ...] = ()

    @property
    def checked(self) -> int:
        return self.seen + len(self.missing) + len(self.too_early)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What Monte Carlo shows of a push."""

    at: datetime
    received: Mapping[Feed, Verdict]
    """Whether each feed reached the resource at all (`pushEvents`)."""
    tables: Mapping[TableRef, Verdict]
    edges: Sampled
    column_edges: Sampled
    queries: Sampled
    """Tables, of those written to, for which Monte Carlo shows queries."""
    mcons: Mapping[TableRef, str] = field(default_factory=dict)
    detectors: Mapping[TableRef, Detectors] = field(default_factory=dict)

    def tables_that_are(self, verdict: Verdict) -> tuple[TableRef, ...]:
        return tuple(sorted(ref for ref, v in self.tables.items() if v is verdict))

    def _all(self, verdict: Verdict) -> int:
        parts = (self.edges, self.column_edges, self.queries)
        name = "missing" if verdict is Verdict.MISSING else "too_early"
        single = [*self.received.values(), *self.tables.values()]
        return single.count(verdict) + sum(len(getattr(p, name)) for p in parts)

    @property
    def complete(self) -> bool:
        """Everything that was asked about is there."""
        return self.sound and not self._all(Verdict.TOO_EARLY)

    @property
    def sound(self) -> bool:
        """Nothing is missing; some of it may be too early to tell."""
        return not self._all(Verdict.MISSING)
