"""BigQuery and its Iceberg mode keep the contract of every warehouse: real client, loopback server, hostile names."""

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
    Scope,
    TablePattern,
    TableRef,
    TableSnapshot,
    Tag,
)
from mc_push_dagster.warehouses.bigquery import BigQuery, BigQueryIceberg
from mc_push_dagster_tests.bigquery import server
from mc_push_dagster_tests.bigquery.keys import service_account_key
from mc_push_dagster_tests.bigquery.rows import BORN, CHANGED, NOW, SHOP, Table, job, named, opened, put, view
from mc_push_dagster_tests.warehouses.contract import Loaded, WarehouseContract

pytest_plugins = ["mc_push_dagster_tests.bigquery.plugin"]

OTHER = "other-project"
PROJECTS = (SHOP, OTHER)
TEXT = "select id from `shop-project.shop.orders`"
LABELS = '[STRUCT("owner", "sales"), STRUCT("pii", "no")]'

ORDERS = Table(
    dataset="shop",
    name="orders",
    columns=(("id", "INT64", "the key"), ("Mixed Name", "ARRAY<STRUCT<a INT64, b STRING(9)>>"), ("at", "TIMESTAMP")),
    rows=0,
    options=(("description", "STRING", '"all \\"orders\\""'), ("labels", "ARRAY<STRUCT<STRING, STRING>>", LABELS)),
)
RECENT = view("shop", "recent", TEXT)
HOSTILE = [
    Table(dataset="shop", name="Orders"),
    Table(dataset="Mixed_Case", name='a"quote'),
    Table(dataset="Mixed_Case", name="dot.ted"),
    Table(dataset="Mixed_Case", name="per%cent_and_under"),
    Table(dataset="Mixed_Case", name="back\\slash ünï 表"),
    Table(dataset="Mixed_Case", name="t?"),
    Table(dataset="Mixed_Case", name="with -dash"),
]
ICEBERG = Table(dataset="lake", name="ice", managed="BIGLAKE", options=ORDERS.options, columns=ORDERS.columns)
ICE_OF_EUROPE = Table(dataset="ice_eu", name="Frost", managed="BIGLAKE")
EUROPEAN = Table(dataset="a_eu", name="t")
OTHERS = Table(dataset="s_1", name="T")


def ref(table: Table, project: str = SHOP) -> TableRef:
    return TableRef(database=project, schema=table.dataset, name=table.name)


def expected(table: Table, project: str = SHOP, **more: Any) -> TableSnapshot:
    given: dict[str, Any] = {
        "ref": ref(table, project),
        "asset_type": AssetType.TABLE,
        "native_type": "BIGLAKE TABLE" if table.managed == "BIGLAKE" else table.kind,
        "columns": tuple(Column(name=c[0], type=c[1], description=(*c, None)[2]) for c in table.columns),
        "created_at": BORN,
        "row_count": table.rows,
        "byte_count": table.size,
        "data_change": DataChange(at=CHANGED, source=ChangeSource.STORAGE),
    }
    return TableSnapshot(**(given | more))


DESCRIBED: dict[str, Any] = {
    "description": 'all "orders"',
    "tags": (Tag(key="owner", value="sales"), Tag(key="pii", value="no")),
}
TABLES = [
    expected(ORDERS, **DESCRIBED),
    expected(
        RECENT,
        asset_type=AssetType.VIEW,
        view_query=TEXT,
        row_count=None,
        byte_count=None,
        data_change=None,
    ),
    *(expected(table) for table in HOSTILE),
    expected(ICEBERG, **DESCRIBED),
    expected(ICE_OF_EUROPE),
    expected(EUROPEAN),
    expected(OTHERS, OTHER),
]
QUERIES = [
    QueryRecord(
        text="insert into orders select 1",
        started_at=NOW - timedelta(minutes=61),
        ended_at=NOW - timedelta(minutes=60),
        query_id="b",
        user="anna@example.com",
        database=SHOP,
        extra={
            "project_id": SHOP,
            "location": "us",
            "statement_type": "INSERT",
            "total_bytes_billed": 0,
            "cache_hit": False,
            "inserted_row_count": 1,
            "labels": {"team": "sales"},
            "destination_table": "shop-project.lake.ice",
        },
    ),
    QueryRecord(
        text="selec 1",
        started_at=NOW - timedelta(seconds=1),
        ended_at=NOW,
        query_id="a",
        user="anna@example.com",
        error_code="invalidQuery",
        error_text="Syntax error: Unexpected identifier",
        database=SHOP,
        extra={"project_id": SHOP, "location": "eu"},
    ),
]


def load(box: server.BigQuery) -> None:
    put(box, *reversed(HOSTILE), RECENT, ORDERS, ICEBERG)
    put(box, EUROPEAN, ICE_OF_EUROPE, region="eu")
    put(box, OTHERS, project=OTHER, region="europe-west3")
    before = NOW - timedelta(minutes=60)
    box.fill(
        "JOBS_BY_PROJECT",
        [
            job(
                "b",
                QUERIES[0].text,
                before,
                statement_type="INSERT",
                start_time=before - timedelta(minutes=1),
                creation_time=before - timedelta(minutes=2),
                total_bytes_billed=0,
                cache_hit=False,
                dml_statistics={"inserted_row_count": 1, "deleted_row_count": None, "updated_row_count": None},
                labels=[{"key": "team", "value": "sales"}],
                destination_table=named("shop-project.lake.ice"),
                referenced_tables=[named("shop-project.shop.orders")],
            ),
            job("own", "SELECT 1", before, labels=[{"key": "mc-push-dagster", "value": "own"}]),
            job("load", None, before, job_type="LOAD", statement_type=None),
            job("running", "select 2", before, state="RUNNING", end_time=None),
        ],
    )
    error = {"reason": "invalidQuery", "message": QUERIES[1].error_text, "location": "query", "debug_info": ""}
    box.fill("JOBS_BY_PROJECT", [job("a", "selec 1", NOW, statement_type=None, error_result=error)], region="eu")


class Contract(WarehouseContract):
    driver = "google.cloud.bigquery"
    examples = 5
    shown: tuple[TableSnapshot, ...]

    @pytest.fixture
    def loaded(self, bq: server.BigQuery) -> Loaded:
        load(bq)
        changed = {"table_catalog": SHOP, "table_schema": "lake", "table_name": "ice", "column_name": "new"}
        key = service_account_key(bq.url)
        return Loaded(
            open=lambda scope: opened(bq, scope=scope, kind=self.warehouse, projects=PROJECTS, service_account_key=key),
            tables={snapshot.ref: replace(snapshot) for snapshot in self.shown},
            queries=QUERIES,
            alter_schema=lambda: bq.fill("COLUMNS", [{**changed, "ordinal_position": 9, "data_type": "DATE"}]),
            write_rows=lambda: bq.engine.execute('UPDATE "TABLE_STORAGE" SET total_rows = total_rows + 1'),
            secrets=[key, "BEGIN PRIVATE KEY"],
        )


class TestBigQuery(Contract):
    warehouse = BigQuery
    shown = tuple(TABLES)


class TestBigQueryIceberg(Contract):
    warehouse = BigQueryIceberg
    shown = tuple(table for table in TABLES if table.native_type == "BIGLAKE TABLE")

    def test_fingerprints_follow_the_scope(self, loaded: Loaded):
        """A project without any Iceberg table has a fingerprint, too: its first one is a change."""
        assert {f.database for f in loaded.open(_only(SHOP)).fingerprints() if hasattr(f, "digest")} == {SHOP}
        assert {f.database for f in loaded.open(_only(OTHER)).fingerprints() if hasattr(f, "digest")} == {OTHER}


def _only(project: str) -> Scope:
    return Scope(include=(TablePattern(database=project),))
