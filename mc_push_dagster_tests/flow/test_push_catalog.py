"""The catalog: each table's volume and freshness once an hour, its schema when it changed, nothing untrue."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mc_push_dagster.errors import BrokenContract, FixAccess, PushIncomplete, TryAgain, WarehouseUnavailable
from mc_push_dagster.ledger import PushKind, PushState
from mc_push_dagster.model import ChangeSource, Feed, Gap, Scope, TablePattern
from mc_push_dagster_tests.flow.harness import (
    NOON,
    UUID,
    Clock,
    Desk,
    Recorder,
    Shop,
    assets,
    config,
    desk,
    measured,
    ref,
    table,
    view,
)


@pytest.fixture
def gateway() -> Recorder:
    return Recorder()


@pytest.fixture
def shop() -> Shop:
    return Shop(
        table("orders", "id", "price", rows=5, changed=NOON - timedelta(minutes=3)),
        table("users", rows=0),
        view("v_orders", "SELECT id FROM orders"),
    )


@pytest.fixture
def at(tmp_path: Path, shop: Shop, gateway: Recorder) -> Desk:
    return desk(tmp_path, shop=shop, gateway=gateway)


def sent(at: Desk) -> list[dict]:
    assert isinstance(at.gateway, Recorder)
    return at.gateway.events(Feed.METADATA)


def test_the_first_push_says_everything_and_the_ledger_remembers_it(at: Desk) -> None:
    report = at.pusher.push_catalog()
    assert assets(sent(at)) == ["orders", "users", "v_orders"]
    assert measured(sent(at)) == ["orders", "users"]
    assert report.counts == {"tables": 2, "views": 1, "columns": 4}
    assert report.events == {Feed.METADATA: 3}
    assert report.invocation_ids == {Feed.METADATA: ("id-0",)}
    assert report.raw_bytes == sum(len(body) for _, body in at.gateway.bodies)  # type: ignore[attr-defined]
    assert report.changes == (), "what is new on the very first push is no drift"
    assert [line.ref.name for line in report.largest] == ["orders", "users", "v_orders"]
    assert report.complete

    [push] = at.ledger.pushes()
    assert (push.push_id, push.kind, push.state) == (report.push_id, PushKind.CATALOG, PushState.COMPLETE)
    assert push.manifest == report.manifest
    assert [receipt.invocation_id for receipt in at.ledger.receipts(push.push_id)] == ["id-0"]
    samples = {sample.ref.name: sample for sample in at.ledger.samples(UUID)}
    assert (samples["users"].row_count, samples["users"].changed_at) == (0, None)
    assert samples["orders"].changed_at == NOON - timedelta(minutes=3)
    assert "v_orders" not in samples


def test_a_second_push_in_the_hour_sends_no_volume_or_freshness_and_says_why(at: Desk) -> None:
    first = at.pusher.push_catalog()
    at.clock.advance(minutes=30)
    second = at.pusher.push_catalog()
    assert second.requests == 0
    assert second.counts == {"unchanged": 3}
    assert second.held_back is not None
    assert (second.held_back.tables, second.held_back.push_ids) == (2, (first.push_id,))
    assert second.held_back.hour == NOON.replace(minute=0)


def test_the_next_hour_is_pushed_again(at: Desk) -> None:
    at.pusher.push_catalog()
    at.clock.advance(hours=1)
    assert at.pusher.push_catalog().held_back is None
    assert Counter(measured(sent(at))) == {"orders": 2, "users": 2}
    assert len(list(at.ledger.samples(UUID, ref=ref("orders")))) == 2


def test_a_schema_that_changed_within_the_hour_goes_out_without_measures(at: Desk, shop: Shop) -> None:
    at.pusher.push_catalog()
    shop.stock[0] = table("orders", "id", "price", "discount", rows=99)
    report = at.pusher.push_catalog()
    assert assets(sent(at))[3:] == ["orders"]
    assert Counter(measured(sent(at)))["orders"] == 1
    [change] = report.changes
    assert (change.ref, change.change, change.columns_added) == (ref("orders"), "changed", ("discount",))
    assert at.pusher.push_catalog().changes == (), "a change is told once"


def test_a_table_that_is_new_within_the_hour_is_pushed_whole(at: Desk, shop: Shop) -> None:
    at.pusher.push_catalog()
    shop.stock.append(table("returns", rows=1))
    report = at.pusher.push_catalog()
    assert measured(sent(at)).count("returns") == 1
    assert [(c.ref.name, c.change) for c in report.changes] == [("returns", "added")]


def test_a_schema_only_push_carries_the_named_tables_and_no_measures_at_any_time(at: Desk, shop: Shop) -> None:
    shop.stock[0] = table("orders", "id", rows=5)
    for _ in range(2):
        report = at.pusher.push_catalog(schema_only=[ref("orders"), ref("not there")])
    assert assets(sent(at)) == ["orders", "orders"]
    assert measured(sent(at)) == []
    assert report.counts["tables"] == 1
    assert at.ledger.claims(UUID, NOON) == {}
    assert at.ledger.pushes()[0].kind is PushKind.SCHEMA
    at.pusher.push_catalog()
    assert sorted(measured(sent(at))) == ["orders", "users"], "the hour is still free"


def test_a_table_that_is_gone_gets_a_tombstone_and_nothing_is_deleted(at: Desk, shop: Shop) -> None:
    at.pusher.push_catalog()
    del shop.stock[1]
    at.clock.advance(hours=1)
    report = at.pusher.push_catalog()
    assert [(c.ref.name, c.change) for c in report.changes] == [("users", "removed")]
    assert [record.ref.name for record in at.ledger.tables(UUID, gone=True)] == ["users"]
    assert len(list(at.ledger.samples(UUID, ref=ref("users")))) == 1
    shop.stock.append(table("users"))
    at.clock.advance(hours=1)
    assert [(c.ref.name, c.change) for c in at.pusher.push_catalog().changes] == [("users", "added")]
    assert list(at.ledger.tables(UUID, gone=True)) == []


@pytest.mark.parametrize("case", ["gap", "nothing listed", "out of scope"])
def test_what_was_merely_not_read_gets_no_tombstone(at: Desk, shop: Shop, case: str) -> None:
    at.pusher.push_catalog()
    at.clock.advance(hours=1)
    if case == "gap":
        shop.stock[1] = Gap(subject="shop.main.users", reason="permission denied", ref=ref("users"))
    elif case == "nothing listed":
        shop.stock.clear()  # a right was lost
    else:
        shop.scope = Scope(exclude=(TablePattern.parse("*.*.users"),))
    report = at.pusher.push_catalog()
    assert list(at.ledger.tables(UUID, gone=True)) == []
    assert len(report.gaps) == (case == "gap")
    assert report.complete is (case != "gap")


def test_a_table_whose_columns_were_not_read_keeps_its_schema(at: Desk, shop: Shop) -> None:
    at.pusher.push_catalog()
    shop.stock[0] = replace(table("orders", rows=7), columns=None)
    at.clock.advance(hours=1)
    report = at.pusher.push_catalog()
    again = [e["relational_asset"] for e in sent(at) if e["relational_asset"]["metadata"]["name"] == "orders"][1]
    assert "fields" not in again
    assert again["volume"] == {"row_count": 7}
    record = at.ledger.schema_of(UUID, ref("orders"))
    assert record is not None
    assert [c.name for c in record.columns or ()] == ["id", "price"]
    assert [gap.ref for gap in report.gaps] == [ref("orders")]


def test_a_forbidden_provenance_is_left_out(tmp_path: Path, gateway: Recorder) -> None:
    shop = Shop(table("orders", rows=None, changed=NOON))
    settings = config().model_copy(update={"forbid_change_sources": (ChangeSource.STORAGE,)})
    at = desk(tmp_path, shop=shop, gateway=gateway, settings=settings)
    at.pusher.push_catalog()
    assert (assets(sent(at)), measured(sent(at))) == (["orders"], [])
    assert at.pusher.push_catalog().held_back is None, "there was nothing to hold back"


def test_three_runs_at_once_send_each_table_once(tmp_path: Path, gateway: Recorder) -> None:
    shop = Shop(*(table(f"t{i:04d}", rows=i) for i in range(1_500)))
    at = desk(tmp_path, shop=shop, gateway=gateway, settings=config(max_events=50))
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: at.pusher.push_catalog(), range(3)))
    counted = Counter(measured(sent(at)))
    assert set(counted.values()) == {1}
    assert len(counted) == 1_500
    held = sum(report.held_back.tables for report in reports if report.held_back)
    assert held == 3_000, "and each run that came second says so"
    assert Counter(assets(sent(at))).most_common(1)[0][1] == 1, "nor does a schema go out twice"


def test_a_push_across_the_turn_of_the_hour_claims_the_hour_it_lands_in(tmp_path: Path) -> None:
    clock = Clock(NOON.replace(minute=59, second=50))
    shop = Shop(*(table(f"t{i}", rows=i) for i in range(6)))

    def answers(call: int, feed: Feed, body: bytes) -> TryAgain | None:
        return TryAgain("503", retry_after=20.0) if call == 1 else None

    gateway = Recorder(answers)
    at = desk(tmp_path, shop=shop, gateway=gateway, clock=clock, settings=config(max_events=2, concurrency=1))
    at.pusher.push_catalog()
    assert clock.now.hour == 13
    hours = Counter(sample.hour.hour for sample in at.ledger.samples(UUID))
    assert hours == {12: 2, 13: 4}
    report = at.pusher.push_catalog()
    assert report.held_back is not None
    assert report.held_back.tables == 4, "what landed after the turn does not go out again in the new hour"
    assert Counter(sample.hour.hour for sample in at.ledger.samples(UUID)) == {12: 2, 13: 6}


def test_at_the_turn_of_the_hour_what_another_push_sent_is_left_out(tmp_path: Path) -> None:
    clock = Clock(NOON.replace(minute=59, second=50))
    shop = Shop(*(table(f"t{i}", rows=i) for i in range(4)))
    other = Recorder()

    def answers(call: int, feed: Feed, body: bytes) -> TryAgain | None:
        if call:
            return None
        clock.advance(seconds=20)
        shop.stock = shop.stock[:2]
        desk(tmp_path, shop=shop, gateway=other, clock=clock).pusher.push_catalog()
        return TryAgain("503")

    gateway = Recorder(answers)
    report = desk(tmp_path, shop=shop, gateway=gateway, clock=clock).pusher.push_catalog()
    assert measured(other.events(Feed.METADATA)) == ["t0", "t1"]
    assert measured(gateway.events(Feed.METADATA)) == ["t2", "t3"]
    assert report.events == {Feed.METADATA: 2}


def test_a_wrong_key_costs_one_attempt_and_gives_the_hour_back(at: Desk, gateway: Recorder) -> None:
    gateway.answers = lambda *_: FixAccess("401: the key is wrong")
    with pytest.raises(FixAccess):
        at.pusher.push_catalog()
    assert gateway.calls == 1
    assert at.ledger.claims(UUID, NOON) == {}
    assert at.ledger.pushes()[0].state is PushState.INCOMPLETE
    assert "FixAccess" in at.ledger.pushes()[0].outcome["error"]

    gateway.answers = lambda *_: None
    report = at.pusher.push_catalog()
    assert Counter(measured(sent(at))) == {"orders": 1, "users": 1}
    assert report.invocation_ids == {Feed.METADATA: ("id-1",)}, "the body that was left is completed"
    assert report.counts["resumed_requests"] == 1
    assert {push.state for push in at.ledger.pushes()} == {PushState.COMPLETE, PushState.SUPERSEDED}


def test_a_push_that_partly_arrived_carries_its_ids_and_is_completed_by_the_next(
    tmp_path: Path, gateway: Recorder
) -> None:
    shop = Shop(*(table(f"t{i}", rows=i) for i in range(10)))
    at = desk(tmp_path, shop=shop, gateway=gateway, settings=config(max_events=2, concurrency=1, deadline_seconds=5))
    gateway.answers = lambda call, *_: TryAgain("503: down") if call >= 2 else None
    with pytest.raises(PushIncomplete, match=r"2 requests arrived, not all. 503: down. Run it again") as caught:
        at.pusher.push_catalog()
    assert caught.value.invocation_ids == {Feed.METADATA: ("id-0", "id-1")}
    assert isinstance(caught.value.__cause__, TryAgain)
    assert at.ledger.claims(UUID, NOON).keys() == {ref(f"t{i}") for i in range(4)}, "the rest's hour is given back"
    gateway.answers = lambda *_: None
    at.pusher.push_catalog()
    assert Counter(measured(sent(at))) == {f"t{i}": 1 for i in range(10)}


def test_a_body_left_over_from_a_past_hour_is_replaced_by_fresh_numbers(
    at: Desk, gateway: Recorder, shop: Shop
) -> None:
    gateway.answers = lambda *_: FixAccess("401")
    with pytest.raises(FixAccess):
        at.pusher.push_catalog()
    shop.stock[0] = table("orders", "id", "price", rows=6)
    at.clock.advance(hours=1)
    gateway.answers = lambda *_: None
    at.pusher.push_catalog()
    orders = [e["relational_asset"] for e in sent(at) if e["relational_asset"]["metadata"]["name"] == "orders"]
    assert [o["volume"]["row_count"] for o in orders] == [6]
    assert {sample.hour.hour for sample in at.ledger.samples(UUID)} == {13}


def test_what_another_push_sent_meanwhile_is_left_out_of_a_body_left_over(tmp_path: Path, gateway: Recorder) -> None:
    shop = Shop(table("a"), table("b"), view("v", "SELECT 1"))
    gateway.answers = lambda *_: FixAccess("401")
    first = desk(tmp_path, shop=shop, gateway=gateway)
    with pytest.raises(FixAccess):
        first.pusher.push_catalog()
    first.ledger.claim(UUID, [ref("a")], hour=NOON, push_id="somebody else")
    gateway.answers = lambda *_: None
    first.pusher.push_catalog()
    assert measured(gateway.events(Feed.METADATA)) == ["b"]
    assert Counter(assets(gateway.events(Feed.METADATA)))["v"] == 1


def test_a_body_that_was_lost_is_collected_again(at: Desk, gateway: Recorder, tmp_path: Path) -> None:
    gateway.answers = lambda *_: FixAccess("401")
    with pytest.raises(FixAccess):
        at.pusher.push_catalog()
    for file in (tmp_path / "outbox").glob("*/*.json"):
        file.write_bytes(file.read_bytes()[:-10])
    gateway.answers = lambda *_: None
    at.pusher.push_catalog()
    assert Counter(measured(sent(at))) == {"orders": 1, "users": 1}


def test_a_warehouse_that_breaks_off_midway_loses_nothing(tmp_path: Path, gateway: Recorder) -> None:
    shop = Shop(*(table(f"t{i:04d}", rows=i) for i in range(1_200)))

    def break_off(number: int) -> None:
        if number == 1_100:
            raise WarehouseUnavailable("the connection was closed")

    shop.while_reading = break_off
    at = desk(tmp_path, shop=shop, gateway=gateway, settings=config(max_events=100))
    with pytest.raises(PushIncomplete, match="the connection was closed"):
        at.pusher.push_catalog()
    assert 0 < len(sent(at)) < 1_200
    shop.while_reading = lambda _: None
    at.pusher.push_catalog()
    assert Counter(measured(sent(at))) == {f"t{i:04d}": 1 for i in range(1_200)}
    assert list(at.ledger.tables(UUID, gone=True)) == []


def test_a_bug_in_a_warehouse_gives_the_hour_back_too(at: Desk, shop: Shop) -> None:
    def bug(_: int) -> None:
        raise BrokenContract("a driver did what it must not")

    shop.while_reading = bug
    with pytest.raises(BrokenContract):
        at.pusher.push_catalog()
    assert at.ledger.claims(UUID, NOON) == {}


def test_a_dry_run_counts_to_the_byte_and_leaves_no_trace(at: Desk, gateway: Recorder, tmp_path: Path) -> None:
    dry = at.pusher.push_catalog(dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert gateway.calls == 0
    assert (dry.dry_run, dry.invocation_ids) == (True, {})
    real = at.pusher.push_catalog()
    assert (dry.counts, dry.requests, dry.raw_bytes, dry.events) == (
        real.counts,
        real.requests,
        real.raw_bytes,
        real.events,
    )
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and "-shm" not in file.name}
    again = at.pusher.push_catalog(dry_run=True)
    assert again.held_back is not None
    assert again.held_back.push_ids == (real.push_id,)
    assert before == {
        file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and "-shm" not in file.name
    }


def test_progress_is_told_for_what_was_collected_and_sent(at: Desk) -> None:
    told: Counter[str] = Counter()

    class Told:
        def advance(self, step: str, done: int, total: int | None = None) -> None:
            told[step] += done

    at.pusher.push_catalog(progress=Told())
    assert told == {"collected": 3, "sent": 3}


def test_a_push_whose_bodies_are_in_another_outbox_is_left_to_who_can_read_them(at: Desk, tmp_path: Path) -> None:
    from mc_push_dagster.flow.outbox import Outbox

    assert isinstance(at.gateway, Recorder)
    at.gateway.answers = lambda *_: FixAccess("401")
    with pytest.raises(FixAccess):
        at.pusher.push_catalog()
    broken = at.ledger.pushes()[0].push_id
    other = desk(tmp_path, shop=at.shop, gateway=Recorder(), clock=at.clock)
    other.pusher._kit = replace(other.pusher._kit, outbox=Outbox(str(tmp_path / "other"), other.ledger))
    other.pusher.push_catalog(schema_only=[ref("users")])
    left = at.ledger.push(broken)
    assert left is not None
    assert left.state is PushState.INCOMPLETE
    at.clock.advance(hours=25)
    other.pusher.push_catalog()
    left = at.ledger.push(broken)
    assert left is not None
    assert left.state is PushState.SUPERSEDED, "after a day nobody is waited for"
