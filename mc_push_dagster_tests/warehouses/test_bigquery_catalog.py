"""BigQuery's catalog: what each kind of object is read as, what it costs, and what an unreadable part becomes."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.errors import WarehouseUnavailable
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import AssetType, ChangeSource, DataChange, Gap, Scope, TablePattern, TableSnapshot, Tag
from mc_push_dagster.warehouses._bigquery_literals import literal
from mc_push_dagster.warehouses.bigquery import BigQueryIceberg
from mc_push_dagster_tests.bigquery.rows import BORN, CHANGED, NOW, SHOP, Table, opened, put, view
from mc_push_dagster_tests.bigquery.server import NEVER, BigQuery, Fault

pytest_plugins = ["mc_push_dagster_tests.bigquery.plugin"]


def scope(*patterns: str) -> Scope:
    return Scope(include=tuple(TablePattern.parse(p) for p in patterns))


def read(bq: BigQuery, **options: Any) -> dict[str, TableSnapshot]:
    found = list(snapshots(opened(bq, **options)))
    assert not gaps(found), found
    return {item.ref.name: item for item in found if isinstance(item, TableSnapshot)}


def gaps(items) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


def names(items) -> list[str]:
    return [f"{item.ref.schema}.{item.ref.name}" for item in items if isinstance(item, TableSnapshot)]


# Kinds of objects


@pytest.mark.parametrize(
    ("kind", "managed", "native", "asset_type"),
    [
        ("BASE TABLE", "NATIVE", "BASE TABLE", AssetType.TABLE),
        ("BASE TABLE", "BIGLAKE", "BIGLAKE TABLE", AssetType.TABLE),
        ("CLONE", "NATIVE", "CLONE", AssetType.TABLE),
        ("SNAPSHOT", "NATIVE", "SNAPSHOT", AssetType.TABLE),
        ("EXTERNAL", None, "EXTERNAL", AssetType.TABLE),
        ("VIEW", None, "VIEW", AssetType.VIEW),
        ("MATERIALIZED VIEW", None, "MATERIALIZED VIEW", AssetType.VIEW),
    ],
)
def test_each_object_keeps_the_kind_that_bigquery_gives_it(bq, kind, managed, native, asset_type):
    put(bq, Table(dataset="d", name="t", kind=kind, managed=managed))
    bq.rest_tables[SHOP, "d", "t"] = {"numRows": "1", "numBytes": "1"}
    found = read(bq)["t"]
    assert (found.native_type, found.asset_type) == (native, asset_type)


def test_views_and_external_tables_have_no_measures_and_are_never_asked_for(bq):
    put(bq, view("d", "v", "select 1"), Table(dataset="d", name="e", kind="EXTERNAL", managed=None))
    bq.rest_tables[SHOP, "d", "e"] = {"numRows": "0", "numBytes": "0", "lastModifiedTime": "1"}
    for found in read(bq).values():
        assert (found.row_count, found.byte_count, found.data_change) == (None, None, None)
    assert not bq.requested("/tables/")


def test_a_true_zero_stays_zero_and_an_unknown_stays_unknown(bq):
    put(
        bq,
        Table(dataset="d", name="empty", rows=0, size=0),
        Table(dataset="d", name="new", rows=None, size=None, changed=None),
    )
    found = read(bq)
    assert (found["empty"].row_count, found["empty"].byte_count) == (0, 0)
    assert (found["new"].row_count, found["new"].byte_count, found["new"].data_change) == (None, None, None)


def test_materialized_views_have_rows_and_the_text_of_their_ddl(bq):
    ddl = "CREATE MATERIALIZED VIEW `shop-project.d.m` AS SELECT 1 AS id"
    put(
        bq,
        Table(dataset="d", name="m", kind="MATERIALIZED VIEW", managed=None, ddl=ddl),
        Table(dataset="d", name="t", ddl="x"),
    )
    found = read(bq)
    assert (found["m"].view_query, found["m"].row_count) == (ddl, 3)
    assert found["t"].view_query is None


def test_snapshots_and_clones_are_asked_one_by_one_and_say_that_their_time_moves_with_ddl(bq):
    put(
        bq,
        Table(dataset="d", name="c", kind="CLONE"),
        Table(dataset="d", name="s", kind="SNAPSHOT"),
        Table(dataset="d", name="t"),
    )
    at = int(NOW.timestamp() * 1000)
    for name in "cs":
        bq.rest_tables[SHOP, "d", name] = {"numRows": "7", "numBytes": "70", "lastModifiedTime": str(at)}
    found = read(bq)
    for name in "cs":
        assert (found[name].row_count, found[name].byte_count) == (7, 70)
        assert found[name].data_change == DataChange(at=NOW, source=ChangeSource.DDL_POLLUTED)
    assert len(bq.requested("/tables/")) == 2


def test_an_iceberg_table_has_the_time_of_its_storage_or_none_and_its_physical_bytes(bq):
    put(
        bq,
        Table(dataset="d", name="known", managed="BIGLAKE", size=99),
        Table(dataset="d", name="silent", managed="BIGLAKE", changed=None),
        Table(dataset="d", name="unseen", managed="BIGLAKE", in_storage=False),
        Table(dataset="d", name="native"),
    )
    bq.rest_tables[SHOP, "d", "unseen"] = {"numRows": "5", "numBytes": "50", "lastModifiedTime": "1772368200000"}
    found = read(bq, kind=BigQueryIceberg)
    assert set(found) == {"known", "silent", "unseen"}
    assert found["known"].data_change == DataChange(at=CHANGED, source=ChangeSource.STORAGE)
    assert found["known"].byte_count == 99
    assert found["silent"].data_change is None
    assert (found["unseen"].row_count, found["unseen"].data_change) == (5, None)
    assert not bq.asked("VIEWS")


def test_a_dropped_table_of_the_same_name_gives_no_measures(bq):
    put(bq, Table(dataset="d", name="t", rows=3))
    old = {"table_catalog": SHOP, "table_schema": "d", "table_name": "t", "total_rows": 99, "deleted": True}
    bq.fill("TABLE_STORAGE", [old])
    assert read(bq)["t"].row_count == 3


def test_a_replica_of_a_dataset_in_a_second_region_is_the_same_dataset(bq):
    for region in ("eu", "us"):
        put(bq, Table(dataset="d", name="s"), Table(dataset="d", name="t"), region=region)
    found = list(snapshots(opened(bq, regions=("us", "EU"))))
    assert names(found) == ["d.s", "d.t"]
    assert [s.row_count for s in found if isinstance(s, TableSnapshot)] == [3, 3]


# Date shards


def shard(day: str, **more: Any) -> Table:
    return Table(dataset="d", name=f"events_{day}", **more)


def test_shards_are_one_asset_with_the_newest_schema_all_rows_and_the_last_change(bq):
    later = NOW - timedelta(hours=1)
    put(
        bq,
        Table(dataset="d", name="events_-dash"),
        Table(dataset="d", name="events_2"),
        shard("20260102", columns=(("id", "INT64"), ("new", "DATE")), rows=5, size=50, changed=later),
        shard("20260101", rows=2, size=20, born=BORN - timedelta(days=9)),
        shard("20261399", rows=1),
        view("d", "events_20260103", "select 1"),
    )
    found = read(bq)
    assert list(found) == ["events_*", "events_-dash", "events_2", "events_20260103", "events_20261399"]
    events = found["events_*"]
    assert (events.native_type, events.row_count, events.byte_count) == ("SHARDED TABLE", 7, 70)
    assert [c.name for c in events.columns or ()] == ["id", "new"]
    assert events.data_change == DataChange(at=later, source=ChangeSource.STORAGE)
    assert events.created_at == BORN - timedelta(days=9)


def test_shards_of_which_one_is_unknown_have_no_sum(bq):
    put(bq, shard("20260101"), shard("20260102", rows=None, size=None, changed=None))
    found = read(bq)["events_*"]
    assert (found.row_count, found.byte_count, found.data_change) == (None, None, None)


def test_every_shard_by_itself_where_that_is_asked_for(bq):
    put(bq, shard("20260101"), shard("20260102"))
    assert list(read(bq, shards="each")) == ["events_20260101", "events_20260102"]


def test_a_new_shard_is_no_drift_and_a_new_column_in_it_is(bq):
    put(bq, shard("20260101"))
    before = list(opened(bq).fingerprints())
    put(bq, shard("20260102"))
    assert list(opened(bq).fingerprints()) == before
    put(bq, shard("20260103", columns=(("id", "INT64"), ("new", "DATE"))))
    assert list(opened(bq).fingerprints()) != before


# Types, descriptions, labels


@pytest.mark.parametrize(
    "kind",
    [
        "INT64",
        "NUMERIC(10, 2)",
        "STRING(50)",
        "ARRAY<STRING>",
        "STRUCT<a INT64, b ARRAY<STRUCT<`odd name` DATE, d GEOGRAPHY>>>",
        "RANGE<DATE>",
        "BIGNUMERIC",
    ],
)
def test_types_are_written_as_bigquery_writes_them(bq, kind):
    put(bq, Table(dataset="d", name="t", columns=(("c", kind, "a note"),)))
    (column,) = read(bq)["t"].columns or ()
    assert (column.type, column.description) == (kind, "a note")


def test_a_pseudo_column_is_no_column(bq):
    put(bq, Table(dataset="d", name="t"))
    hidden = {"table_catalog": SHOP, "table_schema": "d", "table_name": "t", "column_name": "_PARTITIONTIME"}
    bq.fill("COLUMNS", [{**hidden, "is_hidden": "YES", "data_type": "TIMESTAMP"}])
    assert [c.name for c in read(bq)["t"].columns or ()] == ["id"]


def test_descriptions_of_nested_fields_do_not_become_columns(bq):
    put(bq, Table(dataset="d", name="t", columns=(("c", "STRUCT<x INT64>", "outer"),)))
    inner = {"table_catalog": SHOP, "table_schema": "d", "table_name": "t", "column_name": "c", "field_path": "c.x"}
    bq.fill("COLUMN_FIELD_PATHS", [{**inner, "data_type": "INT64", "description": "inner"}])
    assert [(c.name, c.description) for c in read(bq)["t"].columns or ()] == [("c", "outer")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"plain"', "plain"),
        ("'single'", "single"),
        (r'"say \"hi\"\n\ttab \\ \x41\u00e9\U0001F600\101\?"', 'say "hi"\n\ttab \\ Aé😀A?'),
        (r'r"raw \n"', r"raw \n"),
        ('"""triple "quoted" text"""', 'triple "quoted" text'),
        ("'''it's'''", "it's"),
        ('""', ""),
        ("NULL", None),
        ("[]", []),
        ("3.5", "3.5"),
        ('[STRUCT("a", "b"), ("c", "")]', [("a", "b"), ("c", "")]),
        (' [ STRUCT ( "a" , NULL ) ] ', [("a", None)]),
    ],
)
def test_option_values_are_read_as_the_literals_they_are(text, value):
    assert literal(text) == value


@pytest.mark.parametrize("text", ["", '"open', '"a" "b"', "[1", "STRUCT 1", r'"\q"', '"a\x00" x', "[1 2]", "@"])
def test_what_is_no_literal_is_refused(text):
    with pytest.raises(ValueError, match=r"literal|escape|comma|struct"):
        literal(text)


@given(st.text())
def test_any_text_survives_its_literal(text):
    escaped = "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text)
    assert literal(f'"{escaped}"') == text


def test_a_description_that_cannot_be_read_is_a_gap_and_the_table_stays(bq):
    put(bq, Table(dataset="d", name="t", options=(("description", "STRING", "no literal at all!"),)))
    table, gap = sorted(snapshots(opened(bq)), key=lambda item: isinstance(item, Gap))
    assert isinstance(table, TableSnapshot)
    assert (table.description, table.row_count) == (None, 3)
    assert "shop-project.d.t" in gap.subject  # type: ignore[union-attr]


def test_labels_are_tags_and_an_empty_label_is_an_empty_value(bq):
    labels = '[STRUCT("z", "1"), STRUCT("a", "")]'
    put(bq, Table(dataset="d", name="t", options=(("labels", "ARRAY<STRUCT<STRING, STRING>>", labels),)))
    assert read(bq)["t"].tags == (Tag(key="a", value=""), Tag(key="z", value="1"))


# What cannot be read


def test_a_table_without_columns_is_a_gap_and_no_empty_schema(bq):
    put(bq, Table(dataset="d", name="bare", columns=()), Table(dataset="d", name="t"))
    found = list(snapshots(opened(bq)))
    assert {s.ref.name: s.columns is None for s in found if isinstance(s, TableSnapshot)} == {"bare": True, "t": False}
    (gap,) = gaps(found)
    assert (str(gap.ref), gap.reason) == ("shop-project.d.bare", "it has no columns")


def test_without_table_storage_tables_are_asked_one_by_one_up_to_the_limit_and_the_role_is_named(bq):
    put(bq, *(Table(dataset="d", name=f"t{i}") for i in range(5)))
    for i in range(5):
        bq.rest_tables[SHOP, "d", f"t{i}"] = {"numRows": str(i), "numBytes": "1"}
    bq.denied.append("TABLE_STORAGE")
    found = list(snapshots(opened(bq, table_get_limit=3)))
    assert [s.row_count for s in found if isinstance(s, TableSnapshot)] == [0, 1, 2, None, None]
    assert len(bq.requested("/tables/")) == 3
    denied, unasked = gaps(found)
    assert denied.subject == "shop-project.region-us.INFORMATION_SCHEMA.TABLE_STORAGE"
    assert "--role=roles/bigquery.metadataViewer" in denied.reason
    assert "2 tables" in unasked.subject
    assert "table_get_limit" in unasked.reason


def test_a_table_that_may_not_be_asked_for_has_unknown_measures(bq):
    put(bq, Table(dataset="d", name="t", in_storage=False))
    bq.faults.append(Fault(on="/tables/t", status=403, reason="accessDenied"))
    table, gap = snapshots(opened(bq))
    assert (table.row_count, table.columns is None) == (None, False)
    assert gap.subject == "rows and bytes of 1 tables"


@pytest.mark.parametrize("lost", ["TABLE_OPTIONS", "VIEWS"])
def test_each_other_view_that_is_denied_is_one_gap_and_the_tables_stay(bq, lost):
    put(bq, Table(dataset="d", name="t"), view("d", "v", "select 1"), view("d", "w", "select 2"))
    bq.denied.append(lost)
    found = list(snapshots(opened(bq)))
    assert names(found) == ["d.t", "d.v", "d.w"]
    (gap,) = gaps(found)
    assert gap.subject.endswith(lost)
    assert "roles/bigquery.metadataViewer" in gap.reason


def test_where_a_region_may_not_be_read_as_a_whole_its_datasets_are(bq):
    put(
        bq,
        *(Table(dataset=d, name="t", options=(("description", "STRING", '"x"'),)) for d in ("a", "shut", "z")),
        view("z", "v", "select 1"),
    )
    for dataset in "az":
        bq.rest_tables[SHOP, dataset, "t"] = {"numRows": "4", "numBytes": "1"}
    bq.denied.append(r"region-us\.")
    bq.hidden.add((SHOP, "shut"))
    found = list(snapshots(opened(bq)))
    assert names(found) == ["a.t", "z.t", "z.v"]
    tables = {s.ref.schema: s for s in found if isinstance(s, TableSnapshot) and s.ref.name == "t"}
    assert {(t.row_count, t.description, len(t.columns or ())) for t in tables.values()} == {(4, "x", 1)}
    assert {gap.subject for gap in gaps(found)} == {"shop-project.shut"}
    assert "on the dataset shop-project:shut" in gaps(found)[0].reason
    assert len(list(opened(bq).fingerprints())) == 1


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("responseTooLarge", "Response too large to return."),
        ("resourcesExceeded", "Resources exceeded during query execution"),
        ("invalidQuery", "INFORMATION_SCHEMA.COLUMNS query attempted to read too many tables."),
    ],
)
def test_a_region_that_is_too_much_for_one_job_is_read_dataset_by_dataset(bq, reason, message):
    put(bq, *(Table(dataset=d, name="t") for d in "abc"))
    bq.faults.append(Fault(on="region-us.*COLUMN_FIELD", status=400, reason=reason, message=message, in_job=True))
    found = list(snapshots(opened(bq)))
    assert {s.ref.schema: len(s.columns or ()) for s in found if isinstance(s, TableSnapshot)} == {
        "a": 1,
        "b": 1,
        "c": 1,
    }
    assert not gaps(found)
    assert len(bq.asked("COLUMN_FIELD_PATHS")) == 1 + 3


def test_a_region_that_is_denied_and_shows_no_dataset_is_a_gap_with_its_role(bq):
    put(bq, Table(dataset="d", name="t"))
    bq.denied.append(r"region-us\.")
    bq.datasets.clear()
    for stream in (opened(bq, regions=("us",)).tables(), opened(bq, regions=("us",)).fingerprints()):
        (gap,) = stream
        assert gap.subject == "shop-project.region-us"
        assert "gcloud projects add-iam-policy-binding shop-project" in gap.reason


def test_projects_without_datasets_and_regions_without_data_read_as_empty(bq):
    for options in ({}, {"regions": ("asia-east1",)}):
        assert list(opened(bq, **options).tables()) == []
        assert list(opened(bq, **options).columns()) == []
        assert [f.database for f in opened(bq, **options).fingerprints()] == [SHOP]


def test_a_region_that_does_not_exist_is_a_gap_and_the_others_are_read(bq):
    put(bq, Table(dataset="d", name="t"))
    missing = {"status": 404, "reason": "notFound", "message": "Not found: Dataset shop-project:region-xx"}
    bq.faults.append(Fault(on="region-xx", times=NEVER, in_job=True, **missing))
    found = list(opened(bq, regions=("us", "xx")).tables())
    assert names(found) == ["d.t"]
    assert "project or region does not exist" in gaps(found)[0].reason


def test_a_project_whose_datasets_may_not_be_listed_says_to_name_regions(bq):
    bq.faults.append(Fault(on="/datasets$", times=NEVER, status=403, reason="accessDenied"))
    (gap,) = opened(bq).tables()
    assert "set `regions`" in gap.reason


def test_a_dataset_dropped_between_two_statements_is_a_gap_and_the_rest_is_read(bq):
    put(bq, *(Table(dataset=d, name="t") for d in ("a", "gone", "z")))
    warehouse = opened(bq)
    read_columns = warehouse.columns

    def later():
        for name in ("TABLES", "COLUMNS", "COLUMN_FIELD_PATHS"):
            bq.engine.execute(f"DELETE FROM \"{name}\" WHERE table_schema = 'gone'")
        return read_columns()

    warehouse.columns = later
    tables = list(warehouse.tables())
    warehouse.tables = lambda: iter(tables)
    found = list(snapshots(warehouse))
    assert {s.ref.schema: s.columns is None for s in found if isinstance(s, TableSnapshot)} == {
        "a": False,
        "gone": True,
        "z": False,
    }
    assert [str(gap.ref) for gap in gaps(found)] == ["shop-project.gone.t"]


def test_a_dataset_asked_for_by_name_and_not_there_is_a_gap(bq):
    put(bq, Table(dataset="d", name="t"))
    bq.datasets[SHOP, "empty"] = "us"
    bq.hidden.add((SHOP, "shut"))
    asked = scope("shop-project.gone", "shop-project.d.t", "shop-project.empty", "*.shut", "shop-project.wild*")
    said = {gap.subject: gap.reason for gap in gaps(opened(bq, scope=asked).tables())}
    assert set(said) == {"shop-project.gone", "shop-project.shut"}
    assert "dataset does not exist" in said["shop-project.gone"]
    assert "roles/bigquery.metadataViewer" in said["shop-project.shut"]


def test_a_dataset_asked_for_that_is_in_another_region_says_where(bq):
    put(bq, Table(dataset="d", name="t"), region="europe-west3")
    (gap,) = opened(bq, scope=scope("shop-project.d"), regions=("us",)).tables()
    assert gap.reason == "it is in europe-west3: add that to `regions`"


def test_a_project_that_the_scope_names_and_nobody_reads_is_a_gap(bq):
    put(bq, Table(dataset="d", name="t"))
    asked = scope("shop-project", "other-project.d", "wild*")
    (gap,) = gaps(opened(bq, scope=asked).tables())
    assert (gap.subject, "`projects`" in gap.reason) == ("other-project", True)


def test_a_gap_between_two_shards_does_not_part_them(bq):
    put(bq, Table(dataset="d", name="events_20260101"))
    put(bq, Table(dataset="d", name="events_20260102"), region="eu")
    bq.denied.append("region-us.TABLE_OPTIONS")
    found = list(opened(bq, regions=("us", "eu")).tables())
    assert [s.row_count for s in found if isinstance(s, TableSnapshot)] == [6]
    assert len(gaps(found)) == 1


# Faults


@pytest.mark.parametrize("in_job", [True, False])
def test_a_used_up_quota_is_a_gap_asked_for_once_and_other_regions_are_read(bq, in_job):
    put(bq, Table(dataset="d", name="t"))
    put(bq, Table(dataset="e", name="t"), region="eu")
    quota = {"status": 403, "reason": "quotaExceeded", "message": "Quota exceeded: your project exceeded quota"}
    bq.faults.append(Fault(on="region-eu", times=NEVER, in_job=in_job, **quota))
    found = list(opened(bq).tables())
    assert names(found) == ["d.t"]
    assert "quota" in gaps(found)[0].reason
    assert len(bq.requested("POST .*jobs")) == 3 + 1


BUSY = [(503, "backendError"), (429, "rateLimitExceeded"), (500, "internalError"), (502, "badGateway")]


@pytest.mark.parametrize(("status", "reason"), BUSY)
@pytest.mark.parametrize("on", ["POST .*TABLE_STORAGE", "GET .*/queries/", "GET .*/datasets"])
def test_a_busy_server_is_asked_again_and_nothing_is_missing(bq, status, reason, on):
    put(bq, Table(dataset="d", name="a"), Table(dataset="d", name="b"))
    bq.faults.append(Fault(on=f"(?s){on}", status=status, reason=reason))
    assert list(read(bq)) == ["a", "b"]
    assert bq.faults[0].times == 0


@pytest.mark.parametrize(("status", "reason"), BUSY[:2])
@pytest.mark.parametrize("on", ["POST .*TABLES", "GET .*/queries/", "GET .*/datasets"])
def test_a_server_that_stays_busy_ends_the_read_within_its_time(bq, status, reason, on):
    put(bq, Table(dataset="d", name="t"))
    bq.faults.append(Fault(on=f"(?s){on}", times=NEVER, status=status, reason=reason))
    started = time.monotonic()
    with pytest.raises(WarehouseUnavailable):
        list(opened(bq, timeout_seconds=1).tables())
    assert time.monotonic() - started < 10


def test_a_job_that_fails_by_bigquerys_own_fault_is_started_anew(bq):
    put(bq, Table(dataset="d", name="t"))
    bq.faults.append(Fault(on="COLUMN_FIELD_PATHS", status=500, reason="jobBackendError", in_job=True))
    assert list(read(bq)) == ["t"]
    assert len(bq.asked("COLUMN_FIELD_PATHS")) == 2


def test_a_job_that_keeps_failing_is_an_error_not_an_empty_catalog(bq):
    put(bq, Table(dataset="d", name="t"))
    bq.faults.append(Fault(on="TABLES", times=NEVER, status=500, reason="jobBackendError", in_job=True))
    with pytest.raises(WarehouseUnavailable):
        list(opened(bq, timeout_seconds=1).tables())
    assert len(bq.asked("TABLES")) == 3


def many(bq: BigQuery, count: int = 100) -> list[str]:
    put(bq, *(Table(dataset="d", name=f"t{i:05}") for i in range(count)))
    return [f"t{i:05}" for i in range(count)]


def test_a_page_that_breaks_off_is_asked_for_again(bq):
    expected = many(bq)
    bq.faults.append(Fault(on="GET .*/queries/", times=3, hang_up=True))
    assert list(read(bq, page_size=10)) == expected
    assert bq.faults[0].times == 0


def test_a_result_that_gives_the_same_page_for_ever_is_an_error_not_an_endless_read(bq):
    many(bq)
    bq.loop_pages = True
    with pytest.raises(WarehouseUnavailable, match="twice"):
        list(opened(bq, page_size=10).tables())
    assert len(bq.requested("/queries/")) < 60


def test_a_result_that_ends_early_is_an_error_not_a_shorter_catalog(bq):
    many(bq)
    bq.lose_rows = 5
    with pytest.raises(WarehouseUnavailable, match="95 of 100"):
        list(opened(bq, page_size=10).tables())


# Cost


@pytest.mark.parametrize("tables", [1, 120])
def test_a_catalog_costs_the_same_number_of_jobs_and_requests_however_many_tables(bq, tables):
    for region, dataset in (("us", "a"), ("eu", "b")):
        made = (Table(dataset=f"{dataset}{i % 7}", name=f"t{i}") for i in range(tables))
        put(bq, *made, view(dataset, "v", "select 1"), region=region)
    read(bq)
    assert len(bq.statements) == 2 * 5
    assert len(bq.requests) == 2 + 2 * 5 * 2  # datasets twice, each job is made and its only page read
    assert bq.dry_runs == 0


def test_freshness_and_volume_alone_ask_for_no_columns(bq):
    put(bq, Table(dataset="d", name="t"))
    list(snapshots(opened(bq), with_columns=False))
    assert not bq.asked("COLUMNS")
    assert not bq.asked("VIEWS")  # there is none


def test_a_fingerprint_is_one_job_a_region(bq):
    put(bq, Table(dataset="d", name="t"))
    put(bq, Table(dataset="e", name="t"), region="eu")
    assert len(list(opened(bq).fingerprints())) == 1
    assert len(bq.statements) == 2


def test_a_fingerprint_of_half_a_project_is_a_gap_never_a_digest(bq):
    put(bq, Table(dataset="d", name="t"))
    bq.faults.append(Fault(on="region-eu", times=NEVER, status=404, reason="notFound", in_job=True))
    (found,) = opened(bq, regions=("us", "eu")).fingerprints()
    assert isinstance(found, Gap)


def test_our_jobs_are_labelled_bounded_and_run_where_the_data_is(bq):
    put(bq, Table(dataset="d", name="t"), region="europe-west3")
    read(bq, timeout_seconds=77, job_label="ours")
    for job in bq.statements:
        assert job["labels"] == {"ours": "own"}
        assert job["jobTimeoutMs"] == "77000"
        assert job["location"] == "europe-west3"


def test_scope_travels_as_query_parameters(bq):
    put(bq, *(Table(dataset=d, name=n) for d in ("sales", "ops") for n in ("a_b", "axb")))
    found = list(opened(bq, scope=scope("shop-project.sales.a_b")).tables())
    assert names(found) == ["sales.a_b"]
    (asked,) = bq.asked("AS ddl")
    assert "sales" not in asked["query"]["query"]
    given = [p["parameterValue"]["value"] for p in asked["query"]["queryParameters"]]
    assert given == ["shop-project", "sales", "a\\_b"]


# Size


def test_a_table_of_a_thousand_columns_is_read_in_order(bq):
    put(bq, Table(dataset="d", name="wide", columns=tuple((f"c{i}", "INT64") for i in range(1000))))
    assert [c.name for c in read(bq, page_size=300)["wide"].columns or ()] == [f"c{i}" for i in range(1000)]
    assert len(bq.requested("/queries/")) >= 4


def test_a_dataset_of_ten_thousand_tables_is_streamed_over_pages(bq):
    expected = many(bq, 10_000)
    tables = opened(bq, page_size=1000).tables()
    assert next(tables).ref.name == "t00000"
    assert len(bq.requested("/queries/")) <= 6  # a page ahead of each of three statements, and no more
    assert ["t00000", *(item.ref.name for item in tables)] == expected


def test_more_datasets_than_one_page_lists_are_all_found(bq):
    put(bq, *(Table(dataset=f"d{i:04}", name="t") for i in range(1500)))
    bq.datasets |= {(SHOP, f"e{i:04}"): "us" for i in range(1500)}
    put(bq, Table(dataset="zz", name="t"), region="eu")
    assert len(list(opened(bq).tables())) == 1501
    assert len(bq.requested("/datasets$")) == 4
