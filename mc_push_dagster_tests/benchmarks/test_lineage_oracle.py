"""The oracle sees what it should see, and confirms our column edges on a part of its statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest

from mc_push_dagster.lineage.steps import Flow
from mc_push_dagster_tests.benchmarks.lineage_oracle import Total, tpch
from mc_push_dagster_tests.benchmarks.oracle_lab import Lab, Outcome

ITEM = ("lab", "main", "item")
SQL = "CREATE TABLE out AS SELECT id, price * 2 AS doubled, label FROM item WHERE kind < 5"


class Tampered(Lab):
    """A lab whose lineage is what a test says it is."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, **changes: object) -> None:
        super().__init__(connection, "lab")
        self._changes = changes

    def flow(self, sql: str, schema: str) -> Flow | None:
        found = super().flow(sql, schema)
        return None if found is None else replace(found, **self._changes)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS lab")
        connection.execute("USE lab")
        connection.execute(
            "CREATE TABLE item AS SELECT i AS id, i * 7 % 31 AS price, 'n' || i % 13 AS label, i % 9 AS kind"
            " FROM range(200) AS t (i)"
        )
        connection.execute("CREATE TABLE other AS SELECT 1 AS id")
        yield connection


def test_true_edges_are_confirmed_and_filters_are_told_apart(connection: duckdb.DuckDBPyConnection) -> None:
    verdict = Lab(connection, "lab").try_out("x", SQL)
    assert verdict.confirmed == {((ITEM, "id"), "id"), ((ITEM, "price"), "doubled"), ((ITEM, "label"), "label")}
    assert {source for source, _ in verdict.indirect} == {(ITEM, "kind")}
    assert verdict.unconfirmed == verdict.missed == verdict.rows == verdict.beyond == set()


def test_an_edge_that_lineage_does_not_have_is_missed(connection: duckdb.DuckDBPyConnection) -> None:
    columns = (((ITEM, "id"), "id"), ((ITEM, "label"), "label"))
    verdict = Tampered(connection, columns=columns).try_out("x", SQL)
    assert verdict.missed == {((ITEM, "price"), "doubled")}


def test_an_edge_that_is_not_there_is_not_confirmed(connection: duckdb.DuckDBPyConnection) -> None:
    columns = (((ITEM, "id"), "id"), ((ITEM, "id"), "label"), ((ITEM, "price"), "doubled"), ((ITEM, "label"), "label"))
    verdict = Tampered(connection, columns=columns).try_out("x", SQL)
    assert verdict.unconfirmed == {((ITEM, "id"), "label")}


def test_a_filter_that_lineage_does_not_have_decides_rows(connection: duckdb.DuckDBPyConnection) -> None:
    verdict = Tampered(connection, indirect=frozenset()).try_out("x", SQL)
    assert {source for source, _ in verdict.rows | verdict.missed} == {(ITEM, "kind")}


def test_a_table_that_lineage_does_not_know_of_is_found_by_taking_it_away(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    verdict = Tampered(connection, reads=(), columns=(), indirect=frozenset()).try_out("x", SQL)
    assert {column for _, column in verdict.beyond} == {"id", "price", "label", "kind"}


def test_experiments_leave_no_trace(connection: duckdb.DuckDBPyConnection) -> None:
    before = connection.execute("SELECT sum(hash(item)) FROM item").fetchall()
    Lab(connection, "lab").try_out("x", SQL)
    assert connection.execute("SELECT sum(hash(item)) FROM item").fetchall() == before
    assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("item",), ("other",)]


def test_rows_are_known_by_the_columns_that_stay_together() -> None:
    values = {"id": 1, "a": 2, "b": 3}
    base = Outcome(rows=9, values=values, pairs={("id", "a"): 1, ("id", "b"): 2, ("a", "b"): 3})
    moved = Outcome(rows=9, values=values, pairs={("id", "a"): 9, ("id", "b"): 2, ("a", "b"): 9})
    torn = Outcome(rows=9, values=values, pairs={("id", "a"): 9, ("id", "b"): 9, ("a", "b"): 9})
    assert base.differing(moved) == {"a"}
    assert base.differing(torn) == set()
    assert base.differing(replace(base, values={**values, "b": 4})) == {"b"}


def test_business_questions_have_every_edge_confirmed() -> None:
    total = Total()
    total.verdicts = list(tpch(["forecast change", "customer distribution", "promotion effect", "sales opportunity"]))
    assert total.precision == 1.0
    assert total.recall == 1.0
    assert sum(len(v.confirmed) for v in total.verdicts) >= 6
