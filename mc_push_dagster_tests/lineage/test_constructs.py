"""Constructs that few dialects have, each with the tables it reads and the columns it takes values from."""

from __future__ import annotations

from typing import Any

import pytest

from mc_push_dagster_tests.lineage.harness import SHOP, columns, lineage, tables

KNOWN: dict[str, Any] = {**SHOP, "wide": ["a", "b", "c"], "copy": ["a", "b", "c"]}


def read(sql: str, dialect: str) -> tuple[list[str], set[str]]:
    """The tables read, and the column edges, all in lower case."""
    found = lineage(sql, dialect, schemas=KNOWN)
    return [name.lower() for name in found["inputs"]], {edge.lower() for edge in columns(found)}


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT OVERWRITE DIRECTORY '/d' USING parquet SELECT a FROM wide",
        "INSERT OVERWRITE LOCAL DIRECTORY '/d' USING csv OPTIONS (header = 'true') SELECT a FROM wide",
        "INSERT OVERWRITE DIRECTORY USING json OPTIONS (path '/d') WITH w AS (SELECT a FROM wide) SELECT a FROM w",
        "INSERT OVERWRITE LOCAL DIRECTORY '/d' SELECT a FROM wide",
    ],
)
def test_a_directory_is_no_table_and_its_format_neither(sql: str) -> None:
    found = lineage(sql, "spark", schemas=KNOWN)
    assert (found["inputs"], found["outputs"], found["tables"]) == (["wide"], [], [])


@pytest.mark.parametrize("source", ["wide", "(SELECT a FROM wide)"])
@pytest.mark.parametrize("target", ["'s3://bucket/path/'", "@stage/path"])
def test_unloading_writes_no_table(source: str, target: str) -> None:
    found = lineage(f"COPY INTO {target} FROM {source} FILE_FORMAT = (TYPE = CSV)", "snowflake", schemas=KNOWN)
    assert (found["inputs"], found["outputs"]) == (["wide"], [])


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        pytest.param(
            "duckdb", "PIVOT wide ON c USING sum(b) GROUP BY a", {"wide.a > a", "wide.b > *"}, id="PIVOT by itself"
        ),
        pytest.param(
            "duckdb",
            "UNPIVOT wide ON b, c INTO NAME n VALUE v",
            {"wide.a > a", "wide.b > v", "wide.c > v"},
            id="UNPIVOT by itself",
        ),
        pytest.param(
            "bigquery",
            "SELECT * FROM wide UNPIVOT ((v, w) FOR n IN ((a, b) AS 'x'))",
            {"wide.a > v", "wide.b > w", "wide.c > c"},
            id="UNPIVOT of two values at a time",
        ),
        pytest.param(
            "bigquery",
            "SELECT LAST_VALUE(a) OVER w AS x FROM wide WINDOW w AS (PARTITION BY b ORDER BY c)",
            {"wide.a > x", "wide.b > x", "wide.c > x"},
            id="a named window is as good as its definition",
        ),
        pytest.param(
            "postgres",
            "SELECT row_to_json(wide) AS x FROM wide",
            {"wide.a > x", "wide.b > x", "wide.c > x"},
            id="a table as a value is its row",
        ),
        pytest.param(
            "hive",
            "SELECT a, grouping__id FROM wide GROUP BY a, b WITH CUBE",
            {"wide.a > a"},
            id="the level of a grouping is no column",
        ),
        pytest.param(
            "spark",
            "SELECT TRANSFORM (a, b) USING 'cat' AS (k, l STRING) FROM wide",
            {"wide.a > k", "wide.b > k", "wide.a > l", "wide.b > l"},
            id="columns that a script gives",
        ),
        pytest.param(
            "spark",
            "SELECT e.* FROM wide LATERAL VIEW inline(b) e AS f, g",
            {"wide.b > f", "wide.b > g"},
            id="a star over the columns of a lateral view",
        ),
        pytest.param(
            "databricks", "SELECT a FROM table_changes('wide', 0)", {"wide.a > a"}, id="the changes of a table"
        ),
    ],
)
def test_a_construct_takes_its_values_from(dialect: str, sql: str, expected: set[str]) -> None:
    assert read(sql, dialect) == (["wide"], expected)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM d.f(TABLE wide)", ["wide"]),
        ("SELECT * FROM d.f(TABLE wide, TABLE `p.d.other`, 5)", ["wide", "p.d.other"]),
        ("SELECT * FROM ML.PREDICT(MODEL d.m, TABLE d.wide)", ["d.wide"]),
        ("SELECT * FROM ML.PREDICT(MODEL d.m, (SELECT a FROM wide))", ["wide"]),
    ],
)
def test_a_table_as_the_argument_of_a_function_is_read(sql: str, expected: list[str]) -> None:
    assert sorted(read(sql, "bigquery")[0]) == sorted(expected)


@pytest.mark.parametrize(
    "sql",
    [
        "APPLY CHANGES INTO copy FROM STREAM(wide) KEYS (a) SEQUENCE BY b",
        "AUTO CDC INTO copy FROM STREAM wide KEYS (a) SEQUENCE BY b",
    ],
)
def test_a_change_feed_fills_its_target(sql: str) -> None:
    found = lineage(sql, "databricks", schemas=KNOWN)
    assert tables(found) == {"wide > copy"}
    assert columns(found) == {f"wide.{c} > copy.{c}" for c in "abc"}


def test_a_file_format_is_no_table_where_only_keywords_can_be_read() -> None:
    from mc_push_dagster.lineage.cases import answer

    sql = "CREATE TEMPORARY VIEW v USING parquet OPTIONS (path '/x')"
    assert answer({"sql": sql, "dialect": "spark"})["inputs"] == []


def test_a_star_over_flattened_rows_takes_from_what_was_flattened() -> None:
    found = read("SELECT f.* FROM nobody, LATERAL FLATTEN(input => nobody.items) f", "snowflake")
    assert found == (["nobody"], {f"nobody.items > {c}" for c in ("seq", "key", "path", "index", "value", "this")})


@pytest.mark.parametrize("dialect", ["ansi", "databricks"])
@pytest.mark.parametrize("kind", ["VIEW", "TABLE"])
def test_replace_makes_what_it_names(kind: str, dialect: str) -> None:
    found = lineage(f"REPLACE {kind} made AS SELECT a FROM wide", dialect, schemas=KNOWN)
    assert columns(found) == {"wide.a > made.a"}


def test_a_template_that_is_not_filled_in_is_no_table() -> None:
    from mc_push_dagster.lineage.cases import answer

    assert answer({"sql": "SELECT a FROM {{ ref('wide') }}", "dialect": "generic"})["inputs"] == []
