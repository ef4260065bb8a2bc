"""The warehouse contract over a real Spark Thrift Server with real Iceberg tables; pyiceberg tells what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    DataChange,
    QueryRecord,
    TableRef,
    TableSnapshot,
)
from mc_push_dagster.warehouses.spark import Spark, SparkSettings
from mc_push_dagster_tests.spark.engine import Engine, running
from mc_push_dagster_tests.spark.oracle import iceberg_table
from mc_push_dagster_tests.warehouses.contract import Loaded, WarehouseContract

GOLDEN = Path(__file__).parents[1] / "golden" / "spark" / "eventlog_3.5.9.jsonl"
PASSWORD = "correct-horse-battery"
MADE = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id BIGINT COMMENT 'order id', amount DECIMAL(10,2), tags ARRAY<STRING>, "
    "addr STRUCT<city: STRING, zip: INT>) USING parquet COMMENT 'All orders'",
    "INSERT INTO shop.orders SELECT id, id, null, null FROM range(7)",
    "ANALYZE TABLE shop.orders COMPUTE STATISTICS",
    "CREATE TABLE shop.events (id BIGINT, dt STRING) USING parquet PARTITIONED BY (dt)",
    "CREATE VIEW shop.big_orders AS SELECT id, amount FROM shop.orders WHERE amount > 3",
    "CREATE TABLE shop.stock (item STRING COMMENT 'which', pieces INT) USING iceberg",
    "INSERT INTO shop.stock VALUES ('a', 1), ('b', 2)",
    "DELETE FROM shop.stock WHERE item = 'a'",
    "CREATE NAMESPACE lake.`raw zone`",
    "CREATE TABLE lake.`raw zone`.`Click``s` (`käse.x` INT COMMENT 'odd') USING iceberg",
    "INSERT INTO lake.`raw zone`.`Click``s` VALUES (1), (2), (3)",
)
UNMADE = (
    "DROP TABLE lake.`raw zone`.`Click``s`",
    "DROP NAMESPACE lake.`raw zone`",
    "DROP VIEW shop.big_orders",
    "DROP TABLE shop.stock",
    "DROP DATABASE shop CASCADE",
)


def expected_queries() -> list[QueryRecord]:
    """The golden event log by a second, simpler reading: everything in memory, joined by id."""
    starts: dict[str, dict] = {}
    ends: dict[str, dict] = {}
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if "statement" in event:
            starts[event["id"]] = event
        elif event.get("id") in starts and ("finishTime" in event or "closeTime" in event):
            ends.setdefault(event["id"], event)
    namespace: dict[str, str] = {}
    found: list[QueryRecord] = []
    for id, event in sorted(
        ends.items(), key=lambda item: (item[1].get("finishTime") or item[1]["closeTime"], item[0])
    ):
        start, message = starts[id], event.get("errorMsg", "")
        database = namespace.get(start["sessionId"])
        found.append(
            QueryRecord(
                text=start["statement"],
                query_id=id,
                user=start["userName"],
                started_at=datetime.fromtimestamp(start["startTime"] / 1000, UTC),
                ended_at=datetime.fromtimestamp((event.get("finishTime") or event["closeTime"]) / 1000, UTC),
                error_code=message[1 : message.index("]")] if message else None,
                error_text=message.splitlines()[0].removesuffix(";") if message else None,
                database="spark_catalog",
                schema=database,
                session_id=start["sessionId"],
            )
        )
        if start["statement"] == "USE `default`":
            namespace[start["sessionId"]] = "default"
    return found


def snapshot(ref: TableRef, native: str, columns: tuple[Column, ...], **more) -> TableSnapshot:
    defaults = {"asset_type": AssetType.TABLE, "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return TableSnapshot(ref=ref, native_type=native, columns=columns, **(defaults | more))


def in_shop(name: str) -> TableRef:
    return TableRef(database="shop", schema="default", name=name)


def tables(engine: Engine) -> list[TableSnapshot]:
    stock = iceberg_table(engine.folder / "warehouse" / "shop.db" / "stock")
    clicks = iceberg_table(engine.folder / "lake" / "raw zone" / "Click`s")
    amount = Column(name="amount", type="DECIMAL(10,2)")
    return [
        snapshot(
            in_shop("orders"),
            "MANAGED (parquet)",
            (
                Column(name="id", type="BIGINT", description="order id"),
                amount,
                Column(name="tags", type="ARRAY<STRING>"),
                Column(name="addr", type="STRUCT<city: STRING, zip: INT>"),
            ),
            description="All orders",
            row_count=7,
            byte_count=1,
        ),
        snapshot(
            in_shop("events"), "MANAGED (parquet)", (Column(name="id", type="BIGINT"), Column(name="dt", type="STRING"))
        ),
        snapshot(
            in_shop("big_orders"),
            "VIEW",
            (Column(name="id", type="BIGINT", description="order id"), amount),
            asset_type=AssetType.VIEW,
            view_query="there is one",
        ),
        snapshot(
            in_shop("stock"),
            "EXTERNAL (iceberg)",
            (Column(name="item", type="STRING", description="which"), Column(name="pieces", type="INT")),
            row_count=stock.rows,
            byte_count=1,
            data_change=DataChange(at=stock.committed_at, source=ChangeSource.SNAPSHOT),
        ),
        snapshot(
            TableRef(database="lake", schema="raw zone", name="Click`s"),
            "MANAGED (iceberg)",
            (Column(name="käse.x", type="int", description="odd"),),
            row_count=clicks.rows,
            byte_count=1,
            created_at=None,
            data_change=DataChange(at=clicks.committed_at, source=ChangeSource.SNAPSHOT),
        ),
    ]


@pytest.mark.spark
@pytest.mark.timeout(300)
class TestSpark(WarehouseContract):
    warehouse = Spark
    driver = "pyhive"
    examples = 3

    @pytest.fixture(scope="class")
    def loaded(self, tmp_path_factory) -> Iterator[Loaded]:
        engine = running()
        if not engine.iceberg:
            pytest.skip("needs the Iceberg jar for Spark 3.5 (package snowpark-connect-deps-iceberg)")
        log = tmp_path_factory.mktemp("events")
        (log / "local-1795217096491").write_bytes(GOLDEN.read_bytes())
        engine.run(*MADE)
        settings = SparkSettings.model_validate(
            {
                "url": engine.url,
                "username": "monte_carlo",
                "password": PASSWORD,
                "catalogs": ("spark_catalog", "lake"),
                "event_log": str(log),
            }
        )
        yield Loaded(
            open=lambda scope: Spark.from_settings(settings, scope=scope),
            tables={t.ref: t for t in tables(engine)},
            queries=expected_queries(),
            alter_schema=lambda: engine.run("ALTER TABLE shop.events ADD COLUMNS (note STRING)") and None,
            write_rows=lambda: engine.run("INSERT INTO shop.stock VALUES ('c', 3)") and None,
            secrets=(PASSWORD,),
        )
        engine.run(*UNMADE)
