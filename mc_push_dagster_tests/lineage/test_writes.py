"""Each kind of statement, in the dialects that have it: what it reads and what it writes."""

from __future__ import annotations

import pytest

from mc_push_dagster_tests.lineage.harness import columns, lineage, tables

ALL = ("snowflake", "bigquery", "databricks", "spark", "hive", "redshift", "postgres", "duckdb", "ansi", "generic")
UPPER = {"snowflake"}

EVERYWHERE = {
    "create table as": (
        "CREATE TABLE out_1 AS SELECT id, total * 2 AS twice FROM orders",
        {"orders > out_1"},
        {"orders.id > out_1.id", "orders.total > out_1.twice"},
    ),
    "create view": (
        "CREATE VIEW out_1 AS SELECT o.id, c.name FROM orders o JOIN customers c ON o.customer_id = c.id",
        {"orders > out_1", "customers > out_1"},
        {"orders.id > out_1.id", "customers.name > out_1.name"},
    ),
    "create view with column names": (
        "CREATE VIEW out_1 (a, b) AS SELECT id, total FROM orders",
        {"orders > out_1"},
        {"orders.id > out_1.a", "orders.total > out_1.b"},
    ),
    "insert by the target's columns": (
        "INSERT INTO report SELECT o.id, c.country, o.total FROM orders o, customers c WHERE c.id = o.customer_id",
        {"orders > report", "customers > report"},
        {"orders.id > report.id", "customers.country > report.name", "orders.total > report.amount"},
    ),
    "insert by a column list": (
        "INSERT INTO report (amount, id) SELECT total, id FROM orders",
        {"orders > report"},
        {"orders.total > report.amount", "orders.id > report.id"},
    ),
    "insert into an unknown table by the query's names": (
        "INSERT INTO elsewhere SELECT id, total AS amount FROM orders",
        {"orders > elsewhere"},
        {"orders.id > elsewhere.id", "orders.total > elsewhere.amount"},
    ),
    "insert of values with a subquery": (
        "INSERT INTO report (id, amount) VALUES (1, (SELECT max(total) FROM orders))",
        {"orders > report"},
        {"orders.total > report.amount"},
    ),
    "insert from common table expressions": (
        "INSERT INTO report (id) "
        "WITH a AS (SELECT id AS x FROM orders), b AS (SELECT x + 1 AS y FROM a) SELECT y FROM b",
        {"orders > report"},
        {"orders.id > report.id"},
    ),
    "delete by another table moves no values": (
        "DELETE FROM report WHERE id IN (SELECT id FROM orders)",
        {"orders > report"},
        set(),
    ),
}


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("kind", EVERYWHERE)
def test_common_statements_mean_the_same_in_every_dialect(kind: str, dialect: str) -> None:
    sql, edges, flows = EVERYWHERE[kind]
    found = lineage(sql, dialect)
    # Tables and columns that no schema lists are folded to the dialect's case.
    assert {t.lower() for t in tables(found)} == edges
    assert {c.lower() for c in columns(found)} == flows


MERGE = """
MERGE INTO report USING (SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id) AS s
ON report.id = s.id
WHEN MATCHED AND s.total > 10 THEN UPDATE SET amount = s.total + report.amount
WHEN MATCHED THEN UPDATE SET name = s.name
WHEN NOT MATCHED THEN INSERT (id, name, amount) VALUES (s.id, s.name, 0)
"""


@pytest.mark.parametrize("dialect", ["snowflake", "bigquery", "databricks", "spark", "redshift", "postgres", "ansi"])
def test_every_branch_of_a_merge_counts_and_its_condition_does_not(dialect: str) -> None:
    found = lineage(MERGE, dialect)
    assert tables(found) == {"orders > report", "customers > report"}
    assert columns(found) == {
        "orders.total > report.amount",
        "report.amount > report.amount",
        "customers.name > report.name",
        "orders.id > report.id",
    }


@pytest.mark.parametrize(
    ("dialect", "sql", "edges", "flows"),
    [
        pytest.param(
            "databricks",
            "MERGE INTO report t USING (SELECT id, name, 1 AS amount FROM customers) s ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
            {"customers > report"},
            {"customers.id > report.id", "customers.name > report.name"},
            id="merge star",
        ),
        pytest.param(
            "bigquery",
            "MERGE report t USING (SELECT id, name FROM customers) s ON FALSE WHEN NOT MATCHED THEN INSERT ROW "
            "WHEN NOT MATCHED BY SOURCE THEN DELETE",
            {"customers > report"},
            {"customers.id > report.id", "customers.name > report.name"},
            id="merge insert row",
        ),
        pytest.param(
            "postgres",
            "UPDATE report AS r SET name = c.name, amount = r.amount + o.total FROM orders o JOIN customers c "
            "ON c.id = o.customer_id WHERE r.id = o.id",
            {"orders > report", "customers > report"},
            {"customers.name > report.name", "orders.total > report.amount", "report.amount > report.amount"},
            id="update from",
        ),
        pytest.param(
            "postgres",
            "UPDATE report SET (name, amount) = (SELECT c.name, c.id FROM customers c WHERE c.id = report.id)",
            {"customers > report"},
            {"customers.name > report.name", "customers.id > report.amount"},
            id="update of several columns at once",
        ),
        pytest.param(
            "mysql",
            "UPDATE report r JOIN customers c ON c.id = r.id SET r.name = c.name",
            {"customers > report"},
            {"customers.name > report.name"},
            id="update join",
        ),
        pytest.param(
            "redshift",
            "DELETE FROM report USING orders WHERE orders.id = report.id",
            {"orders > report"},
            set(),
            id="delete using",
        ),
        pytest.param(
            "postgres",
            "INSERT INTO report (id, amount) SELECT id, total FROM orders "
            "ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, name = excluded.id",
            {"orders > report"},
            {"orders.id > report.id", "orders.total > report.amount", "orders.id > report.name"},
            id="upsert",
        ),
        pytest.param(
            "postgres",
            "WITH gone AS (DELETE FROM orders RETURNING id, total), kept AS (INSERT INTO archive SELECT * FROM gone "
            "RETURNING id) INSERT INTO report (id) SELECT id FROM gone",
            {"orders > report", "orders > archive"},
            {"orders.id > report.id", "orders.id > archive.id", "orders.total > archive.total"}
            | {f"orders.{c} > archive.{c}" for c in ("customer_id", "placed_at")},
            id="data-changing common table expressions",
        ),
        pytest.param(
            "hive",
            "FROM orders INSERT OVERWRITE TABLE a SELECT id INSERT INTO TABLE b SELECT total AS t WHERE id > 1",
            {"orders > a", "orders > b"},
            {"orders.id > a.id", "orders.total > b.t"},
            id="multi-insert of Hive",
        ),
        pytest.param(
            "snowflake",
            "INSERT ALL WHEN total > 1 THEN INTO a (x) VALUES (total) ELSE INTO b SELECT id, total FROM orders",
            {"orders > A", "orders > B"},
            {"orders.total > A.X", "orders.id > B.ID", "orders.total > B.TOTAL"},
            id="multi-insert of Snowflake",
        ),
        pytest.param(
            "hive",
            "INSERT OVERWRITE TABLE daily PARTITION (day = '2026-01-01') SELECT id, total FROM orders",
            {"orders > daily"},
            {"orders.id > daily.order_id", "orders.total > daily.amount"},
            id="a fixed partition takes no value",
        ),
        pytest.param(
            "spark",
            "INSERT OVERWRITE daily PARTITION (day) SELECT id, total, placed_at FROM orders",
            {"orders > daily"},
            {"orders.id > daily.order_id", "orders.total > daily.amount", "orders.placed_at > daily.day"},
            id="a dynamic partition takes the last value",
        ),
        pytest.param(
            "duckdb",
            "INSERT INTO report BY NAME SELECT total AS amount, id FROM orders",
            {"orders > report"},
            {"orders.total > report.amount", "orders.id > report.id"},
            id="insert by name",
        ),
        pytest.param("spark", "INSERT INTO a TABLE orders", {"orders > a"}, None, id="insert table"),
        pytest.param("postgres", "CREATE TABLE a AS TABLE orders", {"orders > a"}, None, id="create as table"),
        pytest.param("snowflake", "CREATE TABLE a CLONE orders", {"orders > A"}, None, id="clone"),
        pytest.param("databricks", "CREATE TABLE a SHALLOW CLONE orders", {"orders > a"}, None, id="shallow clone"),
        pytest.param("bigquery", "CREATE TABLE a COPY orders", {"orders > a"}, None, id="copy of a table"),
        pytest.param("bigquery", "CREATE SNAPSHOT TABLE a CLONE orders", {"orders > a"}, None, id="snapshot"),
        pytest.param("postgres", "CREATE TABLE a (LIKE orders)", {"orders > a"}, set(), id="like copies no values"),
        pytest.param("hive", "CREATE TABLE a LIKE orders", {"orders > a"}, set(), id="like without parentheses"),
        pytest.param(
            "snowflake",
            "CREATE OR REPLACE DYNAMIC TABLE a TARGET_LAG = '1 minute' WAREHOUSE = w AS SELECT id FROM orders",
            {"orders > A"},
            {"orders.id > A.ID"},
            id="dynamic table",
        ),
        pytest.param(
            "redshift",
            "CREATE MATERIALIZED VIEW a AUTO REFRESH YES AS SELECT id FROM orders",
            {"orders > a"},
            {"orders.id > a.id"},
            id="materialized view",
        ),
        pytest.param(
            "databricks",
            "CREATE OR REFRESH STREAMING TABLE a AS SELECT id FROM STREAM(orders)",
            {"orders > a"},
            {"orders.id > a.id"},
            id="streaming table",
        ),
        pytest.param(
            "redshift",
            "SELECT id INTO a FROM orders UNION ALL SELECT order_id FROM lines",
            {"orders > a", "lines > a"},
            {"orders.id > a.id", "lines.order_id > a.id"},
            id="select into",
        ),
        pytest.param(
            "databricks",
            "CREATE TABLE a DEEP CLONE orders VERSION AS OF 3",
            {"orders > a"},
            None,
            id="clone of a version",
        ),
        pytest.param(
            "postgres",
            "CREATE VIEW a (x, y) AS SELECT id, total FROM orders WITH LOCAL CHECK OPTION",
            {"orders > a"},
            {"orders.id > a.x", "orders.total > a.y"},
            id="check option",
        ),
        pytest.param(
            "duckdb",
            "CREATE TABLE a AS PIVOT orders ON customer_id USING sum(total) GROUP BY id",
            {"orders > a"},
            {"orders.id > a.id", "orders.total > a.*"},
            id="pivot statement",
        ),
        pytest.param(
            "redshift",
            "MERGE INTO a USING orders ON a.id = orders.id REMOVE DUPLICATES",
            {"orders > a"},
            None,
            id="merge that removes duplicates",
        ),
        pytest.param(
            "databricks",
            "MERGE WITH SCHEMA EVOLUTION INTO a USING orders ON a.id = orders.id WHEN NOT MATCHED THEN INSERT *",
            {"orders > a"},
            None,
            id="merge with schema evolution",
        ),
        pytest.param("mysql", "REPLACE INTO a SELECT * FROM orders", {"orders > a"}, None, id="replace"),
        pytest.param(
            "bigquery",
            "MERGE report USING (SELECT id, name FROM nobody) AS s ON FALSE "
            "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (id, name)",
            {"nobody > report"},
            {"nobody.id > report.id", "nobody.name > report.name"},
            id="unqualified values of a merge are the source's",
        ),
        pytest.param(
            "bigquery",
            "INSERT INTO `a$20260101` SELECT id FROM `orders$20260101`",
            {"orders > a"},
            {"orders.id > a.id"},
            id="partition decorators",
        ),
        pytest.param("redshift", "ALTER TABLE a APPEND FROM orders", {"orders > a"}, None, id="append"),
        pytest.param(
            "hive", "ALTER TABLE a EXCHANGE PARTITION (d = '1') WITH TABLE orders", {"orders > a"}, None, id="exchange"
        ),
        pytest.param(
            "snowflake", "CREATE STREAM changes ON TABLE orders", {"orders > CHANGES"}, None, id="a stream on a table"
        ),
    ],
)
def test_statement(dialect: str, sql: str, edges: set[str], flows: set[str] | None) -> None:
    known = {
        "orders": ["id", "customer_id", "total", "placed_at"],
        "customers": ["id", "name", "country"],
        "lines": ["order_id", "sku"],
        "report": ["id", "name", "amount"],
        "daily": ["order_id", "amount", "day"],
    }
    found = lineage(sql, dialect, schemas=known)
    assert tables(found) == edges
    if flows is None:
        target = next(iter(edges)).partition(" > ")[2]
        flows = {f"orders.{c} > {target}.{c}" for c in known["orders"]}
    assert columns(found) == flows


@pytest.mark.parametrize(
    ("dialect", "sql", "inputs", "outputs"),
    [
        ("snowflake", "COPY INTO report FROM @stage/path FILE_FORMAT = (TYPE = CSV)", [], ["report"]),
        ("snowflake", "COPY INTO report (id) FROM (SELECT s.$1 FROM @stage/path s)", [], ["report"]),
        ("snowflake", "COPY INTO @stage/out FROM (SELECT id FROM orders)", ["orders"], []),
        ("snowflake", "COPY INTO @stage/out FROM orders", ["orders"], []),
        ("redshift", "COPY report FROM 's3://bucket/key' IAM_ROLE 'arn:aws:iam::1:role/r' CSV", [], ["report"]),
        ("redshift", "UNLOAD ('SELECT id FROM orders WHERE name = ''x''') TO 's3://b/k' IAM_ROLE 'r'", ["orders"], []),
        ("postgres", "COPY (SELECT id FROM orders) TO '/tmp/x.csv'", ["orders"], []),
        ("duckdb", "COPY orders TO 'x.parquet'", ["orders"], []),
        ("bigquery", "EXPORT DATA OPTIONS (uri = 'gs://b/*.csv') AS SELECT id FROM orders", ["orders"], []),
        ("hive", "INSERT OVERWRITE DIRECTORY '/x' SELECT id FROM orders", ["orders"], []),
        ("duckdb", "CREATE TABLE a AS SELECT * FROM 'files/*.parquet'", [], ["a"]),
        ("spark", "CREATE TABLE a AS SELECT * FROM parquet.`/data/x`", [], ["a"]),
        ("postgres", "REFRESH MATERIALIZED VIEW orders", [], []),
        ("databricks", "OPTIMIZE orders ZORDER BY (id)", [], []),
        ("snowflake", "GRANT SELECT ON orders TO ROLE r", [], []),
        ("generic", "SELECT 1", [], []),
        ("generic", "DROP TABLE orders", [], []),
        ("generic", "TRUNCATE TABLE orders", [], []),
        ("snowflake", "SHOW TABLES", [], []),
        ("postgres", "EXPLAIN INSERT INTO report SELECT * FROM orders", [], []),
        ("generic", "CREATE TABLE a (id INT)", [], []),
    ],
)
def test_files_and_stages_are_no_tables(dialect: str, sql: str, inputs: list[str], outputs: list[str]) -> None:
    found = lineage(sql, dialect)
    assert (found["inputs"], found["outputs"], found["tables"]) == (inputs, outputs, [])


def test_a_bare_query_gives_its_inputs_and_columns() -> None:
    found = lineage("SELECT o.id, upper(c.name) AS who FROM orders o JOIN customers c ON c.id = o.customer_id")
    assert found["inputs"] == ["orders", "customers"]
    assert columns(found) == {"orders.id > id", "customers.name > who"}
    assert all(edge["destination_table"] is None for edge in found["columns"])
