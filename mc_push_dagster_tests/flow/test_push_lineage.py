"""Lineage: all sources of a destination together, new edges at once, old ones before they expire."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mc_push_dagster.errors import FixAccess, PushIncomplete, TryAgain
from mc_push_dagster.model import ColumnEdge, Evidence, EvidenceKind, Feed, Gap, LineageEdge, Target
from mc_push_dagster_tests.flow.harness import NOON, UUID, Desk, Recorder, Shop, config, desk, query, ref, table, view

NATIVE = Evidence(kind=EvidenceKind.NATIVE)
OTHER = Target(resource_uuid="99999999-2222-4333-8444-555555555555", resource_type="postgres", log_type="generic")


def edge(source: str, destination: str, **more: object) -> LineageEdge:
    return LineageEdge(**({"source": ref(source), "destination": ref(destination), "evidence": NATIVE} | more))  # type: ignore[arg-type]


def column_edge(source: str, destination: str, column: str = "id", **more: object) -> ColumnEdge:
    given = {"source": ref(source), "destination": ref(destination), "evidence": NATIVE}
    return ColumnEdge(source_column=column, destination_column=column, **(given | more))  # type: ignore[arg-type]


@pytest.fixture
def gateway() -> Recorder:
    return Recorder()


@pytest.fixture
def at(tmp_path: Path, gateway: Recorder) -> Desk:
    shop = Shop(table("orders", "id", "price"), table("users"), table("mart", "id", "price"))
    return desk(tmp_path, shop=shop, gateway=gateway)


def sent(at: Desk, feed: Feed = Feed.LINEAGE) -> list[tuple[str, list[str]]]:
    assert isinstance(at.gateway, Recorder)
    return [(e["destination"]["name"], [s["name"] for s in e["sources"]]) for e in at.gateway.events(feed)]


def test_edges_come_from_views_from_queries_and_from_the_warehouse_itself(at: Desk) -> None:
    at.shop.stock.append(view("v", "SELECT id FROM orders"))
    at.shop.log = [
        query(1, NOON - timedelta(hours=2), "INSERT INTO mart SELECT id, price FROM orders"),
        query(2, NOON - timedelta(hours=2), "INSERT INTO mart SELECT 1 FROM users", error_text="it failed"),
        query(3, NOON - timedelta(hours=25), "INSERT INTO users SELECT id FROM orders"),
    ]
    at.shop.native = [edge("users", "mart"), Gap(subject="access history", reason="needs a right")]
    report = at.pusher.push_lineage()
    assert sorted(sent(at)) == [("mart", ["orders", "users"]), ("v", ["orders"])]
    assert report.counts["edges"] == 3
    assert [gap.subject for gap in report.gaps] == ["access history"]
    kinds = {
        record.edge.source.name + ">" + record.edge.destination.name: record.edge.evidence
        for record in at.ledger.edges(UUID)
    }
    assert kinds["orders>v"].kind is EvidenceKind.VIEW
    assert (kinds["orders>mart"].kind, kinds["orders>mart"].reference) == (EvidenceKind.QUERY, "q0000001")
    assert kinds["users>mart"].kind is EvidenceKind.NATIVE


def test_tables_go_out_before_columns(at: Desk, gateway: Recorder) -> None:
    at.shop.native = [column_edge("orders", "mart"), edge("orders", "mart")]
    at.pusher.push_lineage()
    assert [feed for feed, _ in gateway.bodies] == [Feed.LINEAGE, Feed.COLUMN_LINEAGE]


def test_an_edge_is_pushed_once_and_again_before_it_expires(at: Desk) -> None:
    at.shop.native = [edge("orders", "mart"), column_edge("orders", "mart")]
    at.pusher.push_lineage()
    at.pusher.push_lineage()
    assert (len(sent(at)), len(sent(at, Feed.COLUMN_LINEAGE))) == (1, 1)
    at.clock.advance(hours=24, seconds=1)
    at.pusher.push_lineage()
    assert (len(sent(at)), len(sent(at, Feed.COLUMN_LINEAGE))) == (1, 2), "columns expire after 10 days"
    at.shop.native = []
    at.clock.advance(days=6)
    at.pusher.push_lineage()
    assert (len(sent(at)), len(sent(at, Feed.COLUMN_LINEAGE))) == (2, 3), "a weekly statement's edges stay alive"
    at.clock.advance(days=30)
    at.pusher.push_lineage()
    assert (len(sent(at)), len(sent(at, Feed.COLUMN_LINEAGE))) == (2, 3), "what was not seen for a month is not"
    assert len(list(at.ledger.edges(UUID))) == 1


def test_a_new_source_takes_the_known_ones_along(at: Desk) -> None:
    at.shop.native = [edge("orders", "mart"), edge("orders", "users")]
    at.pusher.push_lineage()
    at.shop.native = [edge("users", "mart")]
    at.pusher.push_lineage()
    assert sent(at)[-1] == ("mart", ["orders", "users"])
    assert len(sent(at)) == 3


def test_edges_that_are_not_trusted_are_kept_and_not_pushed(at: Desk) -> None:
    at.shop.native = [
        edge("orders", "mart"),
        edge("users", "mart", evidence=replace(NATIVE, kind=EvidenceKind.QUERY, confidence=0.4)),
    ]
    report = at.pusher.push_lineage()
    assert sent(at) == [("mart", ["orders"])]
    assert report.counts["edges_below_confidence"] == 1
    assert len(list(at.ledger.edges(UUID))) == 2


def test_a_changed_view_loses_its_old_sources(at: Desk) -> None:
    at.shop.stock.append(view("v", "SELECT id FROM orders"))
    at.pusher.push_lineage()
    at.shop.stock[-1] = view("v", "SELECT id FROM users")
    at.clock.advance(hours=1)
    at.pusher.push_lineage()
    assert sent(at) == [("v", ["orders"]), ("v", ["users"])]


def test_a_source_in_another_resource_goes_in_a_body_of_its_own(at: Desk, gateway: Recorder) -> None:
    import orjson

    at.shop.native = [edge("orders", "mart"), edge("events", "users", source_target=OTHER)]
    at.pusher.push_lineage()
    bodies = [orjson.loads(body) for _, body in gateway.bodies]
    assert [sorted(body) for body in bodies] == [["event_type", "events", "resource"], ["event_type", "events"]]
    [crossing] = bodies[1]["events"]
    assert crossing["sources"][0]["resource_uuid"] == OTHER.resource_uuid
    assert crossing["destination"]["resource_uuid"] == UUID
    at.pusher.push_lineage()
    assert len(gateway.bodies) == 2, "both count as pushed"


def test_lineage_works_before_any_catalog_was_pushed(at: Desk) -> None:
    at.shop.stock.append(view("v", "SELECT * FROM ORDERS"))
    at.pusher.push_lineage()
    assert sent(at) == [("v", ["orders"])], "names resolve by the catalog, which was read first"
    assert at.ledger.table_count(UUID) == 4
    report = at.pusher.push_catalog()
    assert report.counts["tables"] == 3
    assert report.changes == ()


def test_a_table_that_is_gone_is_no_longer_drawn(at: Desk) -> None:
    at.pusher.push_catalog()
    at.shop.native = [edge("orders", "mart"), edge("users", "mart")]
    at.shop.stock = [item for item in at.shop.stock if isinstance(item, Gap) or item.ref.name != "users"]
    at.clock.advance(hours=1)
    at.pusher.push_catalog()
    at.pusher.push_lineage()
    assert sent(at) == [("mart", ["orders"])]


def test_lineage_left_over_is_completed_however_late(tmp_path: Path, gateway: Recorder) -> None:
    shop = Shop(table("a"))
    shop.native = [edge("a", f"m{i}") for i in range(10)]
    at = desk(tmp_path, shop=shop, gateway=gateway, settings=config(max_events=2, concurrency=1, deadline_seconds=3))
    gateway.answers = lambda call, *_: TryAgain("503") if call >= 1 else None
    with pytest.raises(PushIncomplete):
        at.pusher.push_lineage()
    at.clock.advance(hours=3)
    gateway.answers = lambda *_: None
    at.pusher.push_lineage()
    assert Counter(name for name, _ in sent(at)) == {f"m{i}": 1 for i in range(10)}


def test_a_dry_run_counts_what_is_due_and_remembers_nothing(at: Desk, gateway: Recorder) -> None:
    at.shop.native = [edge("orders", "mart"), column_edge("orders", "mart")]
    dry = at.pusher.push_lineage(dry_run=True)
    assert not at.ledger.exists()
    real = at.pusher.push_lineage()
    assert (dry.counts, dry.requests, dry.raw_bytes) == (real.counts, real.requests, real.raw_bytes)
    assert at.pusher.push_lineage(dry_run=True).requests == 0


def test_a_wrong_key_costs_one_attempt(at: Desk, gateway: Recorder) -> None:
    at.shop.native = [edge("orders", "mart"), column_edge("orders", "mart")]
    gateway.answers = lambda *_: FixAccess("401")
    with pytest.raises(FixAccess):
        at.pusher.push_lineage()
    assert gateway.calls == 1


def test_many_destinations_are_all_pushed_once(tmp_path: Path, gateway: Recorder) -> None:
    shop = Shop(table("a"), table("b"))
    shop.native = [edge(source, f"m{i:04d}") for i in range(1_100) for source in ("a", "b")]
    at = desk(tmp_path, shop=shop, gateway=gateway)
    report = at.pusher.push_lineage()
    assert Counter(name for name, _ in sent(at)) == {f"m{i:04d}": 1 for i in range(1_100)}
    assert report.counts["edges"] == 2_200
    assert at.pusher.push_lineage().requests == 0
