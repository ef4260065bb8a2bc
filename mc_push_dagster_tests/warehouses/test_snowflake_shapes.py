"""Every statement we send parses as Snowflake's SQL, and every column it names stands in the documented view."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from mc_push_dagster.model import Scope, TablePattern, Window
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster.warehouses import _snowflake_usage as usage
from mc_push_dagster.warehouses._query_log import QueryLogFilter
from mc_push_dagster.warehouses._snowflake_grants import VIEW_ROLES

GOLDEN = Path(__file__).parents[1] / "golden" / "snowflake_shapes.json"
SHAPES = json.loads(GOLDEN.read_text(encoding="utf-8"))["shapes"]

SCOPE = Scope(
    include=(TablePattern.parse("shop.*.a_b"), TablePattern.parse('"we.ird"')),
    exclude=(TablePattern.parse("shop.tmp"),),
)
WINDOW = Window(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 1, 1, tzinfo=UTC))
DATABASES = ["SHOP", 'we"ird.db', "per%cent?", "ünï 表", "back\\slash"]
PLACES = [
    sql.Place(),
    *(sql.Place(database=name) for name in DATABASES),
    sql.Place(database="SHOP", schema="it's"),
]
STATEMENTS = [
    sql.SHOW_DATABASES,
    usage.tag_references(SCOPE),
    usage.last_writes(WINDOW.start),
    usage.table_lineage(WINDOW),
    usage.column_lineage(WINDOW),
    usage.dependencies(SCOPE),
    usage.queries(WINDOW, own_tag="it's ours", chosen=QueryLogFilter()),
    usage.queries(
        WINDOW,
        own_tag="x",
        chosen=QueryLogFilter(users=("A*", "B"), exclude_users=("C",), texts=("select*",), exclude_texts=("%",)),
    ),
    sql.session("it's \\ ours", 300),
    *(build(place, scope, ("SNOWFLAKE",)) for place in PLACES for build in (sql.tables, sql.columns, sql.fingerprint)
      for scope in (SCOPE, Scope())),
    *(build(place) for place in PLACES for build in (sql.element_types, sql.fields)),
    *(build(name) for name in DATABASES for build in (sql.schema_names, usage.dynamic_tables, sql.first_table)),
    *(sql.show(what, name) for what in ("MATERIALIZED VIEWS", "DYNAMIC TABLES") for name in DATABASES),
    *(sql.probe(f"SNOWFLAKE.ACCOUNT_USAGE.{view}") for view in VIEW_ROLES),
]  # fmt: skip


def parsed(statement: sql.Statement) -> exp.Expr:
    return sqlglot.parse_one(statement.rendered(pyformat=False), read="snowflake")


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: s.text[:60].replace("\n", " "))
def test_every_statement_parses_and_binds_all_its_values(statement):
    tree = parsed(statement)
    assert len(list(tree.find_all(exp.Placeholder))) == len(statement.values)
    assert statement.rendered(pyformat=True).count("%s") == len(statement.values)


@pytest.mark.parametrize(
    "statement", [s for s in STATEMENTS if s.text.startswith("SELECT")], ids=lambda s: s.text[:60].replace("\n", " ")
)
def test_every_column_it_names_is_documented(statement):
    tree = parsed(statement)
    views = {}
    for table in tree.find_all(exp.Table):
        if table.name:
            name = table.name.upper()
            home = "ACCOUNT_USAGE" if table.db == "ACCOUNT_USAGE" else "INFORMATION_SCHEMA"
            views[table.alias or "1"] = SHAPES[home][name]["columns"]
    for function in tree.find_all(exp.TableFromRows):
        views[function.alias] = SHAPES["INFORMATION_SCHEMA"]["DYNAMIC_TABLE_GRAPH_HISTORY"]["columns"]
    flattened = {lateral.alias for lateral in tree.find_all(exp.Lateral)}
    assert views
    for column in tree.find_all(exp.Column):
        if column.table in flattened:
            assert column.name.upper() in ("VALUE", "INDEX", "KEY", "PATH", "SEQ", "THIS")
        elif column.table:
            assert column.name.upper() in views[column.table], f"{column.sql()} is not in the documented view"
        else:
            raise AssertionError(f"{column.sql()} does not say which view it is of")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("DATABASES", {"NAME"}),
        ("MATERIALIZED VIEWS", {"SCHEMA_NAME", "NAME", "TEXT"}),
        ("DYNAMIC TABLES", {"SCHEMA_NAME", "NAME", "TEXT"}),
    ],
)
def test_what_we_take_of_show_is_documented(name, columns):
    assert columns <= set(SHAPES["SHOW"][name]["columns"])


def test_each_shape_has_its_source_and_says_how_it_was_seen():
    for views in SHAPES.values():
        for shape in views.values():
            assert shape["source"].startswith("https://docs.snowflake.com/en/sql-reference/")
            assert shape["seen"]


@pytest.mark.parametrize("name", DATABASES)
def test_an_identifier_is_one_identifier_whatever_stands_in_it(name):
    statement = sql.tables(sql.Place(database=name), SCOPE)
    for pyformat in (False, True):
        text = statement.rendered(pyformat=pyformat)
        if pyformat:  # as the driver fills it in
            text = text % tuple("'x'" for _ in statement.values)
        tables = list(sqlglot.parse_one(text, read="snowflake").find_all(exp.Table))
        assert {table.catalog for table in tables} == {name}


def test_queries_are_never_cut_by_a_limit():
    assert parsed(usage.queries(WINDOW, own_tag="x", chosen=QueryLogFilter())).args.get("limit") is None


def test_no_value_stands_in_the_text():
    text = usage.queries(
        WINDOW, own_tag="secret-tag", chosen=QueryLogFilter(users=("secret-user",), texts=("secret-text",))
    ).text
    assert "secret" not in text
    assert "2026" not in text


def test_the_longest_statement_that_ends_in_a_window_began_within_the_days_that_are_read():
    started = [v for v in usage.queries(WINDOW, own_tag="x", chosen=QueryLogFilter()).values if isinstance(v, str)]
    assert (WINDOW.start - timedelta(days=7)).isoformat() in started
