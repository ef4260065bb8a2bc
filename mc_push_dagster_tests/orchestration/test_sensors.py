"""Drift between pushes is found by fingerprints; missed query-log hours are asked for again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from mc_push_dagster import errors
from mc_push_dagster.model import Fingerprint, Gap
from mc_push_dagster.orchestration import sensors
from mc_push_dagster.orchestration._compat import sensor_deadline_seconds
from mc_push_dagster_tests.orchestration.fakes import NOW, FakeStation

CATALOG = dg.AssetKey(["monte_carlo", "shop", "table_catalog"])
LOGS = dg.AssetKey(["monte_carlo", "shop", "query_logs"])


def warehouse(*found: Fingerprint | Gap) -> Any:
    return SimpleNamespace(fingerprints=lambda: iter(found))


def fingerprint(database: str, digest: str) -> Fingerprint:
    return Fingerprint(database=database, digest=digest * 32)


def tick(defs: dg.Definitions, name: str, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=defs, resources=defs.resources
    ) as context:
        return defs.resolve_sensor_def(name).evaluate_tick(context)


@pytest.fixture
def drift(build, station: FakeStation):
    defs = build()

    def look(*found: Fingerprint | Gap, cursor: str | None = None) -> Any:
        station.holds = warehouse(*found)
        with dg.DagsterInstance.ephemeral() as instance:
            return tick(defs, "monte_carlo_shop_schema_drift", instance, cursor)

    return look


def test_the_first_look_sets_the_baseline(drift) -> None:
    first = drift(fingerprint("shop", "a"))
    assert first.run_requests == []
    assert first.skip_message == "first look at shop"
    assert json.loads(first.cursor) == {"digests": {"shop": "a" * 12}}


def test_an_unchanged_schema_asks_for_nothing(drift) -> None:
    cursor = drift(fingerprint("shop", "a")).cursor
    second = drift(fingerprint("shop", "a"), cursor=cursor)
    assert (second.skip_message, second.cursor) == ("no drift in 1 databases", cursor)


def test_drift_asks_for_a_schema_only_push_of_the_catalog(drift) -> None:
    cursor = drift(fingerprint("shop", "a"), fingerprint("crm", "x")).cursor
    (request,) = drift(fingerprint("shop", "b"), fingerprint("crm", "x"), cursor=cursor).run_requests
    assert request.asset_selection == [CATALOG]
    assert request.run_config == {"ops": {"monte_carlo_shop_snapshot": {"config": {"schema_only": True}}}}
    assert request.tags["mc/drift"] == "shop"
    assert request.run_key == "aaaaaaaaaaaa>shop=bbbbbbbbbbbb"


def test_a_schema_that_goes_back_is_pushed_again(drift) -> None:
    cursor = drift(fingerprint("shop", "a")).cursor
    there = drift(fingerprint("shop", "b"), cursor=cursor)
    back = drift(fingerprint("shop", "a"), cursor=there.cursor)
    assert there.run_requests[0].run_key != back.run_requests[0].run_key


def test_a_database_that_cannot_be_read_keeps_its_old_digest_and_is_named(drift) -> None:
    cursor = drift(fingerprint("shop", "a"), fingerprint("crm", "x")).cursor
    found = drift(fingerprint("shop", "a"), Gap(subject="crm", reason="no USAGE"), cursor=cursor)
    assert found.cursor == cursor
    assert found.skip_message == "no drift in 2 databases; crm: no USAGE"


def test_an_unreachable_warehouse_is_a_skipped_tick_not_an_error(build, station: FakeStation) -> None:
    def fail() -> Iterator[Fingerprint]:
        raise errors.WarehouseUnavailable("shop does not answer")
        yield

    station.holds = SimpleNamespace(fingerprints=fail)
    with dg.DagsterInstance.ephemeral() as instance:
        found = tick(build(), "monte_carlo_shop_schema_drift", instance, '{"digests": {"shop": "aaaaaaaaaaaa"}}')
    assert (found.skip_message, found.run_requests) == ("shop does not answer", [])
    assert json.loads(found.cursor) == {"digests": {"shop": "aaaaaaaaaaaa"}}


def test_the_deadline_ends_a_look_and_what_it_found_is_kept() -> None:
    times = iter([0.0, 9.0, 11.0, 99.0])
    before = sensors.DriftCursor(digests={"a": "1", "b": "2", "c": "3"})
    seen = (fingerprint(name, "f") for name in "abc")
    found = sensors.look(before, seen, deadline=10, stopwatch=lambda: next(times) + 1)
    assert found.unfinished
    assert found.changed == ("a", "b")
    assert found.cursor.digests == {"a": "f" * 12, "b": "f" * 12, "c": "3"}


def test_the_deadline_leaves_dagster_s_limit_a_margin() -> None:
    assert 5 <= sensor_deadline_seconds() <= 40


def test_the_cursor_of_twenty_databases_stays_small() -> None:
    """Dagster copies it into every tick's row."""
    found = sensors.look(
        sensors.DriftCursor(), (fingerprint(f"DATABASE_{n}", "a") for n in range(20)), deadline=1, stopwatch=lambda: 0
    )
    assert len(found.cursor.model_dump_json()) < 1000


def materialize(instance: dg.DagsterInstance, *hours: str) -> None:
    for hour in hours:
        instance.report_runless_asset_event(dg.AssetMaterialization(LOGS, partition=hour))


def now_hours(count: int) -> list[str]:
    last = NOW - timedelta(hours=1)
    return [f"{last - timedelta(hours=n):%Y-%m-%d-%H:00}" for n in range(count, 0, -1)]


@pytest.fixture
def backlog(build, instance):
    defs = build(backlog_sensor={"lookback_hours": 8, "hours_per_tick": 3})
    return lambda: tick(defs, "monte_carlo_shop_query_log_backlog", instance)


def test_missed_hours_are_asked_for_the_newest_first_and_few_at_a_time(backlog, instance) -> None:
    hours = now_hours(8)
    materialize(instance, hours[6])
    assert [r.partition_key for r in backlog().run_requests] == [hours[4], hours[5], hours[7]]


def test_nothing_missed_nothing_asked(backlog, instance) -> None:
    materialize(instance, *now_hours(8))
    found = backlog()
    assert (found.run_requests, found.skip_message) == ([], "the last 8 hours are pushed or under way")


def test_the_hour_that_the_schedule_is_about_to_push_is_left_to_it(backlog) -> None:
    newest = f"{NOW - timedelta(hours=1):%Y-%m-%d-%H:00}"
    assert newest not in [r.partition_key for r in backlog().run_requests]


def test_hours_under_way_are_not_asked_for_twice(backlog, instance) -> None:
    hours = now_hours(8)
    waiting = dg.DagsterRunStatus.STARTED
    instance.add_run(run("one", waiting, {"dagster/partition": hours[7]}))
    ends = {"dagster/asset_partition_range_start": hours[5], "dagster/asset_partition_range_end": hours[6]}
    instance.add_run(run("range", waiting, ends))
    instance.add_run(run("other", waiting, {"dagster/partition": hours[4], "mc/warehouse": "crm"}))
    assert [r.partition_key for r in backlog().run_requests] == [hours[2], hours[3], hours[4]]


def run(name: str, status: dg.DagsterRunStatus, tags: dict[str, str]) -> dg.DagsterRun:
    identifier = f"{abs(hash(name)):032d}"[:32]
    return dg.DagsterRun(
        job_name="j",
        run_id=f"{identifier[:8]}-{identifier[8:12]}-{identifier[12:16]}-{identifier[16:20]}-{identifier[20:32]}",
        status=status,
        tags={"mc/warehouse": "shop", **tags},
    )


def test_an_hour_that_keeps_failing_is_asked_for_every_six_hours_at_most(backlog) -> None:
    keys = [request.run_key for request in backlog().run_requests]
    assert keys == [request.run_key for request in backlog().run_requests]
    assert len(set(keys)) == 3


def test_sensors_can_be_left_out(build) -> None:
    defs = build(drift_sensor={"enabled": False}, backlog_sensor={"enabled": False})
    assert list(defs.sensors or []) == []
