"""Retries, splits, bisection, and what ends a delivery at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from mc_push_dagster.errors import (
    FixAccess,
    FixConfiguration,
    MaybeDelivered,
    PushError,
    PushInProgress,
    Rejected,
    SplitBatch,
    StorageFault,
    TryAgain,
)
from mc_push_dagster.flow.batch import Batch, batches
from mc_push_dagster.flow.deliver import Delivery, Means, Parcel, Policy
from mc_push_dagster.flow.events import Event, envelope, lineage_events, metadata_event
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.ledger import BatchState, Ledger, NewBatch, PushKind
from mc_push_dagster.model import Evidence, EvidenceKind, Feed, LineageEdge
from mc_push_dagster_tests.flow.harness import NOON, TARGET, UUID, Clock, Recorder, assets, ref, table


class Way:
    """A delivery with everything it stands on."""

    def __init__(self, folder: Path, recorder: Any, **policy: Any) -> None:
        self.clock = Clock()
        self.recorder = recorder
        self.ledger = Ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
        self.outbox = Outbox(str(folder / "outbox"), self.ledger)
        self.ledger.begin_push("p", kind=PushKind.CATALOG, warehouse="shop", target=TARGET, hour=NOON, started_at=NOON)
        lease = self.ledger.take_lease("push p", NOON)
        assert lease is not None
        self.lease = lease
        self.applied: list[int] = []
        self.sent = 0
        means = Means(
            gateway=recorder,
            ledger=self.ledger,
            outbox=self.outbox,
            lease=lease,
            clock=self.clock,
            monotonic=self.clock.monotonic,
            sleep=self.clock.sleep,
            random=lambda: 1.0,
        )
        self.delivery = Delivery(means, Policy(**policy), apply=self._apply, sent=self._count)

    def _apply(self, parcel: Parcel) -> None:
        self.applied.append(parcel.record.seq)

    def _count(self, events: int) -> None:
        self.sent += events

    def parcels(self, events: list[Event], *, in_one: int = 4) -> Iterator[Parcel]:
        for batch in batches(events, envelope(events[0].feed, TARGET), max_events=in_one, max_bytes=1_000_000):
            assert isinstance(batch, Batch)
            new = NewBatch(
                feed=batch.feed,
                sha256=self.outbox.put("p", batch.body),
                size=len(batch.body),
                events=len(batch.names),
            )
            record = self.ledger.add_batch("p", UUID, new)
            yield Parcel(record=record, target_uuid=UUID, body=batch.body, names=batch.names)

    def states(self) -> Counter[BatchState]:
        return Counter(record.state for record in self.ledger.batches("p"))


def tables(count: int) -> list[Event]:
    return [metadata_event(table(f"t{i:03d}")) for i in range(count)]


def names(recorder: Recorder) -> list[str]:
    return sorted(assets(recorder.events(Feed.METADATA)))


def test_everything_arrives_once_and_every_id_is_recorded(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder())
    way.delivery.deliver(way.parcels(tables(30)))
    assert names(way.recorder) == [f"t{i:03d}" for i in range(30)]
    recorded = {receipt.invocation_id for receipt in way.ledger.receipts("p")}
    assert recorded == {body.invocation_id for body in way.delivery.accepted} == {f"id-{i}" for i in range(8)}
    assert sorted(way.applied) == list(range(1, 9))
    assert way.sent == 30


@pytest.mark.parametrize("error", [FixAccess("401"), FixConfiguration("redirected")])
def test_what_the_user_must_mend_costs_one_attempt(tmp_path: Path, error: PushError) -> None:
    way = Way(tmp_path, Recorder(lambda *_: error))
    with pytest.raises(type(error)):
        way.delivery.deliver(way.parcels(tables(100)))
    assert way.recorder.calls == 1
    assert way.clock.slept == []
    assert way.states()[BatchState.SENDING] == 0, "it is certain that nothing arrived"


def test_a_key_that_is_revoked_midway_stops_all_and_loses_no_id(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder(lambda call, *_: FixAccess("403") if call >= 5 else None), concurrency=3)
    with pytest.raises(FixAccess):
        way.delivery.deliver(way.parcels(tables(400)))
    assert way.recorder.calls <= 5 + 3
    assert len(way.ledger.receipts("p")) == len(way.delivery.accepted) == 5


def test_a_retry_waits_longer_each_time_and_at_least_as_long_as_asked(tmp_path: Path) -> None:
    errors = [TryAgain("503"), TryAgain("503"), TryAgain("429", retry_after=7.0), None]
    way = Way(tmp_path, Recorder(lambda call, *_: errors[call]))
    way.delivery.deliver(way.parcels(tables(2)))
    waited = [0.5, 1.0, 7.0 + 2.0]
    assert sum(way.clock.slept) == pytest.approx(sum(waited))
    assert max(way.clock.slept) <= 1.0, "a long wait is many short ones, which a failure elsewhere ends"
    assert len(way.delivery.accepted) == 1
    assert way.delivery.maybe_twice == 0


def test_jitter_spreads_the_wait_between_half_and_whole(tmp_path: Path) -> None:
    for chance, first in ((0.0, 0.25), (1.0, 0.5)):
        folder = tmp_path / str(chance)
        folder.mkdir()
        way = Way(folder, Recorder(lambda call, *_: TryAgain("503") if call == 0 else None))
        way.delivery._means = Means(
            **{f: getattr(way.delivery._means, f) for f in Means.__slots__} | {"random": lambda c=chance: c}
        )
        way.delivery.deliver(way.parcels(tables(1)))
        assert way.clock.slept == [first]


def test_a_gateway_that_stays_down_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder(lambda *_: TryAgain("502 from the gateway")), deadline_seconds=60)
    with pytest.raises(TryAgain, match="502"):
        way.delivery.deliver(way.parcels(tables(100)))
    assert sum(way.clock.slept) <= 60
    assert way.recorder.calls < 12
    assert set(way.states()) == {BatchState.PENDING}
    assert sum(record.attempts > 0 for record in way.ledger.batches("p")) == 1, "no second body is tried for nothing"


def test_one_body_that_never_gets_through_does_not_stop_the_others(tmp_path: Path) -> None:
    def answers(call: int, feed: Feed, body: bytes) -> Exception | None:
        return TryAgain("500") if b'"t005"' in body else None

    way = Way(tmp_path, Recorder(answers), deadline_seconds=20)
    slow = way.clock.sleep
    way.delivery._means = Means(
        **{f: getattr(way.delivery._means, f) for f in Means.__slots__}
        | {"sleep": lambda s: (time.sleep(0.01), slow(s))}
    )
    way.delivery.deliver(way.parcels(tables(80)))
    assert len(names(way.recorder)) == 76
    assert [str(error) for error in way.delivery.undelivered] == ["500"]
    assert way.states()[BatchState.PENDING] == 1


def test_what_may_have_arrived_is_sent_again_and_counted(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder(lambda call, *_: MaybeDelivered("timed out") if call < 2 else None))
    way.delivery.deliver(way.parcels(tables(2)))
    [record] = way.ledger.batches("p")
    assert (record.state, record.attempts, record.maybe_twice) == (BatchState.ACKNOWLEDGED, 3, True)
    assert way.delivery.maybe_twice == 1, "one body, however often"


def test_a_body_that_another_process_was_sending_may_go_out_twice(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder())
    [parcel] = way.parcels(tables(2))
    way.ledger.begin_send("p", 1, way.lease)
    [record] = way.ledger.batches("p")
    way.delivery.deliver([Parcel(record=record, target_uuid=UUID, body=parcel.body, names=parcel.names)])
    assert way.delivery.maybe_twice == 1


def test_a_body_that_is_too_large_is_halved_until_it_fits(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder(lambda call, feed, body: SplitBatch("413") if len(body) > 400 else None))
    way.delivery.deliver(way.parcels(tables(16), in_one=16))
    assert names(way.recorder) == [f"t{i:03d}" for i in range(16)]
    assert way.delivery.set_aside == []
    assert way.states()[BatchState.SPLIT] > 0
    assert all(len(body) <= 400 for _, body in way.recorder.bodies)


def test_one_event_that_is_too_large_is_set_aside(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder(lambda call, feed, body: SplitBatch("413") if b'"t003"' in body else None))
    way.delivery.deliver(way.parcels(tables(8), in_one=8))
    assert [item.name for item in way.delivery.set_aside] == ["shop:main.t003"]
    assert len(names(way.recorder)) == 7


@pytest.mark.parametrize("poison", [{3}, {0, 63}, {10, 11, 12, 13}, set(range(0, 64, 6))])
def test_poison_is_found_and_named_and_the_rest_arrives(tmp_path: Path, poison: set[int]) -> None:
    def answers(call: int, feed: Feed, body: bytes) -> Exception | None:
        inside = assets(orjson.loads(body)["events"])
        bad = [name for name in inside if int(name[1:]) in poison]
        return Rejected(f"400: {len(bad)} bad", details={"events": bad}) if bad else None

    way = Way(tmp_path, Recorder(answers))
    way.delivery.deliver(way.parcels(tables(64), in_one=64))
    assert {int(item.name[-3:]) for item in way.delivery.set_aside} == poison
    assert {int(name[1:]) for name in names(way.recorder)} == set(range(64)) - poison
    assert Counter(names(way.recorder)).most_common(1)[0][1] == 1
    named = [n for record in way.ledger.batches("p") for n in record.refused]
    assert len(named) == len(poison), "the names are in the ledger as well"


def test_a_request_that_is_wrong_as_a_whole_is_not_taken_apart_for_ever(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder(lambda *_: Rejected("400: Unsupported ingest query-log log_type")))
    with pytest.raises(Rejected, match="Unsupported"):
        way.delivery.deliver(way.parcels(tables(2_000), in_one=500))
    assert way.recorder.calls == Policy().refusals


def test_a_body_of_nothing_but_poison_is_set_aside_whole_after_some_tries(tmp_path: Path) -> None:
    def answers(call: int, feed: Feed, body: bytes) -> Exception | None:
        return Rejected("400") if any(int(n[1:]) >= 100 for n in assets(orjson.loads(body)["events"])) else None

    way = Way(tmp_path, Recorder(answers))
    way.delivery.deliver(way.parcels(tables(200), in_one=100))
    assert {int(item.name[-3:]) for item in way.delivery.set_aside} == set(range(100, 200))
    assert way.recorder.calls < 200
    assert len(names(way.recorder)) == 100


def test_feeds_go_one_after_the_other(tmp_path: Path) -> None:
    order: list[Feed] = []
    under_way: set[int] = set()

    class Slow(Recorder):
        def send(self, feed: Feed, body: bytes) -> str:
            me = threading.get_ident()
            under_way.add(me)
            time.sleep(0.005)
            order.append(feed)
            under_way.discard(me)
            return super().send(feed, body)

    evidence = Evidence(kind=EvidenceKind.VIEW)
    edges = [LineageEdge(source=ref("a"), destination=ref(f"t{i:03d}"), evidence=evidence) for i in range(30)]
    way = Way(tmp_path, Slow(), concurrency=8)
    both = [*way.parcels(tables(30), in_one=2), *way.parcels(list(lineage_events(edges)), in_one=2)]
    way.delivery.deliver(both)
    assert order == [Feed.METADATA] * 15 + [Feed.LINEAGE] * 15


def test_a_table_is_never_in_two_bodies_under_way(tmp_path: Path) -> None:
    under_way: Counter[str] = Counter()
    worst = 0
    most = 0
    lock = threading.Lock()

    class Slow(Recorder):
        def send(self, feed: Feed, body: bytes) -> str:
            nonlocal worst, most
            inside = assets(orjson.loads(body)["events"])
            with lock:
                under_way.update(inside)
                worst = max(worst, max(under_way.values()))
                most = max(most, sum(under_way.values()))
            time.sleep(0.005)
            with lock:
                under_way.subtract(inside)
            return super().send(feed, body)

    way = Way(tmp_path, Slow(), concurrency=8)
    twice = [*tables(10), *tables(10), *tables(10)]
    way.delivery.deliver(way.parcels(twice, in_one=1))
    assert worst == 1
    assert most > 1, "different tables do go out at once"
    assert len(names(way.recorder)) == 30


def test_a_ledger_that_fails_at_the_receipt_keeps_the_id_for_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    way = Way(tmp_path, Recorder())

    def full(*_: Any) -> None:
        raise StorageFault("the disk is full")

    monkeypatch.setattr(way.ledger, "acknowledge", full)
    with pytest.raises(StorageFault):
        way.delivery.deliver(way.parcels(tables(50)))
    assert [body.invocation_id for body in way.delivery.accepted] == ["id-0"]
    assert way.recorder.calls == 1
    assert "id-0" in caplog.text


def test_who_lost_the_lease_stops(tmp_path: Path) -> None:
    def answers(call: int, feed: Feed, body: bytes) -> None:
        if call == 2:
            way.lease.release()

    way = Way(tmp_path, Recorder(answers), concurrency=1)
    with pytest.raises(PushInProgress):
        way.delivery.deliver(way.parcels(tables(50)))
    assert way.recorder.calls == 3
    assert len(way.ledger.receipts("p")) == 3


def test_reading_that_breaks_off_still_records_what_was_under_way(tmp_path: Path) -> None:
    way = Way(tmp_path, Recorder())

    def breaking() -> Iterator[Parcel]:
        for number, parcel in enumerate(way.parcels(tables(40))):
            if number == 6:
                raise KeyboardInterrupt
            yield parcel

    with pytest.raises(KeyboardInterrupt):
        way.delivery.deliver(breaking())
    assert len(way.ledger.receipts("p")) == len(way.recorder.bodies)
    assert way.states()[BatchState.SENDING] == 0
