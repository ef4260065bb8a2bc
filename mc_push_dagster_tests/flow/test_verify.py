"""Seen, missing, or too early to tell - against the sandbox, whose clock the tests turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.flow.events import column_lineage_events, lineage_events, metadata_event, query_event
from mc_push_dagster.flow.verify import (
    LATENCY,
    Pushed,
    Sampled,
    Verdict,
    Verification,
    _spread,
    verify,
    wait_until_visible,
)
from mc_push_dagster.model import (
    ColumnEdge,
    Evidence,
    EvidenceKind,
    Feed,
    LineageEdge,
    QueryRecord,
    TableRef,
    Window,
)
from mc_push_dagster.sandbox import serve
from mc_push_dagster_tests.gateway.desk import Desk, ref, snapshot

START = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)
DELAY = timedelta(minutes=5)
EVIDENCE = Evidence(kind=EvidenceKind.NATIVE)
SEEN, MISSING, TOO_EARLY = Verdict.SEEN, Verdict.MISSING, Verdict.TOO_EARLY


@dataclass(frozen=True)
class Body:
    """A receipt."""

    feed: Feed
    invocation_id: str
    received_at: datetime = START


@pytest.fixture
def desk() -> Iterator[Desk]:
    """What is accepted shows after five minutes, queries after twenty."""
    with serve(clock=lambda: START, visibility_delay=DELAY, query_log_delay=4 * DELAY) as box:
        desk = Desk(box)
        yield desk
        desk.close()


def metadata(desk: Desk, *names: str) -> Pushed:
    receipt = Body(Feed.METADATA, desk.push_tables(*names))
    return Pushed(resource_uuid=desk.box.resource_uuid, receipts=[receipt], tables=[ref(n) for n in names])


def look(desk: Desk, pushed: Pushed, **options: object) -> Verification:
    return verify(pushed, reader=desk.reader, now=desk.box.now(), **options)


def test_a_table_is_too_early_then_seen(desk: Desk) -> None:
    pushed = metadata(desk, "orders", "customers")
    before = look(desk, pushed)
    assert before.tables == {ref("orders"): TOO_EARLY, ref("customers"): TOO_EARLY}
    assert before.sound
    assert not before.complete
    desk.box.advance(DELAY)
    after = look(desk, pushed)
    assert after.tables_that_are(SEEN) == (ref("customers"), ref("orders"))
    assert after.complete
    assert after.received == {Feed.METADATA: SEEN}
    assert after.mcons[ref("orders")].endswith("++db:public.orders")


def test_a_table_that_is_not_there_after_fifteen_minutes_is_missing(desk: Desk) -> None:
    pushed = metadata(desk, "orders")
    lost = Pushed(resource_uuid=pushed.resource_uuid, receipts=pushed.receipts, tables=[ref("orders"), ref("lost")])
    desk.box.advance(LATENCY[Feed.METADATA] - timedelta(seconds=1))
    assert look(desk, lost).tables == {ref("orders"): SEEN, ref("lost"): TOO_EARLY}
    desk.box.advance(timedelta(seconds=1))
    late = look(desk, lost)
    assert late.tables == {ref("orders"): SEEN, ref("lost"): MISSING}
    assert not late.sound


def test_a_table_that_a_later_push_wrote_again_is_seen(desk: Desk) -> None:
    pushed = metadata(desk, "orders")
    desk.box.advance(timedelta(minutes=1))
    desk.push_tables("orders")
    desk.box.advance(DELAY)
    assert look(desk, pushed).tables == {ref("orders"): SEEN}


def test_a_table_that_only_an_older_push_wrote_is_not_seen(desk: Desk) -> None:
    desk.push_tables("orders")
    desk.box.advance(timedelta(hours=1))
    accepted = Body(Feed.METADATA, "33333333-0000-4000-8000-000000000000", desk.box.now())
    pushed = Pushed(resource_uuid=desk.box.resource_uuid, receipts=[accepted], tables=[ref("orders")])
    assert look(desk, pushed).tables == {ref("orders"): TOO_EARLY}
    desk.box.advance(LATENCY[Feed.METADATA])
    late = look(desk, pushed)
    assert late.tables == {ref("orders"): MISSING}
    assert late.received == {Feed.METADATA: MISSING}


def test_a_deleted_table_is_not_seen(desk: Desk) -> None:
    from mc_push_dagster.gateway import objects
    from mc_push_dagster.gateway.client import GraphQLClient
    from mc_push_dagster.gateway.connection import Connection

    pushed = metadata(desk, "orders")
    desk.box.advance(LATENCY[Feed.METADATA])
    mcon = look(desk, pushed).mcons[ref("orders")]
    with GraphQLClient(Connection.to_sandbox(desk.box)) as client:
        objects.delete_pushed_tables(client, [mcon])
    assert look(desk, pushed).tables == {ref("orders"): MISSING}


def test_1200_tables_in_three_bodies_cost_a_call_a_page_and_one_for_the_resource(desk: Desk) -> None:
    names = [f"t{i:04}" for i in range(1200)]
    receipts = [Body(Feed.METADATA, desk.push_tables(*names[i : i + 400])) for i in (0, 400, 800)]
    pushed = Pushed(resource_uuid=desk.box.resource_uuid, receipts=receipts, tables=[ref(n) for n in names])
    desk.box.advance(DELAY)
    before = desk.asked()
    assert look(desk, pushed).complete
    assert desk.asked() - before == 4


def test_lineage_is_checked_by_a_sample_and_says_so(desk: Desk) -> None:
    names = [f"t{i:03}" for i in range(100)]
    pushed = metadata(desk, "raw", *names)
    edges = [LineageEdge(source=ref("raw"), destination=ref(n), evidence=EVIDENCE) for n in names]
    never = LineageEdge(source=ref("t000"), destination=ref("t001"), evidence=EVIDENCE)
    sent = desk.push(list(lineage_events(edges)))
    lineage = Pushed(resource_uuid=desk.box.resource_uuid, receipts=[Body(Feed.LINEAGE, sent)], edges=[*edges, never])
    assert look(desk, lineage, sample=100).edges.too_early
    desk.box.advance(LATENCY[Feed.LINEAGE])
    assert pushed.tables
    whole = look(desk, lineage, sample=100)
    assert whole.edges == Sampled(total=101, seen=100, missing=("db.public.t000 -> db.public.t001",))
    assert not whole.sound
    before = desk.asked()
    some = look(desk, lineage, sample=20)
    assert (some.edges.total, some.edges.checked >= 20, some.edges.checked < 40) == (101, True, True)
    assert desk.asked() - before == 4  # the resource, a page of tables, two of lineage


def test_column_lineage_is_checked_from_its_source(desk: Desk) -> None:
    metadata(desk, "raw", "mart")

    def edge(source: str, destination: str) -> ColumnEdge:
        return ColumnEdge(
            source=ref("raw"),
            source_column=source,
            destination=ref("mart"),
            destination_column=destination,
            evidence=EVIDENCE,
        )

    sent = desk.push(list(column_lineage_events([edge("c0", "c0")])))
    pushed = Pushed(
        resource_uuid=desk.box.resource_uuid,
        receipts=[Body(Feed.COLUMN_LINEAGE, sent)],
        column_edges=[edge("c0", "c0"), edge("c0", "c1")],
    )
    desk.box.advance(LATENCY[Feed.COLUMN_LINEAGE])
    assert look(desk, pushed).column_edges == Sampled(
        total=2, seen=1, missing=("db.public.raw.c0 -> db.public.mart.c1",)
    )


def test_queries_may_take_ninety_minutes(desk: Desk) -> None:
    metadata(desk, "raw", "mart")
    at = START - timedelta(minutes=30)
    text = "INSERT INTO db.public.mart SELECT * FROM db.public.raw"
    sent = desk.push([query_event(QueryRecord(text=text, started_at=at, ended_at=at, query_id="q"))])
    pushed = Pushed(
        resource_uuid=desk.box.resource_uuid,
        receipts=[Body(Feed.QUERY_LOG, sent)],
        queried=[ref("mart"), ref("raw")],
        query_window=Window.hour(at),
    )
    desk.box.advance(DELAY)
    early = look(desk, pushed)
    assert early.queries.too_early == ("db.public.mart", "db.public.raw")
    desk.box.advance(3 * DELAY)
    assert look(desk, pushed).queries == Sampled(total=2, seen=1, too_early=("db.public.raw",))
    desk.box.advance(LATENCY[Feed.QUERY_LOG])
    assert look(desk, pushed).queries.missing == ("db.public.raw",)


def test_detectors_are_asked_for_by_name_only(desk: Desk) -> None:
    pushed = metadata(desk, "orders", "customers")
    desk.box.advance(DELAY)
    assert look(desk, pushed).detectors == {}
    before = desk.asked()
    found = look(desk, pushed, detectors_of=[ref("orders"), ref("none")]).detectors
    assert {table: d.size for table, d in found.items()} == {ref("orders"): "TRAINING"}
    assert desk.asked() - before == 4  # the resource, the page, one name that is not there, one detector


def test_nothing_pushed_is_nothing_asked_and_complete(desk: Desk) -> None:
    before = desk.asked()
    assert look(desk, Pushed(resource_uuid=desk.box.resource_uuid, receipts=())).complete
    assert desk.asked() == before


def test_waiting_ends_when_all_is_seen(desk: Desk) -> None:
    pushed = metadata(desk, "orders")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        desk.box.advance(timedelta(seconds=seconds))

    seen = wait_until_visible(
        pushed, reader=desk.reader, clock=desk.box.now, sleep=sleep, deadline=START + timedelta(hours=1)
    )
    assert seen.complete
    assert slept == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_waiting_ends_at_the_deadline_with_what_was_found(desk: Desk) -> None:
    pushed = metadata(desk, "orders")

    def sleep(seconds: float) -> None:
        desk.box.advance(timedelta(seconds=seconds))

    deadline = START + timedelta(seconds=100)
    seen = wait_until_visible(pushed, reader=desk.reader, clock=desk.box.now, sleep=sleep, deadline=deadline)
    assert seen.tables == {ref("orders"): TOO_EARLY}
    assert desk.box.now() == deadline


def test_names_in_receipts_are_monte_carlos_full_table_ids(desk: Desk) -> None:
    odd = TableRef(database="My DB", schema="a.b", name='T:"1"')
    desk.push([metadata_event(snapshot("x")), metadata_event(_named(odd))])
    desk.box.advance(DELAY)
    shown = {t.full_table_id for t in desk.reader.tables(desk.box.resource_uuid)}
    assert shown == {"db:public.x", metadata_event(_named(odd)).name}


def _named(table: TableRef):
    from dataclasses import replace

    return replace(snapshot("x"), ref=table)


@given(st.lists(st.integers(), max_size=60, unique=True), st.integers(1, 30))
def test_a_sample_is_spread_stable_and_without_repeats(things: list[int], most: int) -> None:
    chosen = _spread(things, most)
    assert chosen == _spread(things, most)
    assert len(chosen) == min(len(things), most)
    assert len(set(chosen)) == len(chosen)
    assert [things.index(c) for c in chosen] == sorted(things.index(c) for c in chosen)
    assert not things or chosen[0] == things[0]
