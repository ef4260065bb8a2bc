"""Watchers: schema drift between pushes, and query-log hours that were missed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import BaseModel, ConfigDict

from mc_push_dagster.errors import PushError
from mc_push_dagster.model import Fingerprint, Gap, Window
from mc_push_dagster.orchestration._compat import sensor_deadline_seconds
from mc_push_dagster.orchestration.plan import CATALOG, QUERY_LOGS, Clock, Plan
from mc_push_dagster.orchestration.schedules import log_offset

PARTITION_FORMAT = "%Y-%m-%d-%H:%M"


class DriftCursor(BaseModel):
    """What the drift sensor remembers: 12 digits of each database's digest. Dagster copies it into every tick's row."""

    model_config = ConfigDict(frozen=True)

    digests: dict[str, str] = {}

    @classmethod
    def parse(cls, cursor: str | None) -> DriftCursor:
        return cls.model_validate_json(cursor) if cursor else cls()


class Drift(BaseModel):
    """What one look at the fingerprints found."""

    model_config = ConfigDict(frozen=True)

    cursor: DriftCursor
    changed: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    """Databases seen for the first time: nothing to compare with."""
    gaps: tuple[str, ...] = ()
    unfinished: bool = False


def look(
    before: DriftCursor,
    fingerprints: Iterator[Fingerprint | Gap],
    *,
    deadline: float,
    stopwatch: Callable[[], float],
) -> Drift:
    """Compare fingerprints with the last ones until the deadline; what was not reached keeps its old digest."""
    digests, changed, baseline, gaps = dict(before.digests), [], [], []
    unfinished = False
    for item in fingerprints:
        if isinstance(item, Gap):
            gaps.append(f"{item.subject}: {item.reason}")
        else:
            digest = item.digest[:12]
            if item.database not in digests:
                baseline.append(item.database)
            elif digests[item.database] != digest:
                changed.append(item.database)
            digests[item.database] = digest
        if stopwatch() >= deadline:
            unfinished = True
            break
    return Drift(
        cursor=DriftCursor(digests=digests),
        changed=tuple(changed),
        baseline=tuple(baseline),
        gaps=tuple(gaps[:20]),
        unfinished=unfinished,
    )


def watchers(plan: Plan, *, clock: Clock) -> dg.Definitions:
    """The sensors that the settings ask for."""
    found = []
    if plan.settings.drift_sensor.enabled:
        found.append(drift_sensor(plan))
    if plan.settings.backlog_sensor.enabled:
        found.append(backlog_sensor(plan, clock=clock))
    return dg.Definitions(sensors=found)


def drift_sensor(plan: Plan, *, stopwatch: Callable[[], float] = time.monotonic) -> dg.SensorDefinition:
    """One cheap statement per database and tick; on drift a run that pushes the changed tables' schemas."""
    settings = plan.settings.drift_sensor
    op = f"{plan.prefix}_snapshot"

    @dg.sensor(
        name=f"{plan.prefix}_schema_drift",
        description="Asks the warehouse for one fingerprint per database and pushes changed schemas at once.",
        minimum_interval_seconds=settings.interval_seconds or int(plan.warehouse.drift_interval.total_seconds()),
        default_status=dg.DefaultSensorStatus[settings.status],
        asset_selection=dg.AssetSelection.assets(plan.key(CATALOG)),
        required_resource_keys=plan.resources,
    )
    def schema_drift(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        deadline = stopwatch() + sensor_deadline_seconds()
        before = DriftCursor.parse(context.cursor)
        try:
            seen = plan.open_warehouse(context.resources).fingerprints()
            drift = look(before, seen, deadline=deadline, stopwatch=stopwatch)
        except PushError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        cursor = drift.cursor.model_dump_json()
        if not drift.changed:
            return dg.SensorResult(skip_reason=_quiet(drift), cursor=cursor)
        state = ",".join(f"{database}={drift.cursor.digests[database]}" for database in drift.changed)
        request = dg.RunRequest(
            # A schema that changes back and forth is pushed each time: the key names both ends.
            run_key=f"{','.join(before.digests[d] for d in drift.changed)}>{state}",
            asset_selection=[plan.key(CATALOG)],
            asset_check_keys=[],
            run_config={"ops": {op: {"config": {"schema_only": True}}}},
            tags={**plan.run_tags, "mc/drift": ",".join(drift.changed)[:200]},
        )
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return schema_drift


def _quiet(drift: Drift) -> str:
    words = [f"no drift in {len(drift.cursor.digests)} databases"]
    if drift.baseline:
        words = [f"first look at {', '.join(drift.baseline)[:200]}"]
    if drift.unfinished:
        words.append("the deadline was reached before all databases were seen; the next tick goes on")
    return "; ".join([*words, *drift.gaps])


def backlog_sensor(plan: Plan, *, clock: Clock) -> dg.SensorDefinition:
    """Requests missed query-log hours, a few at a time; Dagster's schedules never catch up on partitions."""
    settings = plan.settings.backlog_sensor

    @dg.sensor(
        name=f"{plan.prefix}_query_log_backlog",
        description=f"Requests query-log hours of the last {settings.lookback_hours} hours that no run has pushed.",
        minimum_interval_seconds=settings.interval_seconds,
        default_status=dg.DefaultSensorStatus[settings.status],
        asset_selection=dg.AssetSelection.assets(plan.key(QUERY_LOGS)),
    )
    def query_log_backlog(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = clock()
        done = context.instance.get_materialized_partitions(plan.key(QUERY_LOGS))
        busy = _under_way(context.instance, plan)
        wanted = [hour for hour in due_hours(plan, now) if hour not in done and hour not in busy]
        if not wanted:
            return dg.SensorResult(skip_reason=f"the last {settings.lookback_hours} hours are pushed or under way")
        requests = [
            dg.RunRequest(
                # Asked for again every six hours at most, so that an hour that always fails does not fill the run list.
                run_key=f"{hour}@{now:%Y-%m-%d}/{now.hour // 6}",
                partition_key=hour,
                asset_selection=[plan.key(QUERY_LOGS)],
                tags={**plan.run_tags, "mc/backlog": "true"},
            )
            for hour in wanted[-settings.hours_per_tick :]
        ]
        return dg.SensorResult(run_requests=requests)

    return query_log_backlog


def due_hours(plan: Plan, now: datetime) -> list[str]:
    """Partition keys of the look-back that the schedule has already had its chance to push, the earliest first."""
    newest = Window.hour(now + timedelta(hours=log_offset(plan)) - timedelta(hours=1)).start
    first = plan.settings.query_logs.first_day(now.date())
    hours = (newest - timedelta(hours=n) for n in range(plan.settings.backlog_sensor.lookback_hours, 0, -1))
    return [f"{hour:{PARTITION_FORMAT}}" for hour in hours if hour.date() >= first]


def _under_way(instance: dg.DagsterInstance, plan: Plan) -> set[str]:
    waiting = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    runs = instance.get_runs(filters=dg.RunsFilter(tags=plan.run_tags, statuses=waiting), limit=1000)
    found: set[str] = set()
    for run in runs:
        found |= _partitions(run.tags)
    return found


def _partitions(tags: Mapping[str, str]) -> set[str]:
    """The hours a run works on: one, or a range of a backfill."""
    if (one := tags.get("dagster/partition")) is not None:
        return {one}
    first, last = tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")
    if first is None or last is None:
        return set()
    start, end = (datetime.strptime(text, PARTITION_FORMAT).replace(tzinfo=UTC) for text in (first, last))
    return {f"{hour.start:{PARTITION_FORMAT}}" for hour in Window(start=start, end=end + timedelta(hours=1)).hours()}
