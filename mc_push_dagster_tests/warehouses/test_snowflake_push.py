"""From Snowflake's system views to Monte Carlo's requests: what reaches the sandbox is what Snowflake said."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from mc_push_dagster.assembly import Station
from mc_push_dagster.model import Window
from mc_push_dagster_tests.snowflake.rows import BORN, column, logged, put, settings, table, view
from mc_push_dagster_tests.snowflake.server import Fault, Snowflake
from mc_push_dagster_tests.warehouses import pushing
from mc_push_dagster_tests.warehouses.pushing import WINDOW, WRITTEN, StationOver

pytest_plugins = ["mc_push_dagster_tests.snowflake.plugin"]


@pytest.fixture
def station(sf: Snowflake, station_over: StationOver):
    def opened(**more: Any) -> AbstractContextManager[Station]:
        plain = json.loads(settings(sf).model_dump_json(exclude_none=True, exclude={"password"}))
        return station_over({"type": "snowflake", **plain, "password": "p", **more})

    return opened


arrived = partial(pushing.arrived, resource_type="snowflake")


def test_the_catalog_arrives_as_snowflake_keeps_it(sf, sandbox, station, uuid):
    sf.database("SHOP", 'we"ird.db')
    later = BORN + timedelta(days=5)
    tables = [
        table("SHOP", "PUBLIC", "ORDERS", comment="all orders", row_count=0),
        table("SHOP", "PUBLIC", "quiet", last_altered=later, last_ddl=later),
        table('we"ird.db', "S.1", "ünï 表"),
    ]
    sf.fill("INFORMATION_SCHEMA", "TABLES", [*tables, table("SHOP", "PUBLIC", "V", table_type="VIEW", row_count=0)])
    sf.fill("INFORMATION_SCHEMA", "VIEWS", [view("SHOP", "PUBLIC", "V", "create view v as select id from orders")])
    names = [(t["table_catalog"], t["table_schema"], t["table_name"]) for t in tables]
    text = {"data_type": "TEXT", "character_maximum_length": 50, "comment": "who"}
    sf.fill("INFORMATION_SCHEMA", "COLUMNS", [column(*n, 1, "ID") for n in [*names, ("SHOP", "PUBLIC", "V")]])
    sf.fill("INFORMATION_SCHEMA", "COLUMNS", [column(*names[0], 2, "Name", **text)])
    written = {"objectDomain": "Table", "objectName": "SHOP.PUBLIC.ORDERS"}
    sf.fill("ACCOUNT_USAGE", "ACCESS_HISTORY", [{"query_start_time": WRITTEN, "objects_modified": [written]}])
    with station() as at:
        report = at.pusher.push_catalog()
    assert report.complete
    by_name = {e["metadata"]["name"]: e for e in arrived(sandbox, "metadata", uuid)}
    assert set(by_name) == {"ORDERS", "quiet", "V", "ünï 表"}
    orders = by_name["ORDERS"]
    assert (orders["metadata"]["database"], orders["metadata"]["schema"]) == ("SHOP", "PUBLIC")
    assert orders["metadata"]["description"] == "all orders"
    assert [(f["name"], f["type"]) for f in orders["fields"]] == [("ID", "NUMBER(38,0)"), ("Name", "VARCHAR(50)")]
    assert orders["volume"] == {"row_count": 0, "byte_count": 1024}
    at = datetime.fromisoformat(orders["freshness"]["last_update_time"])
    assert at == WRITTEN
    assert "freshness" not in by_name["quiet"]  # DDL alone, five days after it was made
    assert by_name["V"]["type"] == "VIEW"
    assert "volume" not in by_name["V"]
    assert by_name["V"]["metadata"]["view_query"] == "create view v as select id from orders"
    assert by_name["ünï 表"]["metadata"]["database"] == 'we"ird.db'
    assert not sf.open_sessions


def test_a_database_that_vanishes_is_a_gap_and_the_others_arrive(sf, sandbox, station, uuid):
    sf.database("A", "GONE")
    put(sf, table("A", "S", "T"), table("GONE", "S", "T"))
    sf.drop_database("GONE")
    with station() as at:
        report = at.pusher.push_catalog()
    assert {gap.subject for gap in report.gaps} == {"GONE"}
    assert [e["metadata"]["database"] for e in arrived(sandbox, "metadata", uuid)] == ["A"]


def test_queries_arrive_once_each_with_their_errors_and_late_ones_too(sf, sandbox, station, uuid):
    first = [
        logged("q1", "select '%s'", WRITTEN, rows_produced=7, warehouse_name="WH"),
        logged("q2", "selec", WRITTEN, execution_status="FAIL", error_code=1003, error_message="syntax"),
        logged("ours", "select 1", WRITTEN, query_tag="mc-push-dagster"),
    ]
    sf.fill("ACCOUNT_USAGE", "QUERY_HISTORY", first)
    with station() as at:
        at.pusher.push_query_logs(WINDOW)
        sf.fill("ACCOUNT_USAGE", "QUERY_HISTORY", [logged("late", "select 2", WRITTEN)])
        at.pusher.push_query_logs(Window(start=WINDOW.end, end=WINDOW.end + timedelta(hours=1)))
    found = arrived(sandbox, "querylogs", uuid)
    by_id = {e["query_id"]: e for e in found}
    assert len(found) == 3
    assert set(by_id) == {"q1", "q2", "late"}
    assert by_id["q1"]["returned_rows"] == 7
    assert by_id["q1"]["extra"]["warehouse_name"] == "WH"
    assert by_id["q2"]["error_code"] == "1003"


def test_native_lineage_arrives_for_tables_and_columns(sf, sandbox, station, uuid):
    sf.database("D")
    put(sf, *(table("D", "S", name) for name in ("SOURCE", "TARGET", "VIEWED")))
    at_source = {"objectDomain": "Table", "objectName": "D.S.SOURCE"}
    moved = {"columnId": 1, "columnName": "C1", "directSources": [{**at_source, "columnName": "C1"}]}
    sf.fill(
        "ACCOUNT_USAGE",
        "ACCESS_HISTORY",
        [
            {
                "query_id": "q",
                "query_start_time": datetime.now(UTC) - timedelta(hours=2),
                "direct_objects_accessed": [at_source],
                "objects_modified": [{"objectDomain": "Table", "objectName": "D.S.TARGET", "columns": [moved]}],
            }
        ],
    )
    with station() as at:
        at.pusher.push_catalog()
        at.pusher.push_lineage()
    events = arrived(sandbox, "lineage", uuid)
    pairs = {(s["name"], e["destination"]["name"]) for e in events for s in e["sources"]}
    assert pairs == {("SOURCE", "TARGET")}
    fields = [f for e in events for f in e.get("fields", [])]
    assert [f["name"] for f in fields] == ["C1"]


def test_a_snowflake_that_breaks_off_pushes_no_shorter_catalog_in_silence(sf, sandbox, station, uuid):
    from mc_push_dagster.errors import PushError

    sf.database("A", "B")
    put(sf, table("A", "S", "T"), table("B", "S", "T"))
    sf.faults.append(Fault(on='"B".INFORMATION_SCHEMA', times=float("inf"), lose_session=True))
    with station() as at:
        at.warehouse._sleep = lambda _: None
        with pytest.raises(PushError):
            at.pusher.push_catalog()
