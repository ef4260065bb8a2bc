"""What a query's columns are made of, construct by construct and dialect by dialect."""

from __future__ import annotations

from typing import Any

import pytest

from mc_push_dagster.lineage.analysis import Analyzer
from mc_push_dagster.lineage.lookup import SchemaLookup
from mc_push_dagster.lineage.steps import Flow
from mc_push_dagster_tests.lineage.harness import SHOP, columns, lineage

EVENTS: dict[str, Any] = {**SHOP, "events": ["id", "kind", "params", "device", "at"], "wide": ["a", "b", "c"]}


def flows(sql: str, dialect: str = "generic", schemas: Any = EVENTS) -> set[str]:
    return {c.lower() for c in columns(lineage(sql, dialect, schemas=schemas))}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT * FROM wide", {"wide.a > a", "wide.b > b", "wide.c > c"}, id="star"),
        pytest.param("SELECT w.* FROM wide w, orders", {"wide.a > a", "wide.b > b", "wide.c > c"}, id="qualified star"),
        pytest.param("SELECT count(*) AS n FROM wide", set(), id="count takes no value of a known table"),
        pytest.param("SELECT count(*) AS n FROM nobody", {"nobody.* > n"}, id="count of an unknown table"),
        pytest.param("SELECT * FROM nobody", {"nobody.* > *"}, id="star of an unknown table"),
        pytest.param(
            "SELECT CASE WHEN a > 1 THEN b ELSE 0 END AS x FROM wide", {"wide.a > x", "wide.b > x"}, id="case condition"
        ),
        pytest.param(
            "SELECT sum(a) OVER (PARTITION BY b ORDER BY c) AS x FROM wide",
            {"wide.a > x", "wide.b > x", "wide.c > x"},
            id="window",
        ),
        pytest.param(
            "SELECT a AS x FROM wide WHERE b > 1 GROUP BY a, c HAVING max(b) > 2", {"wide.a > x"}, id="filters"
        ),
        pytest.param("SELECT a AS x FROM wide JOIN orders ON b = id", {"wide.a > x"}, id="join keys"),
        pytest.param(
            "SELECT (SELECT max(total) FROM orders o WHERE o.id = w.a) AS x FROM wide w",
            {"orders.total > x"},
            id="correlated subquery",
        ),
        pytest.param(
            "SELECT a IN (SELECT id FROM orders) AS x FROM wide", {"wide.a > x", "orders.id > x"}, id="in a subquery"
        ),
        pytest.param("SELECT EXISTS (SELECT id FROM orders) AS x FROM wide", set(), id="existence is no value"),
        pytest.param(
            "SELECT a AS x FROM wide UNION ALL SELECT id FROM orders", {"wide.a > x", "orders.id > x"}, id="union"
        ),
        pytest.param("SELECT a FROM wide EXCEPT SELECT id FROM orders", {"wide.a > a"}, id="except takes away"),
        pytest.param(
            "SELECT a FROM wide INTERSECT SELECT id FROM orders", {"wide.a > a", "orders.id > a"}, id="intersect"
        ),
        pytest.param("SELECT x.p FROM (SELECT a AS p, b FROM wide) AS x", {"wide.a > p"}, id="derived table"),
        pytest.param("SELECT p FROM (SELECT a, b FROM wide) AS x (p, q)", {"wide.a > p"}, id="derived column names"),
        pytest.param("WITH x (p, q) AS (SELECT a, b FROM wide) SELECT q FROM x", {"wide.b > q"}, id="cte column names"),
        pytest.param(
            "WITH wide AS (SELECT total AS a FROM orders) SELECT a FROM wide",
            {"orders.total > a"},
            id="cte hides a table",
        ),
        pytest.param(
            "WITH x AS (SELECT a FROM wide), y AS (SELECT id FROM orders) SELECT a FROM x",
            {"wide.a > a"},
            id="unused cte",
        ),
        pytest.param(
            "WITH RECURSIVE tree AS (SELECT id, total AS depth FROM orders UNION ALL "
            "SELECT o.id, t.depth + o.customer_id FROM orders o JOIN tree t ON o.id = t.id) SELECT depth FROM tree",
            {"orders.total > depth", "orders.customer_id > depth"},
            id="recursive",
        ),
        pytest.param(
            "SELECT id, name FROM orders LEFT JOIN (SELECT id, name FROM customers) c USING (id)",
            {"orders.id > id", "customers.name > name"},
            id="using, left",
        ),
        pytest.param(
            "SELECT id FROM orders FULL JOIN customers USING (id)",
            {"orders.id > id", "customers.id > id"},
            id="using, full",
        ),
        pytest.param("SELECT id FROM orders RIGHT JOIN customers USING (id)", {"customers.id > id"}, id="using, right"),
        pytest.param(
            "SELECT * FROM (SELECT id, total FROM orders) o NATURAL JOIN (SELECT id, name FROM customers) c",
            {"orders.id > id", "orders.total > total", "customers.name > name"},
            id="natural join",
        ),
        pytest.param("SELECT id FROM orders, customers WHERE 1 = 1", {"orders.id > id"}, id="ambiguous: the first"),
        pytest.param("SELECT x FROM nobody n, noone m", set(), id="undecidable: nothing"),
        pytest.param("SELECT total FROM orders, nobody", {"orders.total > total"}, id="known table first"),
        pytest.param("SELECT x FROM orders, nobody", {"nobody.x > x"}, id="only the unknown table can have it"),
        pytest.param("SELECT brand_new FROM orders", {"orders.brand_new > brand_new"}, id="newer than the catalog"),
        pytest.param(
            "SELECT x FROM (SELECT *, row_number() OVER (ORDER BY y) AS rn FROM nobody) t WHERE rn = 1",
            {"nobody.x > x"},
            id="through an open star",
        ),
        pytest.param(
            "SELECT a FROM (SELECT a FROM wide UNION SELECT * FROM nobody) u",
            {"wide.a > a", "nobody.a > a"},
            id="through an open star of a union",
        ),
        pytest.param("SELECT ORDERS.ID AS x FROM Orders", {"orders.id > x"}, id="case of names"),
        pytest.param("SELECT orders.id AS x FROM orders AS o", {"orders.id > x"}, id="a table by its hidden name"),
        pytest.param("SELECT t.id AS x FROM ((orders AS t JOIN wide ON true))", {"orders.id > x"}, id="parentheses"),
        pytest.param("SELECT v.p AS x FROM (VALUES (1, 2)) AS v (p, q)", set(), id="values"),
        pytest.param("SELECT a FROM wide WHERE a IN (SELECT b FROM wide)", {"wide.a > a"}, id="semi-join by filter"),
        pytest.param("SELECT coalesce(a, b) || c AS x FROM wide", {f"wide.{c} > x" for c in "abc"}, id="functions"),
        pytest.param("SELECT CAST(a AS int) AS x, b::text AS y FROM wide", {"wide.a > x", "wide.b > y"}, id="casts"),
        pytest.param("SELECT 1 AS x, current_timestamp AS y, 'a' AS z FROM wide", set(), id="constants"),
        pytest.param("SELECT a + b FROM wide", {"wide.a > a + b", "wide.b > a + b"}, id="unnamed"),
    ],
)
def test_standard_sql(sql: str, expected: set[str]) -> None:
    assert flows(sql) == expected


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        pytest.param(
            "snowflake", "SELECT * EXCLUDE (a) RENAME (b AS d) FROM wide", {"wide.b > d", "wide.c > c"}, id="rename"
        ),
        pytest.param(
            "bigquery",
            "SELECT * EXCEPT (a) REPLACE (b + c AS b) FROM wide",
            {"wide.b > b", "wide.c > b", "wide.c > c"},
            id="replace",
        ),
        pytest.param("duckdb", "SELECT * EXCLUDE (a) FROM wide", {"wide.b > b", "wide.c > c"}, id="exclude"),
        pytest.param("snowflake", "SELECT * ILIKE '%a%' FROM wide", {"wide.a > a"}, id="ilike"),
        pytest.param("duckdb", "SELECT COLUMNS('[ab]') FROM wide", {"wide.a > a", "wide.b > b"}, id="columns"),
        pytest.param(
            "snowflake",
            "SELECT f.value:x::string AS v FROM events e, LATERAL FLATTEN(input => e.params) f",
            {"events.params > v"},
            id="lateral flatten",
        ),
        pytest.param(
            "snowflake",
            "SELECT g.index AS i FROM events e, TABLE(FLATTEN(e.params)) g",
            {"events.params > i"},
            id="table flatten",
        ),
        pytest.param(
            "snowflake", "SELECT device:os.name::string AS os FROM events", {"events.device > os"}, id="variant path"
        ),
        pytest.param(
            "bigquery",
            "SELECT p.key AS k, device.os AS os FROM events, UNNEST(params) AS p",
            {"events.params > k", "events.device.os > os"},
            id="unnest",
        ),
        pytest.param(
            "bigquery",
            "SELECT p, i FROM events AS e, UNNEST(e.params) AS p WITH OFFSET AS i",
            {"events.params > p"},
            id="offset has no source",
        ),
        pytest.param(
            "bigquery", "SELECT p.key AS k FROM events AS e, e.params AS p", {"events.params > k"}, id="implicit unnest"
        ),
        pytest.param(
            "bigquery", "SELECT params[OFFSET(0)].key AS k FROM events", {"events.params > k"}, id="array access"
        ),
        pytest.param(
            "bigquery",
            "SELECT STRUCT(id, kind AS k) AS s FROM events",
            {"events.id > s", "events.kind > s"},
            id="struct",
        ),
        pytest.param(
            "bigquery",
            "SELECT to_json_string(e) AS j FROM wide AS e",
            {"wide.a > j", "wide.b > j", "wide.c > j"},
            id="whole row",
        ),
        pytest.param(
            "bigquery",
            "SELECT ARRAY(SELECT x.v FROM UNNEST(params) AS x) AS vs FROM events",
            {"events.params > vs"},
            id="array subquery",
        ),
        pytest.param(
            "bigquery",
            "SELECT x.* FROM (SELECT device AS d FROM events) AS x",
            {"events.device > d"},
            id="star of a derived table",
        ),
        pytest.param(
            "spark",
            "SELECT id, k, v FROM events LATERAL VIEW OUTER explode(params) p AS k, v",
            {"events.id > id", "events.params > k", "events.params > v"},
            id="lateral view",
        ),
        pytest.param(
            "hive",
            "SELECT i.x FROM events LATERAL VIEW json_tuple(params, 'x', 'y') i AS x, y",
            {"events.params > x"},
            id="json tuple",
        ),
        pytest.param(
            "databricks",
            "SELECT explode(params) AS (k, v) FROM events",
            {"events.params > k", "events.params > v"},
            id="several names",
        ),
        pytest.param(
            "spark",
            "SELECT transform(params, p -> p.x + id) AS t FROM events",
            {"events.params > t", "events.id > t"},
            id="lambda",
        ),
        pytest.param(
            "postgres",
            "SELECT u.x FROM events, unnest(params) AS u (x)",
            {"events.params > x"},
            id="unnest with column",
        ),
        pytest.param(
            "postgres",
            "SELECT s.n FROM orders o, LATERAL (SELECT c.name AS n FROM customers c WHERE c.id = o.id) s",
            {"customers.name > n"},
            id="lateral",
        ),
        pytest.param("postgres", "SELECT device ->> 'os' AS os FROM events", {"events.device > os"}, id="json"),
        pytest.param(
            "postgres",
            "SELECT DISTINCT ON (kind) id FROM events ORDER BY kind, at",
            {"events.id > id"},
            id="distinct on",
        ),
        pytest.param(
            "postgres",
            "SELECT sum(a) FILTER (WHERE b > 1) AS x FROM wide",
            {"wide.a > x", "wide.b > x"},
            id="aggregate filter",
        ),
        pytest.param("postgres", "SELECT g.i FROM generate_series(1, 3) AS g (i)", set(), id="series"),
        pytest.param(
            "redshift", "SELECT a + 1 AS p, p * 2 AS q FROM wide", {"wide.a > p", "wide.a > q"}, id="lateral alias"
        ),
        pytest.param(
            "redshift",
            "SELECT a + 1 AS b, b AS q FROM wide",
            {"wide.a > b", "wide.b > q"},
            id="a column before an alias",
        ),
        pytest.param(
            "bigquery",
            "SELECT id AS x FROM events QUALIFY row_number() OVER (PARTITION BY kind ORDER BY at) = 1",
            {"events.id > x"},
            id="qualify",
        ),
        pytest.param("duckdb", "FROM wide SELECT a", {"wide.a > a"}, id="from first"),
        pytest.param("duckdb", "FROM wide", {"wide.a > a", "wide.b > b", "wide.c > c"}, id="from alone"),
        pytest.param(
            "spark",
            "SELECT o.* FROM orders o LEFT SEMI JOIN wide ON a = id",
            {f"orders.{c} > {c}" for c in SHOP["orders"]},
            id="semi join",
        ),
        pytest.param(
            "snowflake",
            "SELECT * FROM (SELECT a, b, c FROM wide) PIVOT (sum(b) FOR c IN ('x', 'y')) AS p (a, x, y)",
            {"wide.a > a", "wide.b > x", "wide.b > y"},
            id="pivot",
        ),
        pytest.param(
            "bigquery",
            "SELECT * FROM wide PIVOT (sum(b) AS s FOR c IN ('x' AS x, 'y' AS y))",
            {"wide.a > a", "wide.b > s_x", "wide.b > s_y"},
            id="pivot names",
        ),
        pytest.param(
            "snowflake",
            "SELECT a, n, v FROM wide UNPIVOT (v FOR n IN (b, c))",
            {"wide.a > a", "wide.b > v", "wide.c > v"},
            id="unpivot",
        ),
        pytest.param(
            "duckdb",
            "SELECT * FROM (UNPIVOT wide ON b, c INTO NAME n VALUE v)",
            {"wide.a > a", "wide.b > v", "wide.c > v"},
            id="unpivot statement",
        ),
        pytest.param(
            "snowflake",
            "SELECT datediff(day, placed_at, at) AS d FROM orders, events",
            {"orders.placed_at > d", "events.at > d"},
            id="time unit",
        ),
        pytest.param(
            "redshift",
            "SELECT my_date_diff(month, placed_at) AS d FROM nobody",
            {"nobody.placed_at > d"},
            id="time unit in an unknown function",
        ),
        pytest.param("bigquery", "SELECT id, _PARTITIONTIME AS p FROM nobody", {"nobody.id > id"}, id="pseudo column"),
        pytest.param("snowflake", "SELECT a FROM TABLE('WIDE')", {"wide.a > a"}, id="table by its name in a string"),
        pytest.param("snowflake", "SELECT a FROM IDENTIFIER('wide')", {"wide.a > a"}, id="identifier"),
        pytest.param("snowflake", "SELECT a FROM wide AT (OFFSET => -60) AS w", {"wide.a > a"}, id="time travel"),
    ],
)
def test_construct_of_a_dialect(dialect: str, sql: str, expected: set[str]) -> None:
    assert flows(sql, dialect) == expected


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("postgres", ["max", "?column?", "case", "id", "coalesce"]),
        ("redshift", ["max", "?column?", "case", "id", "coalesce"]),
        ("bigquery", ["f0_", "f1_", "f2_", "f3_", "f4_"]),
        ("hive", ["_c0", "_c1", "_c2", "_c3", "_c4"]),
        ("snowflake", ["MAX(ID)", "ID + 1", "CASE WHEN ID > 1 THEN ID END", "ID::INT", "COALESCE(ID, ID)"]),
        ("spark", ["max(id)", "id + 1", "case when id > 1 then id end", "id::int", "coalesce(id, id)"]),
    ],
)
def test_an_unnamed_column_of_a_new_table_has_the_name_that_the_warehouse_makes_up(
    dialect: str, expected: list[str]
) -> None:
    cast = "CAST(id AS INT)" if dialect in ("bigquery", "hive") else "id::int"
    sql = (
        f"CREATE TABLE t AS SELECT max(id), id + 1, CASE WHEN id > 1 THEN id END, {cast}, coalesce(id, id) FROM orders"
    )
    found = lineage(sql, dialect)
    assert [edge["destination_column"] for edge in found["columns"]] == expected


def _flow(sql: str) -> Flow:
    (step,) = Analyzer("duckdb", SchemaLookup(EVENTS)).analyze(sql).steps
    assert isinstance(step, Flow)
    return step


def test_filters_and_join_keys_are_kept_apart_as_indirect_evidence() -> None:
    step = _flow(
        "INSERT INTO report (id) SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id "
        "WHERE c.country = 'x' ORDER BY o.total"
    )
    assert step.indirect == {
        (("customers",), "id"),
        (("customers",), "country"),
        (("orders",), "customer_id"),
        (("orders",), "total"),
    }
    assert [source for source, _ in step.columns] == [(("orders",), "id")]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT id, sum(total) FROM orders GROUP BY ALL", {"orders.id"}, id="group by all"),
        pytest.param(
            "SELECT id, customer_id, sum(total) FROM orders GROUP BY 1, 2",
            {"orders.id", "orders.customer_id"},
            id="positions",
        ),
        pytest.param(
            "SELECT id, customer_id, sum(total) FROM orders GROUP BY ROLLUP (2)", {"orders.customer_id"}, id="rollup"
        ),
        pytest.param(
            "SELECT sum(total) OVER (ORDER BY id) AS s, count(*) FROM orders GROUP BY ALL",
            {"orders.total", "orders.id"},
            id="a window is no aggregate",
        ),
        pytest.param("SELECT id, total FROM orders ORDER BY 2 LIMIT 5", {"orders.total"}, id="order by position"),
        pytest.param(
            "SELECT id FROM orders UNION SELECT customer_id FROM orders ORDER BY 1",
            {"orders.id", "orders.customer_id"},
            id="order of a union",
        ),
        pytest.param("SELECT DISTINCT id, 5 AS n FROM orders", {"orders.id"}, id="distinct"),
        pytest.param(
            "SELECT o.id FROM orders o WHERE o.customer_id NOT IN (SELECT c.id FROM customers c WHERE c.name = 'x')",
            {"orders.customer_id", "customers.id", "customers.name"},
            id="what a subquery in a filter gives",
        ),
        pytest.param(
            "SELECT o.id FROM orders o WHERE EXISTS (SELECT c.name FROM customers c WHERE c.id = o.customer_id)",
            {"orders.customer_id", "customers.id"},
            id="EXISTS takes no value",
        ),
    ],
)
def test_what_decides_which_rows_there_are_is_indirect_evidence(sql: str, expected: set[str]) -> None:
    assert {f"{table[-1]}.{column}" for table, column in _flow(f"CREATE TABLE x AS {sql}").indirect} == expected
