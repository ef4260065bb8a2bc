"""The ledger's tables.

Times are microseconds since 1970 in UTC. A table or view of a warehouse is known by a 63-bit digest of its resource
and name (`table_id`), so that claims and samples need no look-up and stay small: 10,000 tables make 10 million samples
in 42 days.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

from mc_push_dagster.model import TableRef, utc

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A time with a zone, stored as microseconds since 1970 in UTC: the same in every database, and quick."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (utc(value) - EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


def digest63(*parts: str) -> int:
    """Return 63 bits that stand for `parts`; among a million tables, two collide with a chance below one in ten
    million.
    """
    joined = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(joined, digest_size=8).digest()) >> 1


def table_id(target_uuid: str, ref: TableRef) -> int:
    """Return the key of a table or view of one Monte Carlo resource."""
    return digest63(target_uuid, ref.database, ref.schema, ref.name)


metadata = MetaData()

schema_version = Table("mc_push_schema_version", metadata, Column("version", Integer, primary_key=True))

leases = Table(
    "mc_push_leases",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("owner", String(300), nullable=False),
    Column("expires_at", Moment, nullable=False),
)

pushes = Table(
    "mc_push_pushes",
    metadata,
    Column("push_id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("warehouse", Text, nullable=False),
    Column("target_uuid", String(64), nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("log_type", Text, nullable=False),
    Column("hour", Moment, nullable=False),
    Column("window_start", Moment),
    Column("window_end", Moment),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("state", String(20), nullable=False),
    Column("manifest", Text),
    # Since schema 2: which outbox holds the bodies; only who reaches it can complete the push.
    Column("outbox", String(64)),
    Column("outcome", Text, nullable=False),
    Index("mc_push_pushes_started", "target_uuid", "started_at"),
)

batches = Table(
    "mc_push_batches",
    metadata,
    Column("push_id", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("target_uuid", String(64), nullable=False),
    Column("feed", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("maybe_twice", Boolean, nullable=False),
    Column("applied", Boolean, nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("covers_start", Moment),
    Column("covers_end", Moment),
    Column("seen_keys", LargeBinary),
    Column("note", Text),
    # Finds a window's seen ids without reading every body ever pushed.
    Index("mc_push_batches_covers", "target_uuid", "covers_end"),
    # Bodies that are kept are few; the rows of all that were ever sent are many.
    Index("mc_push_batches_stored", "push_id", sqlite_where=text("stored = 1"), postgresql_where=text("stored")),
)

receipts = Table(
    "mc_push_receipts",
    metadata,
    Column("push_id", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("invocation_id", Text, nullable=False),
    Column("received_at", Moment, nullable=False),
    Index("mc_push_receipts_invocation", "invocation_id"),
)

tables = Table(
    "mc_push_tables",
    metadata,
    Column("table_id", BigInteger, primary_key=True, autoincrement=False),
    Column("target_uuid", String(64), nullable=False),
    Column("database_name", Text, nullable=False),
    Column("schema_name", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("asset_type", String(20), nullable=False),
    Column("native_type", Text, nullable=False),
    Column("schema_json", Text),
    Column("digest", String(32)),
    Column("pushed_digest", String(32)),
    Column("pushed_at", Moment),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment),
    Column("gone_since", Moment),
    Index("mc_push_tables_target", "target_uuid"),
)

claims = Table(
    "mc_push_claims",
    metadata,
    Column("table_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", Moment, primary_key=True),
    Column("push_id", String(64), nullable=False),
    # The body with this table is acknowledged: the claim is never given back.
    Column("settled", Boolean, nullable=False),
    Index("mc_push_claims_push", "push_id"),
)

samples = Table(
    "mc_push_samples",
    metadata,
    Column("table_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", Moment, primary_key=True),
    Column("row_count", BigInteger),
    Column("byte_count", BigInteger),
    Column("changed_at", Moment),
    Column("push_id", String(64), nullable=False),
    Column("received_at", Moment, nullable=False),
)

edges = Table(
    "mc_push_edges",
    metadata,
    Column("edge_id", BigInteger, primary_key=True, autoincrement=False),
    Column("target_uuid", String(64), nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("source_column", Text),
    Column("source_type", String(20), nullable=False),
    Column("source_target", Text),
    Column("destination_id", BigInteger, nullable=False),
    Column("destination_column", Text),
    Column("destination_type", String(20), nullable=False),
    Column("evidence", String(20), nullable=False),
    Column("reference", Text),
    Column("confidence", Float, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    Column("pushed_at", Moment),
    Column("push_id", String(64)),
    Index("mc_push_edges_destination", "target_uuid", "destination_id"),
)

windows = Table(
    "mc_push_windows",
    metadata,
    Column("target_uuid", String(64), primary_key=True),
    Column("window_start", Moment, primary_key=True),
    Column("window_end", Moment, primary_key=True),
    Column("push_id", String(64), nullable=False),
    Column("queries", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

fingerprints = Table(
    "mc_push_fingerprints",
    metadata,
    Column("target_uuid", String(64), primary_key=True),
    Column("database_name", String(500), primary_key=True),
    Column("digest", Text, nullable=False),
    Column("taken_at", Moment, nullable=False),
)
