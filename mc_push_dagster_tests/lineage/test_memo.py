"""Repeated statements are parsed once, and only where that is right."""

from __future__ import annotations

import pytest

from mc_push_dagster.lineage.analysis import Analyzer
from mc_push_dagster.lineage.lookup import SchemaLookup
from mc_push_dagster.lineage.memo import Memo


def parsed(*texts: str, dialect: str = "snowflake", **limits: int) -> int:
    memo = Memo(Analyzer(dialect, SchemaLookup({})), **limits)
    for text in texts:
        found = memo.analyze(text, database="D", schema="S")
        assert found == Analyzer(dialect, SchemaLookup({})).analyze(text, database="D", schema="S")
    return memo.parsed


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("INSERT INTO x SELECT a FROM t WHERE b = 1", "INSERT INTO x SELECT a FROM t WHERE b = 2"),
        ("INSERT INTO x SELECT a FROM t WHERE b = 'p'", "insert into x\n select a  from t where b = 'q' -- later"),
        ("SELECT a AS p FROM t WHERE b IN (1, 2)", "SELECT a AS p FROM t WHERE b IN (1, 2, 3, 4)"),
        ("SELECT a AS p FROM t LIMIT 10", "/* dbt {1} */ SELECT a AS p FROM t LIMIT 20"),
    ],
)
def test_what_differs_in_constants_and_layout_alone_is_parsed_once(one: str, two: str) -> None:
    assert parsed(one, two) == 1


@pytest.mark.parametrize(
    ("dialect", "one", "two"),
    [
        ("snowflake", "INSERT INTO x SELECT a FROM t", "INSERT INTO x SELECT a FROM u"),
        ("snowflake", 'SELECT "a" AS p FROM t', "SELECT 'a' AS p FROM t"),
        ("snowflake", 'SELECT "a" AS p FROM t', "SELECT a AS p FROM t"),
        ("snowflake", "CREATE TABLE x AS SELECT a + 1 FROM t", "CREATE TABLE x AS SELECT a + 2 FROM t"),
        ("snowflake", "SELECT a FROM TABLE('T')", "SELECT a FROM TABLE('U')"),
        (
            "snowflake",
            "EXECUTE IMMEDIATE 'INSERT INTO x SELECT a FROM t'",
            "EXECUTE IMMEDIATE 'INSERT INTO x SELECT a FROM u'",
        ),
        ("snowflake", "SELECT * FROM t PIVOT (sum(a) FOR b IN ('p'))", "SELECT * FROM t PIVOT (sum(a) FOR b IN ('q'))"),
        ("spark", "CREATE TABLE x AS SELECT a AS 'p' FROM t", "CREATE TABLE x AS SELECT a AS 'q' FROM t"),
        ("duckdb", "CREATE TABLE x AS FROM 'a.parquet'", "CREATE TABLE x AS FROM 'b.parquet'"),
        ("bigquery", "SELECT a FROM t WHERE b = 1", "SELECT a FROM `t` WHERE b = 1 AND c"),
    ],
)
def test_what_differs_in_a_name_is_not_taken_for_the_same(dialect: str, one: str, two: str) -> None:
    assert parsed(one, two, dialect=dialect) == 2


def test_the_same_text_means_something_else_under_other_defaults() -> None:
    memo = Memo(Analyzer("snowflake", SchemaLookup({})))
    one = memo.analyze("INSERT INTO x SELECT a FROM t", database="D", schema="S")
    two = memo.analyze("INSERT INTO x SELECT a FROM t", database="D", schema="OTHER")
    assert one != two
    assert memo.parsed == 2


def test_memory_is_bounded_by_entries_and_by_weight() -> None:
    texts = [f"INSERT INTO x SELECT a FROM t{i}" for i in range(50)]
    memo = Memo(Analyzer("snowflake", SchemaLookup({})), entries=10, weight=20)
    for text in texts * 2:
        memo.analyze(text, database=None, schema=None)
    assert memo.parsed == 100
    assert len(memo) <= 10
    assert memo.weight <= 20
