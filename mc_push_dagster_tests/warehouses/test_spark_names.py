"""Catalog, lineage and logs call a table by one name, whatever shape of names is chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.flow.written import derived
from mc_push_dagster.lineage import DictCatalog, Skipped, Statement
from mc_push_dagster.model import Scope, TableRef
from mc_push_dagster.warehouses._spark_names import Names, Shape
from mc_push_dagster.warehouses.hive import Hive, HiveSettings
from mc_push_dagster.warehouses.spark import Spark, SparkSettings

SHAPES: tuple[Shape, ...] = ("iomete", "hive", "catalog")
words = st.text(st.sampled_from("ab.` ü"), min_size=1, max_size=4)


@given(shape=st.sampled_from(SHAPES), catalog=st.sampled_from(["spark_catalog", "lake"]), namespace=words, table=words)
def test_written_and_pushed_names_lead_to_each_other(shape, catalog, namespace, table):
    names = Names(shape, others=("lake",))
    if namespace == "lake":
        return  # a database that is called as a catalog is refused where both are read
    written = TableRef(database=catalog, schema=namespace, name=table)
    assert names.written(names.pushed(written)) == written


def edges(
    warehouse: Spark | Hive, statements: list[Statement], tables: dict[TableRef, dict[str, str]]
) -> set[tuple[str, str]]:
    found = derived(warehouse, statements, catalog=DictCatalog(tables))
    return {(str(e.source), str(e.destination)) for e in found if not isinstance(e, Skipped)}


@pytest.mark.parametrize("shape", SHAPES)
def test_views_and_queries_over_several_databases_join_the_catalog(shape):
    warehouse = Spark.from_settings(
        SparkSettings(host="h", names=shape, catalogs=("spark_catalog", "lake")), scope=Scope()
    )
    names = Names(shape, others=("lake",))
    orders, europe, copy = (
        names.ref("spark_catalog", db, t) for db, t in (("sales", "orders"), ("mart", "eu"), ("mart", "copy"))
    )
    clicks = names.ref("lake", "raw", "clicks")
    found = edges(
        warehouse,
        [
            Statement(sql="SELECT id FROM sales.orders", database=europe.database, schema=europe.schema, view=europe),
            Statement(sql="INSERT INTO copy SELECT id FROM Sales.Orders", database="spark_catalog", schema="mart"),
            Statement(
                sql="INSERT INTO mart.copy SELECT id FROM lake.raw.clicks", database="spark_catalog", schema=None
            ),
            Statement(sql="INSERT INTO mart.new_one SELECT id FROM copy", database="spark_catalog", schema="mart"),
        ],
        {ref: {"id": "int"} for ref in (orders, europe, copy, clicks)},
    )
    new = names.ref("spark_catalog", "mart", "new_one")
    pairs = [(orders, europe), (orders, copy), (clicks, copy), (copy, new)]
    assert found == {(str(a), str(b)) for a, b in pairs}


def test_hive_views_over_another_database_join_the_catalog():
    warehouse = Hive.from_settings(HiveSettings(host="h"), scope=Scope())
    base, view = TableRef(database="a", schema="a", name="t"), TableRef(database="b", schema="b", name="v")
    statement = Statement(sql="SELECT id FROM a.t", database="b", schema="b", view=view)
    assert edges(warehouse, [statement], {base: {"id": "int"}, view: {"id": "int"}}) == {("a.a.t", "b.b.v")}
