"""Query logs: each query once, late ones too, whatever happens in between."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_push_dagster.errors import FixConfiguration, MaybeDelivered, PushIncomplete, Rejected, TryAgain
from mc_push_dagster.model import Feed, Window
from mc_push_dagster_tests.flow.harness import NOON, UUID, Desk, Recorder, Shop, config, desk, query, query_ids

ELEVEN = Window.hour(NOON - timedelta(hours=1))
TEN = Window.hour(NOON - timedelta(hours=2))


def in_window(window: Window, count: int, *, first: int = 0) -> list:
    step = (window.end - window.start) / count
    return [query(first + i, window.start + i * step) for i in range(count)]


@pytest.fixture
def gateway() -> Recorder:
    return Recorder()


@pytest.fixture
def at(tmp_path: Path, gateway: Recorder) -> Desk:
    shop = Shop()
    shop.log = in_window(ELEVEN, 20)
    return desk(tmp_path, shop=shop, gateway=gateway, settings=config(max_events=7))


def sent(at: Desk) -> Counter[str]:
    assert isinstance(at.gateway, Recorder)
    return Counter(query_ids(at.gateway.events(Feed.QUERY_LOG)))


def test_a_window_is_half_open_on_the_end_time(at: Desk) -> None:
    at.shop.log += [query(100, ELEVEN.end), query(101, ELEVEN.start - timedelta(microseconds=1))]
    report = at.pusher.push_query_logs(ELEVEN)
    assert sent(at) == {f"q{i:07d}": 1 for i in range(20)}
    assert report.counts == {"queries": 20}
    assert report.requests == 3
    [record] = at.ledger.windows(UUID)
    assert (record.window, record.complete, record.queries) == (ELEVEN, True, 20)


def test_a_window_that_is_complete_sends_only_what_is_new(at: Desk) -> None:
    at.pusher.push_query_logs(ELEVEN)
    at.shop.log.append(query(50, ELEVEN.start))
    report = at.pusher.push_query_logs(ELEVEN)
    assert report.counts == {"queries": 1, "queries_seen_before": 20}
    assert set(sent(at).values()) == {1}
    assert at.ledger.windows(UUID)[0].queries == 21


def test_late_rows_of_windows_pushed_before_are_found_and_sent_once(at: Desk) -> None:
    at.pusher.push_query_logs(TEN)
    at.shop.log += [query(60, TEN.start), query(61, TEN.start - timedelta(hours=1))]
    report = at.pusher.push_query_logs(ELEVEN)
    assert report.counts == {"queries": 21, "late_queries": 1}
    assert sent(at)["q0000060"] == 1
    assert sent(at)["q0000061"] == 0, "nine o'clock was never pushed: it is somebody's to push whole"
    at.pusher.push_query_logs(ELEVEN)
    assert set(sent(at).values()) == {1}


def test_several_hours_are_pushed_as_one_window_and_known_as_hours(at: Desk) -> None:
    at.shop.log += in_window(TEN, 5, first=500)
    both = Window(start=TEN.start + timedelta(minutes=30), end=ELEVEN.end)
    report = at.pusher.push_query_logs(both)
    assert report.counts == {"queries": 22}
    assert [str(record.window)[11:16] for record in at.ledger.windows(UUID)] == ["10:30", "11:00"]
    at.pusher.push_query_logs(TEN)
    assert set(sent(at).values()) == {1}
    assert len(sent(at)) == 25


def test_a_window_that_may_still_grow_is_marked_and_completed_later(at: Desk) -> None:
    at.shop.query_log_latency = timedelta(minutes=45)  # type: ignore[misc]
    report = at.pusher.push_query_logs(ELEVEN)
    [gap] = report.gaps
    assert gap.subject == f"query log {ELEVEN}"
    assert "push it again after 2026-11-20 12:45 UTC" in gap.reason
    assert not at.ledger.windows(UUID)[0].complete
    at.clock.advance(hours=1)
    at.shop.log.append(query(70, ELEVEN.end - timedelta(seconds=1)))
    assert at.pusher.push_query_logs(ELEVEN).complete
    assert at.ledger.windows(UUID)[0].complete
    assert set(sent(at).values()) == {1}
    assert len(sent(at)) == 21


def test_a_window_that_has_not_begun_is_refused(at: Desk) -> None:
    with pytest.raises(FixConfiguration, match="has not begun yet"):
        at.pusher.push_query_logs(Window.hour(NOON + timedelta(hours=1)))


def test_queries_without_an_id_are_sent_once_as_well(at: Desk) -> None:
    from dataclasses import replace

    at.shop.log = [replace(q, query_id=None) for q in at.shop.log]
    at.pusher.push_query_logs(ELEVEN)
    assert at.pusher.push_query_logs(ELEVEN).counts == {"queries_seen_before": 20}


def test_a_push_that_broke_off_is_completed_and_nothing_is_sent_twice(at: Desk, gateway: Recorder) -> None:
    gateway.answers = lambda call, *_: TryAgain("503") if call >= 1 else None
    with pytest.raises(PushIncomplete):
        at.pusher.push_query_logs(ELEVEN)
    assert at.ledger.windows(UUID) == (), "a window that is not through is not on record"
    gateway.answers = lambda *_: None
    at.clock.advance(hours=5)
    report = at.pusher.push_query_logs(ELEVEN)
    assert sent(at) == {f"q{i:07d}": 1 for i in range(20)}
    assert report.events == {Feed.QUERY_LOG: 13}
    assert report.maybe_twice == 0


def test_what_may_stand_twice_is_said(at: Desk, gateway: Recorder) -> None:
    gateway.answers = lambda call, *_: MaybeDelivered("timed out") if call == 0 else None
    assert at.pusher.push_query_logs(ELEVEN).maybe_twice == 1


def test_a_query_that_is_refused_is_named_and_not_tried_for_ever(at: Desk, gateway: Recorder) -> None:
    gateway.answers = lambda call, feed, body: Rejected("400: bad") if b"q0000003" in body else None
    report = at.pusher.push_query_logs(ELEVEN)
    assert [(item.name, item.reason) for item in report.set_aside] == [("q0000003", "400: bad")]
    assert not report.complete
    assert len(sent(at)) == 19
    calls = gateway.calls
    at.pusher.push_query_logs(ELEVEN)
    assert gateway.calls == calls


def test_when_every_query_is_refused_the_push_says_so(at: Desk, gateway: Recorder) -> None:
    at.shop.log = at.shop.log[:3]
    gateway.answers = lambda *_: Rejected("400: Unsupported ingest query-log log_type")
    with pytest.raises(PushIncomplete, match="every one of its 3 events was refused: 400: Unsupported"):
        at.pusher.push_query_logs(ELEVEN)


def test_runs_of_the_same_window_at_once_wait_for_each_other(at: Desk) -> None:
    import time

    from mc_push_dagster.flow.push import Pusher

    patient = Pusher(
        name="shop",
        warehouse=at.shop,
        target=at.pusher._kit.target,
        gateway=at.gateway,
        ledger=at.ledger,
        outbox=at.outbox,
        config=config(max_events=3),
        clock=at.clock,
        monotonic=time.monotonic,
        sleep=lambda _: time.sleep(0.01),
    )
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(patient.push_query_logs, [ELEVEN] * 3))
    assert set(sent(at).values()) == {1}
    assert sorted(report.counts.get("queries", 0) for report in reports) == [0, 0, 20]


def test_a_dry_run_counts_what_would_go_out(at: Desk, tmp_path: Path) -> None:
    dry = at.pusher.push_query_logs(ELEVEN, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    real = at.pusher.push_query_logs(ELEVEN)
    assert (dry.counts, dry.requests, dry.raw_bytes) == (real.counts, real.requests, real.raw_bytes)
    at.shop.log.append(query(80, ELEVEN.start))
    assert at.pusher.push_query_logs(ELEVEN, dry_run=True).counts == {"queries": 1, "queries_seen_before": 20}


@given(
    order=st.permutations(range(4)),
    late=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6),
    broken=st.sets(st.integers(0, 12), max_size=4),
)
@settings(max_examples=8, deadline=None)
def test_each_query_arrives_once_in_any_order_of_windows_with_any_lateness_and_faults(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    late: list[tuple[int, int]],
    broken: set[int],
) -> None:
    hours = [Window.hour(NOON - timedelta(hours=5 - i)) for i in range(4)]
    shop, gateway = Shop(), Recorder()
    gateway.answers = lambda call, *_: TryAgain("503") if call in broken else None
    at = desk(
        tmp_path_factory.mktemp("order"),
        shop=shop,
        gateway=gateway,
        settings=config(max_events=2, deadline_seconds=0.1),
    )
    for i, hour in enumerate(hours):
        shop.log += in_window(hour, 3, first=100 * i)
    for step, number in enumerate(order):
        shop.log += [
            query(1000 + i, hours[hour].start + timedelta(minutes=i))
            for i, (hour, at_step) in enumerate(late)
            if at_step == step
        ]
        for _ in range(20):
            try:
                at.pusher.push_query_logs(hours[number])
            except (PushIncomplete, TryAgain):
                continue
            break
    gateway.answers = lambda *_: None
    for hour in hours:  # every window once more, as a backlog sensor would
        at.pusher.push_query_logs(hour)
    assert sent(at) == {record.query_id: 1 for record in shop.log}
