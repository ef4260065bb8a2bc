"""The names that one warehouse's assets, jobs, sensors and checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from mc_push_dagster.config import PushConfig
from mc_push_dagster.orchestration.settings import DagsterSettings
from mc_push_dagster.warehouses import load
from mc_push_dagster.warehouses.base import Warehouse

if TYPE_CHECKING:
    from datetime import datetime

    from mc_push_dagster.assembly import Station
    from mc_push_dagster.orchestration.tables import TableProps

CATALOG, LINEAGE, QUERY_LOGS = "table_catalog", "lineage_graph", "query_logs"

GetAssetSpec = Callable[["TableProps", dg.AssetSpec], dg.AssetSpec]
GetPushSpec = Callable[[str, dg.AssetSpec], dg.AssetSpec]
Clock = Callable[[], "datetime"]
"""Tells the time, in UTC."""
Execute = Callable[[dg.AssetExecutionContext, "Station"], Iterator[dg.MaterializeResult]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One warehouse as Dagster sees it."""

    config: PushConfig
    settings: DagsterSettings
    state_key: str
    """Where the tables' state stands in Dagster's state storage."""

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def warehouse(self) -> type[Warehouse]:
        """The warehouse's class; importing it imports no driver."""
        return load(self.config.warehouse_type)

    @property
    def prefix(self) -> str:
        """Begins the names of jobs, schedules, sensors and ops."""
        return f"monte_carlo_{self.name}"

    def key(self, asset: str) -> dg.AssetKey:
        return dg.AssetKey(["monte_carlo", self.name, asset])

    @property
    def resource(self) -> str:
        """The resource key of the warehouse's `PushStation`."""
        return f"monte_carlo_{self.name}"

    @property
    def resources(self) -> set[str]:
        lent = self.settings.connection_resource
        return {self.resource, lent} if lent else {self.resource}

    @property
    def pool(self) -> str:
        return self.settings.op.pool or f"mc_push_{self.name}"

    @property
    def run_tags(self) -> dict[str, str]:
        return {"mc/warehouse": self.name}

    def open_warehouse(self, resources: Any) -> Warehouse:
        """Build the warehouse alone with the resources of a tick; its connection is opened when it is read."""
        lent = self.settings.connection_resource
        return getattr(resources, self.resource).warehouse(getattr(resources, lent) if lent else None)

    @contextmanager
    def station(self, resources: Any) -> Iterator[Station]:
        """Open the station with the resources of a run, a check or a tick."""
        lent = self.settings.connection_resource
        with getattr(resources, self.resource).open(getattr(resources, lent) if lent else None) as station:
            yield station
