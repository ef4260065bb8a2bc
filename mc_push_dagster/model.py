"""The nouns of this project: what a warehouse holds, what happened in it, and whom it is reported to.

Every class is frozen and keyword-only; a change is a copy (`dataclasses.replace`). Times are timezone-aware and in UTC.
Unknown is `None`, never 0, an empty string or the current time. Names keep the warehouse's own case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import translate
from functools import cached_property, lru_cache
from typing import Any


def utc(value: datetime) -> datetime:
    """Return `value` in UTC.

    Raises:
        ValueError: if `value` has no time zone; guessing one would shift every time that reaches Monte Carlo.
    """
    if value.tzinfo is None:
        raise ValueError(f"time without a zone: {value!r}")
    return value.astimezone(UTC)


def hour_bucket(value: datetime) -> datetime:
    """Return the start of the UTC hour that holds `value` (push-ingest-api, "Push frequency": hourly buckets)."""
    return utc(value).replace(minute=0, second=0, microsecond=0)


class AssetType(StrEnum):
    """What Monte Carlo accepts as the type of a relational asset (push-ingestion skill: only these two are safe)."""

    TABLE = "TABLE"
    VIEW = "VIEW"


class Feed(StrEnum):
    """One kind of push, named as its wire `event_type` (push-ingest-api, "API reference")."""

    METADATA = "METADATA"
    LINEAGE = "LINEAGE"
    COLUMN_LINEAGE = "COLUMN_LINEAGE"
    QUERY_LOG = "QUERY_LOG"


class ChangeSource(StrEnum):
    """How a warehouse knows when a table's data last changed; the order is from most to least trustworthy."""

    WRITE_LOG = "write log"
    """A log of writes names the table (access history, job history)."""
    SNAPSHOT = "snapshot"
    """The table format's own commit (Iceberg, Delta)."""
    STORAGE = "storage"
    """The storage layer's modification time."""
    FILE = "file"
    """Modification times of the table's files."""
    DDL_POLLUTED = "ddl polluted"
    """A time that DDL or background maintenance moves as well; users may forbid it (design §5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TableRef:
    """The identity of a table or view, in the warehouse's own case."""

    database: str
    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.database}.{self.schema}.{self.name}"

    @property
    def full_table_id(self) -> str:
        """The id Monte Carlo's GraphQL API uses: `<database>:<schema>.<table>`."""
        return f"{self.database}:{self.schema}.{self.name}"

    @property
    def parts(self) -> tuple[str, str, str]:
        return (self.database, self.schema, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its name, its type as the warehouse writes it, and its comment."""

    name: str
    type: str
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumns:
    """The columns of one table, in the warehouse's order."""

    ref: TableRef
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A key with a value, as warehouses attach them to tables (tag, label, property)."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChange:
    """When a table's data last changed, and how the warehouse knows."""

    at: datetime
    source: ChangeSource

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", utc(self.at))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSnapshot:
    """A table or view as it stood when it was read; `columns` is None where they were not read."""

    ref: TableRef
    asset_type: AssetType
    native_type: str
    """What the warehouse calls it: `BASE TABLE`, `DYNAMIC TABLE`, `MATERIALIZED VIEW` ..."""
    columns: tuple[Column, ...] | None = None
    description: str | None = None
    view_query: str | None = None
    created_at: datetime | None = None
    tags: tuple[Tag, ...] = ()
    row_count: int | None = None
    byte_count: int | None = None
    data_change: DataChange | None = None

    def __post_init__(self) -> None:
        for name in ("row_count", "byte_count"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(f"{self.ref}: {name} must be a plain int of 0 or more, or None; got {value!r}")
        if self.created_at is not None:
            object.__setattr__(self, "created_at", utc(self.created_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRecord:
    """One finished statement of a query log; `error_code` or `error_text` is set if and only if it failed."""

    text: str
    started_at: datetime
    ended_at: datetime
    query_id: str | None = None
    user: str | None = None
    returned_rows: int | None = None
    error_code: str | None = None
    error_text: str | None = None
    database: str | None = None
    """The session's default database, by which unqualified names resolve."""
    schema: str | None = None
    session_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Vendor extras, JSON values only."""

    @property
    def failed(self) -> bool:
        return self.error_code is not None or self.error_text is not None


class EvidenceKind(StrEnum):
    """Where a lineage edge comes from, the most authoritative first."""

    NATIVE = "native"
    """The warehouse itself reports the edge."""
    PLAN = "plan"
    """The engine's resolved plan."""
    VIEW = "view"
    """The text of a view."""
    QUERY = "query"
    """The text of a logged query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why we believe in an edge."""

    kind: EvidenceKind
    reference: str | None = None
    """The query id, or the view's full name."""
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    confidence: float = 1.0
    """0 to 1: the share of such edges that are right, as far as it can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The Monte Carlo resource that a push feeds."""

    resource_uuid: str
    resource_type: str
    """Sent with metadata and lineage, e.g. `snowflake`, `data-lake`."""
    log_type: str
    """Sent with query logs; a different vocabulary (push-ingest-api, "log_type, not resource_type")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageEdge:
    """Data flows from one table or view into another."""

    source: TableRef
    destination: TableRef
    evidence: Evidence
    source_type: AssetType = AssetType.TABLE
    destination_type: AssetType = AssetType.TABLE
    source_target: Target | None = None
    """Set where the source lives in another Monte Carlo resource (cross-warehouse lineage)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnEdge:
    """Values flow from one column into another."""

    source: TableRef
    source_column: str
    destination: TableRef
    destination_column: str
    evidence: Evidence
    source_type: AssetType = AssetType.TABLE
    destination_type: AssetType = AssetType.TABLE
    source_target: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open interval of time: `start <= t < end`."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", utc(self.start))
        object.__setattr__(self, "end", utc(self.end))
        if self.end <= self.start:
            raise ValueError(f"window ends at or before its start: {self.start:%FT%TZ} .. {self.end:%FT%TZ}")

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ}/{self.end:%Y-%m-%dT%H:%M:%SZ}"

    @classmethod
    def hour(cls, moment: datetime) -> Window:
        """The full UTC hour that holds `moment`."""
        start = hour_bucket(moment)
        return cls(start=start, end=start + timedelta(hours=1))

    def hours(self) -> Iterator[Window]:
        """The full UTC hours that this window touches, the earliest first."""
        hour = Window.hour(self.start)
        while hour.start < self.end:
            yield hour
            hour = Window(start=hour.end, end=hour.end + timedelta(hours=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that could not be read; it is recorded and shown, and nothing is pushed in its place (design §5.6)."""

    subject: str
    """What: a table's full name, a schema, a database, or a system view."""
    reason: str
    """One sentence that says why, and the way out where there is one."""
    ref: TableRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A digest of all table and column names and types of one database (or region): changed digest, changed schema."""

    database: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class TablePattern:
    """A pattern of three globs (`*`, `?`), compared without regard to case."""

    database: str = "*"
    schema: str = "*"
    name: str = "*"

    @classmethod
    def parse(cls, text: str) -> TablePattern:
        """Read `database.schema.table`; fewer parts mean the first ones (`shop` is all of database `shop`).

        A part that holds a dot is put in double quotes: `shop."odd.schema".*`.

        Raises:
            ValueError: if there are more than three parts, or an empty one.
        """
        parts = [quoted.replace('""', '"') if quoted else bare for quoted, bare in _PATTERN_PART.findall(text)]
        if not 1 <= len(parts) <= 3 or _PATTERN.fullmatch(text) is None:
            raise ValueError(f"not a table pattern: {text!r}; write database.schema.table with * and ? as wildcards")
        return cls(**dict(zip(("database", "schema", "name"), parts, strict=False)))

    @property
    def parts(self) -> tuple[str, str, str]:
        return (self.database, self.schema, self.name)

    def matches(self, ref: TableRef) -> bool:
        return all(_glob(p).fullmatch(v) is not None for p, v in zip(self.parts, ref.parts, strict=True))

    def matches_database(self, database: str) -> bool:
        return _glob(self.database).fullmatch(database) is not None

    def matches_schema(self, database: str, schema: str) -> bool:
        return self.matches_database(database) and _glob(self.schema).fullmatch(schema) is not None


_PATTERN_PART = re.compile(r'(?:^|\.)(?:"((?:[^"]|"")+)"|([^."]+))')
_PATTERN = re.compile(r'(?:"(?:[^"]|"")+"|[^."]+)(?:\.(?:"(?:[^"]|"")+"|[^."]+)){0,2}')


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    # `[` stands for itself: SQL's LIKE, to which patterns are pushed down, has no classes of characters.
    return re.compile(translate(pattern.replace("[", "[[]")), re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which tables are read: those some include pattern matches (all, if there is none) and no exclude pattern does."""

    include: tuple[TablePattern, ...] = ()
    exclude: tuple[TablePattern, ...] = ()

    def covers(self, ref: TableRef) -> bool:
        return (not self.include or any(p.matches(ref) for p in self.include)) and not any(
            p.matches(ref) for p in self.exclude
        )

    def covers_database(self, database: str) -> bool:
        """False only if no table of the database can be in scope."""
        return (not self.include or any(p.matches_database(database) for p in self.include)) and not any(
            p.matches_database(database) and p.schema == p.name == "*" for p in self.exclude
        )

    def covers_schema(self, database: str, schema: str) -> bool:
        """False only if no table of the schema can be in scope."""
        return (not self.include or any(p.matches_schema(database, schema) for p in self.include)) and not any(
            p.matches_schema(database, schema) and p.name == "*" for p in self.exclude
        )

    @cached_property
    def is_everything(self) -> bool:
        return not self.include and not self.exclude
