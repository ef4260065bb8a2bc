"""Jobs and the schedules that keep the documented hourly cadence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg

from mc_push_dagster.orchestration.plan import CATALOG, LINEAGE, QUERY_LOGS, Plan

VERIFIED = "verified_in_monte_carlo"


def executor(plan: Plan) -> dg.ExecutorDefinition | None:
    """In-process by default: a step in a process of its own costs more than a push of a thousand tables."""
    return {
        "in_process": dg.in_process_executor,
        "multiprocess": dg.multiprocess_executor,
        "instance": None,
    }[plan.settings.executor]


def later_check(plan: Plan) -> dg.AssetSelection:
    """The check that has to wait until Monte Carlo shows what it was sent."""
    return dg.AssetSelection.checks(dg.AssetCheckKey(plan.key(CATALOG), VERIFIED))


def cadence(plan: Plan) -> dg.Definitions:
    """The hourly push, its verification some minutes later, and the query-log window that just became complete."""
    schedule = plan.settings.schedule
    status = dg.DefaultScheduleStatus[schedule.status]
    hourly = _job(
        plan, "hourly_push", dg.AssetSelection.assets(plan.key(CATALOG), plan.key(LINEAGE)) - later_check(plan)
    )
    verify = _job(plan, "verify_push", later_check(plan))
    logs = _job(plan, "query_log_push", dg.AssetSelection.assets(plan.key(QUERY_LOGS)))
    minute = (schedule.hourly_minute + schedule.verify_after_minutes) % 60
    return dg.Definitions(
        jobs=[hourly, verify, logs],
        schedules=[
            _cron(hourly, f"{schedule.hourly_minute} * * * *", status),
            _cron(verify, f"{minute} * * * *", status),
            dg.build_schedule_from_partitioned_job(
                logs, name=f"{logs.name}_schedule", minute_of_hour=log_minute(plan), default_status=status
            ),
        ],
    )


def log_minute(plan: Plan) -> int:
    """The minute at which a window of the query log is complete: its latency's minutes beyond full hours, and five."""
    return (int(plan.warehouse.query_log_latency / timedelta(minutes=1)) + 5) % 60


def log_offset(plan: Plan) -> int:
    """Full hours by which the log lags, negative: they are no partitions yet, in schedules and in the UI alike."""
    return -(int(plan.warehouse.query_log_latency / timedelta(minutes=1) + 5) // 60)


def _job(plan: Plan, name: str, selection: dg.AssetSelection) -> Any:
    return dg.define_asset_job(
        f"{plan.prefix}_{name}", selection=selection, executor_def=executor(plan), tags=plan.run_tags
    )


def _cron(job: Any, cron: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(name=f"{job.name}_schedule", job=job, cron_schedule=cron, default_status=status)
