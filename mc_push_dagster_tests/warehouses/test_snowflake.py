"""Snowflake keeps the contract of every warehouse: real driver, loopback server, names of every kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    DataChange,
    QueryRecord,
    TableRef,
    TableSnapshot,
    Tag,
)
from mc_push_dagster.warehouses.snowflake import Snowflake
from mc_push_dagster_tests.snowflake import server
from mc_push_dagster_tests.snowflake.rows import BORN, NOW, PASSWORD, column, logged, opened, table, view
from mc_push_dagster_tests.warehouses.contract import Loaded, WarehouseContract

pytest_plugins = ["mc_push_dagster_tests.snowflake.plugin"]

ODD = 'we"ird.db'
WRITTEN = NOW - timedelta(hours=5)
ALTERED = NOW - timedelta(days=1)


def _ref(database: str, schema: str, name: str) -> TableRef:
    return TableRef(database=database, schema=schema, name=name)


def _plain(ref: TableRef, **more: Any) -> TableSnapshot:
    """What `rows.table` and one integer column must be read as."""
    given: dict[str, Any] = {
        "ref": ref,
        "asset_type": AssetType.TABLE,
        "native_type": "BASE TABLE",
        "columns": (Column(name="ID", type="NUMBER(38,0)"),),
        "created_at": BORN,
        "row_count": 3,
        "byte_count": 1024,
        "data_change": DataChange(at=ALTERED, source=ChangeSource.DDL_POLLUTED),
    }
    return TableSnapshot(**(given | more))


ORDERS = _ref("SHOP", "PUBLIC", "ORDERS")
RECENT = _ref("SHOP", "PUBLIC", "RECENT")
HOSTILE = [
    _ref("SHOP", "PUBLIC", "orders"),
    _ref("SHOP", "Mixed Case", 'a"quote'),
    _ref("SHOP", "Mixed Case", "dot.ted"),
    _ref("SHOP", "Mixed Case", "per%cent_and_under"),
    _ref("SHOP", "Mixed Case", "back\\slash ünï 表"),
    _ref(ODD, "S.1", "T?"),
]
TABLES = {
    ORDERS: _plain(
        ORDERS,
        native_type="TRANSIENT TABLE",
        columns=(
            Column(name="ID", type="NUMBER(38,0)", description="the key"),
            Column(name="Mixed Name", type="VARCHAR(50)"),
            Column(name="AT", type="TIMESTAMP_LTZ(9)"),
        ),
        description="all orders",
        tags=(Tag(key="OWNER", value="sales"), Tag(key="PII", value="no")),
        row_count=0,
        data_change=DataChange(at=WRITTEN, source=ChangeSource.WRITE_LOG),
    ),
    RECENT: _plain(
        RECENT,
        asset_type=AssetType.VIEW,
        native_type="VIEW",
        view_query="create view recent as select id from orders",
        row_count=None,
        byte_count=None,
        data_change=None,
    ),
    **{ref: _plain(ref) for ref in HOSTILE},
}
QUERIES = [
    QueryRecord(
        text="insert into orders select 1",
        started_at=NOW - timedelta(minutes=61),
        ended_at=NOW - timedelta(minutes=60),
        query_id="01b",
        user="ANNA",
        returned_rows=1,
        database="SHOP",
        schema="PUBLIC",
        session_id="77",
        extra={"query_type": "INSERT", "bytes_scanned": 0},
    ),
    QueryRecord(
        text="selec 1",
        started_at=NOW - timedelta(seconds=1),
        ended_at=NOW,
        query_id="01a",
        user="ANNA",
        error_code="1003",
        error_text="SQL compilation error: syntax error",
        session_id="77",
        extra={},
    ),
]


def _fill(box: server.Snowflake) -> None:
    box.database("SHOP", ODD)
    orders = table(*ORDERS.parts, is_transient="YES", comment="all orders", row_count=0)
    recent = table(*RECENT.parts, table_type="VIEW", row_count=None, bytes=None)
    box.fill("INFORMATION_SCHEMA", "TABLES", [*(table(*ref.parts) for ref in HOSTILE), recent, orders])
    box.fill("INFORMATION_SCHEMA", "VIEWS", [view(*RECENT.parts, TABLES[RECENT].view_query)])
    box.fill(
        "INFORMATION_SCHEMA",
        "COLUMNS",
        [
            *(column(*ref.parts, 1, "ID") for ref in [*HOSTILE, RECENT]),
            column(*ORDERS.parts, 3, "AT", data_type="TIMESTAMP_LTZ", datetime_precision=9),
            column(*ORDERS.parts, 2, "Mixed Name", data_type="TEXT", character_maximum_length=50),
            column(*ORDERS.parts, 1, "ID", comment="the key"),
        ],
    )
    tag = {"object_database": "SHOP", "object_schema": "PUBLIC", "object_name": "ORDERS", "domain": "TABLE"}
    box.fill(
        "ACCOUNT_USAGE",
        "TAG_REFERENCES",
        [
            {**tag, "tag_name": "PII", "tag_value": "no"},
            {**tag, "tag_name": "OWNER", "tag_value": "sales"},
            {**tag, "tag_name": "OF_A_COLUMN", "tag_value": "x", "domain": "COLUMN", "column_name": "ID"},
            {**tag, "tag_name": "DROPPED", "tag_value": "x", "object_deleted": NOW},
        ],
    )
    source = {"objectDomain": "Table", "objectName": 'SHOP."Mixed Case"."dot.ted"', "columnName": "ID"}
    written = {"objectDomain": "Table", "objectName": "SHOP.PUBLIC.ORDERS"}
    filled = {**written, "columns": [{"columnId": 1, "columnName": "ID", "directSources": [source]}]}
    box.fill(
        "ACCOUNT_USAGE",
        "ACCESS_HISTORY",
        [
            {"query_id": "w1", "query_start_time": WRITTEN - timedelta(days=2), "objects_modified": [written]},
            {"query_id": "w2", "query_start_time": WRITTEN, "objects_modified": [written]},
            {
                "query_id": "01b",
                "query_start_time": NOW - timedelta(minutes=60),
                "objects_modified": [{**filled, "objectName": 'SHOP.PUBLIC."no longer there"'}],
                "direct_objects_accessed": [{"objectDomain": "Table", "objectName": 'SHOP."Mixed Case"."dot.ted"'}],
            },
        ],
    )
    error = {"execution_status": "FAIL", "error_code": 1003, "error_message": QUERIES[1].error_text}
    context = {"database_name": "SHOP", "schema_name": "PUBLIC", "query_type": "INSERT", "bytes_scanned": 0}
    before = NOW - timedelta(minutes=60)
    box.fill(
        "ACCOUNT_USAGE",
        "QUERY_HISTORY",
        [
            logged("01a", QUERIES[1].text, NOW, **error),
            logged(
                "01b",
                QUERIES[0].text,
                before,
                **context,
                start_time=before - timedelta(minutes=1),
                rows_produced=1,
            ),
            logged("own", "SELECT 1", before, query_tag="mc-push-dagster"),
            logged("tag", "ALTER SESSION SET QUERY_TAG = 'mc-push-dagster' TIMEZONE = 'UTC'", before),
            logged("no text", "", before),
        ],
    )


class TestSnowflake(WarehouseContract):
    warehouse = Snowflake
    driver = "snowflake.connector"
    examples = 4

    @pytest.fixture
    def loaded(self, sf: server.Snowflake) -> Loaded:
        _fill(sf)
        extra = column(*ORDERS.parts, 4, "NEW")
        return Loaded(
            open=lambda scope: opened(sf, scope=scope),
            tables={ref: replace(snapshot) for ref, snapshot in TABLES.items()},
            queries=QUERIES,
            alter_schema=lambda: sf.fill("INFORMATION_SCHEMA", "COLUMNS", [extra]),
            write_rows=lambda: sf.duck.execute(
                "UPDATE SNOWFLAKE.OUR_INFORMATION_SCHEMA.TABLES SET ROW_COUNT = ROW_COUNT + 1"
            ),
            secrets=[PASSWORD],
        )
