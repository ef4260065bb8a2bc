"""Every statement we send parses as GoogleSQL, and every column it names stands in the documented view."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from mc_push_dagster.model import Scope, TablePattern, Window
from mc_push_dagster.warehouses import _bigquery_sql as sql
from mc_push_dagster.warehouses._bigquery_grants import NEEDS
from mc_push_dagster.warehouses._query_log import QueryLogFilter
from mc_push_dagster_tests.bigquery.engine import read

GOLDEN = Path(__file__).parents[1] / "golden" / "bigquery_shapes.json"
SHAPES = json.loads(GOLDEN.read_text(encoding="utf-8"))["shapes"]

SCOPE = Scope(
    include=(TablePattern.parse("shop-project.*.a_b"), TablePattern.parse('"exa.mple"')),
    exclude=(TablePattern.parse("shop-project.tmp"),),
)
WINDOW = Window(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 1, 1, tzinfo=UTC))
LONGEST = timedelta(hours=48)
REGION = sql.Place("shop-project", "us")
PLACES = [REGION, sql.Place("example.com:shop", "europe-west3"), sql.Place("shop-project", "us", "orders")]
CHOSEN = [
    sql.Chosen(scope=scope, fold=fold, biglake=biglake)
    for scope, fold, biglake in ((SCOPE, True, False), (SCOPE, False, False), (Scope(), True, True))
]
FILTERED = QueryLogFilter(users=("A*", "B"), exclude_users=("C",), texts=("select*",), exclude_texts=("%",))
STATEMENTS = [
    *(build(place, chosen) for place in PLACES for chosen in CHOSEN
      for build in (sql.tables, sql.options, sql.views, sql.columns, sql.fingerprint)),
    *(build(REGION, chosen) for chosen in CHOSEN for build in (sql.storage, sql.shares)),
    *(sql.queries(REGION, WINDOW, view=view, own_label="ours", longest=LONGEST, chosen=chosen)
      for view in ("JOBS_BY_PROJECT", "JOBS_BY_USER") for chosen in (QueryLogFilter(), FILTERED)),
    *(sql.lineage(REGION, WINDOW, view=view, longest=LONGEST, fold=fold)
      for view in sql.JOB_VIEWS.values() for fold in (True, False)),
    *(sql.job_projects(REGION, WINDOW, view=sql.JOB_VIEWS[view], longest=LONGEST)
      for view in ("folder", "organization")),
    *(sql.probe(REGION, view) for view in NEEDS),
]  # fmt: skip


@cache
def parsed(text: str) -> exp.Expr:
    return sqlglot.parse_one(text, read="bigquery")


def name_of(statement: sql.Statement) -> str:
    return re.sub(r"\W+", " ", statement.text)[:60]


@pytest.mark.parametrize("statement", STATEMENTS, ids=name_of)
def test_every_statement_parses_and_binds_all_its_values(statement):
    tree = parsed(statement.text)
    used = {parameter.name for parameter in tree.find_all(exp.Parameter)}
    assert used == {parameter.name for parameter in statement.parameters}


@pytest.mark.parametrize("statement", STATEMENTS, ids=name_of)
def test_the_stand_in_understands_it_without_the_driver(statement):
    assert read(statement.text, "me").views


def fields(kind: str) -> set[str]:
    return {part.strip().split(" ")[0] for part in re.sub(r"^(ARRAY<)?STRUCT<|>+$", "", kind).split(",")}


def known(tree: exp.Expr) -> dict[str, dict[str, str]]:
    """Columns with their types by alias: of documented views, of unnested arrays, of inner selects."""
    views: dict[str, dict[str, str]] = {}
    for table in tree.find_all(exp.Table):
        view = table.name.removeprefix("INFORMATION_SCHEMA.")
        views[table.alias or view] = SHAPES[view]["columns"]
    for unnested in tree.find_all(exp.Unnest):
        column = unnested.expressions[0]
        kind = views[column.table][column.name]
        alias = unnested.args["alias"]
        views[(alias.this or alias.columns[0]).name] = dict.fromkeys(fields(kind), "STRING")
    for inner in tree.find_all(exp.Subquery):
        if inner.alias:
            views[inner.alias] = dict.fromkeys(inner.this.named_selects, "STRING")
    return views


@pytest.mark.parametrize("statement", STATEMENTS, ids=name_of)
def test_every_column_it_names_is_documented(statement):
    tree = parsed(statement.text)
    views = known(tree)
    aliases = {select.alias for select in tree.find_all(exp.Alias)}
    assert views
    for column in tree.find_all(exp.Column):
        source, *path = [part.name for part in column.parts]
        if not path:
            assert source in aliases, f"{column.sql()} does not say which view it is of"
            continue
        assert path[0] in views[source], f"{column.sql()} is not in the documented view"
        if len(path) > 1:
            assert path[1] in fields(views[source][path[0]]), f"{column.sql()} is no field of {path[0]}"


@pytest.mark.parametrize("statement", STATEMENTS, ids=name_of)
def test_each_view_is_qualified_as_it_may_be(statement):
    for table in parsed(statement.text).find_all(exp.Table):
        shape = SHAPES[table.name.removeprefix("INFORMATION_SCHEMA.")]
        assert shape["region" if table.text("db").startswith("region-") else "dataset"]


def test_each_shape_has_its_source_and_says_how_it_was_seen():
    for shape in SHAPES.values():
        assert shape["source"].startswith("https://cloud.google.com/bigquery/docs/information-schema-")
        assert shape["seen"]


def test_views_of_folders_and_organizations_are_never_asked_for_texts():
    for statement in STATEMENTS:
        if "JOBS_BY_FOLDER" in statement.text or "JOBS_BY_ORGANIZATION" in statement.text:
            assert "j.query" not in statement.text


@pytest.mark.parametrize("name", ["ünï 表", "example.com:shop", "with -dash", "select"])
def test_an_identifier_is_one_identifier_whatever_stands_in_it(name):
    text = f"SELECT t.{sql.quoted(name)} FROM t"
    if "." not in name:  # sqlglot splits quoted paths at dots, as BigQuery does in front of a table's name
        (column,) = sqlglot.parse_one(text, read="bigquery").find_all(exp.Column)
        assert column.name == name
    assert sql.quoted(name) == f"`{name}`"


def test_backticks_and_backslashes_are_escaped_as_google_documents_it():
    assert sql.quoted("a`b\\c") == "`a\\`b\\\\c`"


def test_queries_are_never_cut_by_a_limit():
    for statement in STATEMENTS:
        tree = parsed(statement.text)
        assert tree.args.get("limit") is None or statement.text.startswith("SELECT 1 FROM")


def test_no_value_stands_in_the_text():
    chosen = QueryLogFilter(users=("secret-user",), texts=("secret-text",))
    text = sql.queries(
        REGION, WINDOW, view="JOBS_BY_PROJECT", own_label="secret-label", longest=LONGEST, chosen=chosen
    ).text
    assert "secret" not in text
    assert "2026" not in text


def test_jobs_are_pruned_by_the_partitioning_column_on_both_sides():
    statement = sql.queries(
        REGION, WINDOW, view="JOBS_BY_PROJECT", own_label="x", longest=LONGEST, chosen=QueryLogFilter()
    )
    assert statement.text.count("creation_time >=") == statement.text.count("creation_time <") == 2
    assert {WINDOW.start - LONGEST, WINDOW.start, WINDOW.end} <= {p.value for p in statement.parameters}
