"""Rows to put into the loopback server, and the warehouse over it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mc_push_dagster.model import Scope
from mc_push_dagster.warehouses.snowflake import Snowflake, SnowflakeSettings
from mc_push_dagster_tests.snowflake import server

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
BORN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
PASSWORD = "hunter2-of-the-shop"


def settings(box: server.Snowflake, **more: Any) -> SnowflakeSettings:
    given: dict[str, Any] = {
        "account": "fakesnow",
        "user": "pusher",
        "password": PASSWORD,
        "host": "127.0.0.1",
        "port": box.port,
        "protocol": "http",
        "timeout_seconds": 20,
        "login_timeout_seconds": 5,
        "session_parameters": {"CLIENT_TELEMETRY_ENABLED": False, "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    }
    return SnowflakeSettings.model_validate(given | more)


def opened(box: server.Snowflake, *, scope: Scope | None = None, **more: Any) -> Snowflake:
    """The warehouse as production builds it, with a clock that stands still and no waiting between attempts."""
    warehouse = Snowflake.from_settings(settings(box, **more), scope=scope or Scope())
    warehouse._clock = lambda: NOW
    warehouse._sleep = lambda _: None
    return warehouse


def table(database: str, schema: str, name: str, **more: Any) -> dict[str, Any]:
    """A row of INFORMATION_SCHEMA.TABLES: a plain table that was written to yesterday, unless said otherwise."""
    return {
        "table_catalog": database,
        "table_schema": schema,
        "table_name": name,
        "table_type": "BASE TABLE",
        "is_transient": "NO",
        "is_dynamic": "NO",
        "is_iceberg": "NO",
        "is_hybrid": "NO",
        "row_count": 3,
        "bytes": 1024,
        "created": BORN,
        "last_ddl": BORN,
        "last_altered": NOW - timedelta(days=1),
        **more,
    }


def column(database: str, schema: str, name: str, position: int, column_name: str, **more: Any) -> dict[str, Any]:
    """A row of INFORMATION_SCHEMA.COLUMNS: an integer, unless said otherwise."""
    return {
        "table_catalog": database,
        "table_schema": schema,
        "table_name": name,
        "column_name": column_name,
        "ordinal_position": position,
        "data_type": "NUMBER",
        "numeric_precision": 38,
        "numeric_scale": 0,
        **more,
    }


def put(box: server.Snowflake, *tables: dict[str, Any], columns: int = 1) -> None:
    """Put tables into INFORMATION_SCHEMA, each with some columns."""
    box.fill("INFORMATION_SCHEMA", "TABLES", tables)
    names = [(t["table_catalog"], t["table_schema"], t["table_name"]) for t in tables]
    box.fill("INFORMATION_SCHEMA", "COLUMNS", [column(*n, i, f"C{i}") for n in names for i in range(1, columns + 1)])


def view(database: str, schema: str, name: str, text: str | None, *, secure: str = "NO") -> dict[str, Any]:
    """A row of INFORMATION_SCHEMA.VIEWS."""
    return {
        "table_catalog": database,
        "table_schema": schema,
        "table_name": name,
        "view_definition": text,
        "is_secure": secure,
    }


def logged(query_id: str, text: str, end: datetime, **more: Any) -> dict[str, Any]:
    """A row of ACCOUNT_USAGE.QUERY_HISTORY: a statement that succeeded within a second."""
    return {
        "query_id": query_id,
        "query_text": text,
        "start_time": end - timedelta(seconds=1),
        "end_time": end,
        "user_name": "ANNA",
        "execution_status": "SUCCESS",
        "session_id": 77,
        **more,
    }
