"""Things to put into a ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mc_push_dagster.flow.drift import schema_digest
from mc_push_dagster.ledger import Ledger, NewBatch, PushKind
from mc_push_dagster.model import (
    AssetType,
    Column,
    ColumnEdge,
    Evidence,
    EvidenceKind,
    Feed,
    LineageEdge,
    TableRef,
    TableSnapshot,
    Target,
)

UUID = "11111111-2222-4333-8444-555555555555"
TARGET = Target(resource_uuid=UUID, resource_type="data-lake", log_type="hive-s3")
NOW = datetime(2026, 11, 20, 12, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ref(name: str) -> TableRef:
    return TableRef(database="Shop", schema="main", name=name)


def snapshot(name: str, *columns: str) -> TableSnapshot:
    return TableSnapshot(
        ref=ref(name),
        asset_type=AssetType.TABLE,
        native_type="BASE TABLE",
        columns=tuple(Column(name=c, type="INTEGER", description="of " + c) for c in columns),
    )


def note(ledger: Ledger, *snapshots: TableSnapshot, at: datetime = NOW) -> None:
    digests = {s.ref: schema_digest(s.columns) for s in snapshots if s.columns is not None}
    ledger.note_tables(UUID, snapshots, digests=digests, seen_at=at)


def begin(ledger: Ledger, push_id: str, *, kind: PushKind = PushKind.CATALOG, at: datetime = NOW) -> None:
    ledger.begin_push(push_id, kind=kind, warehouse="shop", target=TARGET, hour=at, started_at=at)


def batch(feed: Feed = Feed.METADATA, **more: object) -> NewBatch:
    return NewBatch(feed=feed, sha256="0" * 64, size=100, events=2, **more)  # type: ignore[arg-type]


def edge(source: str, destination: str, *, at: datetime = NOW, **evidence: object) -> LineageEdge:
    return LineageEdge(source=ref(source), destination=ref(destination), evidence=_evidence(at, evidence))


def column_edge(source: str, destination: str, *, at: datetime = NOW, **evidence: object) -> ColumnEdge:
    return ColumnEdge(
        source=ref(source),
        source_column="id",
        destination=ref(destination),
        destination_column="key",
        evidence=_evidence(at, evidence),
    )


def _evidence(at: datetime, given: dict[str, object]) -> Evidence:
    return Evidence(**({"kind": EvidenceKind.QUERY, "first_seen": at, "last_seen": at} | given))  # type: ignore[arg-type]
