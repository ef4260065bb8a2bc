"""The recorder logs what really happened: what was written, what failed, and nothing else."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from mc_push_dagster.sandbox.recorder import Recorder, sessions

BASE = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def recorder():
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA ops; CREATE SCHEMA other")
        connection.execute("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2); CREATE TABLE empty (a INT)")
        ticks = iter(range(10_000))
        recorder = Recorder(connection, log_table="ops.query_log", stopwatch=lambda: next(ticks))
        recorder.create_log()
        yield recorder


def run(recorder: Recorder, sql: str, *, fails: bool = False) -> dict:
    script = f"--@ user ann\n--@ starts -5m\n\n{'--@ fails' if fails else ''}\n{sql};\n"
    for session in sessions(script, base=BASE, values={}):
        recorder.run(session)
    cursor = recorder.connection.execute("SELECT * FROM ops.query_log")
    names = [column[0] for column in cursor.description]
    return dict(zip(names, cursor.fetchall()[-1], strict=True))


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ("SELECT a FROM t", None),
        ("INSERT INTO t VALUES (3)", ("main", "t")),
        ("INSERT INTO t SELECT a FROM t WHERE a > 9", None),
        ("UPDATE t SET a = 5 WHERE a = 1", ("main", "t")),
        ("UPDATE t SET a = 5 WHERE a = 99", None),
        ("DELETE FROM t", ("main", "t")),
        ("DELETE FROM empty", None),
        (
            "MERGE INTO t USING (SELECT 7 AS a) AS s ON t.a = s.a WHEN NOT MATCHED THEN INSERT VALUES (s.a)",
            ("main", "t"),
        ),
        ("CREATE TABLE other.made AS SELECT * FROM t", ("other", "made")),
        ("CREATE TABLE made (a INT, b INT)", ("main", "made")),
        ('CREATE OR REPLACE TABLE "od.d ""x""" AS SELECT 1 AS a', ("main", 'od.d "x"')),
        ("CREATE TEMP TABLE made AS SELECT 1 AS a", None),
        ("CREATE VIEW v AS SELECT a FROM t", None),
        ("ALTER TABLE t ADD COLUMN b INT", None),
        ("ALTER TABLE t RENAME COLUMN a TO b", None),
        ("ALTER TABLE t RENAME TO u", ("main", "u")),
        ("DROP TABLE t", None),
        ("COMMENT ON TABLE t IS 'x'", None),
        ("USE other", None),
    ],
)
def test_a_statement_is_logged_with_the_table_whose_data_it_changed(recorder, sql, written):
    logged = run(recorder, sql)
    expected = [] if written is None else [{"database": "memory", "schema": written[0], "name": written[1]}]
    assert logged["objects_modified"] == expected
    assert logged["query_text"] == sql
    assert logged["error_code"] is None
    assert logged["returned_rows"] == (2 if sql.startswith("SELECT") else None)


def test_a_statement_meant_to_fail_is_logged_with_its_error(recorder):
    logged = run(recorder, "INSERT INTO t SELECT nope", fails=True)
    assert logged["error_code"] == "BinderException"
    assert "nope" in logged["error_text"]
    assert logged["objects_modified"] == []


def test_an_unforeseen_failure_is_raised_with_its_statement_and_what_came_before_is_logged(recorder):
    with pytest.raises(duckdb.CatalogException) as caught:
        run(recorder, "SELECT 1;\nSELECT * FROM nope")
    assert "statement 1: SELECT * FROM nope" in caught.value.__notes__[0]
    assert recorder.connection.execute("SELECT query_text FROM ops.query_log").fetchall() == [("SELECT 1",)]


def test_times_are_the_simulated_start_and_the_measured_duration(recorder):
    logged = run(recorder, "SELECT 1")
    assert logged["started_at"] == BASE - timedelta(minutes=5)
    assert logged["ended_at"] - logged["started_at"] == timedelta(seconds=1)


def test_a_script_is_cut_into_sessions_and_statements():
    script = """--@ user ann
--@ starts -90m

-- A comment; it belongs to its statement.
SELECT '{day}; not an end' AS x;

--@ fails
SELECT 2;
--@ user bob
--@ starts 3m
SELECT 3;
"""
    ann, bob = sessions(script, base=BASE, values={"day": "2026-03-01"})
    assert (ann.user, ann.starts_at) == ("ann", BASE - timedelta(minutes=90))
    assert [(s.sql, s.fails) for s in ann.steps] == [
        ("-- A comment; it belongs to its statement.\nSELECT '2026-03-01; not an end' AS x", False),
        ("SELECT 2", True),
    ]
    assert (bob.user, [s.sql for s in bob.steps]) == ("bob", ["SELECT 3"])


def test_a_session_keeps_its_own_schema_and_temporary_tables(recorder):
    logged = run(
        recorder, "USE other;\nCREATE TEMP TABLE mine AS SELECT 1 AS a;\nCREATE TABLE kept AS SELECT * FROM mine"
    )
    assert logged["schema_name"] == "other"
    assert logged["objects_modified"] == [{"database": "memory", "schema": "other", "name": "kept"}]
    assert run(recorder, "SELECT 1")["schema_name"] == "main"
