"""BigQuery's job history: the query log, and the lineage it reports itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mc_push_dagster.errors import FixAccess, WarehouseUnavailable
from mc_push_dagster.model import AssetType, EvidenceKind, Gap, LineageEdge, Scope, TablePattern, Window
from mc_push_dagster.warehouses.bigquery import BigQueryIceberg
from mc_push_dagster_tests.bigquery.rows import NOW, SHOP, Table, job, named, opened, put, view
from mc_push_dagster_tests.bigquery.server import ME, NEVER, BigQuery, Fault
from mc_push_dagster_tests.warehouses.busy_hour import measured

pytest_plugins = ["mc_push_dagster_tests.bigquery.plugin"]

HOUR = Window(start=NOW - timedelta(minutes=30), end=NOW + timedelta(minutes=30))
US = {"regions": ("us",)}
FAILED = {"reason": "invalidQuery", "message": "Syntax error\nat [1:1]", "location": "query", "debug_info": ""}


def log(bq: BigQuery, *rows: dict[str, Any], project: str = SHOP, region: str = "us") -> None:
    bq.fill("JOBS_BY_PROJECT", rows, project=project, region=region)


def ids(bq: BigQuery, **options: Any) -> list[str | None]:
    return [q.query_id for q in opened(bq, **(US | options)).queries(HOUR)]


# The query log


def test_a_failed_query_carries_its_reason_and_message_and_a_good_one_neither(bq):
    log(bq, job("bad", "selec", NOW, error_result=FAILED), job("good", "select 1", NOW))
    found = {q.query_id: (q.error_code, q.error_text) for q in opened(bq, **US).queries(HOUR)}
    assert found == {"bad": ("invalidQuery", "Syntax error\nat [1:1]"), "good": (None, None)}


def test_vendor_extras_stand_under_extra_as_plain_values_and_no_row_count_is_made_up(bq):
    more = {
        "total_bytes_processed": 5,
        "total_bytes_billed": 10_485_760,
        "total_slot_ms": 0,
        "cache_hit": True,
        "priority": "BATCH",
        "reservation_id": "r",
        "dml_statistics": {"inserted_row_count": 0, "deleted_row_count": 2, "updated_row_count": None},
        "labels": [{"key": "dbt", "value": "model"}, {"key": "flag", "value": ""}],
        "destination_table": named("shop-project._anon123.anon456"),
    }
    log(bq, job("q", "delete from t", NOW, **more))
    (found,) = opened(bq, **US).queries(HOUR)
    assert found.returned_rows is None
    assert found.extra == {
        "project_id": SHOP,
        "location": "us",
        "statement_type": "SELECT",
        "priority": "BATCH",
        "reservation_id": "r",
        "total_bytes_processed": 5,
        "total_bytes_billed": 10_485_760,
        "total_slot_ms": 0,
        "cache_hit": True,
        "inserted_row_count": 0,
        "deleted_row_count": 2,
        "labels": {"dbt": "model", "flag": ""},
    }
    assert json.dumps(dict(found.extra))


def test_what_is_no_finished_query_is_left_out(bq):
    log(
        bq,
        job("load", "", NOW, job_type="LOAD", statement_type=None),
        job("internal", "select 1", NOW, job_type=None),
        job("running", "select 1", NOW, state="RUNNING"),
        job("no text", "", NOW),
        job("ours", "select 1", NOW, labels=[{"key": "mc-push-dagster", "value": "own"}]),
        job("q", "select 1", NOW, labels=[{"key": "team", "value": "mc-push-dagster"}]),
    )
    assert ids(bq) == ["q"]


def test_our_own_jobs_are_left_out_by_the_label_that_they_carry(bq):
    put(bq, Table(dataset="d", name="t"))
    list(opened(bq).tables())
    assert len(bq.statements) == 3
    assert ids(bq) == []
    assert len(ids(bq, job_label="another")) == 3 + 1


def test_a_script_counts_once_by_its_statements(bq):
    child = {"parent_job_id": "script", "statement_type": "INSERT"}
    log(
        bq,
        job("script", "begin; insert ...; insert ...; end", NOW, statement_type="SCRIPT"),
        job("script_1", "insert 1", NOW - timedelta(minutes=2), **child),
        job("script_2", "insert 2", NOW - timedelta(minutes=1), **child),
        job("evaluated", "select true", NOW, parent_job_id="script", job_type=None),
    )
    found = list(opened(bq, **US).queries(HOUR))
    assert [q.query_id for q in found] == ["script_1", "script_2"]
    assert {q.session_id for q in found} == {"script"}
    assert found[0].extra["parent_job_id"] == "script"


def test_a_script_that_fails_counts_once_whoever_of_it_failed(bq):
    child = {"statement_type": "INSERT", "error_result": FAILED}
    log(
        bq,
        job("a", "begin; insert 1; end", NOW, statement_type="SCRIPT", error_result=FAILED),
        job("a_1", "insert 1", NOW, parent_job_id="a", **child),
        job("b", "begin; select 1; raise; end", NOW, statement_type="SCRIPT", error_result=FAILED),
        job("b_1", "select 1", NOW, parent_job_id="b"),
        job("c", "begin; end", NOW, statement_type="SCRIPT"),
    )
    found = {q.query_id: q.failed for q in opened(bq, **US).queries(HOUR)}
    assert found == {"a_1": True, "b": True, "b_1": False, "c": False}


def test_a_script_begun_before_the_window_still_counts_by_its_statements_alone(bq):
    before = HOUR.start - timedelta(hours=1)
    log(
        bq,
        job("s", "begin; end", NOW, statement_type="SCRIPT", creation_time=before, start_time=before),
        job("s_1", "insert 1", before + timedelta(minutes=1), parent_job_id="s", creation_time=before),
    )
    assert ids(bq) == []


def test_long_jobs_are_found_by_their_end_as_far_back_as_is_looked(bq):
    log(
        bq,
        job("long", "select 1", NOW, creation_time=NOW - timedelta(hours=40), start_time=NOW - timedelta(hours=39)),
        job("longer", "select 1", NOW, creation_time=NOW - timedelta(hours=60), start_time=NOW - timedelta(hours=59)),
    )
    assert ids(bq) == ["long"]
    assert ids(bq, longest_job_hours=72) == ["long", "longer"]


def test_times_keep_their_microseconds_and_stay_in_their_window(bq):
    end = datetime(2026, 3, 1, 12, 59, 59, 999999, tzinfo=UTC)
    log(bq, job("q", "select 1", end, start_time=None))
    (found,) = opened(bq, **US).queries(HOUR)
    assert (found.ended_at, found.started_at) == (end, end - timedelta(seconds=2))
    after = Window(start=HOUR.end, end=HOUR.end + timedelta(hours=1))
    assert not list(opened(bq, **US).queries(after))


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({"users": ("anna@*",)}, {"a1", "a2"}),
        ({"exclude_users": ("AN*",)}, {"b", "nobody"}),
        ({"texts": ("*FROM t",)}, {"a1", "b"}),
        ({"exclude_texts": ("select 1%*",)}, {"a1", "b", "nobody"}),
        ({"texts": ("*\\_*",)}, set()),
        ({"users": ("*N*",), "exclude_texts": ("select*",)}, set()),
    ],
)
def test_filters_by_user_and_text_are_pushed_down(bq, chosen, left):
    log(
        bq,
        job("a1", "select 1 from t", NOW),
        job("a2", "select 1% from x_y", NOW),
        job("b", "SELECT 2 FROM T", NOW, user_email="bob@example.com"),
        job("nobody", "select 3", NOW, user_email=None),
    )
    assert set(ids(bq, query_log=chosen)) == left


def test_logs_of_projects_and_regions_are_one_log_by_the_end(bq):
    log(bq, job("3", "select 1", NOW + timedelta(seconds=3)), job("1", "select 1", NOW + timedelta(seconds=1)))
    log(bq, job("2", "select 1", NOW + timedelta(seconds=2)), region="eu")
    other = {**job("0", "select 1", NOW), "project_id": "other-project"}
    log(bq, other, project="other-project", region="eu")
    assert ids(bq, regions=("us", "eu"), projects=(SHOP, "other-project")) == ["0", "1", "2", "3"]


def test_jobs_of_our_own_user_alone(bq):
    log(bq, job("theirs", "select 1", NOW), job("mine", "select 1", NOW, user_email=ME))
    assert ids(bq, jobs="user") == ["mine"]


@pytest.mark.parametrize("wide", ["folder", "organization"])
def test_jobs_of_a_folder_or_an_organization_have_their_texts_from_each_project(bq, wide):
    log(bq, job("a", "select 1", NOW))
    log(bq, {**job("b", "select 2", NOW), "project_id": "other-project"}, project="other-project")
    found = [(q.query_id, q.text) for q in opened(bq, jobs=wide, **US).queries(HOUR)]
    assert found == [("a", "select 1"), ("b", "select 2")]
    assert len(bq.statements) == 1 + 2


@pytest.mark.parametrize(
    ("jobs", "denied", "said"),
    [
        ("project", "JOBS_BY_PROJECT", "--role=roles/bigquery.resourceViewer \\(bigquery.jobs.listAll\\)"),
        ("user", "JOBS_BY_USER", "roles/bigquery.user \\(bigquery.jobs.list\\)"),
        ("organization", "JOBS_BY_ORGANIZATION", "on the organization of shop-project"),
        ("folder", "JOBS_BY_FOLDER", "on the folder of shop-project"),
    ],
)
def test_a_denied_query_log_is_an_error_with_its_role(bq, jobs, denied, said):
    bq.denied.append(denied)
    with pytest.raises(FixAccess, match=said):
        ids(bq, jobs=jobs)


def test_a_log_that_cannot_be_found_is_an_error_not_an_empty_hour(bq):
    bq.faults.append(Fault(on="/datasets$", times=NEVER, status=403, reason="accessDenied"))
    with pytest.raises(FixAccess, match="set `regions`"):
        list(opened(bq).queries(HOUR))


@pytest.mark.parametrize("fault", [{"reason": "quotaExceeded", "status": 403}, {"reason": "backendError"}])
def test_a_log_that_stays_out_of_reach_is_an_error_not_an_empty_hour(bq, fault):
    log(bq, job("q", "select 1", NOW))
    bq.faults.append(Fault(on="JOBS", times=NEVER, **fault))
    with pytest.raises(WarehouseUnavailable):
        ids(bq, timeout_seconds=1)


def test_a_log_read_over_pages_loses_and_repeats_none(bq):
    # Many queries end in the same moment: the id decides between them.
    log(bq, *(job(f"q{i:03}", "select 1", NOW + timedelta(seconds=i // 40)) for i in range(200)))
    bq.faults.append(Fault(on="GET .*/queries/", hang_up=True))
    assert ids(bq, page_size=30) == [f"q{i:03}" for i in range(200)]


def test_a_window_costs_one_job_a_region_however_many_queries(bq):
    log(bq, *(job(f"q{i:03}", "select 1", NOW) for i in range(100)))
    assert len(ids(bq)) == 100
    assert len(bq.statements) == 1


@pytest.mark.slow
def test_a_hundred_thousand_queries_in_one_window_pass_through_constant_memory():
    """Server and reader are two processes: only what the reader itself takes is measured."""
    seen = measured("mc_push_dagster_tests.bigquery.busy_hour")
    assert seen["queries"] == 100_000
    assert seen["distinct"] == 100_000
    # All records at once would take more than 200 MB.
    assert seen["growth_mb"] < 60


# Lineage


def wrote(job_id: str, at: datetime, into: str, *sources: str, **more: Any) -> dict[str, Any]:
    ends = {"destination_table": named(into), "referenced_tables": [named(source) for source in sources]}
    return job(job_id, "insert", at, **ends, **more)


def edges(bq: BigQuery, **options: Any) -> list[LineageEdge]:
    found = list(opened(bq, **(US | options)).lineage(HOUR))
    assert not [item for item in found if isinstance(item, Gap)], found
    return [item for item in found if isinstance(item, LineageEdge)]


def pairs(found: list[LineageEdge]) -> set[tuple[str, str]]:
    return {(str(e.source), str(e.destination)) for e in found}


def test_writes_become_edges_with_the_last_job_as_evidence(bq):
    log(
        bq,
        wrote("q1", NOW - timedelta(minutes=9), f"{SHOP}.d.t", f"{SHOP}.d.a", "other-project.x.Mixed b"),
        wrote("q2", NOW, f"{SHOP}.d.t", f"{SHOP}.d.a", f"{SHOP}.d.t"),
        wrote("early", NOW - timedelta(days=1), f"{SHOP}.d.t", f"{SHOP}.d.old"),
    )
    found = edges(bq)
    assert pairs(found) == {(f"{SHOP}.d.a", f"{SHOP}.d.t"), ("other-project.x.Mixed b", f"{SHOP}.d.t")}
    evidence = next(e.evidence for e in found if e.source.name == "a")
    assert (evidence.kind, evidence.reference) == (EvidenceKind.NATIVE, "q2")
    assert (evidence.first_seen, evidence.last_seen) == (NOW - timedelta(minutes=9), NOW)


def test_anonymous_results_temporary_tables_system_views_and_failures_make_no_edge(bq):
    log(
        bq,
        wrote("select", NOW, f"{SHOP}._a1b2.anon3", f"{SHOP}.d.a"),
        wrote("temp", NOW, f"{SHOP}._script9f.x", f"{SHOP}.d.a", parent_job_id="s"),
        wrote("from temp", NOW, f"{SHOP}.d.t", f"{SHOP}._script9f.x", parent_job_id="s"),
        wrote("system", NOW, f"{SHOP}.d.t", f"{SHOP}.INFORMATION_SCHEMA.TABLES", f"{SHOP}.d.INFORMATION_SCHEMA.VIEWS"),
        wrote("failed", NOW, f"{SHOP}.d.t", f"{SHOP}.d.b", error_result=FAILED),
        wrote("running", NOW, f"{SHOP}.d.t", f"{SHOP}.d.c", state="RUNNING"),
        wrote("script", NOW, f"{SHOP}.d.t", f"{SHOP}.d.e", statement_type="SCRIPT"),
        job("cached", "select 1", NOW),
    )
    assert edges(bq) == []


def test_shards_and_partitions_are_written_as_the_catalog_names_them(bq):
    days = [f"{SHOP}.d.events_202601{day:02}" for day in range(1, 29)]
    log(bq, wrote("q", NOW, f"{SHOP}.d.sum$20260101", *days, f"{SHOP}.d.events_*", f"{SHOP}.d.events_202601*"))
    log(bq, wrote("r", NOW, f"{SHOP}.d.daily_20260101", f"{SHOP}.d.sum"))
    assert pairs(edges(bq)) == {
        (f"{SHOP}.d.events_*", f"{SHOP}.d.sum"),
        (f"{SHOP}.d.sum", f"{SHOP}.d.daily_*"),
    }
    assert len(edges(bq, shards="each")) == 28 + 2 + 1


def test_lineage_follows_the_scope_of_what_is_filled_and_the_projects_that_are_read(bq):
    log(
        bq,
        wrote("q", NOW, f"{SHOP}.d.t", f"{SHOP}.x.a"),
        wrote("q", NOW, f"{SHOP}.x.t", f"{SHOP}.d.a"),
        wrote("q", NOW, "other-project.d.t", f"{SHOP}.d.a"),
    )
    scope = Scope(include=(TablePattern(schema="D"),))
    assert pairs(edges(bq, scope=scope)) == {(f"{SHOP}.x.a", f"{SHOP}.d.t")}


def test_jobs_of_the_organization_show_who_else_fills_our_tables(bq):
    theirs = {**wrote("q", NOW, f"{SHOP}.d.t", "other-project.x.a"), "project_id": "other-project"}
    log(bq, theirs, project="other-project")
    assert edges(bq) == []
    assert pairs(edges(bq, jobs="organization")) == {("other-project.x.a", f"{SHOP}.d.t")}


def test_iceberg_lineage_leads_into_iceberg_tables_alone(bq):
    put(bq, Table(dataset="d", name="ice", managed="BIGLAKE"), Table(dataset="d", name="t"))
    log(bq, wrote("q", NOW, f"{SHOP}.d.ice", f"{SHOP}.d.t"), wrote("r", NOW, f"{SHOP}.d.t", f"{SHOP}.d.ice"))
    assert pairs(edges(bq, kind=BigQueryIceberg)) == {(f"{SHOP}.d.t", f"{SHOP}.d.ice")}


def test_tables_of_a_shared_dataset_lead_into_the_datasets_linked_to_it(bq):
    put(bq, Table(dataset="pub", name="t"), view("pub", "v", "select 1"), Table(dataset="private", name="t"))
    link = {"catalog_name": SHOP, "linked_schema_catalog_name": "partner-project", "linked_schema_name": "ours"}
    room = {**link, "schema_name": "private", "link_type": "DCR", "shared_asset_id": "t"}
    bq.fill("SCHEMATA_LINKS", [{**link, "schema_name": "pub", "link_type": "REGULAR"}, room])
    found = edges(bq)
    assert pairs(found) == {
        (f"{SHOP}.pub.t", "partner-project.ours.t"),
        (f"{SHOP}.pub.v", "partner-project.ours.v"),
    }
    assert {(e.destination.name, e.destination_type) for e in found} == {("t", AssetType.TABLE), ("v", AssetType.VIEW)}


def test_each_source_of_lineage_that_is_denied_is_a_gap_with_its_role(bq):
    bq.denied += ["JOBS", "SCHEMATA_LINKS"]
    said = {gap.subject: gap.reason for gap in opened(bq, **US).lineage(HOUR) if isinstance(gap, Gap)}
    assert "roles/bigquery.resourceViewer" in said["lineage from jobs of shop-project.region-us"]
    assert "(bigquery.datasets.get)" in said["lineage from shares of shop-project.region-us"]


def test_lineage_costs_two_jobs_a_region(bq):
    list(opened(bq, regions=("us", "eu")).lineage(HOUR))
    assert len(bq.statements) == 4
