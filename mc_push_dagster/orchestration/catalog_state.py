"""Reads what Dagster shows of a warehouse from the warehouse and the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mc_push_dagster.config import ScopeConfig
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.orchestration.settings import RepresentTables
from mc_push_dagster.orchestration.state import WarehouseState, gather
from mc_push_dagster.orchestration.tables import fit

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station


def write_state(station: Station, settings: RepresentTables, path: Path) -> tuple[str, ...]:
    """Write the tables' state to `path` and return a sentence for each thing that the budget leaves out."""
    if settings.mode == "none":
        path.write_text(WarehouseState().model_dump_json())
        return ()
    gathered = gather(
        snapshots(station.warehouse, with_columns=settings.columns),
        [],
        [],
        scope=ScopeConfig(include=tuple(settings.include), exclude=tuple(settings.exclude)).scope(),
        max_tables=settings.max_tables,
    )
    path.write_text(gathered.model_dump_json())
    return fit(gathered, settings).notes
