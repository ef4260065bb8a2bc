"""Names: case by dialect, defaults, the catalog's own form."""

from __future__ import annotations

import pytest

from mc_push_dagster.lineage import DictCatalog
from mc_push_dagster.lineage.names import Case, rules_of
from mc_push_dagster_tests.lineage.harness import columns, lineage, ref, tables


@pytest.mark.parametrize(
    ("dialect", "bare", "quoted"),
    [
        ("snowflake", "MYTABLE", "MyTable"),
        ("postgres", "mytable", "MyTable"),
        ("redshift", "mytable", "mytable"),
        ("spark", "mytable", "mytable"),
        ("hive", "mytable", "mytable"),
        ("databricks", "mytable", "mytable"),
        ("bigquery", "MyTable", "MyTable"),
        ("duckdb", "MyTable", "MyTable"),
        ("generic", "MyTable", "MyTable"),
    ],
)
def test_a_name_the_catalog_does_not_know_takes_the_dialects_case(dialect: str, bare: str, quoted: str) -> None:
    quote = "`" if dialect in ("spark", "hive", "databricks", "bigquery") else '"'
    found = lineage(f"SELECT 1 AS x FROM MyTable, {quote}MyTable{quote} b, other", dialect, schemas={})
    assert set(found["inputs"]) - {"other", "OTHER"} == {bare, quoted}


@pytest.mark.parametrize(
    "dialect", ["snowflake", "postgres", "bigquery", "duckdb", "databricks", "redshift", "generic"]
)
def test_the_catalogs_own_case_wins(dialect: str) -> None:
    schemas = {"Sales.Public.Orders": ["OrderId", "total"], "Sales.Public.Report": ["orderid", "TOTAL"]}
    sql = "INSERT INTO REPORT SELECT ORDERID, Total FROM public.ORDERS"
    found = lineage(sql, dialect, schemas=schemas, default_db="sales", default_schema="PUBLIC")
    assert tables(found) == {"Sales.Public.Orders > Sales.Public.Report"}
    assert columns(found) == {
        "Sales.Public.Orders.OrderId > Sales.Public.Report.orderid",
        "Sales.Public.Orders.total > Sales.Public.Report.TOTAL",
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [("t", "db.sc.t"), ("s.t", "db.s.t"), ("d.s.t", "d.s.t"), ('"A.B".t', "db.A.B.t")],
)
def test_defaults_complete_a_name_from_the_left(written: str, expected: str) -> None:
    found = lineage(f"SELECT * FROM {written}", schemas={}, default_db="db", default_schema="sc")
    assert found["inputs"] == [expected]


def test_bigquery_reads_a_whole_name_in_one_pair_of_backquotes() -> None:
    found = lineage("INSERT INTO `p-1.d.out` SELECT * FROM `p-1.d.events_*`", "bigquery", schemas={})
    assert tables(found) == {"p-1.d.events_* > p-1.d.out"}


@pytest.mark.parametrize("kept", ["events_yyyymmdd", "events_*"])
def test_a_date_shard_is_the_table_that_the_catalog_keeps_for_all_of_them(kept: str) -> None:
    schemas = {f"p.d.{kept}": ["id"]}
    found = lineage("SELECT id AS x FROM p.d.events_20260101", "bigquery", schemas=schemas)
    assert columns(found) == {f"p.d.{kept}.id > x"}


def test_a_wildcard_is_the_newest_shard_where_the_catalog_keeps_them_all() -> None:
    shards = {ref(f"events_2026010{n}"): {"id": "INT64"} for n in (1, 3, 2)}
    assert DictCatalog(shards).find(["events_*"], "D", "S") == ref("events_20260103")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["T"], ref("T")),
        (["t"], ref("T")),
        (["s", "t"], ref("T")),
        (["d", "s", "t"], ref("T")),
        (["x"], None),
        (["other", "s", "t"], None),
        (["a", "b", "c", "d"], None),
        ([""], None),
        (["two"], None),
    ],
)
def test_the_catalog_finds_exactly_or_by_the_only_match_without_case(parts: list[str], expected: object) -> None:
    catalog = DictCatalog({ref("T"): {}, ref("Two"): {}, ref("TWO"): {}})
    assert catalog.find(parts, "D", "S") == expected


def test_the_catalog_finds_an_unqualified_name_only_if_one_table_can_be_meant() -> None:
    catalog = DictCatalog({ref("a", "x"): {}, ref("b", "x"): {}, ref("b", "y"): {}})
    assert catalog.find(["a"], None, None) == ref("a", "x")
    assert catalog.find(["b"], None, None) is None
    assert catalog.find(["b"], None, "y") == ref("b", "y")


@pytest.mark.parametrize(("name", "same_as"), [("ansi", "generic"), ("SparkSQL", "spark"), ("postgresql", "postgres")])
def test_dialects_go_by_several_names(name: str, same_as: str) -> None:
    assert rules_of(name) == rules_of(same_as)


def test_an_unknown_dialect_is_read_as_the_generic_one() -> None:
    assert rules_of("klingon").case is Case.KEEP
    assert rules_of(None).sqlglot == ""
