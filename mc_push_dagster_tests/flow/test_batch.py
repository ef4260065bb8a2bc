"""Bodies: nothing lost, nothing twice, order kept, never over a limit."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_push_dagster.flow.batch import Batch, batches, event_name, halves, joined, query_key, rebuild
from mc_push_dagster.flow.events import Event, envelope, lineage_events, metadata_event, query_event
from mc_push_dagster.flow.report import SetAside
from mc_push_dagster.model import Evidence, EvidenceKind, Feed, LineageEdge
from mc_push_dagster_tests.flow.harness import NOON, TARGET, query, ref, table

HEAD = envelope(Feed.METADATA, TARGET)

texts = st.text(max_size=60) | st.text(alphabet='"\\\n\u2028日é', max_size=40)
wires = st.dictionaries(texts, texts | st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=4)


def events(wires: list[dict[str, Any]]) -> list[Event]:
    return [Event(Feed.METADATA, f"event {i}", wire) for i, wire in enumerate(wires)]


@given(
    wires=st.lists(wires, max_size=40),
    head=st.sampled_from([HEAD, {}, {"event_type": "LINEAGE"}]),
    max_events=st.integers(1, 7),
    max_bytes=st.integers(20, 900),
    measure=st.sampled_from(["raw", "gzip"]),
)
@settings(max_examples=300, deadline=None)
def test_every_event_is_in_one_body_or_set_aside_by_name(
    wires: list[dict[str, Any]], head: dict[str, Any], max_events: int, max_bytes: int, measure: Any
) -> None:
    found: list[tuple[str, Any]] = []
    aside: list[str] = []
    for item in batches(events(wires), head, max_events=max_events, max_bytes=max_bytes, measure=measure):
        if isinstance(item, SetAside):
            aside.append(item.name)
            continue
        size = len(item.body) if measure == "raw" else len(zlib.compress(item.body, 6))
        assert size <= max_bytes
        whole = orjson.loads(item.body)
        inside = whole.pop("events")
        assert whole == head
        assert 1 <= len(inside) == len(item.names) <= max_events
        found += zip(item.names, inside, strict=True)
    surely = [wire for wire in events(wires) if wire.name not in aside]
    assert found == [(event.name, event.wire) for event in surely], "order is kept, nothing is lost or twice"
    if measure == "raw":
        empty = len(orjson.dumps(head | {"events": []}))
        sizes = {f"event {i}": len(orjson.dumps(wire)) for i, wire in enumerate(wires)}
        assert aside == [name for name, size in sizes.items() if empty + size > max_bytes]


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=60), max_bytes=st.integers(200, 400))
def test_a_body_is_as_full_as_the_next_event_allows(sizes: list[int], max_bytes: int) -> None:
    made = list(batches(events([{"x": "y" * s} for s in sizes]), HEAD, max_events=100, max_bytes=max_bytes))
    for body, after in pairwise(made):
        assert isinstance(body, Batch)
        assert isinstance(after, Batch)
        first = orjson.dumps(orjson.loads(after.body)["events"][0])
        assert len(body.body) + 1 + len(first) > max_bytes


@pytest.mark.parametrize("kind", ["text", "noise"])
def test_gzip_bodies_are_fuller_than_raw_ones_and_never_over_the_limit(kind: str) -> None:
    chance = random.Random(7)

    def words(n: int) -> str:
        if kind == "noise":  # hostile: hardly compressible
            return "".join(chr(chance.randrange(32, 0x2FFF)) for _ in range(n))
        return " ".join(f"select col_{chance.randrange(10**9)} from t" for _ in range(n // 10))

    made = [Event(Feed.QUERY_LOG, str(i), {"query_id": str(i), "query_text": words(2_000)}) for i in range(300)]
    limit = 100_000
    head = envelope(Feed.QUERY_LOG, TARGET)
    by_gzip = [b for b in batches(made, head, max_events=1000, max_bytes=limit, measure="gzip") if isinstance(b, Batch)]
    by_raw = [b for b in batches(made, head, max_events=1000, max_bytes=limit) if isinstance(b, Batch)]
    assert sum(len(b.names) for b in by_gzip) == sum(len(b.names) for b in by_raw) == 300
    packed = [len(zlib.compress(b.body, 6)) for b in by_gzip]
    assert max(packed) <= limit
    assert min(packed[:-1]) >= 0.9 * limit, "a body is not cut far too early"
    assert len(by_gzip) < len(by_raw)


def test_batches_are_made_as_they_are_asked_for() -> None:
    read = 0

    def endless() -> Iterator[Event]:
        nonlocal read
        while True:
            read += 1
            yield Event(Feed.METADATA, str(read), {"n": read})

    assert len(list(islice(batches(endless(), HEAD, max_events=10, max_bytes=10_000), 3))) == 3
    assert read == 31


def test_what_json_cannot_hold_is_set_aside_and_the_rest_goes_on() -> None:
    wires = [{"a": 1}, {"a": "\ud800"}, {"a": 2**64}, {"a": object()}, {"a": 2}]
    made = list(batches(events(wires), HEAD, max_events=10, max_bytes=10_000))
    assert [item.name for item in made if isinstance(item, SetAside)] == ["event 1", "event 2", "event 3"]
    assert all("cannot be written as JSON" in item.reason for item in made if isinstance(item, SetAside))
    assert [item.names for item in made if isinstance(item, Batch)] == [("event 0", "event 4")]


def test_one_body_never_carries_two_feeds() -> None:
    mixed = [Event(Feed.LINEAGE, "a", {}), Event(Feed.COLUMN_LINEAGE, "b", {})]
    with pytest.raises(ValueError, match="two feeds"):
        list(batches(mixed, HEAD, max_events=10, max_bytes=10_000))


def test_names_and_keys_are_the_same_from_a_body_as_from_its_events() -> None:
    edge = LineageEdge(source=ref("a"), destination=ref("b"), evidence=Evidence(kind=EvidenceKind.VIEW))
    made = [metadata_event(table("t.1")), *lineage_events([edge]), query_event(query(1, NOON))]
    without_id = query_event(query(1, NOON))
    del without_id.wire["query_id"]
    for event in made:
        assert event_name(event.feed, event.wire) == event.name
    assert event_name(Feed.QUERY_LOG, without_id.wire) == "query started 2026-11-20T12:09:59Z"
    [batch] = batches([made[-1], without_id], envelope(Feed.QUERY_LOG, TARGET), max_events=9, max_bytes=10_000)
    assert isinstance(batch, Batch)
    again = joined(Feed.QUERY_LOG, *rebuild(batch.body))
    assert (again.body, again.keys) == (batch.body, batch.keys)
    assert len(set(batch.keys)) == 2


def test_queries_without_an_id_are_told_apart_by_what_they_say() -> None:
    wire = {"start_time": "a", "end_time": "b", "user": "u", "query_text": "q"}
    keys = {query_key(wire), *(query_key(wire | {field: "other"}) for field in wire)}
    assert len(keys) == 5
    assert query_key(wire | {"query_id": "x"}) == query_key({"query_id": "x"}), "an id says it all"


@given(count=st.integers(1, 9))
def test_halves_hold_what_the_whole_held(count: int) -> None:
    made = [metadata_event(table(f"t{i}")) for i in range(count)]
    [whole] = batches(made, HEAD, max_events=99, max_bytes=100_000)
    assert isinstance(whole, Batch)
    parts = halves(Feed.METADATA, whole.body)
    assert [name for part in parts for name in part.names] == list(whole.names)
    assert len(parts) == min(count, 2)
    assert all(rebuild(part.body)[0] == HEAD for part in parts)
    assert max(len(part.names) for part in parts) - min(len(part.names) for part in parts) <= 1 or count == 1
