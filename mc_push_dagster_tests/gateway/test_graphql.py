"""The typed reader against the sandbox, which serves the vendor's own GraphQL types."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from mc_push_dagster.errors import BrokenContract, FixConfiguration
from mc_push_dagster.flow.events import (
    column_lineage_events,
    lineage_events,
    query_event,
)
from mc_push_dagster.gateway.parse import pages, time_of
from mc_push_dagster.model import (
    ColumnEdge,
    Evidence,
    EvidenceKind,
    Feed,
    LineageEdge,
    QueryRecord,
    Window,
)
from mc_push_dagster.sandbox import serve
from mc_push_dagster_tests.gateway.desk import Desk, ref

START = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)
SEEN = Evidence(kind=EvidenceKind.NATIVE)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with serve(clock=lambda: START) as box:
        desk = Desk(box)
        yield desk
        desk.close()


def test_warehouses_carry_what_was_last_pushed_to_them(desk: Desk) -> None:
    other = desk.box.add_warehouse("lake", "DATA_LAKE")
    invocation = desk.push_tables("orders")
    found = {w.uuid: w for w in desk.reader.warehouses()}
    assert found[other].resource_type == "data-lake"
    events = {e.event_type: e for e in found[desk.box.resource_uuid].push_events}
    assert (events["METADATA"].status, events["METADATA"].last_invocation_id) == ("ACTIVE", invocation)
    assert events["METADATA"].last_received == START
    assert (events["QUERY_LOGS"].status, events["QUERY_LOGS"].last_received) == ("NEVER_RECEIVED", None)
    assert desk.reader.push_events(desk.box.resource_uuid.upper()) == found[desk.box.resource_uuid].push_events


def test_an_unknown_resource_is_one_sentence(desk: Desk) -> None:
    with pytest.raises(FixConfiguration, match="no resource"):
        desk.reader.push_events("00000000-0000-0000-0000-000000000000")


def test_tables_come_by_push_by_name_and_all_in_pages_of_500(desk: Desk) -> None:
    first = desk.push_tables(*(f"a{i:04}" for i in range(700)))
    second = desk.push_tables(*(f"b{i:04}" for i in range(500)))
    before = desk.asked()
    mine = list(desk.reader.tables(desk.box.resource_uuid, invocation_id=first))
    assert (len(mine), desk.asked() - before) == (700, 2)
    assert {t.invocation_id for t in mine} == {first}
    assert len(list(desk.reader.tables(desk.box.resource_uuid))) == 1200
    named = desk.reader.tables(desk.box.resource_uuid, full_table_ids=["db:public.b0001", "db:public.none"])
    assert [(t.full_table_id, t.invocation_id) for t in named] == [("db:public.b0001", second)]
    many = [f"db:public.b{i:04}" for i in range(0, 500, 10)] + ["db:public.none"]
    before = desk.asked()
    assert {t.full_table_id for t in desk.reader.tables(desk.box.resource_uuid, full_table_ids=many)} == set(many[:-1])
    assert desk.asked() - before == 3


def test_a_table_with_more_columns_than_a_page_has_them_all_in_order(desk: Desk) -> None:
    desk.push_tables("wide", columns=1203)
    (entry,) = desk.reader.tables(desk.box.resource_uuid)
    table = desk.reader.table(entry.mcon)
    assert table is not None
    assert [c.name for c in table.columns] == [f"c{i}" for i in range(1203)]
    assert (table.entry, table.description) == (entry, "What it is")


def test_a_table_that_is_not_there_is_none(desk: Desk) -> None:
    assert desk.reader.table(f"MCON++x++{desk.box.resource_uuid}++table++db:public.none") is None


def test_metrics_and_detectors_are_read(desk: Desk) -> None:
    desk.push_tables("orders", rows=42)
    (entry,) = desk.reader.tables(desk.box.resource_uuid)
    window = Window(start=START - timedelta(hours=1), end=START + timedelta(hours=1))
    (measured,) = desk.reader.metrics(entry.mcon, "total_row_count", window)
    assert (measured.value, measured.at) == (42.0, START)
    assert desk.reader.detectors(entry.mcon).size == "TRAINING"


def test_lineage_of_many_tables_costs_a_call_per_twelve(desk: Desk) -> None:
    names = [f"t{i:02}" for i in range(30)]
    desk.push_tables("raw", *names)
    desk.push(list(lineage_events([LineageEdge(source=ref("raw"), destination=ref(n), evidence=SEEN) for n in names])))
    mcons = {t.full_table_id: t.mcon for t in desk.reader.tables(desk.box.resource_uuid)}
    before = desk.asked()
    around = desk.reader.lineage([mcons[f"db:public.{n}"] for n in names], "upstream")
    assert desk.asked() - before == 3
    assert around.connected == {mcons[f"db:public.{n}"]: {mcons["db:public.raw"]} for n in names}
    below = desk.reader.lineage([mcons["db:public.raw"]], "downstream")
    assert len(below.connected[mcons["db:public.raw"]]) == 30


def test_column_lineage_is_read_from_its_source(desk: Desk) -> None:
    desk.push_tables("raw", "mart", columns=2)
    edge = ColumnEdge(
        source=ref("raw"), source_column="c0", destination=ref("mart"), destination_column="c1", evidence=SEEN
    )
    desk.push(list(column_lineage_events([edge])))
    mcons = {t.full_table_id: t.mcon for t in desk.reader.tables(desk.box.resource_uuid)}
    (derived,) = desk.reader.derived_columns(mcons["db:public.raw"], "c0")
    assert (derived.mcon, derived.columns) == (mcons["db:public.mart"], ("c1",))
    assert desk.reader.derived_columns(mcons["db:public.raw"], "c1") == ()


def test_queries_that_wrote_a_table_are_found(desk: Desk) -> None:
    desk.push_tables("raw", "mart")
    at = START - timedelta(hours=2)
    record = QueryRecord(
        text="INSERT INTO db.public.mart SELECT * FROM db.public.raw", started_at=at, ended_at=at, query_id="q"
    )
    desk.push([query_event(record)])
    desk.box.advance(timedelta(hours=2))
    mcons = {t.full_table_id: t.mcon for t in desk.reader.tables(desk.box.resource_uuid)}
    window = Window(start=START - timedelta(days=1), end=START)
    (group,) = desk.reader.queries(mcons["db:public.mart"], "write", window)
    assert (group.count, group.latest_at) == (1, at)
    assert list(desk.reader.queries(mcons["db:public.raw"], "write", window)) == []


def test_a_list_whose_cursor_stands_still_is_not_followed_for_ever() -> None:
    with pytest.raises(BrokenContract, match="cursor"):
        list(pages(lambda _: ({}, {"hasNextPage": True, "endCursor": "same"})))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, None),
        ("2026-03-01T00:10:00Z", START),
        ("2026-03-01T00:10:00", START),
        ("2026-03-01T01:10:00+01:00", START),
    ],
)
def test_times_are_read_as_utc(text: str | None, moment: datetime | None) -> None:
    assert time_of(text) == moment


@pytest.mark.parametrize("wrong", ["yesterday", 7])
def test_what_is_no_time_is_a_broken_contract(wrong: object) -> None:
    with pytest.raises(BrokenContract):
        time_of(wrong)


def test_feeds_have_a_name_in_push_events(desk: Desk) -> None:
    from mc_push_dagster.flow.answers import EVENT_TYPES

    known = {e.event_type for e in desk.reader.push_events(desk.box.resource_uuid)}
    assert set(EVENT_TYPES) == set(Feed)
    assert set(EVENT_TYPES.values()) <= known
