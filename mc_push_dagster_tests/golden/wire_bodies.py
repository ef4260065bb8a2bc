"""One body of each feed as it goes over the wire, byte for byte, from fixed tables, edges and queries.

python mc_push_dagster_tests/golden/wire_bodies.py --write    writes wire/<feed>.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from mc_push_dagster.flow.batch import Batch, batches
from mc_push_dagster.flow.events import (
    Event,
    column_lineage_events,
    envelope,
    lineage_events,
    metadata_event,
    query_event,
)
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    ColumnEdge,
    DataChange,
    Evidence,
    EvidenceKind,
    Feed,
    LineageEdge,
    QueryRecord,
    TableRef,
    TableSnapshot,
    Tag,
    Target,
)

FOLDER = Path(__file__).with_name("wire")
TARGET = Target(resource_uuid="a1b2c3d4-e5f6-7890-abcd-ef1234567890", resource_type="snowflake", log_type="snowflake")
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
RAW, ORDERS, VIEW = (
    TableRef(database="analytics", schema="public", name=name) for name in ("Orders Raw", "orders", 'orders."v"')
)
SEEN = Evidence(kind=EvidenceKind.VIEW)


def tables() -> Iterable[Event]:
    yield metadata_event(
        TableSnapshot(
            ref=ORDERS,
            asset_type=AssetType.TABLE,
            native_type="BASE TABLE",
            columns=(
                Column(name="id", type="INTEGER", description="Primary key"),
                Column(name="größe", type="DECIMAL(10,2)"),
            ),
            description='Customer "orders" - 注文',
            created_at=datetime(2023, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            tags=(Tag(key="team", value="data-eng"), Tag(key="pii", value="")),
            row_count=0,
            byte_count=2**53 + 1,
            data_change=DataChange(at=NOON.replace(microsecond=1), source=ChangeSource.WRITE_LOG),
        )
    )
    yield metadata_event(
        TableSnapshot(ref=VIEW, asset_type=AssetType.VIEW, native_type="VIEW", view_query="SELECT 1\n-- 100 %")
    )


def edges() -> Iterable[Event]:
    return lineage_events(
        [
            LineageEdge(source=RAW, destination=ORDERS, evidence=SEEN),
            LineageEdge(source=ORDERS, destination=VIEW, evidence=SEEN, destination_type=AssetType.VIEW),
            LineageEdge(source=RAW, destination=VIEW, evidence=SEEN),
        ]
    )


def column_edges() -> Iterable[Event]:
    pairs = (("amount", "größe"), ("id", "id"), ("fee", "größe"))
    return column_lineage_events(
        ColumnEdge(source=RAW, source_column=source, destination=ORDERS, destination_column=destination, evidence=SEEN)
        for source, destination in pairs
    )


def queries() -> Iterable[Event]:
    yield query_event(
        QueryRecord(
            text="INSERT INTO orders SELECT * FROM \"Orders Raw\" -- 'naïve' \t",
            started_at=NOON,
            ended_at=NOON + timedelta(seconds=1, microseconds=500000),
            query_id="01b2",
            user="anna@example.com",
            returned_rows=0,
            extra={"warehouse": "WH", "cost": 0.5, "tags": ["a", None, True]},
        )
    )
    yield query_event(
        QueryRecord(
            text="SELECT 1/0", started_at=NOON, ended_at=NOON, error_code="100051", error_text="Division by zero"
        )
    )


EVENTS = {
    Feed.METADATA: tables,
    Feed.LINEAGE: edges,
    Feed.COLUMN_LINEAGE: column_edges,
    Feed.QUERY_LOG: queries,
}


def body(feed: Feed) -> bytes:
    (batch,) = batches(EVENTS[feed](), envelope(feed, TARGET), max_events=500, max_bytes=1_000_000)
    assert isinstance(batch, Batch)
    return batch.body


def file_of(feed: Feed) -> Path:
    return FOLDER / f"{feed.value.lower()}.json"


if __name__ == "__main__":
    for each in Feed:
        if "--write" in sys.argv:
            file_of(each).write_bytes(body(each))
        else:
            print(body(each).decode())
