"""Sessions: what is temporary is followed through, renames and swaps are resolved, order does not matter."""

from __future__ import annotations

import random

import pytest

from mc_push_dagster.lineage import DictCatalog, Statement
from mc_push_dagster_tests.lineage.harness import columns, lineage, ref, run, statements, tables

CATALOG = DictCatalog(
    {
        ref("SRC"): {"ID": "int", "NAME": "text"},
        ref("DIM"): {"ID": "int", "LABEL": "text"},
        ref("OUT"): {"ID": "int", "NAME": "text"},
    }
)
FLOWS = {"SRC.ID > OUT.ID", "SRC.NAME > OUT.NAME"}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            ["CREATE TEMPORARY TABLE tmp AS SELECT id, name FROM src", "INSERT INTO out SELECT * FROM tmp"],
            id="temporary table",
        ),
        pytest.param(
            [
                "CREATE TEMP TABLE a AS SELECT * FROM src",
                "CREATE TEMP TABLE b AS SELECT name AS n, id AS i FROM a",
                "INSERT INTO out SELECT i, n FROM b",
            ],
            id="chain of temporary tables",
        ),
        pytest.param(
            [
                "CREATE TEMP TABLE tmp (id INT, name TEXT)",
                "INSERT INTO tmp SELECT id, name FROM src",
                "MERGE INTO out USING tmp ON out.id = tmp.id WHEN MATCHED THEN UPDATE SET name = tmp.name "
                "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (tmp.id, tmp.name)",
            ],
            id="temporary table, then merge",
        ),
        pytest.param(
            [
                "CREATE TEMP TABLE tmp LIKE out",
                "INSERT INTO tmp SELECT * FROM src",
                "INSERT INTO out SELECT * FROM tmp",
            ],
            id="temporary table of another's shape",
        ),
        pytest.param(
            ["CREATE TABLE out__dbt_tmp AS SELECT id, name FROM src", "ALTER TABLE out__dbt_tmp RENAME TO out"],
            id="rename",
        ),
        pytest.param(
            [
                "CREATE TABLE out__dbt_tmp AS SELECT id, name FROM src",
                "ALTER TABLE out RENAME TO out__dbt_backup",
                "ALTER TABLE out__dbt_tmp RENAME TO out",
                "DROP TABLE out__dbt_backup",
            ],
            id="rename with backup",
        ),
        pytest.param(
            [
                "CREATE TABLE out_new AS SELECT id, name FROM src",
                "ALTER TABLE out_new SWAP WITH out",
                "DROP TABLE out_new",
            ],
            id="swap",
        ),
        pytest.param(
            [
                "CREATE TABLE stage_1 AS SELECT id, name FROM src",
                "INSERT INTO out SELECT id, name FROM stage_1",
                "DROP TABLE stage_1",
            ],
            id="a table that is dropped again",
        ),
        pytest.param(
            [
                "BEGIN",
                "INSERT INTO out SELECT id, label FROM dim",
                "ROLLBACK",
                "BEGIN",
                "INSERT INTO out SELECT id, name FROM src",
                "COMMIT",
            ],
            id="a transaction rolled back",
        ),
        pytest.param(
            ["USE DATABASE other", "USE SCHEMA d.s", "INSERT INTO out SELECT id, name FROM src"],
            id="use",
        ),
    ],
)
def test_pattern_of_a_session(script: list[str]) -> None:
    defaults: dict[str, str | None] = {"database": None, "schema": None} if "USE" in script[0] else {}
    log = statements(*script, **defaults)
    expected = {"SRC > OUT"}, FLOWS, []
    assert run(log, catalog=CATALOG) == expected
    for seed in range(3):
        shuffled = log[:]
        random.Random(seed).shuffle(shuffled)
        assert run(shuffled, catalog=CATALOG) == expected
    # The same as one script, where a log has it so.
    script_text = ";\n".join(script)
    assert (
        run([Statement(sql=script_text, **({"database": "D", "schema": "S"} if not defaults else {}))], catalog=CATALOG)
        == expected
    )


def test_temporary_tables_of_one_name_in_two_sessions_do_not_mix() -> None:
    one = statements("CREATE TEMP TABLE t AS SELECT id FROM src", "INSERT INTO a SELECT id FROM t", session="1")
    two = statements("CREATE TEMP TABLE t AS SELECT id FROM dim", "INSERT INTO b SELECT id FROM t", session="2")
    woven = [s for pair in zip(one, two, strict=True) for s in pair]
    edges, flows, _ = run(woven, catalog=CATALOG)
    assert edges == {"SRC > A", "DIM > B"}
    assert flows == {"SRC.ID > A.ID", "DIM.ID > B.ID"}


def test_a_name_that_is_dropped_and_made_again_is_another_table() -> None:
    edges, _, _ = run(
        statements(
            "CREATE TEMP TABLE t AS SELECT id FROM src",
            "INSERT INTO a SELECT id FROM t",
            "DROP TABLE t",
            "CREATE TEMP TABLE t AS SELECT id FROM dim",
            "INSERT INTO b SELECT id FROM t",
        ),
        catalog=CATALOG,
    )
    assert edges == {"SRC > A", "DIM > B"}


def test_what_was_read_before_a_rename_keeps_its_name() -> None:
    edges, _, _ = run(
        statements(
            "INSERT INTO a SELECT id FROM out", "ALTER TABLE out RENAME TO out_old", "INSERT INTO out SELECT * FROM src"
        ),
        catalog=CATALOG,
    )
    assert edges == {"OUT > A", "SRC > OUT"}


@pytest.mark.parametrize(
    ("dialect", "script"),
    [
        ("tsql", "SELECT id INTO #t FROM src; INSERT INTO out SELECT id FROM #t"),
        ("redshift", "CREATE TABLE #t AS SELECT id FROM src; INSERT INTO out SELECT id FROM #t"),
        ("bigquery", "CREATE TEMP TABLE t AS SELECT id FROM src; INSERT INTO out SELECT id FROM _SESSION.t"),
        ("spark", "CREATE OR REPLACE TEMPORARY VIEW t AS SELECT id FROM src; INSERT INTO out SELECT id FROM t"),
        ("spark", "CACHE TABLE t AS SELECT id FROM src; INSERT INTO out SELECT id FROM t"),
        ("postgres", "SELECT id INTO TEMP t FROM src; INSERT INTO out SELECT id FROM t"),
        (
            "postgres",
            "CREATE TEMP TABLE t (LIKE out); INSERT INTO t SELECT id FROM src; INSERT INTO out SELECT * FROM t",
        ),
        ("duckdb", "CREATE TEMP TABLE T AS FROM src SELECT id; INSERT INTO out FROM t"),
        ("mysql", "CREATE TABLE t AS SELECT id FROM src; RENAME TABLE t TO out"),
        ("bigquery", "BEGIN CREATE TEMP TABLE t AS SELECT id FROM src; INSERT INTO out SELECT id FROM t; END"),
        (
            "bigquery",
            "CREATE PROCEDURE d.p() BEGIN DECLARE x INT64; SET x = 1; IF x > 0 THEN "
            "INSERT INTO out SELECT id FROM src; END IF; END",
        ),
        ("bigquery", "FOR r IN (SELECT 1 AS q) DO INSERT INTO out SELECT id FROM src WHERE id = r.q; END FOR"),
        ("bigquery", "EXECUTE IMMEDIATE 'INSERT INTO out SELECT id ' || 'FROM src'"),
        ("snowflake", "EXECUTE IMMEDIATE $$ BEGIN INSERT INTO out SELECT id FROM src; END $$"),
        ("snowflake", "CREATE TASK t WAREHOUSE = w SCHEDULE = '1 minute' AS INSERT INTO out SELECT id FROM src"),
        (
            "snowflake",
            "CREATE PROCEDURE p() RETURNS STRING LANGUAGE SQL AS $$ BEGIN INSERT INTO out SELECT id FROM src; END $$",
        ),
        ("postgres", "DO $$ BEGIN INSERT INTO out SELECT id FROM src; END $$"),
    ],
)
def test_script(dialect: str, script: str) -> None:
    found = lineage(script, dialect, schemas={"src": ["id", "x"], "out": ["id"]})
    assert tables(found) == {"src > out"}
    assert columns(found) == {"src.id > out.id"}


def test_a_procedure_in_another_language_is_no_sql() -> None:
    script = "CREATE PROCEDURE p() RETURNS STRING LANGUAGE PYTHON AS $$ INSERT INTO out SELECT id FROM src $$"
    assert lineage(script, "snowflake")["tables"] == []


@pytest.mark.parametrize(
    ("dialect", "script", "expected"),
    [
        ("snowflake", "USE DATABASE d; USE SCHEMA s", "D.S.orders"),
        ("snowflake", "USE d.s", "D.S.orders"),
        ("snowflake", "USE SCHEMA s; USE ROLE r; USE WAREHOUSE w", "S.orders"),
        ("databricks", "USE CATALOG d; USE SCHEMA s", "d.s.orders"),
        ("hive", "USE s", "s.orders"),
        ("postgres", "SET search_path TO s, public", "s.orders"),
        ("redshift", "SET search_path = s", "s.orders"),
        ("bigquery", "SET x = 1", "orders"),
    ],
)
def test_defaults_change_within_a_script(dialect: str, script: str, expected: str) -> None:
    found = lineage(f"{script}; SELECT a FROM orders", dialect, schemas={})
    assert found["inputs"] == [expected.replace("orders", "ORDERS") if dialect == "snowflake" else expected]


def test_a_temporary_table_that_nothing_reads_is_shown_for_a_case_and_not_pushed() -> None:
    text = "CREATE TABLE #tmp AS SELECT id FROM src"
    assert tables(lineage(text, "redshift", schemas={})) == {"src > #tmp"}
    assert run(statements(text), dialect="redshift")[0] == set()


def test_texts_of_one_case_share_a_session() -> None:
    found = lineage(
        ["USE db1", "CREATE TEMP TABLE t AS SELECT id FROM s.orders", "INSERT INTO s.r SELECT * FROM t"], schemas={}
    )
    assert columns(found) == {"db1.s.orders.id > db1.s.r.id"}
