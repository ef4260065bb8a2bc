"""What redaction keeps, how it masks, and that lineage does not change by it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mc_push_dagster.lineage.cases import answer
from mc_push_dagster.lineage.redact import WITHHELD, redact

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
DIALECTS = ("snowflake", "bigquery", "databricks", "spark", "hive", "redshift", "postgres", "duckdb")
BACKSLASH = frozenset(DIALECTS) - {"postgres", "duckdb"}
SCHEMAS = {"t": ["a_1", "a_2", "id", "k", "v", "g", "b", "c"], "d.t": ["k", "v", "g"]}


def lineage(sql: str | list[str], dialect: str, **around: Any) -> dict[str, Any]:
    """All that is derived from a text; a name that a warehouse makes of an expression's text without its literals."""
    found = answer({"schemas": SCHEMAS, **around, "sql": sql, "dialect": dialect})
    columns = {
        (c["source_table"], c["source_column"], c["destination_table"], _nameless(c["destination_column"]))
        for c in found["columns"]
    }
    return {
        "tables": {(t["source"], t["destination"]) for t in found["tables"]},
        "inputs": set(found["inputs"]),
        "outputs": set(found["outputs"]),
        "columns": columns,
        "error": found["error"],
    }


def _nameless(column: str) -> str:
    """`concat(a, 'x')` is called by its text; redacted, it is called `concat(a, '***')`."""
    if not re.search(r"[^\w$.]", column):
        return column
    return re.sub(r"""'[^']*'|"[^"]*"|\b\d[\w.]*|\s""", "", column).lower()


# -- how literals are masked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        ("snowflake", "SELECT a, 'x', 1.5 FROM t -- c", "SELECT a, '***', 0 FROM t"),
        ("snowflake", "SELECT /* c */ a\nFROM t", "SELECT a\nFROM t"),
        ("snowflake", "SELECT X'ff', $$x$$, \"Name\" FROM t", "SELECT X'00', '***', \"Name\" FROM t"),
        ("bigquery", "SELECT \"x\", b'x', r'x', `c`, 0xff FROM t", "SELECT '***', b'***', '***', `c`, 0x0 FROM t"),
        ("spark", 'SELECT "x", 12L, 1.5BD, `c` FROM t', "SELECT '***', 0L, 0BD, `c` FROM t"),
        ("postgres", "SELECT E'x', B'101', U&'x', $q$x$q$, $1", "SELECT '***', B'0', '***', '***', $1"),
        ("redshift", "SELECT /*+ hint */ a FROM t", "SELECT a FROM t"),
        ("duckdb", "SELECT 1_000, .5 FROM t LIMIT 3", "SELECT 0, .0 FROM t LIMIT 0"),
        ("hive", "SET a.b=c d/e;\nSELECT 'x'", "SET a.b='***';\nSELECT '***'"),
        ("snowflake", "COPY INTO @s.t/x/y FROM t", "COPY INTO @s.t FROM t"),
        ("spark", "SELECT * FROM csv.`/home/x.csv`", "SELECT * FROM csv.`/***`"),
        ("duckdb", "SELECT * FROM 'home/x.parquet'", "SELECT * FROM '***.parquet'"),
        ("postgres", "DO $b$ BEGIN CALL p('x'); END $b$", "DO $b$BEGIN CALL p('***'); END$b$"),
        ("snowflake", "SELECT 'unfinished", WITHHELD),
        ("duckdb", "", ""),
    ],
)
def test_masks_keep_the_literals_type(dialect: str, sql: str, expected: str) -> None:
    assert redact(sql, dialect) == expected


def test_same_shaped_statements_become_the_same_text() -> None:
    texts = [f"SELECT a FROM t /* run {i} */ WHERE b = 'v{i}' AND c = {i * 7}" for i in range(9)]
    assert len({redact(t, "snowflake") for t in texts}) == 1


# -- lineage ---------------------------------------------------------------------------------------------------------

OWN = [
    ("snowflake", "INSERT INTO z SELECT a, b FROM IDENTIFIER('db.s.t') WHERE c = 'x'"),
    ("snowflake", "CREATE TABLE z AS SELECT * FROM TABLE('db.s.t')"),
    ("snowflake", "EXECUTE IMMEDIATE 'INSERT INTO a SELECT b, c FROM d WHERE e = ''x'''"),
    ("snowflake", "EXECUTE IMMEDIATE $$ INSERT INTO a SELECT b FROM d WHERE e = 'x' $$"),
    ("bigquery", 'EXECUTE IMMEDIATE """INSERT INTO d.a SELECT b FROM x.d WHERE e = \'x\'"""'),
    ("bigquery", "EXECUTE IMMEDIATE 'INSERT INTO d.a SELECT b FROM ' || 'x.d WHERE e = \"x\"'"),
    ("redshift", "UNLOAD ('SELECT a FROM s.t WHERE b = \\'x\\'') TO 's3://b/k' CREDENTIALS 'k=v'"),
    ("duckdb", "CREATE TABLE z AS SELECT * FROM 'data/x.csv' JOIN t USING (id)"),
    ("duckdb", "CREATE TABLE z AS SELECT x.a, t.b FROM 'x.csv', t"),
    ("duckdb", "CREATE TABLE z AS SELECT * FROM read_csv('x.csv', header = true), t"),
    ("duckdb", "CREATE TABLE z AS SELECT COLUMNS('a_.*') FROM t"),
    ("duckdb", "CREATE TABLE z AS PIVOT t ON k IN ('x', 'y') USING SUM(v) GROUP BY g"),
    ("snowflake", "CREATE TABLE z AS SELECT * FROM t PIVOT(SUM(v) FOR k IN ('Q1', 'Q2')) AS p"),
    ("bigquery", "CREATE TABLE d.z AS SELECT * FROM d.t PIVOT(SUM(v) FOR k IN ('Q1' AS a, 'Q2' b))"),
    ("databricks", "CREATE TABLE z AS SELECT * FROM t PIVOT(SUM(v) AS s FOR k IN (2023, 2024))"),
    ("spark", "CREATE TABLE z AS SELECT * FROM parquet.`s3a://k:s@b/p`"),
    ("spark", "INSERT OVERWRITE TABLE z PARTITION (ds = '2024-01-01') SELECT a FROM t WHERE ds = \"2024-01-01\""),
    ("hive", "INSERT OVERWRITE TABLE z PARTITION (ds = '2024-01-01') SELECT a, \"x\" AS b FROM t"),
    ("postgres", "CREATE TABLE z AS SELECT 'x', a + 1, b || 'y', CASE WHEN c = 'q' THEN id END FROM t"),
    ("snowflake", "CREATE TABLE z AS SELECT CONCAT(b, 'q'), c + 10 FROM t"),
    (
        "snowflake",
        "CREATE PROCEDURE p() RETURNS STRING LANGUAGE SQL AS 'BEGIN INSERT INTO a SELECT b FROM c"
        " WHERE d = ''x''; END'",
    ),
    ("postgres", "CREATE PROCEDURE p() LANGUAGE plpgsql AS $b$ BEGIN INSERT INTO a SELECT b FROM c; END $b$"),
    ("snowflake", "CREATE PROCEDURE p() RETURNS STRING LANGUAGE JAVASCRIPT AS $$ 'INSERT INTO a SELECT * FROM b' $$"),
    ("snowflake", "COPY INTO t (a, b) FROM (SELECT $1, $2:x FROM @s/p) FILE_FORMAT = (TYPE = 'CSV')"),
    ("snowflake", "CREATE TABLE z AS SELECT * ILIKE '%id%' FROM t"),
    ("snowflake", "CREATE TABLE z AS SELECT $1 FROM '@stage/x/y.csv' (FILE_FORMAT => 'f')"),
    (
        "snowflake",
        "MERGE INTO a USING (SELECT * FROM b WHERE c = 'x') s ON a.id = s.id WHEN MATCHED AND s.f = 'q' THEN UPDATE"
        " SET v = s.v, w = 'lit' WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, 'z')",
    ),
    ("bigquery", "CREATE TABLE d.z AS SELECT EXTRACT(YEAR FROM k) y FROM `p.d.e_*` WHERE _TABLE_SUFFIX > '20240101'"),
    ("bigquery", "INSERT INTO `my-proj.d.t` (k) SELECT k FROM my-proj-12.d.u WHERE v = 12"),
    ("snowflake", "CREATE TABLE z AS SELECT v.x, t.b FROM VALUES (1, 'a'), (2, 'b') AS v(x, y) JOIN t ON t.id = v.x"),
    ("snowflake", "CREATE TABLE z AS SELECT a AS 'alias one' FROM t"),
    ("postgres", "SET search_path = 'sales', public; INSERT INTO z SELECT a FROM t WHERE b = 'x'"),
    ("redshift", "SET search_path TO 'sales'; INSERT INTO z SELECT a FROM t WHERE b = 'x'"),
    ("hive", "FROM t INSERT OVERWRITE TABLE z PARTITION (d = 'a', h) SELECT a, h WHERE k = '1' INSERT INTO y SELECT b"),
    ("snowflake", "CREATE TASK x AS EXECUTE IMMEDIATE 'INSERT INTO a SELECT b FROM c WHERE d = ''x'''"),
    ("bigquery", "FOR r IN (SELECT a FROM d.t WHERE b = 'x') DO INSERT INTO d.z SELECT r.a FROM d.u; END FOR"),
    ("snowflake", "SET x = (SELECT MAX(a) FROM t); INSERT INTO q SELECT b FROM r WHERE c = $x"),
]


@pytest.mark.parametrize(("dialect", "sql"), OWN)
def test_lineage_of_the_redacted_text_is_that_of_the_text(dialect: str, sql: str) -> None:
    redacted = redact(sql, dialect)
    assert redacted != WITHHELD
    assert lineage(redacted, dialect) == lineage(sql, dialect)


def _corpus() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(CORPORA.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            yield file.stem, {"dialect": "bigquery" if file.stem == "bigquery_etl" else None, **case}


def _differing(name: str, case: dict[str, Any]) -> str | None:
    """Why the lineage of a case is not that of its redacted text; None where it is."""
    dialect = case["dialect"] or "generic"
    texts = [case["sql"]] if isinstance(case["sql"], str) else case["sql"]
    redacted = [redact(t, dialect) for t in texts]
    if any(redact(r, dialect) != r for r in redacted):
        return f"{name} {case['id']}: redacting again changes it"
    around = {k: case.get(k) for k in ("schemas", "default_db", "default_schema")}
    before = lineage(texts, dialect, **around)
    if WITHHELD in redacted:
        # Only what cannot be parsed may be withheld.
        return None if before["error"] else f"{name} {case['id']}: withheld"
    after = lineage(redacted, dialect, **around)
    if before["error"]:
        after["error"] = before["error"]  # masked, a text may parse that did not
    return None if after == before else f"{name} {case['id']}: {before} -> {after}"


@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"the corpora are not beside the checkout ({CORPORA})")
def test_lineage_of_a_tenth_of_the_corpora_survives_redaction() -> None:
    wrong = [w for i, (n, c) in enumerate(_corpus()) if i % 10 == 0 and (w := _differing(n, c))]
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"the corpora are not beside the checkout ({CORPORA})")
def test_lineage_of_all_corpora_survives_redaction() -> None:
    found = list(_corpus())
    assert len(found) > 1000
    wrong = [w for n, c in found if (w := _differing(n, c))]
    assert not wrong, wrong


# -- random literals -------------------------------------------------------------------------------------------------

TEMPLATES = (
    "SELECT a FROM t WHERE b = {}",
    "SELECT {} AS x, a FROM t -- {c}",
    "INSERT INTO z SELECT a, {} FROM t WHERE b IN ({}, 'y')",
    "CREATE TABLE z AS SELECT CASE WHEN a = {} THEN b ELSE c END AS d FROM t /* {c} */",
    "UPDATE t SET a = {}, b = CONCAT(c, {}) WHERE id = 5",
    "MERGE INTO z USING t ON z.id = t.id WHEN MATCHED AND t.k = {} THEN UPDATE SET a = t.a",
    "CALL p({}, 1, {})",
    "SELECT f(a, {}) FROM t JOIN u ON t.id = u.id AND u.k = {}",
    "WITH q AS (SELECT a FROM t WHERE b LIKE {}) SELECT * FROM q",
    "SET x = {}",
)


def written(value: str, dialect: str) -> str:
    """A string literal of the dialect with this value."""
    if dialect in BACKSLASH:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return "'" + (escaped.replace("\n", "\\n") if dialect == "bigquery" else escaped) + "'"
    return "'" + value.replace("'", "''") + "'"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(DIALECTS),
    st.sampled_from(TEMPLATES),
    st.text(min_size=1, max_size=40).filter(lambda s: "\0" not in s),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r*/"), max_size=20),
)
def test_random_literals_and_comments_never_survive(dialect: str, template: str, value: str, comment: str) -> None:
    marked = f"{value}QJXKZ{value}"
    literal = written(marked, dialect)
    sql = template.replace("{c}", f"QWVZX{comment}").replace("{}", literal)
    shown = redact(sql, dialect)
    assert "QJXKZ" not in shown
    assert "QWVZX" not in shown
    assert literal not in shown
    assert redact(shown, dialect) == shown


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(DIALECTS), st.integers(min_value=1000, max_value=10**18), st.sampled_from(TEMPLATES))
def test_random_numbers_never_survive(dialect: str, number: int, template: str) -> None:
    shown = redact(template.replace("{}", str(number)).replace("{c}", "x"), dialect)
    assert str(number) not in shown


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(DIALECTS),
    st.text(alphabet=st.one_of(st.sampled_from(" '\"`$-/*#\\\n;()[]{}.,=@:|0123456789aENXbBrRuU&_"), st.characters())),
)
def test_any_text_is_redacted_without_error_and_only_once(dialect: str, text: str) -> None:
    shown = redact(text, dialect)
    assert redact(shown, dialect) == shown


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(DIALECTS),
    st.lists(
        st.sampled_from(
            [
                *("SELECT", "FROM", "WHERE", "IN", "(", ")", ",", ";", "=", ".", "||", "@", "$", "-", "/", "*", ":"),
                *("'x'", "$$y$$", '"n"', "`q`", "5", "1.5", "0xff", "X'aa'", "E'z'", "b'w'", "r'v'", "''", "AS", "SET"),
                *("PIVOT", "IDENTIFIER", "TABLE", "EXECUTE", "IMMEDIATE", "CREATE", "PROCEDURE", "COPY", "PASSWORD"),
                *("BY", "IDENTIFIED", "SECRET", "KEY_ID", "DO", "UNLOAD", "LIKE", "COLUMNS", "a", "t", "FILE://", "#"),
                *("'select ''s'' from u'", "'@st/p'", "'a.csv'", "/*c*/", "--d\n", "\n", "TO", "json"),
            ]
        ),
        max_size=25,
    ),
    st.sampled_from(["", " "]),
)
@example("snowflake", ['"n"', "FILE://"], "")
def test_any_run_of_tokens_is_redacted_only_once(dialect: str, words: list[str], between: str) -> None:
    shown = redact(between.join(words), dialect)
    assert redact(shown, dialect) == shown


@pytest.mark.parametrize(
    "piece", ["1.", "a", "'x'", "(", "'x'||", "AS 'x' ", "-- x\n", "#", "/", "@a/", '"a b"=', "SET a=b;", "é@", "://"]
)
def test_time_is_linear_in_the_length(piece: str) -> None:
    def seconds(length: int) -> float:
        text = "CREATE VIEW EXECUTE " + piece * (length // len(piece))
        best = []
        for _ in range(3):
            start = time.process_time()
            redact(text, "snowflake")
            best.append(time.process_time() - start)
        return min(best)

    # Ten times the length at the square would cost a hundredfold.
    assert seconds(40_000) < 35 * seconds(4_000) + 0.05
