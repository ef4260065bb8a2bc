"""Snowflake's query log and the lineage it reports itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from mc_push_dagster.errors import FixAccess, WarehouseUnavailable
from mc_push_dagster.model import (
    AssetType,
    ColumnEdge,
    EvidenceKind,
    Gap,
    LineageEdge,
    Scope,
    TablePattern,
    Window,
)
from mc_push_dagster_tests.snowflake.rows import NOW, logged, opened
from mc_push_dagster_tests.snowflake.server import Fault
from mc_push_dagster_tests.warehouses.busy_hour import measured

pytest_plugins = ["mc_push_dagster_tests.snowflake.plugin"]

NEVER = float("inf")
DENIED = (2003, "42S02", "SQL compilation error:\nObject does not exist or not authorized.")
HOUR = Window(start=NOW - timedelta(minutes=30), end=NOW + timedelta(minutes=30))


def log(sf, *rows) -> None:
    sf.fill("ACCOUNT_USAGE", "QUERY_HISTORY", rows)


# The query log


def test_a_failed_query_carries_its_code_and_text_and_a_good_one_neither(sf):
    log(
        sf,
        logged("bad", "selec", NOW, execution_status="FAIL", error_code=1003, error_message="syntax error\nline 1"),
        logged("odd", "x", NOW, execution_status="INCIDENT"),
        logged("good", "select 1", NOW, error_code=7, error_message="a warning of old"),
    )
    found = {q.query_id: (q.error_code, q.error_text) for q in opened(sf).queries(HOUR)}
    assert found == {"bad": ("1003", "syntax error\nline 1"), "odd": (None, "INCIDENT"), "good": (None, None)}


def test_vendor_extras_stand_under_extra_as_plain_values(sf):
    more = {
        "warehouse_name": "WH",
        "warehouse_size": "X-Small",
        "role_name": "R",
        "query_tag": "dbt",
        "rows_updated": 3,
    }
    log(sf, logged("q", "update t", NOW, query_type="UPDATE", bytes_scanned=0, total_elapsed_time=1000, **more))
    (found,) = opened(sf).queries(HOUR)
    assert found.extra == {"query_type": "UPDATE", "bytes_scanned": 0, "total_elapsed_time": 1000, **more}
    assert json.dumps(dict(found.extra))


def test_a_text_at_the_logs_limit_says_that_it_was_cut(sf):
    log(sf, logged("q", "s" * 100_000, NOW), logged("r", "s" * 99_999, NOW))
    assert [dict(q.extra) for q in opened(sf).queries(HOUR)] == [{"query_text_truncated": True}, {}]


def test_times_with_zones_and_nanoseconds_stay_in_their_window(sf):
    sf.duck.execute(
        "INSERT INTO SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY BY NAME SELECT 'z' AS QUERY_ID, 'select 1' AS QUERY_TEXT,"
        " '2026-03-01 14:00:00.123456+02:00'::TIMESTAMPTZ AS START_TIME,"
        " '2026-03-01 13:59:59.999999+01:00'::TIMESTAMPTZ AS END_TIME, 'SUCCESS' AS EXECUTION_STATUS"
    )
    (found,) = opened(sf).queries(Window(start=datetime(2026, 3, 1, 12, tzinfo=UTC), end=NOW + timedelta(hours=1)))
    assert found.ended_at == datetime(2026, 3, 1, 12, 59, 59, 999999, tzinfo=UTC)
    assert found.started_at == datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    after = Window(start=datetime(2026, 3, 1, 13, tzinfo=UTC), end=NOW + timedelta(hours=2))
    assert not list(opened(sf).queries(after))


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({"users": ("anna",)}, {"a1", "a2"}),
        ({"exclude_users": ("AN*",)}, {"b", "nobody"}),
        ({"texts": ("*FROM t",)}, {"a1", "b"}),
        ({"exclude_texts": ("select 1%*",)}, {"a1", "b", "nobody"}),
        ({"users": ("*N*",), "exclude_texts": ("select*",)}, set()),
    ],
)
def test_filters_by_user_and_text_are_pushed_down(sf, chosen, left):
    log(
        sf,
        logged("a1", "select 1 from t", NOW),
        logged("a2", "select 1% from x", NOW),
        logged("b", "SELECT 2 FROM T", NOW, user_name="BOB"),
        logged("nobody", "select 3", NOW, user_name=None),
    )
    assert {q.query_id for q in opened(sf, query_log=chosen).queries(HOUR)} == left


def test_a_denied_query_log_is_an_error_with_its_grant(sf):
    sf.faults.append(Fault(on="QUERY_HISTORY", times=NEVER, error=DENIED))
    with pytest.raises(FixAccess, match=r"GRANT DATABASE ROLE SNOWFLAKE\.GOVERNANCE_VIEWER TO ROLE"):
        list(opened(sf).queries(HOUR))


def test_a_log_read_that_breaks_off_goes_on_behind_the_last_query_and_repeats_none(sf, monkeypatch):
    import snowflake.connector.result_batch as batches

    monkeypatch.setattr(batches, "MAX_DOWNLOAD_RETRY", 1)
    # Many queries end in the same moment: the id decides between them.
    log(sf, *(logged(f"q{i:03}", "select 1", NOW + timedelta(seconds=i // 40)) for i in range(200)))
    sf.chunk_rows = 30
    sf.broken_chunks = 1
    found = [q.query_id for q in opened(sf).queries(HOUR)]
    assert found == [f"q{i:03}" for i in range(200)]
    assert len(sf.asked("QUERY_HISTORY")) == 2


def test_a_log_that_stays_out_of_reach_is_an_error_not_an_empty_hour(sf):
    log(sf, logged("q", "select 1", NOW))
    sf.faults.append(Fault(on="QUERY_HISTORY", times=NEVER, lose_session=True))
    with pytest.raises(WarehouseUnavailable):
        list(opened(sf).queries(HOUR))


@pytest.mark.slow
def test_a_hundred_thousand_queries_in_one_window_pass_through_constant_memory():
    """Server and reader are two processes: only what the reader itself takes is measured."""
    seen = measured("mc_push_dagster_tests.snowflake.busy_hour")
    assert seen["queries"] == 100_000
    assert seen["distinct"] == 100_000
    # All records at once would take more than 200 MB.
    assert seen["growth_mb"] < 60


# Lineage


def wrote(query_id: str, at: datetime, into: str, *sources: str, columns=(), domain: str = "Table") -> dict:
    return {
        "query_id": query_id,
        "query_start_time": at,
        "direct_objects_accessed": [{"objectDomain": domain, "objectName": name} for name in sources],
        "objects_modified": [{"objectDomain": "Table", "objectName": into, "columns": list(columns)}],
    }


def filled(name: str, *sources: tuple[str, str], column_id: int = 1) -> dict:
    return {
        "columnId": column_id,
        "columnName": name,
        "directSources": [{"objectDomain": "Table", "objectName": t, "columnName": c} for t, c in sources],
    }


def test_writes_become_edges_with_the_last_query_as_evidence(sf):
    sf.fill(
        "ACCOUNT_USAGE",
        "ACCESS_HISTORY",
        [
            wrote("q1", NOW - timedelta(minutes=9), "D.S.T", "D.S.A", 'D."Mixed"."b.c"', "D.S.T"),
            wrote("q2", NOW, "D.S.T", "D.S.A", columns=[filled("X", ("D.S.A", "P"), ("D.S.A", "Q"))]),
            wrote("early", NOW - timedelta(days=1), "D.S.T", "D.S.OLD"),
        ],
    )
    found = list(opened(sf).lineage(HOUR))
    tables = {(str(e.source), str(e.destination)): e.evidence for e in found if isinstance(e, LineageEdge)}
    assert set(tables) == {("D.S.A", "D.S.T"), ("D.Mixed.b.c", "D.S.T")}
    evidence = tables["D.S.A", "D.S.T"]
    assert (evidence.kind, evidence.reference) == (EvidenceKind.NATIVE, "q2")
    assert (evidence.first_seen, evidence.last_seen) == (NOW - timedelta(minutes=9), NOW)
    columns = {(e.source_column, e.destination_column) for e in found if isinstance(e, ColumnEdge)}
    assert columns == {("P", "X"), ("Q", "X")}


def test_what_the_log_cut_off_and_what_is_no_table_makes_no_edge(sf):
    cut = wrote("q", NOW, "D.S.T", columns=[filled("TRUNCATED", ("D.S.A", "P"), column_id=-1)])
    whole = wrote("q", NOW, "TRUNCATED", "TRUNCATED", domain="TRUNCATED")
    stage = wrote("q", NOW, "D.S.T", "D.S.MY_STAGE", domain="Stage")
    sf.fill("ACCOUNT_USAGE", "ACCESS_HISTORY", [cut, whole, stage])
    assert list(opened(sf).lineage(HOUR)) == []


def test_views_and_dynamic_tables_keep_their_standing_edges(sf):
    sf.database("D")
    on = {"referenced_database": "D", "referenced_schema": "S", "referenced_object_name": "T"}
    of = {"referencing_database": "D", "referencing_schema": "S", "referencing_object_name": "V"}
    sf.fill(
        "ACCOUNT_USAGE",
        "OBJECT_DEPENDENCIES",
        [
            {**on, **of, "referenced_object_domain": "TABLE", "referencing_object_domain": "VIEW"},
            {**on, **of, "referenced_object_domain": "FUNCTION", "referencing_object_domain": "VIEW"},
        ],
    )
    inputs = [{"name": "D.S.V", "kind": "VIEW"}, {"name": "D.S.T", "kind": "TABLE"}]
    now = {"database_name": "D", "schema_name": "S", "name": "DT"}
    sf.fill(
        "INFORMATION_SCHEMA",
        "DYNAMIC_TABLE_GRAPH_HISTORY",
        [{**now, "inputs": inputs}, {**now, "inputs": [{"name": "D.S.GONE", "kind": "TABLE"}], "valid_to": NOW}],
    )
    found = [e for e in opened(sf).lineage(HOUR) if isinstance(e, LineageEdge)]
    assert {(str(e.source), str(e.destination), e.evidence.reference) for e in found} == {
        ("D.S.T", "D.S.V", "D.S.V"),
        ("D.S.T", "D.S.DT", "D.S.DT"),
        ("D.S.V", "D.S.DT", "D.S.DT"),
    }
    types = {str(e.destination): e.destination_type for e in found}
    assert types == {"D.S.V": AssetType.VIEW, "D.S.DT": AssetType.TABLE}


def test_lineage_follows_the_scope_of_what_is_filled(sf):
    sf.fill("ACCOUNT_USAGE", "ACCESS_HISTORY", [wrote("q", NOW, "D.S.T", "X.S.A"), wrote("q", NOW, "X.S.T", "D.S.A")])
    scope = Scope(include=(TablePattern(database="D"),))
    found = [e for e in opened(sf, scope=scope).lineage(HOUR) if isinstance(e, LineageEdge)]
    assert [(str(e.source), str(e.destination)) for e in found] == [("X.S.A", "D.S.T")]


def test_each_source_of_lineage_that_is_denied_is_a_gap_with_its_grant(sf):
    sf.database("D")
    for view in ("ACCESS_HISTORY", "OBJECT_DEPENDENCIES", "DYNAMIC_TABLE_GRAPH_HISTORY"):
        sf.faults.append(Fault(on=view, times=NEVER, error=DENIED))
    found = [g for g in opened(sf, access_history="required").lineage(HOUR) if isinstance(g, Gap)]
    said = {g.subject.removeprefix("lineage from "): g.reason for g in found}
    assert "GOVERNANCE_VIEWER" in said["ACCESS_HISTORY"]
    assert "OBJECT_VIEWER" in said["OBJECT_DEPENDENCIES"]
    assert "GRANT MONITOR ON ALL DYNAMIC TABLES" in said["DYNAMIC_TABLES"]
    sf.statements.clear()
    automatic = [g.subject for g in opened(sf).lineage(HOUR) if isinstance(g, Gap)]
    assert automatic == ["lineage from OBJECT_DEPENDENCIES", "lineage from DYNAMIC_TABLES"]


def test_lineage_costs_five_statements_whatever_the_account_holds(sf):
    sf.database("A", "B", "C")
    list(opened(sf).lineage(HOUR))
    assert len(sf.statements) == 5


# Drift


def test_a_fingerprint_is_one_statement_a_database(sf):
    sf.database("A", "B", "C")
    assert len(list(opened(sf).fingerprints())) == 3
    assert len(sf.statements) == 1 + 3


def test_a_fingerprint_that_cannot_be_taken_is_a_gap_never_a_digest(sf):
    sf.database("A", "B")
    sf.faults.append(Fault(on='"A".INFORMATION_SCHEMA', times=NEVER, error=DENIED))
    found = list(opened(sf).fingerprints())
    assert [type(f).__name__ for f in found] == ["Gap", "Fingerprint"]
