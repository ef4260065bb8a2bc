"""Repeated statements are parsed once, and only where that is right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import TokenError

from mc_push_dagster.lineage.analysis import Analyzer
from mc_push_dagster.lineage.lookup import SchemaLookup
from mc_push_dagster.lineage.memo import Memo, fingerprint, skeleton


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
        ("bigquery", "SELECT a FROM my-project-1.d.t", "SELECT a FROM my-project-2.d.t"),
        ("bigquery", "SELECT a FROM `my-project-1.d.t`", "SELECT a FROM `my-project-2.d.t`"),
        ("snowflake", 'SELECT "a 1" AS p FROM t', 'SELECT "a 2" AS p FROM t'),
        ("snowflake", "SELECT a FROM t1", "SELECT a FROM t2"),
        ("postgres", 'SELECT \'\\\', "b" AS "p\'" FROM t', 'SELECT \'\\\', "c" AS "p\'" FROM t'),
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


PIECES = (
    *("SELECT a", "FROM t", "WHERE b =", "1", "22", "3.5", "-7", "'x'", "'it''s'", "''", '"a 1"', '"q"', "`p-1.t`"),
    *(
        "-- note 1\n",
        "/* note 2 */",
        "/* it's */",
        "'--'",
        "'/*'",
        "'*/'",
        "t-1",
        "t-12",
        "IN (1, 2)",
        "IN (1)",
        "AS 'n'",
    ),
    *(
        "AS m",
        ",",
        ";",
        "//",
        "'\\\\'",
        "$$x$$",
        "#",
        "x'41'",
        "e'a'",
        "'a' 'b'",
        "1.t",
        "a1",
        "1a",
        "1e5",
        "PIVOT",
        "\n",
    ),
)


@settings(max_examples=600, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " "])), min_size=1, max_size=9),
    others=st.lists(st.sampled_from(["'y'", "'zz'", "4", "9.25", "/* other */", "-- other\n"]), max_size=9),
    dialect=st.sampled_from(["snowflake", "bigquery", "postgres", "duckdb", "spark", "redshift", "hive", "databricks"]),
)
def test_texts_of_one_skeleton_have_one_fingerprint(
    parts: list[tuple[str, str]], others: list[str], dialect: str
) -> None:
    one = "".join(p + s for p, s in parts)
    pool = iter(others)
    two = "".join((next(pool, p) if p[0] in "'0123456789/-" else p) + s for p, s in parts)
    short = skeleton(one, dialect)
    if short is None or short != skeleton(two, dialect):
        return
    tokenize = Dialect.get_or_raise(dialect).tokenize
    try:
        tokens = tokenize(one), tokenize(two)
    except TokenError:
        return
    assert fingerprint(tokens[0]) == fingerprint(tokens[1])
