"""Queries whose lineage is known because they were built from it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_push_dagster.lineage.cases import answer
from mc_push_dagster_tests.lineage.harness import lineage

BASE = {f"base_{n}": [f"c{n}_{i}" for i in range(4)] for n in range(3)}
DIALECTS = ("snowflake", "bigquery", "databricks", "spark", "hive", "redshift", "postgres", "duckdb", "generic")
WORDS = (
    *(
        "SELECT",
        "FROM",
        "WHERE",
        "INSERT INTO",
        "CREATE TABLE",
        "AS",
        "WITH",
        "UNION ALL",
        "JOIN",
        "ON",
        "MERGE",
        "USING",
    ),
    *("WHEN MATCHED THEN", "UPDATE", "SET", "CASE", "END", "NOT", "PIVOT", "FOR", "IN", "BEGIN", "DECLARE", "IF"),
    *(
        "EXECUTE",
        "IMMEDIATE",
        "t",
        "x",
        "a",
        "b.c",
        "*",
        "1",
        "'q'",
        "(",
        ")",
        ",",
        ";",
        "=",
        '"',
        "`",
        "--",
        "/*",
        "$$",
    ),
)
Sources = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Built:
    """SQL of a relation, its columns with their sources, and the tables it reads."""

    sql: str
    columns: tuple[tuple[str, Sources], ...]
    tables: frozenset[str]


@st.composite
def base(draw: st.DrawFn) -> Built:
    name = draw(st.sampled_from(sorted(BASE)))
    return Built(name, tuple((c, frozenset({(name, c)})) for c in BASE[name]), frozenset({name}))


def relation(depth: int) -> st.SearchStrategy[Built]:
    if depth == 0:
        return base()
    inner = relation(depth - 1)
    return st.one_of(base(), select(inner).map(parenthesised), union(inner).map(parenthesised))


def parenthesised(built: Built) -> Built:
    return Built(f"({built.sql})", built.columns, built.tables)


@st.composite
def select(draw: st.DrawFn, inner: st.SearchStrategy[Built]) -> Built:
    """A SELECT over one or two relations, perhaps through a common table expression."""
    parts = draw(st.lists(inner, min_size=1, max_size=2))
    tag = draw(st.integers(0, 10**9))
    with_clause, sources = "", []
    for i, part in enumerate(parts):
        text = part.sql
        if text.startswith("(") and draw(st.booleans()):
            with_clause += f"{', ' if with_clause else 'WITH '}w{tag}_{i} AS {text}"
            text = f"w{tag}_{i}"
        sources.append(f"{text} AS r{i}")
    pool = [(f"r{i}.{name}", name, found) for i, part in enumerate(parts) for name, found in part.columns]
    items, columns = [], []
    for n in range(draw(st.integers(1, 4))):
        text, found = draw(item(pool))
        items.append(f"{text} AS o{tag}_{n}")
        columns.append((f"o{tag}_{n}", found))
    # Two columns of one name cannot be told apart by whoever reads them, in any warehouse.
    distinct = {name for name, _ in columns}.isdisjoint(name for name, _ in parts[0].columns)
    if len(parts) == 1 and distinct and draw(st.booleans()):
        items.append("r0.*")
        columns += parts[0].columns
    filtered = f" WHERE {draw(st.sampled_from(pool))[0]} > 1" if draw(st.booleans()) else ""
    joined = " CROSS JOIN ".join(sources)
    sql = f"{with_clause} SELECT {', '.join(items)} FROM {joined}{filtered}".strip()
    return Built(sql, tuple(columns), frozenset().union(*(p.tables for p in parts)))


@st.composite
def item(draw: st.DrawFn, pool: list[tuple[str, str, Sources]]) -> tuple[str, Sources]:
    """One expression, and what it is made of."""
    (a, name, one), (b, _, two) = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
    bare = name if [p[1] for p in pool].count(name) == 1 else a
    form = draw(st.integers(0, 6))
    texts = (
        (bare, one),
        (f"{a} + {b}", one | two),
        (f"coalesce({a}, {b}, 0)", one | two),
        (f"CASE WHEN {a} > 1 THEN {b} ELSE 0 END", one | two),
        (f"sum({a}) OVER (PARTITION BY {b})", one | two),
        ("1", frozenset()),
        (f"(SELECT max(base_0.c0_0) FROM base_0 WHERE base_0.c0_1 = {a})", frozenset({("base_0", "c0_0")})),
    )
    return texts[form]


@st.composite
def union(draw: st.DrawFn, inner: st.SearchStrategy[Built]) -> Built:
    """UNION ALL of two relations over their first columns."""
    one, two = draw(select(inner)), draw(select(inner))
    width = min(len(one.columns), len(two.columns), 3)
    tops = []
    for side, built in enumerate((one, two)):
        names = ", ".join(f"u{side}.{name} AS p{i}" for i, (name, _) in enumerate(built.columns[:width]))
        tops.append(f"SELECT {names} FROM ({built.sql}) AS u{side}")
    columns = tuple((f"p{i}", one.columns[i][1] | two.columns[i][1]) for i in range(width))
    return Built(" UNION ALL ".join(tops), columns, one.tables | two.tables)


def check(built: Built, dialect: str) -> None:
    listed = ", ".join(f"a{i}" for i in range(len(built.columns)))
    found = lineage(f"INSERT INTO target ({listed}) {built.sql}", dialect, schemas=BASE)
    expected = {(t, c, f"a{i}") for i, (_, sources) in enumerate(built.columns) for t, c in sources}
    got = {(e["source_table"], e["source_column"], e["destination_column"].lower()) for e in found["columns"]}
    assert got == expected
    # A scalar subquery reads a table that the parts do not name.
    extra = {"base_0"} if "FROM base_0 WHERE" in built.sql else set()
    assert set(found["inputs"]) == built.tables | extra
    assert found["confidence"] == 1.0


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(built=select(relation(2)))
def test_lineage_of_a_built_query_is_what_it_was_built_from(dialect: str, built: Built) -> None:
    check(built, dialect)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(built=select(relation(3)), dialect=st.sampled_from(DIALECTS))
def test_lineage_of_a_deep_built_query_is_what_it_was_built_from(built: Built, dialect: str) -> None:
    check(built, dialect)


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(max_size=200)
    | st.lists(
        st.sampled_from(WORDS),
        max_size=40,
    ).map(" ".join),
    dialect=st.sampled_from(DIALECTS),
)
def test_any_text_at_all_gets_an_answer(text: str, dialect: str) -> None:
    found = answer({"id": text, "sql": text, "dialect": dialect})
    assert found["id"] == text
    assert set(found) == {"id", "tables", "inputs", "outputs", "columns", "confidence", "error"}
    assert 0 <= found["confidence"] <= 1
