"""What one text may cost, whatever it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from mc_push_dagster.lineage.analysis import Analysis, Analyzer
from mc_push_dagster.lineage.budget import Budget
from mc_push_dagster.lineage.lookup import SchemaLookup
from mc_push_dagster.lineage.steps import Flow


def analyse(sql: str, dialect: str = "snowflake", **limits: float) -> tuple[Analysis, float]:
    analyzer = Analyzer(dialect, SchemaLookup({}), budget=Budget(**limits))  # type: ignore[arg-type]
    start = time.perf_counter()
    found = analyzer.analyze(sql)
    return found, time.perf_counter() - start


def flows(found: Analysis) -> list[Flow]:
    return [s for s in found.steps if isinstance(s, Flow)]


NESTED = {
    "parentheses": ("SELECT ", "(", "a", ")", " FROM t"),
    "subqueries": ("SELECT a FROM ", "(SELECT a FROM ", "t", ")", ""),
    "cases": ("SELECT ", "CASE WHEN a THEN ", "1", " END", " FROM t"),
    "functions": ("SELECT ", "f(", "a", ")", " FROM t"),
    "arrays": ("SELECT ", "[", "a", "]", " FROM t"),
    "negations": ("SELECT ", "NOT ", "a", "", " FROM t"),
    "structs": ("SELECT ", "STRUCT(", "a", ")", " FROM t"),
    "filters": ("SELECT 1 FROM t WHERE ", "EXISTS (SELECT 1 FROM t WHERE ", "a = 1", ")", ""),
    "unions": ("", "(", "SELECT a FROM t", " UNION ALL SELECT b FROM t)", ""),
}


@pytest.mark.parametrize("depth", [30, 140, 5000])
@pytest.mark.parametrize("shape", NESTED)
def test_deep_nesting_still_names_its_table(shape: str, depth: int) -> None:
    start, opening, core, closing, end = NESTED[shape]
    found, seconds = analyse(f"{start}{opening * depth}{core}{closing * depth}{end}", "bigquery")
    assert [flow.reads for flow in flows(found)] == [(("t",),)]
    assert seconds < 6
    assert depth < 5000 or found.skipped == ("tables only: nested too deep",)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("INSERT INTO x SELECT a FROM t WHERE b IN (" + ", ".join(map(str, range(60_000))) + ")", 1),
        ("INSERT INTO x SELECT a FROM t WHERE b IN ('" + "', '".join(map(str, range(30_000))) + "')", 1),
        ("INSERT INTO x SELECT a, '" + "x" * 1_000_000 + "' AS b FROM t", 1),
        ("INSERT INTO x /* " + "x " * 100_000 + " */ SELECT a FROM t", 1),
        ("INSERT INTO x SELECT " + ", ".join(f"a{i}" for i in range(2_000)) + " FROM t", 2_000),
        ("INSERT INTO x " + " UNION ALL ".join(f"SELECT a FROM t{i}" for i in range(1_000)), 1_000),
        ("INSERT INTO x SELECT a FROM t WHERE " + " OR ".join(f"b = {i}" for i in range(3_000)), 1),
        (
            "INSERT INTO x WITH c0 AS (SELECT * FROM t), "
            + ", ".join(f"c{i} AS (SELECT *, a{i} FROM c{i - 1})" for i in range(1, 300))
            + " SELECT a0, a299 FROM c299",
            2,
        ),
    ],
    ids=["numbers in a list", "strings in a list", "long string", "comment", "wide", "union", "or", "chain of stars"],
)
def test_long_statements_give_their_columns(sql: str, columns: int) -> None:
    found, seconds = analyse(sql)
    assert found.skipped == ()
    assert [len(flow.columns) for flow in flows(found)] == [columns]
    assert seconds < 6


def test_values_without_end_are_cut_to_the_first_row_and_what_follows_stays() -> None:
    rows = ", ".join(f"({i}, 'x', -{i}, NULL)" for i in range(20_000))
    found, _ = analyse(f"INSERT INTO x (a, b, c, d) VALUES {rows}, (1, (SELECT max(q) FROM t), 2, 3)")
    assert [flow.columns for flow in flows(found)] == [(((("T",), "Q"), "B"),)]


def test_stars_times_stars_end_before_memory_does() -> None:
    doubled = ", ".join(f"c{i} AS (SELECT x.*, y.* FROM c{i - 1} x, c{i - 1} y)" for i in range(1, 60))
    found, seconds = analyse(f"INSERT INTO x WITH c0 AS (SELECT a, b FROM t), {doubled} SELECT * FROM c59")
    assert found.skipped == ("tables only: too many columns",)
    assert [(flow.destination, flow.reads) for flow in flows(found)] == [(("X",), (("T",),))]
    assert seconds < 6


def test_a_text_beyond_all_limits_is_skipped_by_its_reason() -> None:
    assert analyse("SELECT 1 FROM t", characters=5)[0] == Analysis((), ("too long",))
    found, _ = analyse("INSERT INTO x SELECT a, b FROM s.t JOIN u USING (k), v", tokens=5)
    assert found.skipped == ("tables only: too long",)
    assert [(f.destination, f.reads) for f in flows(found)] == [(("X",), (("S", "T"), ("U",), ("V",)))]


@pytest.fixture
def ticks() -> Iterator[float]:
    """A clock that makes a second pass whenever it is read."""
    return iter(range(10_000_000))


def test_time_runs_out_in_the_parser_and_in_the_resolver_alike(ticks: Iterator[float]) -> None:
    sql = "INSERT INTO x SELECT a FROM (SELECT a FROM (SELECT a FROM t))"
    analyzer = Analyzer("snowflake", SchemaLookup({}), budget=Budget(seconds=2, now=lambda: next(ticks)))
    found = analyzer.analyze(sql)
    assert found.skipped == ("tables only: out of time",)
    assert [(f.destination, f.reads) for f in flows(found)] == [(("X",), (("T",),))]


def test_a_parser_that_goes_back_without_end_is_stopped() -> None:
    from mc_push_dagster.lineage.parsing import parse
    from mc_push_dagster_tests.benchmarks.lineage_corpora import compiled

    if compiled():
        pytest.skip("the compiled sqlglot cannot be watched; its limits are tokens and depth")
    analyzer = Analyzer("duckdb", SchemaLookup({}), budget=Budget(seconds=0.3))
    nested = "STRUCT(" * 40 + "a" + ")" * 40
    clock = analyzer.budget.start()
    with pytest.raises(Exception, match=r"^$") as caught:
        parse(analyzer.dialect.tokenize(f"SELECT {nested} FROM t"), "", analyzer.dialect, clock.tick)
    assert type(caught.value).__name__ == "OutOfTime"


def test_sqlglots_warnings_do_not_carry_statements_into_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        analyse("CREATE USER u PASSWORD = 'geheim'")
        analyse("ALTER TABLE t FROBNICATE 'geheim'")
        analyse("SELECT json_extract(a, '$.geheim(') FROM t")
    assert "geheim" not in caplog.text
