"""Reads what Dagster shows of a warehouse from the ledger: the push has just brought it up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mc_push_dagster.config import ScopeConfig
from mc_push_dagster.orchestration.settings import RepresentTables
from mc_push_dagster.orchestration.state import WarehouseState, gather
from mc_push_dagster.orchestration.tables import fit

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station


def write_state(station: Station, settings: RepresentTables, path: Path) -> tuple[str, ...]:
    """Write the tables' state to `path` and return a sentence for each thing that the budget leaves out."""
    state, uuid, ledger = WarehouseState(), station.target.resource_uuid, station.ledger
    if settings.mode != "none":
        state = gather(
            ledger.tables(uuid, gone=False),
            ledger.edges(uuid),
            ledger.edges(uuid, columns=True) if settings.column_lineage else (),
            scope=ScopeConfig(include=tuple(settings.include), exclude=tuple(settings.exclude)).scope(),
            max_tables=settings.max_tables,
        )
    path.write_text(state.model_dump_json(), encoding="utf-8")
    return fit(state, settings).notes
