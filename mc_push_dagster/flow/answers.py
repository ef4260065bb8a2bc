"""What Monte Carlo tells about what it holds: the nouns that verification asks for and the gateway answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mc_push_dagster.model import Column, Feed

Direction = Literal["upstream", "downstream"]
QueryKind = Literal["read", "write"]

EVENT_TYPES: Mapping[Feed, str] = {
    Feed.METADATA: "METADATA",
    Feed.LINEAGE: "LINEAGE",
    Feed.COLUMN_LINEAGE: "LINEAGE",
    Feed.QUERY_LOG: "QUERY_LOGS",
}
"""A feed's name in `pushEvents` (enum PushEventType), which is not its wire `event_type`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushStatus:
    """When one kind of push last reached a resource."""

    event_type: str
    """METADATA, LINEAGE, QUERY_LOGS ..."""
    status: str
    """ACTIVE, STALE or NEVER_RECEIVED."""
    first_received: datetime | None
    last_received: datetime | None
    last_invocation_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What Monte Carlo calls a warehouse: the thing that a push feeds."""

    uuid: str
    name: str | None
    connection_type: str
    push_events: tuple[PushStatus, ...] = ()

    @property
    def resource_type(self) -> str:
        """The `resource_type` of pushes: the enum in lower case, words joined by hyphens (DATA_LAKE: data-lake)."""
        return self.connection_type.lower().replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A table in Monte Carlo's catalog."""

    mcon: str
    full_table_id: str
    table_type: str | None
    ingest_type: str | None
    """How it came in; the values are not documented."""
    invocation_id: str | None
    """Of the push that last wrote it."""
    last_observed: datetime | None
    is_deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDetail:
    """One table with its newest schema."""

    entry: CatalogEntry
    description: str | None
    view_query: str | None
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectors:
    """How far the anomaly detectors of one table are: ACTIVE, TRAINING or INACTIVE, None where there is none."""

    freshness: str | None = None
    freshness_reason: str | None = None
    size: str | None = None
    """Size difference (`sdStatus`)."""
    size_reason: str | None = None
    unchanged_size: str | None = None
    """Unchanged size (`ucsStatus`)."""
    unchanged_size_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One value of a metric, e.g. of `total_row_count`."""

    metric: str
    value: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNode:
    """A node next to a table in the lineage graph."""

    mcon: str
    display_name: str | None
    object_type: str | None
    is_custom: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What is directly connected to some tables, in one direction."""

    nodes: tuple[LineageNode, ...]
    connected: Mapping[str, frozenset[str]]
    """MCONs by the MCON that they are connected with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedColumns:
    """Columns of one table that take values from the column that was asked about."""

    mcon: str
    display_name: str | None
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryGroup:
    """Queries of one shape, user and day that read or wrote a table."""

    query_hash: str
    day: str | None
    user: str | None
    category: str | None
    count: int
    latest_at: datetime | None


def full_table_id_of(mcon: str) -> str:
    """Return the object id in an MCON: `MCON++account++resource++type++object` (pycarlo `MCONParser`).

    For tables and views it is the full table id, `db:schema.table`.
    """
    return mcon.split("++", 4)[-1]


def resource_of(mcon: str) -> str | None:
    """Return the UUID of the resource in an MCON, None if it has another form."""
    parts = mcon.split("++", 4)
    return parts[2] if len(parts) == 5 else None
