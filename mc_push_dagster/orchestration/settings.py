"""What only Dagster needs to know about a warehouse's pushes; beside these stand all fields of `PushConfig`."""

from __future__ import annotations

from datetime import date
from typing import Literal

import dagster as dg
from pydantic import ConfigDict, Field

from mc_push_dagster.config import DeliveryConfig, MonteCarloConfig, OtherResourceConfig, ScopeConfig
from mc_push_dagster.orchestration._compat import Described


class ScopeAttributes(ScopeConfig, Described):
    """`PushConfig.scope`, with Dagster's templates."""


class MonteCarloAttributes(MonteCarloConfig, Described):
    """`PushConfig.monte_carlo`, with Dagster's templates."""


class DeliveryAttributes(DeliveryConfig, Described):
    """`PushConfig.delivery`, with Dagster's templates."""


class OtherResourceAttributes(OtherResourceConfig, Described):
    """One of `PushConfig.other_resources`, with Dagster's templates."""


class _Settings(dg.Model, Described):
    model_config = ConfigDict(extra="forbid", frozen=True)


Status = Literal["RUNNING", "STOPPED"]


class ScheduleSettings(_Settings):
    """When pushes run by themselves. Minutes are minutes of the hour, UTC."""

    hourly_minute: int = Field(
        default=5, ge=0, le=59, description="Minute of the hour of the catalog and lineage push."
    )
    verify_after_minutes: int = Field(
        default=20, ge=1, le=59, description="How long after that push Monte Carlo is asked whether it arrived."
    )
    status: Status = Field(default="STOPPED", description="Whether schedules are on as soon as they are deployed.")


class DriftSensorSettings(_Settings):
    """Watches for changed schemas by one fingerprint per database."""

    enabled: bool = True
    interval_seconds: int | None = Field(
        default=None, ge=30, description="Default: the warehouse's own, which keeps no paid engine awake."
    )
    status: Status = "STOPPED"


class BacklogSensorSettings(_Settings):
    """Requests query-log hours that were missed: Dagster's schedules do not catch up on partitions."""

    enabled: bool = True
    lookback_hours: int = Field(default=24, ge=1, le=24 * 14)
    hours_per_tick: int = Field(default=6, ge=1, le=100)
    interval_seconds: int = Field(default=300, ge=30)
    status: Status = "STOPPED"


class RepresentTables(_Settings):
    """How the warehouse's own tables appear in Dagster.

    One code location may not exceed 100 MB, so that there is a budget: `auto` drops column lineage, then columns, then
    shows schemas in place of tables, then nothing, and says so in the run's log and in the catalog's metadata.
    """

    mode: Literal["none", "schema", "table", "auto"] = "auto"
    include: list[str] = Field(
        default_factory=list, description="Patterns `database.schema.table`; default: all that are pushed."
    )
    exclude: list[str] = Field(default_factory=list)
    max_tables: int = Field(default=5000, ge=1)
    max_bytes: int = Field(default=40_000_000, ge=10_000, description="Estimated size of the definitions.")
    columns: bool = True
    column_lineage: bool = Field(default=False, description="Dagster's open-source UI does not draw it; Dagster+ does.")


class FreshnessSettings(_Settings):
    """When a push asset counts as late (Dagster's freshness policy)."""

    warn_minutes: int = Field(default=75, ge=1)
    fail_minutes: int = Field(default=120, ge=1)


class QueryLogSettings(_Settings):
    """The hourly partitions of `query_logs`."""

    start: str | None = Field(
        default=None,
        description="First day, UTC, e.g. 2026-01-01. Default: the first day of last month, moving on by itself.",
    )
    hours_per_run: int = Field(default=24, ge=1, description="Hours that one run of a backfill takes on.")

    def first_day(self, today: date) -> date:
        """The configured day, or the first day of the month before `today`'s."""
        if self.start is not None:
            return date.fromisoformat(self.start)
        return date(today.year - (today.month == 1), (today.month - 2) % 12 + 1, 1)


class OpSettings(_Settings):
    """How the work is executed, for launchers and executors that read tags (Kubernetes, Celery ...)."""

    pool: str | None = Field(default=None, description="Default: mc_push_<name>; one push per warehouse at a time.")
    tags: dict[str, str] = Field(default_factory=dict)
    max_retries: int = Field(default=3, ge=0)
    retry_delay_seconds: float = Field(default=30, ge=0)


class DagsterSettings(dg.Model):
    """Everything that only Dagster needs, with defaults that suit a real warehouse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: ScheduleSettings = ScheduleSettings()
    drift_sensor: DriftSensorSettings = DriftSensorSettings()
    backlog_sensor: BacklogSensorSettings = BacklogSensorSettings()
    represent_tables: RepresentTables = RepresentTables()
    freshness: FreshnessSettings = FreshnessSettings()
    query_logs: QueryLogSettings = QueryLogSettings()
    op: OpSettings = OpSettings()
    executor: Literal["in_process", "multiprocess", "instance"] = Field(
        default="in_process", description="`instance` leaves it to the code location (Kubernetes, Celery ...)."
    )
    owners: list[str] = Field(default_factory=list, description="Owners of the push assets, e.g. team:data-platform.")
    group: str = Field(default="monte_carlo", description="Group of the push assets.")
    connection_resource: str | None = Field(
        default=None,
        description="Key of a Dagster resource of yours that opens the warehouse's connection: SnowflakeResource, "
        "BigQueryResource, DuckDBResource, anything with get_connection() or get_client(), or a function.",
    )
