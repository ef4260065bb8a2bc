"""The hourly cadence, and the query-log windows that a warehouse's latency allows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

import dagster as dg
import pytest

from mc_push_dagster.config import PushConfig
from mc_push_dagster.orchestration import schedules
from mc_push_dagster.orchestration.assets import hours
from mc_push_dagster.orchestration.plan import Plan
from mc_push_dagster.orchestration.settings import DagsterSettings, QueryLogSettings
from mc_push_dagster.warehouses.duckdb import DuckDB


class Slow(DuckDB):
    """A warehouse whose query log lags."""

    query_log_latency: ClassVar[timedelta] = timedelta(0)


def plan(latency_minutes: int) -> Plan:
    made = Plan(
        config=PushConfig(name="shop", warehouse={"type": "duckdb", "path": "x"}),
        settings=DagsterSettings(),
        state_key="key",
    )
    cls = type("Slow", (Slow,), {"query_log_latency": timedelta(minutes=latency_minutes)})
    made.__dict__["warehouse"] = cls
    return made


@pytest.mark.parametrize(
    ("latency", "minute", "offset", "newest"),
    [
        (0, 5, 0, "11:00"),
        (45, 50, 0, "11:00"),
        (57, 2, -1, "10:00"),
        (75, 20, -1, "10:00"),
        (180, 5, -3, "08:00"),
    ],
)
def test_a_window_is_pushed_as_soon_as_the_log_is_sure_to_hold_it(
    latency: int, minute: int, offset: int, newest: str
) -> None:
    slow = plan(latency)
    assert (schedules.log_minute(slow), schedules.log_offset(slow)) == (minute, offset)
    tick = datetime(2026, 11, 20, 12, minute, tzinfo=UTC)
    key = hours(slow, tick).get_partition_keys(current_time=tick)[-1]
    assert key == f"2026-11-20-{newest}"
    ended = datetime.strptime(key, "%Y-%m-%d-%H:%M").replace(tzinfo=UTC) + timedelta(hours=1)
    assert timedelta(minutes=latency) < tick - ended < timedelta(minutes=latency + 60)


@pytest.mark.parametrize(
    ("today", "first"),
    [
        (date(2026, 1, 31), date(2025, 12, 1)),
        (date(2026, 2, 1), date(2026, 1, 1)),
        (date(2026, 12, 31), date(2026, 11, 1)),
    ],
)
def test_partitions_begin_with_last_month_unless_a_day_is_named(today: date, first: date) -> None:
    assert QueryLogSettings().first_day(today) == first
    assert QueryLogSettings(start="2024-02-29").first_day(today) == date(2024, 2, 29)


def test_pushes_run_hourly_and_are_verified_after_monte_carlo_had_time(build) -> None:
    defs = build(schedule={"hourly_minute": 50, "status": "RUNNING"})
    hourly = defs.resolve_schedule_def("monte_carlo_shop_hourly_push_schedule")
    verify = defs.resolve_schedule_def("monte_carlo_shop_verify_push_schedule")
    assert (hourly.cron_schedule, verify.cron_schedule) == ("50 * * * *", "10 * * * *")
    assert {s.default_status for s in (hourly, verify)} == {dg.DefaultScheduleStatus.RUNNING}


def test_the_hourly_push_leaves_out_the_check_that_would_ask_too_early(build) -> None:
    defs = build()
    ours = {
        k.name for k in defs.resolve_job_def("monte_carlo_shop_hourly_push").asset_layer.asset_graph.asset_check_keys
    }
    later = {
        k.name for k in defs.resolve_job_def("monte_carlo_shop_verify_push").asset_layer.asset_graph.asset_check_keys
    }
    assert later == {"verified_in_monte_carlo"}
    assert ours == {"receipts_complete", "hourly_cadence", "schema_drift"}


@pytest.mark.parametrize(("name", "executor"), [("in_process", "in_process"), ("multiprocess", "multiprocess")])
def test_the_executor_is_the_user_s_choice(build, name: str, executor: str) -> None:
    assert build(executor=name).resolve_job_def("monte_carlo_shop_hourly_push").executor_def.name == executor


def test_the_schedule_requests_the_newest_complete_hour(build) -> None:
    schedule = build().resolve_schedule_def("monte_carlo_shop_query_log_push_schedule")
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, 20, 12, 5, tzinfo=UTC))
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.partition_key == "2026-11-20-11:00"
