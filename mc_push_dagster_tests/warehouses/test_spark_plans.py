"""Lineage of genuine analysed plans (Spark 3.5.9 with Iceberg): right, or left to the parser, never guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mc_push_dagster.lineage import DictCatalog, Statement, derive
from mc_push_dagster.model import ColumnEdge, LineageEdge, TableRef
from mc_push_dagster.warehouses._spark_plans import Flow, flows, view_flow
from mc_push_dagster.warehouses._spark_plantree import PlanError, items, split, tree

GOLDEN = Path(__file__).parents[1] / "golden" / "spark"
PLANS: dict[str, str] = {
    case["statement"]: case["plan"] for case in json.loads((GOLDEN / "plans_3.5.9.json").read_text(encoding="utf-8"))
}
LIN = {
    "ord": "oid bigint, cid int, amt decimal(10,2), dbl double, ts timestamp",
    "cust": "cid int, name string, region string",
    "nest": "id bigint, tags array<string>, attrs map<string,int>, addr struct<city:string,zip:int>",
    "ice": "id bigint, amt decimal(10,2), region string",
    "v_ord": "oid bigint, amt decimal(10,2), dbl double, name string, region string",
    "v2": "region string, total decimal(20,2)",
    "tgt": "region string, total double",
    "tgt_part": "region string, total double, dt string",
    "tgt_hive": "region string, total double",
    "tgt_hive_part": "region string, total double, dt string",
}


def plan(start: str) -> str:
    [found] = [plan for statement, plan in PLANS.items() if statement.startswith(start)]
    return found


def one(start: str) -> Flow:
    [flow] = flows(plan(start))
    return flow


def columns(flow: Flow) -> dict[str, set[str]]:
    assert flow.columns is not None
    return {name: {f"{table[-1]}.{column}" for table, column in sources} for name, sources in flow.columns}


def tables(flow: Flow) -> set[str]:
    return {name[-1] for name in flow.tables}


def test_views_are_nodes_and_are_not_looked_through():
    flow = view_flow(plan("SELECT * FROM lin.v2"), ("spark_catalog", "lin", "v2"))
    assert tables(flow) == {"v_ord"}
    assert flow.views == {("spark_catalog", "lin", "v_ord")}
    assert columns(flow) == {"region": {"v_ord.region"}, "total": {"v_ord.amt"}}


def test_the_view_that_is_asked_about_is_looked_into():
    flow = view_flow(plan("SELECT * FROM lin.v_ord"), ("spark_catalog", "lin", "v_ord"))
    assert tables(flow) == {"ord", "cust"}
    assert columns(flow)["region"] == {"cust.region"}


def test_a_union_joins_the_values_of_all_its_branches():
    flow = one("INSERT INTO lin.tgt SELECT region, sum(dbl)")
    assert columns(flow) == {"region": {"v_ord.region", "cust.name"}, "total": {"v_ord.dbl"}}


def test_a_static_partition_has_no_source_and_a_dynamic_one_has():
    assert columns(one("INSERT OVERWRITE lin.tgt_part"))["dt"] == set()
    assert columns(one("INSERT INTO lin.tgt_part"))["dt"] == {"v_ord.oid"}


def test_windows_and_scalar_subqueries_give_values():
    found = columns(one("CREATE TABLE lin.new1"))
    assert found["rn"] == {"v_ord.region", "v_ord.oid"}
    assert found["mx"] == {"cust.cid"}
    assert found["oid"] == {"v_ord.oid"}


@pytest.mark.parametrize(
    ("start", "target"),
    [
        ("CREATE TABLE lin.h1 STORED AS", ("spark_catalog", "lin", "h1")),
        ("CREATE TABLE lin.h2 AS", ("spark_catalog", "lin", "h2")),
        ("CREATE OR REPLACE TABLE lin.ice2", ("spark_catalog", "lin", "ice2")),
        ("CREATE TABLE lake.db1.ctas", ("lake", "db1", "ctas")),
        ("INSERT INTO lin.ice SELECT", ("spark_catalog", "lin", "ice")),
        ("INSERT OVERWRITE lin.ice SELECT", ("spark_catalog", "lin", "ice")),
        ("INSERT INTO lin.tgt_hive SELECT", ("spark_catalog", "lin", "tgt_hive")),
        ("CREATE VIEW lin.v9", ("spark_catalog", "lin", "v9")),
    ],
)
def test_every_form_of_write_names_its_table_with_its_catalog(start, target):
    assert one(start).target == target


ICEBERG_VIEW = """== Parsed Logical Plan ==
'CreateIcebergView SELECT a FROM q.src, false, false, false
:- ResolvedIdentifier org.apache.iceberg.spark.SparkSessionCatalog@42e1d036, q.v
+- 'Project ['a]
   +- 'UnresolvedRelation [q, src], [], false

== Analyzed Logical Plan ==
CreateIcebergView SELECT a FROM q.src, [a], false, false, true
:- ResolvedIdentifier org.apache.iceberg.spark.SparkSessionCatalog@42e1d036, q.v
+- Project [a#3]
   +- SubqueryAlias spark_catalog.q.src
      +- Relation spark_catalog.q.src[a#3] parquet
"""


@pytest.mark.parametrize("text", [plan("CREATE VIEW lin.v9"), ICEBERG_VIEW])
def test_a_new_view_gives_its_tables_and_leaves_its_column_names_open(text):
    """CREATE VIEW v (x, y): the plan does not name x and y."""
    [flow] = flows(text)
    assert flow.is_view
    assert flow.columns is None
    assert tables(flow) in ({"v_ord"}, {"src"})
    assert flow.target[0] == "spark_catalog"


def test_an_update_takes_only_what_it_sets():
    flow = one("UPDATE lin.ice")
    assert columns(flow) == {"id": set(), "amt": {"ord.amt"}, "region": set()}
    assert tables(flow) == {"ord"}


def test_a_delete_takes_nothing_from_what_filters_it():
    flow = one("DELETE FROM lin.ice")
    assert flow.tables == set()


def test_a_merge_gives_its_tables_and_leaves_its_columns_to_the_parser():
    flow = one("MERGE INTO lin.ice")
    assert tables(flow) == {"v_ord"}
    assert flow.columns is None


def test_a_multi_insert_gives_a_flow_for_each_target():
    found = flows(plan("FROM lin.cust INSERT INTO lin.tgt"))
    assert [flow.target[-1] for flow in found] == ["tgt", "tgt_hive"]
    assert columns(found[1]) == {"region": {"cust.region"}, "total": {"cust.cid"}}


def test_queries_write_nothing():
    assert flows(plan("SELECT id, t, k, v FROM lin.nest")) == []


@pytest.mark.parametrize(
    "text",
    [
        "no plan at all",
        "== Analyzed Logical Plan ==\norg.apache.spark.sql.AnalysisException: [X] nope",
        plan("INSERT INTO lin.ice SELECT").replace("region#", "... 12 more fields, x#"),
        plan("INSERT INTO lin.ice SELECT").replace("Project [cast", "NewOperator [cast"),
        plan("INSERT OVERWRITE DIRECTORY").replace(
            "InsertIntoDataSourceDirCommand", "InsertIntoHadoopFsRelationCommand"
        ),
    ],
)
def test_a_plan_that_is_cut_or_unknown_is_refused(text):
    with pytest.raises(PlanError):
        flows(text)


def test_literals_that_look_like_a_plan_are_refused_and_not_misread():
    changed = plan("CREATE TABLE lin.h1").replace("upper(name#360)", "concat(name#360, x], y [, z)")
    with pytest.raises(PlanError):
        flows(changed)


def test_commas_inside_of_types_and_calls_do_not_cut():
    assert split("a#1, cast(b#2 as map<string,int>) AS c#3, transform(d#4, x -> x + 1) AS e#5") == [
        "a#1",
        "cast(b#2 as map<string,int>) AS c#3",
        "transform(d#4, x -> x + 1) AS e#5",
    ]
    assert [i.name for i in items("a b#1L, (x#2 > 1) AS c d#3")] == ["a b", "c d"]


def test_a_column_name_with_a_comma_is_refused():
    with pytest.raises(PlanError):
        items("a#1L, (x#2 > 1) AS we, ird#3")


def test_subqueries_stand_apart_from_children():
    root = tree(plan("UPDATE lin.ice").split("== Analyzed Logical Plan ==\n")[1])
    project = root.children[0]
    assert [n.operator for n in project.inner] == ["Aggregate"]
    assert [n.operator for n in project.children] == ["RelationV2"]


# Both ways to lineage: Spark's plan and the SQL parser agree wherever both speak.


def catalog() -> DictCatalog:
    return DictCatalog(
        {
            TableRef(database="spark_catalog", schema="lin", name=name): {
                piece.split()[0]: piece.split()[1] for piece in _pieces(text)
            }
            for name, text in LIN.items()
        }
    )


def _pieces(text: str) -> list[str]:
    return split(text)


def derived(statement: str) -> tuple[set[tuple[str, str]], set[tuple[str, str, str, str]]]:
    """Table and column edges of the parser, by last name parts."""
    found = list(
        derive(
            [Statement(sql=statement, database="spark_catalog", schema="lin")],
            dialect="spark",
            catalog=catalog(),
        )
    )
    lines = {(e.source.name, e.destination.name) for e in found if isinstance(e, LineageEdge)}
    fine = {
        (e.source.name, e.source_column, e.destination.name, e.destination_column)
        for e in found
        if isinstance(e, ColumnEdge)
    }
    return lines, fine


WRITES = [
    statement
    for statement, text in PLANS.items()
    if statement.split()[0] in ("INSERT", "CREATE", "FROM", "UPDATE", "MERGE")
    and "DIRECTORY" not in statement
    and "AnalysisException" not in text
]


@pytest.mark.parametrize("statement", WRITES)
def test_plan_and_parser_agree(statement):
    lines, fine = derived(statement)
    for flow in flows(PLANS[statement]):
        target = flow.target[-1]
        assert tables(flow) == {source for source, destination in lines if destination == target}
        if flow.columns is not None:
            by_plan = {(t[-1], c, target, name) for name, sources in flow.columns for t, c in sources}
            assert by_plan == {edge for edge in fine if edge[2] == target}
