"""The three push assets of a warehouse. Their bodies call the flow and show its report; nothing is decided here."""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` itself.

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from mc_push_dagster.flow.drifted import drifted
from mc_push_dagster.model import Window
from mc_push_dagster.orchestration import metadata, state
from mc_push_dagster.orchestration.catalog_state import write_state
from mc_push_dagster.orchestration.logs import RunLog
from mc_push_dagster.orchestration.outcomes import outcomes
from mc_push_dagster.orchestration.plan import CATALOG, LINEAGE, QUERY_LOGS, Execute, GetPushSpec, Plan
from mc_push_dagster.orchestration.schedules import log_offset

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station

DESCRIPTIONS = {
    CATALOG: "Schema, row and byte counts and the last data change of every table, as pushed to Monte Carlo.",
    LINEAGE: "Table and column lineage, as pushed to Monte Carlo.",
    QUERY_LOGS: "The queries that ended in an hour, as pushed to Monte Carlo; each goes out once.",
}


SNAPSHOT_CONFIG = {
    "schema_only": dg.Field(
        bool,
        default_value=False,
        description="Push only tables whose schema changed, without volume and freshness: what the drift sensor asks.",
    )
}


def push_assets(
    plan: Plan, *, execute: Execute, get_push_spec: GetPushSpec, today: datetime
) -> list[dg.AssetsDefinition]:
    """Build the snapshot assets (one op, selectable one by one) and the hourly partitioned query log."""
    specs = {name: get_push_spec(name, base_spec(plan, name)) for name in (CATALOG, LINEAGE, QUERY_LOGS)}
    settings = plan.settings
    retry = dg.RetryPolicy(
        max_retries=settings.op.max_retries,
        delay=settings.op.retry_delay_seconds,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )

    @dg.multi_asset(
        name=f"{plan.prefix}_snapshot",
        specs=[specs[CATALOG], specs[LINEAGE]],
        can_subset=True,
        pool=plan.pool,
        retry_policy=retry,
        op_tags=settings.op.tags,
        required_resource_keys=plan.resources,
        config_schema=SNAPSHOT_CONFIG,
    )
    def snapshot(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        with outcomes(max_retries=settings.op.max_retries), plan.station(context.resources) as station:
            yield from execute(context, station)

    @dg.multi_asset(
        name=f"{plan.prefix}_query_logs",
        specs=[specs[QUERY_LOGS]],
        partitions_def=hours(plan, today),
        backfill_policy=dg.BackfillPolicy.multi_run(settings.query_logs.hours_per_run),
        pool=plan.pool,
        retry_policy=retry,
        op_tags=settings.op.tags,
        required_resource_keys=plan.resources,
    )
    def query_logs(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        with outcomes(max_retries=settings.op.max_retries), plan.station(context.resources) as station:
            yield from execute(context, station)

    return [snapshot, query_logs]


def base_spec(plan: Plan, asset: str) -> dg.AssetSpec:
    """What a push asset is before the user's changes."""
    fresh = plan.settings.freshness
    late = plan.warehouse.query_log_latency if asset == QUERY_LOGS else timedelta(0)
    return dg.AssetSpec(
        key=plan.key(asset),
        description=DESCRIPTIONS[asset],
        group_name=plan.settings.group,
        kinds={"montecarlo", plan.warehouse.name},
        owners=plan.settings.owners,
        tags=plan.run_tags,
        # A drift run pushes without materializing, so that the policy below still sees the last full push.
        skippable=asset != QUERY_LOGS,
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=timedelta(minutes=fresh.fail_minutes) + late,
            warn_window=timedelta(minutes=fresh.warn_minutes) + late,
        ),
    )


def hours(plan: Plan, today: datetime) -> dg.HourlyPartitionsDefinition:
    """One partition an hour, UTC, up to the last that the warehouse's log is sure to hold."""
    first = plan.settings.query_logs.first_day(today.date())
    return dg.HourlyPartitionsDefinition(start_date=f"{first:%Y-%m-%d}-00:00", end_offset=log_offset(plan))


def push(context: dg.AssetExecutionContext, station: "Station", plan: Plan) -> Iterator[dg.MaterializeResult]:
    """Push what the run selected: the default of the component's `execute`."""
    steps: dict[str, Callable[[], Iterator[dg.MaterializeResult]]] = {
        CATALOG: lambda: push_catalog(context, station, plan),
        LINEAGE: lambda: push_lineage(context, station, plan),
        QUERY_LOGS: lambda: push_query_logs(context, station, plan),
    }
    for asset, step in steps.items():
        if plan.key(asset) in context.selected_asset_keys:
            yield from step()


def push_catalog(context: dg.AssetExecutionContext, station: "Station", plan: Plan) -> Iterator[dg.MaterializeResult]:
    """Push the catalog, or after drift only what changed; then let Dagster's own picture of the tables follow."""
    key, log = plan.key(CATALOG), RunLog(context.log)
    if context.op_execution_context.op_config.get("schema_only"):
        changed = drifted(station.warehouse, station.ledger, station.target.resource_uuid)
        report = station.pusher.push_catalog(schema_only=changed, progress=log)
        context.log_event(dg.AssetObservation(key, description="schema drift", metadata=metadata.of_report(report)))
    else:
        report = station.pusher.push_catalog(progress=log)
    shown = refresh_state(context, station, plan)
    if report.held_back is not None:
        context.log.warning(metadata.why_held_back(report.held_back))
    if not context.op_execution_context.op_config.get("schema_only"):
        yield dg.MaterializeResult(asset_key=key, metadata=metadata.of_report(report) | shown)


def push_lineage(context: dg.AssetExecutionContext, station: "Station", plan: Plan) -> Iterator[dg.MaterializeResult]:
    """Push lineage and draw it between Dagster's external assets."""
    report = station.pusher.push_lineage(progress=RunLog(context.log))
    shown = refresh_state(context, station, plan)
    yield dg.MaterializeResult(asset_key=plan.key(LINEAGE), metadata=metadata.of_report(report) | shown)


def push_query_logs(
    context: dg.AssetExecutionContext, station: "Station", plan: Plan
) -> Iterator[dg.MaterializeResult]:
    """Push each hour of the run by itself, so that each partition shows its own ids and counts."""
    for partition in context.partition_keys:
        window = Window.hour(datetime.strptime(partition, "%Y-%m-%d-%H:%M").replace(tzinfo=UTC))
        if (push_id := acknowledged(context, station, window)) is not None:
            shown = {"mc/push_id": push_id, "mc/resumed": "an earlier attempt of this run pushed it"}
        else:
            shown = metadata.of_report(station.pusher.push_query_logs(window, progress=RunLog(context.log)))
        context.add_asset_metadata(shown, plan.key(QUERY_LOGS), partition_key=partition)
    yield dg.MaterializeResult(asset_key=plan.key(QUERY_LOGS))


def acknowledged(context: dg.AssetExecutionContext, station: "Station", window: Window) -> str | None:
    """Return the push by which an earlier attempt of this run brought the whole window over, or None.

    Dagster writes a range's events when the step ends: a failure in the 17th hour would lose the 16 before it.
    """
    if context.retry_number == 0:
        return None
    record = context.instance.get_run_record_by_id(context.run.run_id)
    began = datetime.fromtimestamp(record.start_time, UTC) if record is not None and record.start_time else None
    for stretch in station.ledger.windows(station.target.resource_uuid, within=window):
        if began is not None and stretch.window == window and stretch.complete and stretch.updated_at >= began:
            return stretch.push_id
    return None


def refresh_state(context: dg.AssetExecutionContext, station: "Station", plan: Plan) -> dict[str, str]:
    """Upload the tables' state if it changed, and return what to say about it."""
    with tempfile.TemporaryDirectory() as folder:
        notes: list[str] = []
        version = state.upload(
            context.instance,
            plan.state_key,
            lambda path: notes.extend(write_state(station, plan.settings.represent_tables, path)),
            Path(folder),
        )
    if version is not None:
        context.log.info("the tables changed: reload the code location to see them (state %s)", version)
    for note in notes:
        context.log.warning(note)
    return {"mc/tables_shown": "; ".join(notes)} if notes else {}
