"""What GraphQL shows of what was pushed, and what can be changed through it."""

from __future__ import annotations

import json
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from mc_push_dagster.sandbox import Sandbox, serve

Build = dict[str, Any]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

TABLES = """query($i: String, $a: String, $n: Int) { getTables(ingestInvocationId: $i, after: $a, first: $n) {
    edges { node { fullTableId mcon } } pageInfo { hasNextPage hasPreviousPage endCursor } } }"""
LINEAGE = """query($m: String!, $d: String!, $h: Int) { getTableLineage(mcon: $m, direction: $d, hops: $h) {
    baseNode { mcon } connectedNodes { mcon objectType isCustom expireAt }
    flattenedEdges { mcon directlyConnectedMcons } } }"""
DERIVED = """query($m: String!, $c: String!, $p: Int, $cursor: String) {
    getDerivedTablesPartialLineage(mcon: $m, column: $c, pageSize: $p, cursor: $cursor) {
        destinations { mcon displayName columns { columnName columnType } } isLastPage cursor } }"""
THRESHOLDS = """query($m: String!) { getTable(mcon: $m) { lastUpdatedOn thresholds {
    freshness { status reason expected lastUpdate } size { sdStatus ucsStatus sdReason sdLower } } } }"""
QUERIES = """query($m: String!, $t: QueryType!, $l: Int!, $e: String) { getAggregatedQueries(mcon: $m, queryType: $t,
    startTime: "2026-02-01T00:00:00Z", endTime: "2026-04-01T00:00:00Z", limit: $l, endCursor: $e) {
    aggregatedQueries { queryHash user category count latestQuery averageRunTime date }
    pageInfo { hasNextPage endCursor } } }"""
NODE = """mutation($id: String!, $e: DateTime, $r: UUID) { createOrUpdateLineageNode(
    objectType: "report", objectId: $id, resourceId: $r, name: $id, expireAt: $e) {
    node { mcon isCustom expireAt } } }"""
EDGE = """mutation($s: NodeInput!, $d: NodeInput!, $e: DateTime) { createOrUpdateLineageEdge(
    source: $s, destination: $d, expireAt: $e) { edge { isCustom expireAt source { mcon } } } }"""
DELETE = "mutation($m: [String!]!) { deletePushIngestedTables(mcons: $m) { success deletedCount } }"
INTEGRATION = """mutation($n: String, $w: UUID, $md: CapabilityConfigInput, $q: CapabilityConfigInput,
    $mo: CapabilityConfigInput) { createOrUpdateCustomIntegration(name: $n, warehouseUuid: $w, metadata: $md,
    queryLogs: $q, monitors: $mo) { result { warehouseUuid connections { capability connection { uuid type jobTypes } }
    } } }"""


def messages(answer: dict[str, Any]) -> str:
    return "; ".join(e["message"] for e in answer["errors"])


def test_graphql_needs_an_api_key_and_takes_no_ingestion_key(box: Sandbox) -> None:
    key = box.ingest_key
    headers = {"x-mcd-id": key.id, "x-mcd-token": key.secret}
    answer = requests.post(box.api_endpoint, json={"query": "{ getUser { id } }"}, headers=headers, timeout=10)
    assert answer.status_code == 401


@pytest.mark.parametrize("body", [b"", b"[]", b'{"query": 1}', b'{"query": "{ getUser { id } }", "variables": []}'])
def test_what_is_no_graphql_request_is_refused_with_400(shared: Any, body: bytes) -> None:
    key = shared.box.api_key
    headers = {"x-mcd-id": key.id, "x-mcd-token": key.secret}
    assert requests.post(shared.box.api_endpoint, data=body, headers=headers, timeout=10).status_code == 400


def test_an_invocation_is_read_back_page_by_page(wire: Any, builders: Build) -> None:
    invocation = wire.metadata(*[builders["asset"](f"t{n:02}") for n in range(25)]).json()["invocation_id"]
    wire.metadata(builders["asset"]("another"))
    found, after, pages = [], None, 0
    while True:
        page = wire.ask(TABLES, i=invocation, a=after, n=10)["getTables"]
        found += [e["node"]["fullTableId"] for e in page["edges"]]
        after, pages = page["pageInfo"]["endCursor"], pages + 1
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert pages == 3
    assert found == [f"db:public.t{n:02}" for n in range(25)]


def test_a_filter_that_the_sandbox_would_ignore_is_refused(wire: Any) -> None:
    assert "tracked" in messages(wire.graphql("{ getTables(tracked: true) { edges { cursor } } }"))
    assert "forward" in messages(wire.graphql("{ getTables(last: 3) { edges { cursor } } }"))
    assert "cursor" in messages(wire.graphql('{ getTables(after: "x") { edges { cursor } } }'))


def test_tables_are_found_by_warehouse_name_and_state(box: Sandbox, wire: Any, builders: Build) -> None:
    wire.metadata(builders["asset"]("Orders"), builders["asset"]("v", "VIEW"))
    by = """query($d: UUID, $s: String, $x: Boolean, $f: String) {
        getTables(dwId: $d, search: $s, isDeleted: $x, fullTableId: $f) { edges { node { friendlyName } } } }"""

    def names(**variables: Any) -> list[str]:
        return [e["node"]["friendlyName"] for e in wire.ask(by, **variables)["getTables"]["edges"]]

    assert sorted(names(d=box.resource_uuid)) == ["Orders", "v"]
    assert names(d=box.add_warehouse("empty")) == []
    assert names(s="ORD") == ["Orders"]
    assert names(f="DB:public.orders") == ["Orders"]
    assert names(x=True) == []


def test_nothing_is_visible_before_its_delay(tmp_path: Path, wire: Any, builders: Build) -> None:
    later = timedelta(minutes=10)
    with serve(tmp_path / "slow", visibility_delay=later, query_log_delay=HOUR, clock=wire.box.now) as box:
        slow = type(wire)(box)
        slow.metadata(builders["asset"]("a"))
        slow.query_logs(builders["query"]("select * from db.public.a"))
        count = "{ getTables { edges { cursor } } }"
        table = {"m": slow.mcon("a"), "t": "read", "l": 10}
        assert slow.ask(count)["getTables"]["edges"] == []
        events = "{ getUser { account { warehouses { pushEvents { eventType status } } } } }"
        seen = slow.ask(events)["getUser"]["account"]["warehouses"][0]["pushEvents"]
        assert {e["eventType"]: e["status"] for e in seen} == {
            "METADATA": "ACTIVE",
            "LINEAGE": "NEVER_RECEIVED",
            "QUERY_LOGS": "ACTIVE",
            "ETL_METADATA": "NEVER_RECEIVED",
            "ETL_RUNS": "NEVER_RECEIVED",
        }
        box.advance(later)
        assert len(slow.ask(count)["getTables"]["edges"]) == 1
        assert slow.ask(QUERIES, **table)["getAggregatedQueries"]["aggregatedQueries"] == []
        box.advance(HOUR - later)
        assert len(slow.ask(QUERIES, **table)["getAggregatedQueries"]["aggregatedQueries"]) == 1


def test_pushes_become_stale(box: Sandbox, wire: Any, builders: Build) -> None:
    invocation = wire.metadata(builders["asset"]("a")).json()["invocation_id"]
    box.advance(DAY + HOUR)
    document = "{ getUser { account { warehouses { pushEvents { eventType status lastInvocationId } } } } }"
    events = wire.ask(document)["getUser"]["account"]["warehouses"][0]["pushEvents"]
    assert events[0] == {"eventType": "METADATA", "status": "STALE", "lastInvocationId": invocation}


def test_a_changed_schema_is_a_new_version_and_a_push_without_columns_keeps_the_old(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    one, two = [{"name": "id", "type": "INT"}], [{"name": "id", "type": "BIGINT"}, {"name": "n", "type": "TEXT"}]
    for fields in (one, one, two):
        wire.metadata(builders["asset"]("a", fields=fields))
        box.advance(HOUR)
    wire.metadata(builders["asset"]("a", volume={"row_count": 1}))
    document = """query($m: String!) { getTable(mcon: $m) { versions(first: 10) { edges { node { timestamp
        fields(first: 1) { edges { node { name fieldType } } pageInfo { hasNextPage } } } } } } }"""
    versions = [e["node"] for e in wire.ask(document, m=wire.mcon("a"))["getTable"]["versions"]["edges"]]
    assert [v["fields"]["edges"][0]["node"]["fieldType"] for v in versions] == ["BIGINT", "INT"]
    assert versions[0]["fields"]["pageInfo"]["hasNextPage"]
    assert versions[0]["timestamp"] > versions[1]["timestamp"]


def test_measures_are_read_back_over_time(box: Sandbox, wire: Any, builders: Build) -> None:
    for rows in (0, 5, 5, 2**40):
        wire.metadata(builders["asset"]("a", volume={"row_count": rows}))
        box.advance(HOUR)
    document = """query($m: String!, $n: String!, $d: Boolean) { getMetricsV4(metricName: $n, deduplicateValues: $d,
        startTime: "2026-03-01T00:00:00Z", metricsFilter: {mcon: $m}) { metricsJson metrics { value } } }"""

    def values(name: str, **more: Any) -> list[float]:
        found = wire.ask(document, m=wire.mcon("a"), n=name, **more)["getMetricsV4"]
        assert [p["value"] for p in json.loads(found["metricsJson"])] == [p["value"] for p in found["metrics"]]
        return [p["value"] for p in found["metrics"]]

    assert values("total_row_count") == [0, 5, 5, 2**40]
    assert values("total_row_count", d=True) == [0, 5, 2**40]
    assert values("total_byte_count") == []


def test_detectors_become_active_after_weeks_of_hourly_pushes_and_fall_silent(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    def state() -> tuple[str, str]:
        found = wire.ask(THRESHOLDS, m=wire.mcon("a"))["getTable"]["thresholds"]
        return found["freshness"]["status"], found["size"]["sdStatus"]

    for hour in range(14 * 24):
        changed = (box.now() - timedelta(hours=hour % 6)).isoformat()
        answer = wire.metadata(
            builders["asset"]("a", volume={"row_count": hour}, freshness={"last_update_time": changed})
        )
        assert answer.status_code == 202
        if hour == 0:
            assert state() == ("TRAINING", "TRAINING")
        box.advance(HOUR)
    assert state() == ("ACTIVE", "ACTIVE")
    found = wire.ask(THRESHOLDS, m=wire.mcon("a"))["getTable"]
    assert found["thresholds"]["freshness"]["expected"] == 6 * 3600
    assert datetime.fromisoformat(found["lastUpdatedOn"]) < box.now()
    assert found["thresholds"]["size"]["sdLower"] is None
    box.advance(15 * DAY)
    assert state() == ("INACTIVE", "ACTIVE")


def test_lineage_is_walked_by_hops_and_direction(wire: Any, builders: Build) -> None:
    ref = builders["ref"]
    wire.lineage(
        {"destination": ref("b"), "sources": [ref("a"), ref("x")]}, {"destination": ref("c"), "sources": [ref("b")]}
    )

    def around(name: str, direction: str, hops: int) -> set[str]:
        found = wire.ask(LINEAGE, m=wire.mcon(name), d=direction, h=hops)["getTableLineage"]
        return {n["mcon"].rsplit(".", 1)[1] for n in found["connectedNodes"]}

    assert around("c", "upstream", 1) == {"b"}
    assert around("c", "upstream", 5) == {"a", "b", "x"}
    assert around("a", "downstream", 2) == {"b", "c"}
    edges = wire.ask(LINEAGE, m=wire.mcon("c"), d="upstream", h=2)["getTableLineage"]["flattenedEdges"]
    assert {e["mcon"]: sorted(e["directlyConnectedMcons"]) for e in edges} == {
        wire.mcon("c"): [wire.mcon("b")],
        wire.mcon("b"): [wire.mcon("a"), wire.mcon("x")],
    }
    assert "direction" in messages(wire.graphql(LINEAGE, m=wire.mcon("c"), d="sideways"))


def test_a_cycle_in_the_lineage_ends(wire: Any, builders: Build) -> None:
    ref = builders["ref"]
    wire.lineage({"destination": ref("b"), "sources": [ref("a")]}, {"destination": ref("a"), "sources": [ref("b")]})
    found = wire.ask(LINEAGE, m=wire.mcon("a"), d="upstream", h=50)["getTableLineage"]
    assert [n["mcon"] for n in found["connectedNodes"]] == [wire.mcon("b")]


def column_push(wire: Any, builders: Build, *, catalogued: bool = True, names: tuple[str, ...] = ("b",)) -> Any:
    ref = builders["ref"]
    if catalogued:
        wire.metadata(*[builders["asset"](n, fields=[{"name": "y", "type": "INT"}]) for n in ("a", *names)])
    return wire.lineage(
        *[
            {
                "destination": ref(name, asset_id="d"),
                "sources": [ref("a", asset_id="s")],
                "fields": [{"name": "y", "source_fields": [{"asset_id": "s", "field_name": "x"}]}],
            }
            for name in names
        ],
        column=True,
    )


def test_column_lineage_expires_after_ten_days_and_table_lineage_never(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    column_push(wire, builders)

    def columns() -> list[Any]:
        return wire.ask(DERIVED, m=wire.mcon("a"), c="X")["getDerivedTablesPartialLineage"]["destinations"]

    assert [d["columns"] for d in columns()] == [[{"columnName": "y", "columnType": "INT"}]]
    box.advance(10 * DAY - HOUR)
    assert columns() != []
    box.advance(HOUR)
    assert columns() == []
    box.advance(400 * DAY)
    [node] = wire.ask(LINEAGE, m=wire.mcon("b"), d="upstream", h=1)["getTableLineage"]["connectedNodes"]
    assert node["expireAt"].startswith("9999-12-31")


def test_column_lineage_pages(wire: Any, builders: Build) -> None:
    column_push(wire, builders, names=tuple(f"t{n}" for n in range(5)))
    found, cursor = [], None
    for _ in range(3):
        page = wire.ask(DERIVED, m=wire.mcon("a"), c="x", p=2, cursor=cursor)["getDerivedTablesPartialLineage"]
        found += [d["displayName"] for d in page["destinations"]]
        cursor = page["cursor"]
    assert page["isLastPage"]
    assert found == [f"t{n}" for n in range(5)]


def test_column_lineage_of_tables_the_catalog_lacks_is_dropped_and_said(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    assert column_push(wire, builders, catalogued=False).status_code == 202
    assert wire.ask(DERIVED, m=wire.mcon("a"), c="x")["getDerivedTablesPartialLineage"]["destinations"] == []
    page = requests.get(f"{box.url}/request", params={"invocation": box.requests()[0].invocation_id}, timeout=10)
    assert "column edges were dropped" in page.text


def test_hand_made_lineage_expires_after_seven_days_unless_told_otherwise(box: Sandbox, wire: Any) -> None:
    ids = {
        n: {"objectType": "report", "objectId": n, "resourceId": box.resource_uuid} for n in ("kept", "lost", "never")
    }
    assert "make it with" in messages(wire.graphql(EDGE, s=ids["kept"], d=ids["never"]))
    wire.ask(NODE, id="kept", r=box.resource_uuid, e="9999-12-31")
    lost = wire.ask(NODE, id="lost", r=box.resource_uuid)["createOrUpdateLineageNode"]["node"]
    assert lost["isCustom"]
    edge = wire.ask(EDGE, s=ids["lost"], d=ids["kept"])["createOrUpdateLineageEdge"]["edge"]
    assert datetime.fromisoformat(edge["expireAt"]) == box.now() + 7 * DAY
    kept = wire.ask(LINEAGE, m=lost["mcon"], d="downstream", h=1)["getTableLineage"]["connectedNodes"][0]["mcon"]
    box.advance(7 * DAY + HOUR)
    after = wire.ask(LINEAGE, m=kept, d="upstream", h=1)["getTableLineage"]
    assert after["baseNode"]["mcon"] == kept
    assert after["connectedNodes"] == []


def test_a_lineage_node_is_deleted_with_its_edges(box: Sandbox, wire: Any) -> None:
    mcons = [wire.ask(NODE, id=n, r=box.resource_uuid)["createOrUpdateLineageNode"]["node"]["mcon"] for n in ("a", "b")]
    ids = [{"objectType": "report", "objectId": n, "resourceId": box.resource_uuid} for n in ("a", "b")]
    wire.ask(EDGE, s=ids[0], d=ids[1])
    gone = wire.ask("mutation($m: String!) { deleteLineageNode(mcon: $m) { nodesDeleted edgesDeleted } }", m=mcons[0])
    assert gone["deleteLineageNode"] == {"nodesDeleted": 1, "edgesDeleted": 1}


def test_tables_are_deleted_all_or_none_and_come_back_with_the_next_push(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    column_push(wire, builders)
    a, b = wire.mcon("a"), wire.mcon("b")
    assert "1 MCONs" in messages(wire.graphql(DELETE, m=[a, b, wire.mcon("missing")]))
    assert "1000" in messages(wire.graphql(DELETE, m=[f"m{n}" for n in range(1001)]))
    state = "query($m: String!) { getTable(mcon: $m) { isDeleted deletedAt } }"
    assert not wire.ask(state, m=a)["getTable"]["isDeleted"]
    assert wire.ask(DELETE, m=[a])["deletePushIngestedTables"] == {"success": True, "deletedCount": 1}
    assert wire.ask(state, m=a)["getTable"]["isDeleted"]
    found = wire.ask(LINEAGE, m=b, d="upstream", h=1)["getTableLineage"]
    assert found["connectedNodes"] == []
    assert wire.ask(DERIVED, m=a, c="x")["getDerivedTablesPartialLineage"]["destinations"] != []
    by_name = 'query($d: UUID!) { getTable(dwId: $d, fullTableId: "db:public.a") { mcon } }'
    assert wire.ask(by_name, d=box.resource_uuid)["getTable"] is None
    wire.metadata(builders["asset"]("a"))
    assert not wire.ask(state, m=a)["getTable"]["isDeleted"]


def test_queries_are_attributed_to_the_tables_they_read_and_write(wire: Any, builders: Build) -> None:
    query = builders["query"]
    wire.metadata(builders["asset"]("orders"), builders["asset"]("orders_2"))
    read = query("SELECT * FROM db.public.orders JOIN other USING (id)", user="ana")
    wire.query_logs(
        *(read, read, query("WITH orders AS (SELECT 1) SELECT * FROM orders")),
        *(query("INSERT INTO Orders SELECT * FROM orders_2", user="etl"), query("select 'orders' from (")),
        query("DELETE FROM elsewhere.public.orders"),
    )

    def found(name: str, kind: str) -> list[dict[str, Any]]:
        return wire.ask(QUERIES, m=wire.mcon(name), t=kind, l=10)["getAggregatedQueries"]["aggregatedQueries"]

    [reads] = found("orders", "read")
    assert (reads["count"], reads["user"], reads["category"], reads["averageRunTime"]) == (2, "ana", "query", 1000)
    [writes] = found("orders", "write")
    assert (writes["user"], writes["category"]) == ("etl", "insert_into")
    assert [q["user"] for q in found("orders_2", "read")] == ["etl"]


def test_aggregated_queries_page_by_end_cursor(wire: Any, builders: Build) -> None:
    wire.metadata(builders["asset"]("t"))
    wire.query_logs(*[builders["query"](f"select {n} from t") for n in range(5)])
    seen, end = set(), None
    for _ in range(3):
        page = wire.ask(QUERIES, m=wire.mcon("t"), t="read", l=2, e=end)["getAggregatedQueries"]
        seen |= {q["queryHash"] for q in page["aggregatedQueries"]}
        end = page["pageInfo"]["endCursor"]
    assert not page["pageInfo"]["hasNextPage"]
    assert len(seen) == 5
    assert "1000" in messages(wire.graphql(QUERIES, m=wire.mcon("t"), t="read", l=1001))


def test_a_key_made_for_one_warehouse_is_held_to_it_until_it_is_deleted(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    create = """mutation($w: [UUID]) {
        createIntegrationKey(description: "d", scope: Ingestion, warehouseIds: $w) { key { id secret } } }"""
    other = box.add_warehouse("other")
    made = wire.ask(create, w=[other])["createIntegrationKey"]["key"]
    key = type(box.ingest_key)(id=made["id"], secret=made["secret"], scope="Ingestion")
    assert made["id"].startswith("sandbox-")
    assert wire.metadata(builders["asset"]("a"), key=key).status_code == 403
    listed = wire.ask('{ getIntegrationKeys(scope: "ingestion") { id scope warehouses { uuid } createdBy { email } } }')
    assert [w["uuid"] for k in listed["getIntegrationKeys"] if k["id"] == made["id"] for w in k["warehouses"]] == [
        other
    ]
    assert box.api_key.id not in {k["id"] for k in listed["getIntegrationKeys"]}
    delete = "mutation($k: String!) { deleteIntegrationKey(keyId: $k) { deleted } }"
    assert [wire.ask(delete, k=made["id"])["deleteIntegrationKey"]["deleted"] for _ in range(2)] == [True, False]
    assert wire.metadata(builders["asset"]("a"), key=key).status_code == 401
    assert "No warehouse" in messages(wire.graphql(create, w=["00000000-0000-0000-0000-000000000000"]))
    assert "UUID" in messages(wire.graphql(create, w=["no uuid"]))


SPARK = """mutation($h: SparkHttpInput, $b: SparkBinaryInput, $o: ConnectionTestOptions) {
    testSparkCredentials(httpMode: $h, binaryMode: $b, connectionOptions: $o) { key success } }"""


def test_spark_credentials_are_only_tried_as_far_as_the_port_and_that_is_said(box: Sandbox, wire: Any) -> None:
    login = {"username": "u", "password": "hunter-2-secret"}
    with socket.create_server(("127.0.0.1", 0)) as thrift:
        port = thrift.getsockname()[1]
        http = {"url": f"http://127.0.0.1:{port}/cliservice", **login}
        binary = {"host": "127.0.0.1", "port": port, "database": "default", **login}
        for mode in ({"h": http}, {"b": binary}):
            answer = wire.graphql(SPARK, **mode)
            assert answer["data"]["testSparkCredentials"]["success"]
            assert "did not log in" in answer["extensions"]["sandbox"]["notes"][0]
        assert "either" in messages(wire.graphql(SPARK, h=http, b=binary))
        assert "either" in messages(wire.graphql(SPARK))
    assert "Could not connect" in messages(wire.graphql(SPARK, h=http))
    skipped = wire.graphql(SPARK, h=http, o={"skipValidation": True})
    assert "nothing was tried" in skipped["extensions"]["sandbox"]["notes"][0]
    for wrong in ("ftp://x", "localhost:10000", "http://", "http://x:99999/"):
        assert "httpMode.url" in messages(wire.graphql(SPARK, h={"url": wrong, **login}))
    with box.world.store.read() as db:
        assert "hunter-2-secret" not in "\n".join(str(tuple(r)) for r in db.execute("SELECT * FROM credentials"))


def test_a_custom_integration_is_made_and_changed_by_the_rules_of_its_modes(wire: Any) -> None:
    http = {"url": "http://127.0.0.1:1/cliservice", "username": "u", "password": "p"}
    key = wire.ask(SPARK, h=http, o={"skipValidation": True})["testSparkCredentials"]["key"]
    collect = {
        "mode": "COLLECT",
        "connectionType": "spark",
        "credentialsKey": key,
        "deploymentId": "00000000-0000-0000-0000-000000000001",
    }
    push = {"mode": "PUSH"}
    made = wire.ask(INTEGRATION, n="IOMETE", md=push, q=push, mo=collect)["createOrUpdateCustomIntegration"]["result"]
    [connection] = made["connections"]
    assert (connection["capability"], connection["connection"]["type"]) == ("monitors", "SPARK")
    assert connection["connection"]["jobTypes"] == ["sql_query"]

    warehouse = {"w": made["warehouseUuid"]}
    shown = wire.ask("{ getUser { account { warehouses { uuid name connectionType connections { type } } } } }")
    listed = {w["uuid"]: w for w in shown["getUser"]["account"]["warehouses"]}[made["warehouseUuid"]]
    assert (listed["name"], listed["connectionType"]) == ("IOMETE", "CUSTOM_INTEGRATION")
    assert listed["connections"] == [{"type": "SPARK"}]

    unchanged = wire.ask(INTEGRATION, **warehouse)["createOrUpdateCustomIntegration"]["result"]
    assert unchanged == made
    both = wire.ask(INTEGRATION, **warehouse, md=collect, mo={"mode": "REUSE", "reuseCapability": "METADATA"})
    shared = both["createOrUpdateCustomIntegration"]["result"]["connections"]
    assert len({c["connection"]["uuid"] for c in shared}) == 1
    assert shared[0]["connection"]["jobTypes"] == ["metadata", "sql_query"]

    wrong = [
        ({"md": push}, "name is required"),
        ({"n": "x", "mo": push}, "PUSH is not supported"),
        ({"n": "x", "mo": {**collect, "deploymentId": None}}, "needs deploymentId"),
        ({"n": "x", "mo": {**collect, "credentialsKey": "made up"}}, "no such credentialsKey"),
        ({"n": "x", "mo": {**collect, "connectionType": "sparkle"}}, "unknown connectionType"),
        ({"n": "x", "q": {"mode": "REUSE"}}, "needs reuseCapability"),
        ({"n": "x", "q": {"mode": "REUSE", "reuseCapability": "METADATA"}}, "no connection of metadata"),
        ({"w": "00000000-0000-0000-0000-000000000009"}, "No warehouse"),
    ]
    before = len(shown["getUser"]["account"]["warehouses"])
    for variables, said in wrong:
        assert said in messages(wire.graphql(INTEGRATION, **variables))
    after = wire.ask("{ getUser { account { warehouses { uuid } } } }")["getUser"]["account"]["warehouses"]
    assert len(after) == before
