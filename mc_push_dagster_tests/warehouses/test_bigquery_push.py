"""From BigQuery's views to Monte Carlo's requests: what reaches the sandbox is what BigQuery said."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from mc_push_dagster.assembly import Station
from mc_push_dagster.errors import PushError
from mc_push_dagster.flow.drifted import drifted
from mc_push_dagster.model import Window
from mc_push_dagster_tests.bigquery.rows import SHOP, Table, job, named, put, view
from mc_push_dagster_tests.bigquery.server import NEVER, BigQuery, Fault
from mc_push_dagster_tests.warehouses import pushing
from mc_push_dagster_tests.warehouses.pushing import WINDOW, WRITTEN, StationOver

pytest_plugins = ["mc_push_dagster_tests.bigquery.plugin"]


@pytest.fixture
def station(bq: BigQuery, station_over: StationOver):
    def opened(kind: str = "bigquery", **more: Any) -> AbstractContextManager[Station]:
        return station_over({"type": kind, "projects": [SHOP], "api_endpoint": bq.url, "timeout_seconds": 2} | more)

    return opened


arrived = partial(pushing.arrived, resource_type="bigquery")


def by_name(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {event["metadata"]["name"]: event for event in events}


def test_the_catalog_arrives_as_bigquery_keeps_it(bq, sandbox, station, uuid):
    nested = "ARRAY<STRUCT<sku STRING, n NUMERIC(10, 2)>>"
    labels = '[STRUCT("team", "sales")]'
    put(
        bq,
        Table(
            dataset="shop",
            name="Orders",
            rows=0,
            size=0,
            changed=WRITTEN,
            columns=(("id", "INT64", "the key"), ("lines", nested)),
            options=(("description", "STRING", r'"all \"orders\""'), ("labels", "ARRAY<>", labels)),
        ),
        Table(dataset="shop", name="quiet", changed=None),
        Table(dataset="shop", name="ext", kind="EXTERNAL", managed=None),
        Table(dataset="shop", name="events_20260101"),
        Table(dataset="shop", name="events_20260102"),
        view("shop", "v", "select id from `shop-project.shop.Orders`"),
    )
    put(bq, Table(dataset="eu", name="ünï 表"), region="eu")
    with station() as at:
        report = at.pusher.push_catalog()
    assert report.complete
    assert not report.gaps
    found = by_name(arrived(sandbox, "metadata", uuid))
    assert set(found) == {"Orders", "quiet", "ext", "events_*", "v", "ünï 表"}
    orders = found["Orders"]
    assert (orders["metadata"]["database"], orders["metadata"]["schema"]) == (SHOP, "shop")
    assert orders["metadata"]["description"] == 'all "orders"'
    assert [(f["name"], f["type"]) for f in orders["fields"]] == [("id", "INT64"), ("lines", nested)]
    assert orders["fields"][0]["description"] == "the key"
    assert orders["volume"] == {"row_count": 0, "byte_count": 0}
    assert datetime.fromisoformat(orders["freshness"]["last_update_time"]) == WRITTEN
    assert orders["tags"] == [{"key": "team", "value": "sales"}]
    assert "freshness" not in found["quiet"]
    for name in ("ext", "v"):
        assert "volume" not in found[name]
        assert "freshness" not in found[name]
    assert found["v"]["type"] == "VIEW"
    assert found["v"]["metadata"]["view_query"] == "select id from `shop-project.shop.Orders`"
    assert found["events_*"]["volume"]["row_count"] == 6


def test_iceberg_tables_alone_arrive_and_none_with_a_time_that_is_made_up(bq, sandbox, station, uuid):
    put(
        bq,
        Table(dataset="lake", name="known", managed="BIGLAKE", changed=WRITTEN),
        Table(dataset="lake", name="silent", managed="BIGLAKE", changed=None),
        Table(dataset="lake", name="native"),
    )
    with station("bigquery_iceberg") as at:
        at.pusher.push_catalog()
    found = by_name(arrived(sandbox, "metadata", uuid))
    assert set(found) == {"known", "silent"}
    assert datetime.fromisoformat(found["known"]["freshness"]["last_update_time"]) == WRITTEN
    assert "freshness" not in found["silent"]


def test_a_dataset_that_is_denied_is_a_gap_and_the_others_arrive(bq, sandbox, station, uuid):
    put(bq, *(Table(dataset=d, name=d) for d in ("open", "shut")))
    bq.rest_tables[SHOP, "open", "open"] = {"numRows": "4", "numBytes": "1"}
    bq.denied.append(r"region-us\.")
    bq.hidden.add((SHOP, "shut"))
    with station() as at:
        report = at.pusher.push_catalog()
    assert {gap.subject for gap in report.gaps} == {"shop-project.shut"}
    found = by_name(arrived(sandbox, "metadata", uuid))
    assert set(found) == {"open"}
    assert found["open"]["volume"]["row_count"] == 4


def test_a_table_whose_columns_could_not_be_read_arrives_without_fields_never_with_none(bq, sandbox, station, uuid):
    put(bq, Table(dataset="d", name="t"))
    bq.denied.append("COLUMNS")
    with station() as at:
        report = at.pusher.push_catalog()
    assert any("roles/bigquery.metadataViewer" in gap.reason for gap in report.gaps)
    (event,) = arrived(sandbox, "metadata", uuid)
    assert "fields" not in event
    assert event["volume"]["row_count"] == 3


def test_queries_arrive_once_each_with_their_errors_and_late_ones_too(bq, sandbox, station, uuid):
    failed = {"reason": "invalidQuery", "message": "Syntax error", "location": "", "debug_info": ""}
    first = [
        job("q1", "select '%s'", WRITTEN, total_bytes_billed=7, labels=[{"key": "team", "value": "x"}]),
        job("q2", "selec", WRITTEN, error_result=failed),
        job("ours", "select 1", WRITTEN, labels=[{"key": "mc-push-dagster", "value": "own"}]),
        job("script", "begin; select 3; end", WRITTEN, statement_type="SCRIPT"),
        job("q3", "select 3", WRITTEN, parent_job_id="script"),
    ]
    bq.datasets[SHOP, "d"] = "us"
    bq.fill("JOBS_BY_PROJECT", first)
    with station() as at:
        at.pusher.push_query_logs(WINDOW)
        bq.fill("JOBS_BY_PROJECT", [job("late", "select 2", WRITTEN)])
        at.pusher.push_query_logs(Window(start=WINDOW.end, end=WINDOW.end + timedelta(hours=1)))
    found = arrived(sandbox, "querylogs", uuid)
    by_id = {e["query_id"]: e for e in found}
    assert len(found) == 4
    assert set(by_id) == {"q1", "q2", "q3", "late"}
    assert by_id["q1"]["extra"]["total_bytes_billed"] == 7
    assert by_id["q1"]["extra"]["labels"] == {"team": "x"}
    assert "returned_rows" not in by_id["q1"]
    assert (by_id["q2"]["error_code"], by_id["q2"]["error_text"]) == ("invalidQuery", "Syntax error")


def test_lineage_arrives_from_jobs_views_scripts_and_shares(bq, sandbox, station, uuid):
    recently = datetime.now(UTC) - timedelta(hours=2)
    put(
        bq,
        *(Table(dataset="d", name=name) for name in ("source", "target", "raw", "final")),
        view("d", "seen", "select id from `shop-project`.d.source"),
    )
    temporary = {"parent_job_id": "s"}
    bq.fill(
        "JOBS_BY_PROJECT",
        [
            job(
                "copy",
                "merge something that only BigQuery understands",
                recently,
                destination_table=named(f"{SHOP}.d.target"),
                referenced_tables=[named(f"{SHOP}.d.source")],
            ),
            job(
                "s_1",
                "create temp table x as select id from `shop-project`.d.raw",
                recently - timedelta(minutes=2),
                destination_table=named(f"{SHOP}._script1.x"),
                referenced_tables=[named(f"{SHOP}.d.raw")],
                statement_type="CREATE_TABLE_AS_SELECT",
                **temporary,
            ),
            job(
                "s_2",
                "insert into `shop-project`.d.final (id) select id from x",
                recently - timedelta(minutes=1),
                destination_table=named(f"{SHOP}.d.final"),
                referenced_tables=[named(f"{SHOP}._script1.x")],
                statement_type="INSERT",
                **temporary,
            ),
        ],
    )
    link = {"catalog_name": SHOP, "linked_schema_catalog_name": "partner-project", "linked_schema_name": "theirs"}
    put(bq, Table(dataset="pub", name="shared"))
    bq.fill("SCHEMATA_LINKS", [{**link, "schema_name": "pub", "link_type": "REGULAR"}])
    with station() as at:
        at.pusher.push_catalog()
        at.pusher.push_lineage()
    events = arrived(sandbox, "lineage", uuid)
    found = {(s["name"], e["destination"]["name"]) for e in events for s in e["sources"]}
    assert found == {("source", "target"), ("source", "seen"), ("raw", "final"), ("shared", "shared")}
    assert not any("_script" in json.dumps(event) for event in events)


def test_drift_pushes_the_changed_schema_alone(bq, sandbox, station, uuid):
    put(bq, Table(dataset="d", name="t"), Table(dataset="d", name="u"))
    with station() as at:
        at.pusher.push_catalog()
        before = list(at.warehouse.fingerprints())
        new = {"table_catalog": SHOP, "table_schema": "d", "table_name": "t", "column_name": "new"}
        bq.fill("COLUMNS", [{**new, "ordinal_position": 2, "data_type": "DATE"}])
        assert list(at.warehouse.fingerprints()) != before
        changed = list(drifted(at.warehouse, at.ledger, uuid))
        report = at.pusher.push_catalog(schema_only=changed)
    assert [change.ref.name for change in report.changes] == ["t"]
    last = arrived(sandbox, "metadata", uuid)[-1]
    assert [f["name"] for f in last["fields"]] == ["id", "new"]
    assert "volume" not in last
    assert "freshness" not in last


def test_a_bigquery_that_breaks_off_pushes_no_shorter_catalog_in_silence(bq, sandbox, station, uuid):
    put(bq, *(Table(dataset="d", name=f"t{i:03}") for i in range(30)))
    with station(page_size=10) as at:
        at.warehouse._first_wait = 0.05
        bq.lose_rows = 3
        with pytest.raises(PushError, match="27 of 30"):
            at.pusher.push_catalog()
        bq.lose_rows = 0
        bq.faults.append(Fault(on="POST .*jobs", times=NEVER, status=503))
        with pytest.raises(PushError):
            at.pusher.push_catalog()
