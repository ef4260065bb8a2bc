"""Wire events: equal to pycarlo's own builders, and true where those would let something false through."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_push_dagster.errors import BrokenContract
from mc_push_dagster.flow.events import (
    Event,
    column_lineage_events,
    envelope,
    lineage_events,
    metadata_event,
    query_event,
    timestamp,
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

TARGET = Target(resource_uuid="a1b2c3d4-e5f6-7890-abcd-ef1234567890", resource_type="snowflake", log_type="snowflake")
OTHER = Target(resource_uuid="ffffffff-e5f6-7890-abcd-ef1234567890", resource_type="bigquery", log_type="bigquery")
SEEN = Evidence(kind=EvidenceKind.NATIVE)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
maybe_text = st.none() | text
zones = st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=45))])
times = st.datetimes(min_value=datetime(1990, 1, 2), max_value=datetime(2100, 1, 1), timezones=zones)
counts = st.none() | st.integers(0, 2**60)
refs = st.builds(TableRef, database=text, schema=text, name=text)
kinds = st.sampled_from(AssetType)
snapshots = st.builds(
    TableSnapshot,
    ref=refs,
    asset_type=kinds,
    native_type=text,
    columns=st.none()
    | st.lists(st.builds(Column, name=text, type=text, description=maybe_text), max_size=4).map(tuple),
    description=maybe_text,
    view_query=maybe_text,
    created_at=st.none() | times,
    tags=st.lists(st.builds(Tag, key=text, value=text), max_size=2).map(tuple),
    row_count=counts,
    byte_count=counts,
    data_change=st.none() | st.builds(DataChange, at=times, source=st.sampled_from(ChangeSource)),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=5,
)
records = st.builds(
    QueryRecord,
    text=text,
    started_at=times,
    ended_at=times,
    query_id=maybe_text,
    user=maybe_text,
    returned_rows=counts,
    error_code=maybe_text,
    error_text=maybe_text,
    extra=st.dictionaries(text, json_values, max_size=3),
)
# Few names, so that destinations share sources and tables stand on both sides.
near = st.builds(
    TableRef, database=st.just("db"), schema=st.sampled_from("ab"), name=st.sampled_from(["t", "u", "V.w"])
)
columns = st.sampled_from(["id", "amount", "Größe"])
table_edges = st.builds(LineageEdge, source=near, destination=near, evidence=st.just(SEEN))
column_edges = st.builds(
    ColumnEdge,
    source=near,
    source_column=columns,
    destination=near,
    destination_column=columns,
    evidence=st.just(SEEN),
)


@pytest.fixture(scope="module", autouse=True)
def _quiet_pycarlo():
    """Importing pycarlo's schema warns of enum values that it does not know itself."""
    logger = logging.getLogger("pycarlo.lib.types")
    logger.disabled = True
    yield
    logger.disabled = False


def body(feed: Feed, events: list[Event], target: Target | None = TARGET) -> dict:
    return {**envelope(feed, target), "events": [e.wire for e in events]}


@settings(max_examples=120, deadline=None)
@given(st.lists(snapshots, min_size=1, max_size=3))
def test_metadata_equals_what_pycarlo_builds(tables: list[TableSnapshot]) -> None:
    from pycarlo.features.ingestion import models as sdk

    def asset(s: TableSnapshot) -> sdk.RelationalAsset:
        counted = s.row_count is not None or s.byte_count is not None
        return sdk.RelationalAsset(
            type=s.asset_type.value,
            metadata=sdk.AssetMetadata(
                name=s.ref.name,
                database=s.ref.database,
                schema=s.ref.schema,
                description=s.description,
                view_query=s.view_query if s.asset_type is AssetType.VIEW else None,
                created_on=sdk._datetime_to_iso8601(s.created_at) if s.created_at else None,
            ),
            tags=[sdk.Tag(key=t.key, value=t.value) for t in s.tags],
            fields=[sdk.AssetField(name=c.name, type=c.type, description=c.description) for c in s.columns or ()],
            volume=sdk.AssetVolume(row_count=s.row_count, byte_count=s.byte_count) if counted else None,
            freshness=sdk.AssetFreshness(last_update_time=sdk._datetime_to_iso8601(s.data_change.at))
            if s.data_change
            else None,
        )

    theirs = sdk.build_metadata_payload(TARGET.resource_uuid, TARGET.resource_type, [asset(s) for s in tables])
    assert body(Feed.METADATA, [metadata_event(s) for s in tables]) == theirs


@settings(max_examples=120, deadline=None)
@given(st.lists(records, min_size=1, max_size=3))
def test_query_logs_equal_what_pycarlo_builds(log: list[QueryRecord]) -> None:
    from pycarlo.features.ingestion import models as sdk

    entries = [
        sdk.QueryLogEntry(
            start_time=r.started_at,
            end_time=r.ended_at,
            query_text=r.text,
            query_id=r.query_id,
            user=r.user,
            error_code=r.error_code,
            error_text=r.error_text,
            returned_rows=r.returned_rows,
            extra=dict(r.extra) or None,
        )
        for r in log
    ]
    theirs = sdk.build_query_log_payload(TARGET.resource_uuid, TARGET.log_type, entries)
    ours = body(Feed.QUERY_LOG, [query_event(r) for r in log])
    assert ours == theirs
    # Equality alone would let 1.0 pass for 1 and True for 1: the bytes may not differ either.
    assert repr(ours) == repr(theirs)


@settings(max_examples=120, deadline=None)
@given(st.lists(table_edges, min_size=1, max_size=8))
def test_table_lineage_equals_what_pycarlo_builds(edges: list[LineageEdge]) -> None:
    from pycarlo.features.ingestion import models as sdk

    def asset(ref: TableRef) -> sdk.LineageAssetRef:
        return sdk.LineageAssetRef(type="TABLE", name=ref.name, database=ref.database, schema=ref.schema)

    events = [
        sdk.LineageEvent(
            destination=asset(d), sources=[asset(s) for s in sorted({e.source for e in edges if e.destination == d})]
        )
        for d in sorted({e.destination for e in edges})
    ]
    theirs = sdk.build_lineage_payload(TARGET.resource_uuid, TARGET.resource_type, events)
    assert body(Feed.LINEAGE, list(lineage_events(edges))) == theirs


@settings(max_examples=120, deadline=None)
@given(st.lists(column_edges, min_size=1, max_size=12))
def test_column_lineage_equals_what_pycarlo_builds_and_every_alias_resolves(edges: list[ColumnEdge]) -> None:
    from pycarlo.features.ingestion import models as sdk

    def asset(ref: TableRef) -> sdk.LineageAssetRef:
        return sdk.LineageAssetRef(
            type="TABLE", name=ref.name, database=ref.database, schema=ref.schema, asset_id=ref.full_table_id
        )

    events = []
    for destination in sorted({e.destination for e in edges}):
        mine = [e for e in edges if e.destination == destination]
        fields = [
            sdk.ColumnLineageField(
                name=name,
                source_fields=[
                    sdk.ColumnLineageSourceField(asset_id=s.full_table_id, field_name=c)
                    for s, c in sorted({(e.source, e.source_column) for e in mine if e.destination_column == name})
                ],
            )
            for name in sorted({e.destination_column for e in mine})
        ]
        sources = [asset(s) for s in sorted({e.source for e in mine})]
        events.append(sdk.LineageEvent(destination=asset(destination), sources=sources, fields=fields))
    ours = list(column_lineage_events(edges))
    theirs = sdk.build_lineage_payload(TARGET.resource_uuid, TARGET.resource_type, events)
    assert body(Feed.COLUMN_LINEAGE, ours) == theirs
    for event in ours:
        known = {s["asset_id"] for s in event.wire["sources"]}
        assert {f["asset_id"] for field in event.wire["fields"] for f in field["source_fields"]} == known


def test_cross_warehouse_lineage_names_a_resource_on_every_asset_and_none_on_top() -> None:
    from pycarlo.features.ingestion import models as sdk

    here, there = TableRef(database="d", schema="s", name="here"), TableRef(database="d", schema="s", name="there")
    local = TableRef(database="d", schema="s", name="local")
    edges = [
        LineageEdge(source=there, destination=here, evidence=SEEN, source_target=OTHER, source_type=AssetType.VIEW),
        LineageEdge(source=local, destination=here, evidence=SEEN),
        LineageEdge(source=here, destination=local, evidence=SEEN),
    ]
    plain, crossing = lineage_events(edges, target=TARGET)
    assert not plain.cross_warehouse
    assert "resource_uuid" not in plain.wire["destination"]
    assert crossing.cross_warehouse

    def asset(ref: TableRef, target: Target, kind: str = "TABLE") -> sdk.LineageAssetRef:
        return sdk.LineageAssetRef(
            type=kind,
            name=ref.name,
            database=ref.database,
            schema=ref.schema,
            resource_uuid=target.resource_uuid,
            resource_type=target.resource_type,
        )

    theirs = sdk.build_lineage_payload(
        events=[
            sdk.LineageEvent(
                destination=asset(here, TARGET), sources=[asset(local, TARGET), asset(there, OTHER, "VIEW")]
            )
        ]
    )
    assert body(Feed.LINEAGE, [crossing], None) == theirs


def test_one_edge_that_knows_a_view_settles_its_type_on_both_sides() -> None:
    raw, view, mart = (TableRef(database="d", schema="s", name=n) for n in ("raw", "v", "mart"))
    edges = [
        LineageEdge(source=raw, destination=view, evidence=SEEN, destination_type=AssetType.VIEW),
        LineageEdge(source=view, destination=mart, evidence=SEEN),
    ]
    into_mart, into_view = lineage_events(edges)
    assert into_mart.wire["sources"][0]["type"] == "VIEW"
    assert into_view.wire["destination"]["type"] == "VIEW"


def test_the_same_table_of_two_warehouses_has_two_aliases() -> None:
    ref, mart = TableRef(database="d", schema="s", name="t"), TableRef(database="d", schema="s", name="mart")
    edges = [
        ColumnEdge(
            source=ref,
            source_column="a",
            destination=mart,
            destination_column="a",
            evidence=SEEN,
            source_target=source,
        )
        for source in (None, OTHER)
    ]
    (event,) = column_lineage_events(edges, target=TARGET)
    assert len({s["asset_id"] for s in event.wire["sources"]}) == 2
    assert len(event.wire["fields"][0]["source_fields"]) == 2


def test_a_crossing_edge_without_the_own_resource_is_refused() -> None:
    ref = TableRef(database="d", schema="s", name="t")
    with pytest.raises(BrokenContract, match="own resource"):
        list(lineage_events([LineageEdge(source=ref, destination=ref, evidence=SEEN, source_target=OTHER)]))


def snapshot(**changes: object) -> TableSnapshot:
    ref = TableRef(database="analytics", schema="public", name="orders")
    return TableSnapshot(**{"ref": ref, "asset_type": AssetType.TABLE, "native_type": "BASE TABLE", **changes})


def asset_of(event: Event) -> dict:
    return event.wire["relational_asset"]


def test_unknown_counts_leave_no_volume_block_and_a_true_zero_stays() -> None:
    assert "volume" not in asset_of(metadata_event(snapshot()))
    assert asset_of(metadata_event(snapshot(row_count=0)))["volume"] == {"row_count": 0}


def test_a_schema_only_push_carries_neither_volume_nor_freshness() -> None:
    full = snapshot(row_count=1, data_change=DataChange(at=NOON, source=ChangeSource.WRITE_LOG))
    assert {"volume", "freshness"} <= asset_of(metadata_event(full)).keys()
    assert not {"volume", "freshness"} & asset_of(metadata_event(full, with_measures=False)).keys()


def test_a_forbidden_provenance_leaves_no_freshness_block() -> None:
    polluted = snapshot(data_change=DataChange(at=NOON, source=ChangeSource.DDL_POLLUTED))
    assert asset_of(metadata_event(polluted))["freshness"] == {"last_update_time": "2024-03-01T12:00:00Z"}
    assert "freshness" not in asset_of(metadata_event(polluted, forbid={ChangeSource.DDL_POLLUTED}))


def test_empty_texts_are_unknown_not_empty() -> None:
    bare = snapshot(
        description="", columns=(Column(name="a", type="INT", description=""),), tags=(Tag(key="k", value=""),)
    )
    asset = asset_of(metadata_event(bare))
    assert asset["fields"] == [{"name": "a", "type": "INT"}]
    assert asset["tags"] == [{"key": "k"}]
    assert "description" not in asset["metadata"]


def test_columns_that_were_not_read_are_absent() -> None:
    assert "fields" not in asset_of(metadata_event(snapshot(columns=None)))


def test_the_text_of_a_view_goes_out_with_views_only() -> None:
    assert "view_query" not in asset_of(metadata_event(snapshot(view_query="select 1")))["metadata"]
    view = snapshot(asset_type=AssetType.VIEW, view_query="select 1")
    assert asset_of(metadata_event(view))["metadata"]["view_query"] == "select 1"


def query(**changes: object) -> QueryRecord:
    return QueryRecord(**{"text": "select 1", "started_at": NOON, "ended_at": NOON, **changes})


def test_a_time_without_a_zone_is_refused_instead_of_shifted() -> None:
    with pytest.raises(ValueError, match="zone"):
        query_event(query(ended_at=datetime(2024, 3, 1)))


@pytest.mark.parametrize(
    ("moment", "wire"),
    [
        (NOON, "2024-03-01T12:00:00Z"),
        (NOON.replace(microsecond=1), "2024-03-01T12:00:00.000001Z"),
        (datetime(2024, 3, 1, 7, tzinfo=timezone(timedelta(hours=-5))), "2024-03-01T12:00:00Z"),
    ],
)
def test_times_are_utc_with_z(moment: datetime, wire: str) -> None:
    assert timestamp(moment) == wire


def test_minus_one_returned_rows_means_unknown() -> None:
    assert "returned_rows" not in query_event(query(returned_rows=-1)).wire


def test_numpy_integers_become_plain_ones() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    wire = query_event(query(returned_rows=numpy.int64(7))).wire
    assert type(wire["returned_rows"]) is int
    assert orjson.loads(orjson.dumps(wire))["returned_rows"] == 7


@pytest.mark.parametrize(
    "wrong", [{"returned_rows": 1.5}, {"extra": {"cost": [Decimal("1.5")]}}, {"extra": {"at": NOON}}]
)
def test_what_json_cannot_carry_is_refused_before_the_body_is_built(wrong: dict) -> None:
    with pytest.raises(BrokenContract, match="query q1"):
        query_event(query(query_id="q1", **wrong))


def test_a_measure_that_is_no_number_is_null_in_extras() -> None:
    assert query_event(query(extra={"load": float("nan")})).wire["extra"] == {"load": None}


def test_names_are_what_people_and_receipts_know() -> None:
    assert metadata_event(snapshot()).name == "analytics:public.orders"
    assert query_event(query(query_id="q1")).name == "q1"
    assert query_event(query()).name == "query started 2024-03-01T12:00:00Z"


@pytest.mark.parametrize("feed", [Feed.METADATA, Feed.QUERY_LOG])
def test_only_lineage_may_go_without_a_resource(feed: Feed) -> None:
    with pytest.raises(ValueError, match="needs a target"):
        envelope(feed, None)
