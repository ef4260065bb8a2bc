"""Collecting and pushing on two machines."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.errors import FixConfiguration, StorageFault, TryAgain, WarehouseUnavailable
from mc_push_dagster.flow.manifest import Manifest, writing
from mc_push_dagster.ledger import PushKind
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    ColumnEdge,
    DataChange,
    Evidence,
    EvidenceKind,
    Feed,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TablePattern,
    TableRef,
    TableSnapshot,
    Tag,
    Target,
    Window,
)
from mc_push_dagster_tests.flow.harness import (
    NOON,
    UUID,
    Clock,
    Desk,
    Recorder,
    Shop,
    assets,
    desk,
    measured,
    query,
    query_ids,
    ref,
    table,
    view,
)

WINDOW = Window(start=NOON - timedelta(hours=2, minutes=10), end=NOON - timedelta(minutes=10))

words = st.text(max_size=12)
moments = st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)).map(lambda m: m.replace(tzinfo=UTC))
refs = st.builds(TableRef, database=words, schema=words, name=words)
targets = st.none() | st.builds(Target, resource_uuid=words, resource_type=words, log_type=words)
evidences = st.builds(
    Evidence,
    kind=st.sampled_from(EvidenceKind),
    reference=st.none() | words,
    first_seen=st.none() | moments,
    last_seen=st.none() | moments,
    confidence=st.floats(0, 1),
)
gaps = st.builds(Gap, subject=words, reason=words, ref=st.none() | refs)
snapshots = st.builds(
    TableSnapshot,
    ref=refs,
    asset_type=st.sampled_from(AssetType),
    native_type=words,
    columns=st.none()
    | st.lists(st.builds(Column, name=words, type=words, description=st.none() | words), max_size=3).map(tuple),
    description=st.none() | words,
    view_query=st.none() | words,
    created_at=st.none() | moments,
    tags=st.lists(st.builds(Tag, key=words, value=words), max_size=2).map(tuple),
    row_count=st.none() | st.integers(0, 2**62),
    byte_count=st.none() | st.integers(0, 2**62),
    data_change=st.none() | st.builds(DataChange, at=moments, source=st.sampled_from(ChangeSource)),
)
edges = st.builds(LineageEdge, source=refs, destination=refs, evidence=evidences, source_target=targets)
column_edges = st.builds(
    ColumnEdge,
    source=refs,
    source_column=words,
    destination=refs,
    destination_column=words,
    evidence=evidences,
    source_target=targets,
    destination_type=st.sampled_from(AssetType),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
records = st.builds(
    QueryRecord,
    text=words,
    started_at=moments,
    ended_at=moments,
    query_id=st.none() | words,
    user=st.none() | words,
    returned_rows=st.none() | st.integers(0, 2**62),
    error_code=st.none() | words,
    error_text=st.none() | words,
    extra=st.dictionaries(words, json_values, max_size=2),
)


@given(
    tables=st.lists(snapshots | gaps, max_size=4),
    lineage=st.lists(edges | column_edges | gaps, max_size=4),
    queries=st.lists(records, max_size=4),
)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, tables: list, lineage: list, queries: list
) -> None:
    path = tmp_path_factory.mktemp("m") / "m.ndjson"
    scope = Scope(include=(TablePattern.parse("shop.*"),))
    with writing(path, warehouse="shop", collected_at=NOON, scope=scope) as draft:
        draft.write("tables", tables)
        draft.write("lineage", lineage)
        draft.write("queries", queries, window=WINDOW, closed=False)
    manifest = Manifest.open(path)
    assert (manifest.header.warehouse, manifest.header.collected_at, manifest.header.scope) == ("shop", NOON, scope)
    [queried] = manifest.sections("queries")
    assert (queried.window, queried.closed) == (WINDOW, False)
    for kind, written in (("tables", tables), ("lineage", lineage), ("queries", queries)):
        [section] = manifest.sections(kind)  # type: ignore[arg-type]
        assert list(manifest.read(section)) == written


@pytest.fixture
def shop() -> Shop:
    stocked = Shop(
        table("orders", "id", "price", rows=0, changed=NOON - timedelta(minutes=5)),
        table("mart", "id"),
        view("v", "SELECT id FROM orders"),
    )
    stocked.log = [query(i, WINDOW.start + timedelta(minutes=i)) for i in range(100)]
    stocked.log.append(query(200, NOON - timedelta(minutes=30), "INSERT INTO mart SELECT id FROM orders"))
    return stocked


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manifest(tmp_path: Path, shop: Shop, clock: Clock) -> Path:
    """Collected on one machine."""
    gateway = Recorder()
    at = desk(tmp_path / "one", shop=shop, gateway=gateway, clock=clock)
    path = at.pusher.collect(tmp_path / "manifests", windows=[WINDOW])
    assert gateway.calls == 0
    assert not at.ledger.exists()
    assert [p.name for p in path.parent.iterdir()] == [path.name] == ["shop-20261120T121000Z.ndjson"]
    return path


@pytest.fixture
def other(tmp_path: Path, clock: Clock) -> Desk:
    """The other machine: it cannot reach the warehouse."""
    (tmp_path / "two").mkdir()
    return desk(tmp_path / "two", shop=Shop(), gateway=Recorder(), clock=clock)


def sent(at: Desk, feed: Feed) -> list[dict]:
    assert isinstance(at.gateway, Recorder)
    return at.gateway.events(feed)


def test_a_manifest_carries_all_that_a_push_would(manifest: Path, other: Desk) -> None:
    report = other.pusher.push_manifest(manifest)
    assert assets(sent(other, Feed.METADATA)) == ["mart", "orders", "v"]
    assert measured(sent(other, Feed.METADATA)) == ["mart", "orders"]
    drawn = {event["destination"]["name"] for event in sent(other, Feed.LINEAGE)}
    assert drawn == {"mart", "v"}
    assert Counter(query_ids(sent(other, Feed.QUERY_LOG))) == {record.query_id: 1 for record in log_of(manifest)}
    assert report.counts["queries"] == 101
    assert other.ledger.pushes()[0].kind is PushKind.MANIFEST
    assert [str(w.window)[11:16] for w in other.ledger.windows(UUID)] == ["10:00", "11:00"]
    [sample] = other.ledger.samples(UUID, ref=ref("orders"))
    assert (sample.row_count, sample.changed_at) == (0, NOON - timedelta(minutes=5))


def log_of(path: Path) -> list[QueryRecord]:
    read = Manifest.open(path)
    return [record for section in read.sections("queries") for record in read.read(section)]


def test_a_manifest_that_is_pushed_again_sends_nothing_twice(manifest: Path, other: Desk) -> None:
    first = other.pusher.push_manifest(manifest)
    again = other.pusher.push_manifest(manifest)
    assert again.requests == 0
    assert again.held_back is not None
    assert again.held_back.push_ids == (first.push_id,)
    assert again.counts["queries_seen_before"] == 101


def test_hours_are_claimed_when_a_manifest_is_pushed(manifest: Path, other: Desk, clock: Clock) -> None:
    other.ledger.claim(UUID, [ref("orders")], hour=NOON + timedelta(minutes=50), push_id="somebody")
    clock.advance(minutes=55)
    other.pusher.push_manifest(manifest)
    assert measured(sent(other, Feed.METADATA)) == ["mart"]


def test_volume_and_freshness_of_long_ago_are_left_out_and_the_report_says_so(
    manifest: Path, other: Desk, clock: Clock
) -> None:
    clock.advance(hours=5)
    report = other.pusher.push_manifest(manifest)
    assert assets(sent(other, Feed.METADATA)) == ["mart", "orders", "v"]
    assert measured(sent(other, Feed.METADATA)) == []
    assert [gap.subject for gap in report.gaps] == ["volume and freshness"]
    assert "2026-11-20 12:10 UTC" in report.gaps[0].reason
    assert other.ledger.claims(UUID, clock.now) == {}


def test_a_manifest_can_be_pushed_to_any_resource(manifest: Path, tmp_path: Path, clock: Clock) -> None:
    assert UUID not in manifest.read_text()
    elsewhere = Target(resource_uuid="elsewhere", resource_type="postgres", log_type="generic")
    at = desk(tmp_path, shop=Shop(), gateway=Recorder(), clock=clock, target=elsewhere)
    at.pusher.push_manifest(manifest)
    assert b'"uuid":"elsewhere","resource_type":"postgres"' in at.gateway.bodies[0][1]  # type: ignore[attr-defined]


def test_a_dry_run_of_a_manifest_counts_it(manifest: Path, other: Desk) -> None:
    dry = other.pusher.push_manifest(manifest, dry_run=True)
    assert not other.ledger.exists()
    real = other.pusher.push_manifest(manifest)
    assert (dry.counts, dry.requests, dry.raw_bytes) == (real.counts, real.requests, real.raw_bytes)


def test_a_manifest_push_that_broke_off_is_completed(manifest: Path, other: Desk) -> None:
    assert isinstance(other.gateway, Recorder)
    other.gateway.answers = lambda call, *_: TryAgain("503") if call >= 1 else None
    with pytest.raises(Exception, match="503"):
        other.pusher.push_manifest(manifest)
    other.gateway.answers = lambda *_: None
    other.pusher.push_manifest(manifest)
    assert Counter(measured(sent(other, Feed.METADATA))) == {"mart": 1, "orders": 1}
    assert set(Counter(query_ids(sent(other, Feed.QUERY_LOG))).values()) == {1}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: b[:-50], "is cut short"),
        (lambda b: b.replace(b"orders", b"0rders"), "was changed after it was written"),
        (lambda b: b"{}\n" + b, "is no manifest"),
        (lambda b: b"name,rows\norders,5\n", "is no manifest"),
        (lambda b: b.replace(b'"format":1', b'"format":2'), "newer mc-push-dagster"),
        (lambda b: b"", "is no manifest"),
    ],
)
def test_a_manifest_that_is_not_whole_is_refused_before_anything_is_sent(
    manifest: Path, other: Desk, damage: object, words: str
) -> None:
    manifest.write_bytes(damage(manifest.read_bytes()))  # type: ignore[operator]
    with pytest.raises(FixConfiguration, match=words):
        other.pusher.push_manifest(manifest)
    assert other.gateway.calls == 0  # type: ignore[attr-defined]


def test_a_manifest_that_is_not_there_is_named(other: Desk, tmp_path: Path) -> None:
    with pytest.raises(FixConfiguration, match=r"nowhere.ndjson cannot be read: No such file"):
        other.pusher.push_manifest(tmp_path / "nowhere.ndjson")


def test_what_could_not_be_read_is_in_the_manifest_too(tmp_path: Path, shop: Shop, other: Desk, clock: Clock) -> None:
    shop.stock.append(Gap(subject="shop.secret", reason="permission denied"))
    at = desk(tmp_path, shop=shop, gateway=Recorder(), clock=clock)
    path = at.pusher.collect(tmp_path / "manifests")
    report = other.pusher.push_manifest(path)
    assert {gap.subject for gap in report.gaps} == {"shop.secret"}
    assert list(other.ledger.tables(UUID, gone=True)) == []


def test_nothing_half_written_is_left_when_collecting_fails(tmp_path: Path, shop: Shop) -> None:
    def fail(_: int) -> None:
        raise WarehouseUnavailable("gone")

    shop.while_reading = fail
    at = desk(tmp_path, shop=shop, gateway=Recorder())
    with pytest.raises(WarehouseUnavailable):
        at.pusher.collect(tmp_path / "manifests")
    assert list((tmp_path / "manifests").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "file").write_text("in the way")
    at = desk(tmp_path, shop=shop, gateway=Recorder())
    with pytest.raises(StorageFault, match="cannot be written"):
        at.pusher.collect(tmp_path / "file" / "manifests")


def test_an_edge_of_another_resource_survives_the_journey(
    tmp_path: Path, shop: Shop, other: Desk, clock: Clock
) -> None:
    elsewhere = Target(resource_uuid="elsewhere", resource_type="postgres", log_type="generic")
    evidence = Evidence(kind=EvidenceKind.NATIVE)
    crossing = LineageEdge(source=ref("src"), destination=ref("mart"), evidence=evidence, source_target=elsewhere)
    shop.native = [crossing, replace(crossing, source_target=None)]
    at = desk(tmp_path, shop=shop, gateway=Recorder(), clock=clock)
    other.pusher.push_manifest(at.pusher.collect(tmp_path / "manifests"))
    found = [record.edge.source_target for record in other.ledger.edges(UUID, destination=ref("mart"), source=None)]
    assert elsewhere in found
    assert None in found


def test_a_manifest_may_be_read_by_others_as_the_umask_says(manifest: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o666 & ~mask
