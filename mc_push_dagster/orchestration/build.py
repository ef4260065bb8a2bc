"""Definitions of one warehouse, for the component and for Python users alike."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from mc_push_dagster.config import PushConfig
from mc_push_dagster.orchestration import assets
from mc_push_dagster.orchestration._compat import in_run_process
from mc_push_dagster.orchestration.checks import push_checks
from mc_push_dagster.orchestration.plan import Clock, Execute, GetAssetSpec, GetPushSpec, Plan
from mc_push_dagster.orchestration.resources import PushStation
from mc_push_dagster.orchestration.schedules import cadence
from mc_push_dagster.orchestration.sensors import watchers
from mc_push_dagster.orchestration.settings import DagsterSettings
from mc_push_dagster.orchestration.state import WarehouseState
from mc_push_dagster.orchestration.tables import table_specs


def state_key(name: str) -> str:
    """Where a warehouse's tables stand in Dagster's state storage, unless the user names another key."""
    return f"MonteCarloPush[{name}]"


def build_monte_carlo_definitions(
    config: PushConfig,
    settings: DagsterSettings | None = None,
    *,
    state_path: Path | None = None,
    key_of_state: str | None = None,
    get_asset_spec: GetAssetSpec | None = None,
    get_push_spec: GetPushSpec | None = None,
    execute: Execute | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> dg.Definitions:
    """Return assets, checks, jobs, schedules and sensors that push one warehouse; no connection is opened.

    `get_asset_spec` changes how a table is shown (given its `TableProps` and the spec that would be used),
    `get_push_spec` a push asset (given its name), `execute` what a run does (given the run's context and the opened
    station; by default it calls `orchestration.assets.push`). `state_path` is what the last push wrote about the
    tables; the component finds it by itself.

    Raises:
        FixConfiguration: if the warehouse type is unknown.
    """
    plan = Plan(config=config, settings=settings or DagsterSettings(), state_key=key_of_state or state_key(config.name))
    tables = (
        []
        if in_run_process()
        else table_specs(
            WarehouseState.read(state_path),
            plan.settings.represent_tables,
            warehouse=plan.name,
            warehouse_type=plan.warehouse.name,
            get_asset_spec=get_asset_spec or (lambda props, spec: spec),
        )
    )
    pushes = assets.push_assets(
        plan,
        execute=execute or (lambda context, station: assets.push(context, station, plan)),
        get_push_spec=get_push_spec or (lambda name, spec: spec),
        today=clock(),
    )
    own = dg.Definitions(
        assets=[*tables, *pushes],
        asset_checks=[push_checks(plan, clock=clock)],
        resources={plan.resource: PushStation(config=config)},
    )
    return dg.Definitions.merge(own, cadence(plan), watchers(plan, clock=clock))
