"""Rows to put into the loopback server, and the warehouse over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mc_push_dagster.model import Scope
from mc_push_dagster.warehouses.bigquery import BigQuery, BigQuerySettings
from mc_push_dagster_tests.bigquery import server

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
BORN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
CHANGED = NOW - timedelta(hours=5)
SHOP = "shop-project"


def settings(box: server.BigQuery, **more: Any) -> BigQuerySettings:
    given: dict[str, Any] = {"projects": (SHOP,), "api_endpoint": box.url, "timeout_seconds": 20}
    return BigQuerySettings.model_validate(given | more)


def opened(box: server.BigQuery, *, scope: Scope | None = None, kind: type[BigQuery] = BigQuery, **more: Any) -> Any:
    """The warehouse as production builds it, with short waits between attempts."""
    warehouse = kind.from_settings(settings(box, **more), scope=scope or Scope())
    warehouse._sleep = lambda _: None
    warehouse._first_wait = 0.05
    return warehouse


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as a test describes it; `put` writes what each view shows of it."""

    dataset: str
    name: str
    kind: str = "BASE TABLE"
    managed: str | None = "NATIVE"
    columns: tuple[tuple[str, str] | tuple[str, str, str], ...] = (("id", "INT64"),)
    rows: int | None = 3
    size: int | None = 1024
    changed: datetime | None = CHANGED
    in_storage: bool = True
    born: datetime = BORN
    ddl: str | None = None
    text: str | None = None
    options: tuple[tuple[str, str, str], ...] = ()


def put(box: server.BigQuery, *tables: Table, project: str = SHOP, region: str = "us") -> None:
    """Make tables, and their datasets, visible in every view that shows them."""
    made: dict[str, list[dict[str, Any]]] = {
        view: [] for view in ("TABLES", "COLUMNS", "COLUMN_FIELD_PATHS", "TABLE_STORAGE", "TABLE_OPTIONS", "VIEWS")
    }
    for table in tables:
        box.datasets.setdefault((project, table.dataset), region)
        name = {"table_catalog": project, "table_schema": table.dataset, "table_name": table.name}
        kind = {"table_type": table.kind, "managed_table_type": table.managed}
        made["TABLES"].append({**name, **kind, "creation_time": table.born, "ddl": table.ddl})
        for position, (column, written, *note) in enumerate(table.columns, 1):
            made["COLUMNS"].append(
                {**name, "column_name": column, "ordinal_position": position, "data_type": written, "is_hidden": "NO"}
            )
            path = {**name, "column_name": column, "field_path": column, "data_type": written}
            made["COLUMN_FIELD_PATHS"].append({**path, "description": note[0] if note else None})
        if table.kind in ("BASE TABLE", "MATERIALIZED VIEW") and table.in_storage:
            biglake = table.managed == "BIGLAKE"
            made["TABLE_STORAGE"].append(
                {
                    **name,
                    **kind,
                    "project_id": project,
                    "deleted": False,
                    "total_rows": table.rows,
                    "total_logical_bytes": 0 if biglake else table.size,
                    "current_physical_bytes": table.size if biglake else 7,
                    "storage_last_modified_time": table.changed,
                }
            )
        for option, kind_of, value in table.options:
            made["TABLE_OPTIONS"].append({**name, "option_name": option, "option_type": kind_of, "option_value": value})
        if table.kind == "VIEW":
            made["VIEWS"].append({**name, "view_definition": table.text, "use_standard_sql": "YES"})
    for view, found in made.items():
        box.fill(view, found, project=project, region=region)


def view(dataset: str, name: str, text: str | None, **more: Any) -> Table:
    return Table(dataset=dataset, name=name, kind="VIEW", managed=None, text=text, **more)


def job(job_id: str, text: str, end: datetime, **more: Any) -> dict[str, Any]:
    """A row of JOBS: a query that succeeded within a second."""
    return {
        "project_id": SHOP,
        "job_id": job_id,
        "job_type": "QUERY",
        "state": "DONE",
        "query": text,
        "user_email": "anna@example.com",
        "statement_type": "SELECT",
        "creation_time": end - timedelta(seconds=2),
        "start_time": end - timedelta(seconds=1),
        "end_time": end,
        **more,
    }


def named(name: str) -> dict[str, str]:
    """A table reference as JOBS writes it."""
    return dict(zip(("project_id", "dataset_id", "table_id"), name.split(".", 2), strict=True))
