"""`dg scaffold defs mc_push_dagster.MonteCarloPushComponent <folder>`: a defs.yaml that loads as it is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from mc_push_dagster.orchestration.tables import group_name
from mc_push_dagster.warehouses import load


class PushScaffoldParams(BaseModel):
    """Options of `dg scaffold defs`."""

    warehouse_type: str = Field(default="duckdb", description="A warehouse type, e.g. duckdb, snowflake, bigquery.")
    name: str | None = Field(default=None, description="Names the assets; default: the folder's name.")
    resource_uuid: str | None = Field(default=None, description="UUID of the Monte Carlo resource (warehouse).")


class MonteCarloPushScaffolder(dg.Scaffolder[PushScaffoldParams]):
    """Writes the warehouse's required settings as environment variables, each with its name as the default."""

    @classmethod
    def get_scaffold_params(cls) -> type[PushScaffoldParams]:
        return PushScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[PushScaffoldParams]) -> None:
        params = request.params
        name = params.name or group_name(request.target_path.name)
        monte_carlo = f"{{{{ env('MCD_RESOURCE_UUID', '{params.resource_uuid or ''}') }}}}"
        attributes: dict[str, Any] = {
            "name": name,
            "warehouse": {"type": params.warehouse_type, **required_settings(params.warehouse_type, name)},
            "monte_carlo": {"resource_uuid": monte_carlo},
            "query_logs": {"start": f"{datetime.now(UTC):%Y-%m-01}"},
            "schedule": {"hourly_minute": 5, "status": "STOPPED"},
        }
        dg.scaffold_component(request, attributes)


def required_settings(warehouse_type: str, name: str) -> dict[str, str]:
    """Return a template for each setting that the warehouse type demands: `path: "{{ env('SHOP_PATH', 'path') }}"`.

    Raises:
        FixConfiguration: if there is no such type.
    """
    fields = load(warehouse_type).settings.model_fields
    return {
        field: f"{{{{ env('{name.upper()}_{field.upper()}', '{field}') }}}}"
        for field, info in fields.items()
        if info.is_required()
    }
