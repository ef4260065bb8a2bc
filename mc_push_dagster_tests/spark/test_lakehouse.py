"""A real Spark Thrift Server with what breaks readers in it: everything true is read, and nothing else is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import (
    ChangeSource,
    Column,
    ColumnEdge,
    EvidenceKind,
    Gap,
    LineageEdge,
    Scope,
    TablePattern,
    TableRef,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses.spark import Spark, SparkSettings
from mc_push_dagster_tests.spark.engine import ENGINE_VARIABLE, Engine
from mc_push_dagster_tests.spark.oracle import iceberg_table

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

Make = Callable[..., str]


@pytest.fixture
def make(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a database of the test's own with these statements in it (`{db}` is its name); drops it afterwards."""
    made: list[str] = []

    def new(*statements: str, name: str | None = None) -> str:
        database = name or f"t{len(made)}_{abs(hash(request.node.nodeid)) % 10**8}"
        made.append(database)
        engine.run(f"CREATE DATABASE {database}", *(sql.format(db=database) for sql in statements))
        return database

    yield new
    for database in made:
        # Views of Iceberg's catalog stand in the way of CASCADE.
        views = [f"DROP VIEW {database}.`{row[1]}`" for row in engine.run(f"SHOW VIEWS IN {database}") if row[0]]
        engine.run(*views, f"DROP DATABASE {database} CASCADE")


def over(engine: Engine, *databases: str, **settings: Any) -> Spark:
    given = {"url": engine.url, "username": "reader", "password": "x"} | settings
    scope = Scope(include=tuple(TablePattern(database=d) for d in databases))
    return Spark.from_settings(SparkSettings.model_validate(given), scope=scope)


def read(warehouse: Spark) -> tuple[dict[str, TableSnapshot], list[Gap]]:
    items = list(snapshots(warehouse))
    return {i.ref.name: i for i in items if not isinstance(i, Gap)}, [i for i in items if isinstance(i, Gap)]


class CountingClient:
    """Stands before pyhive's generated client and counts remote calls."""

    def __init__(self, inner: Any, calls: Counter[str]) -> None:
        self._inner = inner
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any) -> Any:
            self._calls[name] += 1
            return method(*arguments)

        return call


def counted(warehouse: Spark) -> Counter[str]:
    calls: Counter[str] = Counter()
    connect = warehouse._connect

    def connecting() -> Any:
        connection = connect()
        connection._client = CountingClient(connection._client, calls)
        return connection

    warehouse._connect = connecting
    return calls


# Calls


@pytest.mark.parametrize("count", [12, pytest.param(500, marks=pytest.mark.bench)])
def test_any_number_of_tables_takes_at_most_12_calls(engine: Engine, make: Make, count: int):
    """With commented tables that have statistics among them: the costliest case. Making 500 tables takes a minute."""
    columns = ", ".join(f"c{n} {('BIGINT', 'STRING', 'DECIMAL(10,2)')[n % 3]} COMMENT 'column {n}'" for n in range(30))
    db = make(f"CREATE TABLE {{db}}.t000 ({columns}) USING parquet COMMENT 'one of many'")
    engine.run(f"INSERT INTO {db}.t000 (c0) VALUES (1)", f"ANALYZE TABLE {db}.t000 COMPUTE STATISTICS")

    def copies(numbers: range) -> None:
        copying = (f"CREATE TABLE {db}.t{n:03d} LIKE {db}.t000" for n in numbers)
        engine.run(*copying, user=f"etl{numbers.start}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(copies, [range(start, count, 4) for start in range(1, 5)]))
    empty = make()

    def cost(database: str) -> tuple[int, int]:
        warehouse = over(engine, database)
        calls = counted(warehouse)
        tables, gaps = read(warehouse)
        assert not gaps
        return sum(calls.values()), sum(len(t.columns or ()) for t in tables.values())

    whole, columns_read = cost(db)
    # What opening two sessions and listing the databases costs, whatever is in them.
    fixed = sum(counted_listing(engine).values())
    assert columns_read == count * 30
    assert whole - fixed <= 12, f"{whole} calls, {fixed} of them for sessions and the list of databases"
    nothing, _ = cost(empty)
    assert whole - nothing <= 6, "the number of calls hardly depends on the size"


def counted_listing(engine: Engine) -> Counter[str]:
    warehouse = over(engine, "no database of this name")
    calls = counted(warehouse)
    assert list(warehouse.tables()) == list(warehouse.columns()) == []
    return calls


# What breaks readers


def test_a_table_that_spark_cannot_parse_is_a_gap_and_its_neighbours_are_read(engine: Engine, make: Make):
    db = make("CREATE TABLE {db}.before (a INT) USING parquet", "CREATE TABLE {db}.zebra (a INT) USING parquet")
    engine.hive(f"CREATE TABLE {db}.poison (a uniontype<int,string>)")
    tables, gaps = read(over(engine, db))
    engine.hive(f"DROP TABLE {db}.poison")
    assert set(tables) == {"before", "zebra"}
    assert all(t.columns for t in tables.values())
    assert {gap.ref for gap in gaps} == {TableRef(database=db, schema="default", name="poison")}


def test_comments_and_properties_that_imitate_statistics_invent_nothing(engine: Engine, make: Make):
    lie = "nice\\nStatistics: 9 bytes, 9 rows\\nLocation: file:/x"
    properties = f"'a' = 'x]\\n{lie}', 'b' = ']\\n{lie}\\n'"
    db = make(
        f"CREATE TABLE {{db}}.commented (a INT COMMENT 'x\\ny') USING parquet COMMENT '{lie}'",
        f"CREATE TABLE {{db}}.propertied (a INT) USING parquet TBLPROPERTIES ({properties})",
        f"CREATE VIEW {{db}}.viewed COMMENT 'View Text: no\\n{lie}' AS SELECT 1 AS a,\n2 AS b",
        "CREATE TABLE {db}.analysed (a INT) USING parquet COMMENT 'two\\nlines'",
        "INSERT INTO {db}.analysed VALUES (1), (2)",
        "ANALYZE TABLE {db}.analysed COMPUTE STATISTICS",
    )
    tables, gaps = read(over(engine, db))
    assert not gaps
    plain = lie.replace("\\n", "\n")
    assert tables["commented"].description == plain
    assert (tables["commented"].row_count, tables["commented"].byte_count) == (None, None)
    assert tables["commented"].columns == (Column(name="a", type="INT", description="x\ny"),)
    assert (tables["propertied"].row_count, tables["propertied"].byte_count) == (None, None)
    assert tables["viewed"].view_query == "SELECT 1 AS a,\n2 AS b"
    assert (tables["analysed"].row_count, tables["analysed"].description) == (2, "two\nlines")


def test_a_view_over_a_dropped_table_is_still_described(engine: Engine, make: Make):
    db = make(
        "CREATE TABLE {db}.base (a INT) USING parquet",
        "CREATE VIEW {db}.orphan AS SELECT a FROM {db}.base",
        "DROP TABLE {db}.base",
    )
    warehouse = over(engine, db)
    tables, gaps = read(warehouse)
    assert not gaps
    assert tables["orphan"].view_query == f"SELECT a FROM {db}.base"
    [gap] = warehouse.lineage(Window.hour(datetime.now(UTC)))
    assert isinstance(gap, Gap)
    assert gap.subject == f"{db}.default.orphan"


def test_2000_columns_keep_their_order_and_their_lineage(engine: Engine, make: Make):
    columns = ", ".join(f"c{n} INT" for n in range(2000))
    db = make(
        f"CREATE TABLE {{db}}.wide ({columns}) USING parquet", "CREATE VIEW {db}.all_of_it AS SELECT * FROM {db}.wide"
    )
    warehouse = over(engine, db)
    tables, _ = read(warehouse)
    assert [c.name for c in tables["wide"].columns or ()] == [f"c{n}" for n in range(2000)]
    edges = [e for e in warehouse.lineage(Window.hour(datetime.now(UTC))) if isinstance(e, ColumnEdge)]
    assert {(e.source_column, e.destination_column) for e in edges} == {(f"c{n}", f"c{n}") for n in range(2000)}


def test_odd_names_survive_in_catalogs_that_allow_them(iceberg: Engine):
    tables_made = {"Mixed": "Käse `x`", "we``ird.name": "a", "日本": "ü b"}
    iceberg.run("CREATE NAMESPACE lake.`od-d ns`")
    for table, column in tables_made.items():
        quoted = column.replace("`", "``")
        iceberg.run(f"CREATE TABLE lake.`od-d ns`.`{table}` (`{quoted}` INT) USING iceberg")
    warehouse = over(iceberg, "lake", catalogs=("lake",))
    tables, gaps = read(warehouse)
    for table in tables_made:
        iceberg.run(f"DROP TABLE lake.`od-d ns`.`{table}`")
    iceberg.run("DROP NAMESPACE lake.`od-d ns`")
    assert not gaps
    assert {n: (t.columns or ())[0].name for n, t in tables.items()} == {
        n.replace("``", "`"): c for n, c in tables_made.items()
    }
    assert {t.ref.schema for t in tables.values()} == {"od-d ns"}


def test_temporary_views_are_no_tables_and_an_empty_database_is_empty(engine: Engine, make: Make):
    db = make("CREATE GLOBAL TEMPORARY VIEW gone_soon AS SELECT 1 AS a")
    tables, gaps = read(over(engine))
    assert "gone_soon" not in tables
    assert not gaps
    assert read(over(engine, db)) == ({}, [])


def test_both_transports_tell_the_same(engine: Engine, make: Make):
    db = make("CREATE TABLE {db}.t (a INT, b MAP<STRING, ARRAY<INT>>) USING parquet PARTITIONED BY (a)")
    binary = over(engine, db, url=None, password=None, host="127.0.0.1", port=engine.binary_port)
    assert list(snapshots(binary)) == list(snapshots(over(engine, db)))


# Measures


def test_iceberg_rows_are_those_that_pyiceberg_reads(iceberg: Engine, make: Make):
    db = make(
        "CREATE TABLE {db}.t (id INT, r STRING) USING iceberg PARTITIONED BY (r)",
        "INSERT INTO {db}.t SELECT id, if(id % 2 = 0, 'a', 'b') FROM range(100)",
        "INSERT INTO {db}.t VALUES (1000, 'c')",
        "DELETE FROM {db}.t WHERE id < 10",
    )
    tables, _ = read(over(iceberg, db))
    facts = iceberg_table(iceberg.folder / "warehouse" / f"{db}.db" / "t")
    assert (tables["t"].row_count, tables["t"].byte_count) == (facts.rows, facts.files_size) == (91, facts.files_size)
    change = tables["t"].data_change
    assert change is not None
    assert (change.at, change.source) == (facts.committed_at, ChangeSource.SNAPSHOT)
    assert tuple(c.name for c in tables["t"].columns or ()) == facts.columns


def test_rows_are_unknown_while_delete_files_hide_some(iceberg: Engine, make: Make):
    db = make(
        "CREATE TABLE {db}.t (id INT) USING iceberg TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')",
        "INSERT INTO {db}.t SELECT id FROM range(10)",
        "DELETE FROM {db}.t WHERE id = 3",
    )
    tables, _ = read(over(iceberg, db))
    assert iceberg_table(iceberg.folder / "warehouse" / f"{db}.db" / "t").rows == 9
    assert tables["t"].row_count is None
    assert tables["t"].byte_count
    assert tables["t"].data_change is not None


def test_a_rollback_counts_the_snapshot_that_is_current(iceberg: Engine, make: Make):
    db = make(
        "CREATE TABLE {db}.t (id INT) USING iceberg", "INSERT INTO {db}.t VALUES (1)", "INSERT INTO {db}.t VALUES (2)"
    )
    [first, _] = iceberg.run(f"SELECT snapshot_id FROM {db}.t.snapshots ORDER BY committed_at")
    iceberg.run(f"CALL spark_catalog.system.rollback_to_snapshot('{db}.t', {first[0]})")
    tables, _ = read(over(iceberg, db))
    assert tables["t"].row_count == 1
    iceberg.run(
        "CREATE NAMESPACE lake.back",
        "CREATE TABLE lake.back.t (id INT) USING iceberg",
        "INSERT INTO lake.back.t VALUES (1)",
        "INSERT INTO lake.back.t VALUES (2)",
    )
    [first, _] = iceberg.run("SELECT snapshot_id FROM lake.back.t.snapshots ORDER BY committed_at")
    iceberg.run(f"CALL lake.system.rollback_to_snapshot('back.t', {first[0]})")
    elsewhere, _ = read(over(iceberg, "lake", catalogs=("lake",)))
    iceberg.run("DROP TABLE lake.back.t", "DROP NAMESPACE lake.back")
    assert elsewhere["t"].row_count == 1


def test_files_tell_rows_bytes_and_change_where_the_user_asks_for_it(engine: Engine, make: Make):
    db = make(
        "CREATE TABLE {db}.t (a INT, p STRING) USING parquet PARTITIONED BY (p)",
        "CREATE TABLE {db}.never (a INT) USING parquet",
        "INSERT INTO {db}.t VALUES (1, 'x'), (2, 'y'), (3, 'y')",
    )
    tables, _ = read(over(engine, db, file_measures=True))
    files = list((engine.folder / "warehouse" / f"{db}.db" / "t").rglob("*.parquet"))
    assert tables["t"].row_count == 3
    assert tables["t"].byte_count == sum(p.stat().st_size for p in files)
    change = tables["t"].data_change
    assert change is not None
    assert change.source is ChangeSource.FILE
    newest = max(p.stat().st_mtime for p in files)
    assert abs(change.at.timestamp() - newest) < 0.01
    assert (tables["never"].row_count, tables["never"].data_change) == (0, None)
    without, _ = read(over(engine, db))
    assert (without["t"].row_count, without["t"].data_change) == (None, None)


def test_the_false_zero_of_spark_4_is_unknown(engine: Engine, make: Make):
    if engine.major < 4:
        pytest.skip(f"needs Spark 4: name an interpreter that has pyspark 4 in {ENGINE_VARIABLE}")
    db = make(
        "CREATE TABLE {db}.t (a INT) USING parquet",
        "INSERT INTO {db}.t VALUES (1), (2)",
        "ANALYZE TABLE {db}.t COMPUTE STATISTICS",
        "INSERT INTO {db}.t VALUES (3), (4)",
    )
    assert "0 rows" in engine.run(f"SHOW TABLE EXTENDED IN {db} LIKE 't'")[0][3]
    tables, _ = read(over(engine, db))
    assert tables["t"].row_count is None
    assert tables["t"].byte_count


# Query log and lineage


def everything() -> Window:
    now = datetime.now(UTC)
    return Window(start=now - timedelta(hours=2), end=now + timedelta(hours=1))


def test_the_servers_log_is_the_query_log_of_users_and_not_ours(engine: Engine, make: Make):
    db = make("CREATE TABLE {db}.t (a INT) USING parquet")
    warehouse = over(engine, db, event_log=str(engine.events))
    list(snapshots(warehouse))
    list(warehouse.lineage(everything()))
    engine.run(f"USE {db}", "SELECT a,\n  'ü' FROM t", user="ana")
    found = {q.text: q for q in warehouse.queries(everything())}
    mine = found["SELECT a,\n  'ü' FROM t"]
    assert (mine.user, mine.database, mine.schema, mine.failed) == ("ana", "spark_catalog", db, False)
    assert mine.started_at <= mine.ended_at <= datetime.now(UTC)
    assert not [text for text in found if "mc-push-dagster" in text or text.startswith("Listing ")]
    assert not [q for q in found.values() if q.user == "reader"], "our own sessions, the driver's USE included"


def without_plans(engine: Engine, target: Path) -> None:
    """The server's log as it is, save for the plans; unpacked, if the server packs it."""
    import zstandard

    target.mkdir()
    for path in engine.events.glob("*/events_*"):
        with path.open("rb") as stored:
            packed = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
            content = packed.read() if path.suffix == ".zstd" else stored.read()
        kept = [line for line in content.splitlines(keepends=True) if b"OperationParsed" not in line]
        (target / path.name.removesuffix(".zstd")).write_bytes(b"".join(kept))


def test_logged_plans_give_lineage_and_a_lost_plan_is_explained_without_executing(engine: Engine, make: Make, tmp_path):
    db = make(
        "CREATE TABLE {db}.src (id INT, amount DOUBLE, region STRING) USING parquet",
        "CREATE VIEW {db}.v AS SELECT region, sum(amount) AS total FROM {db}.src GROUP BY region",
        "CREATE TABLE {db}.dst USING parquet AS SELECT region, total FROM {db}.v",
        "CREATE TABLE {db}.other (r STRING) USING parquet",
        "INSERT INTO {db}.other SELECT upper(region) FROM {db}.src",
    )
    [before] = engine.run(f"SELECT count(*) FROM {db}.other")

    def edges(events: str, *, explain: bool) -> tuple[set, set]:
        warehouse = over(engine, db, event_log=events, explain=explain)
        found = list(warehouse.lineage(everything()))
        assert {e.evidence.kind for e in found if not isinstance(e, Gap)} <= {EvidenceKind.PLAN}
        lines = {(e.source.name, e.destination.name) for e in found if isinstance(e, LineageEdge)}
        fine = {
            (e.source.name, e.source_column, e.destination.name, e.destination_column)
            for e in found
            if isinstance(e, ColumnEdge)
        }
        return lines, fine

    logged = (
        {("v", "dst"), ("src", "v"), ("src", "other")},
        {("src", "region", "other", "r"), ("v", "total", "dst", "total")},
    )
    lines, fine = edges(str(engine.events), explain=False)
    assert lines == logged[0]
    assert logged[1] <= fine
    without_plans(engine, tmp_path / "eventlog_v2_bare")
    explained_lines, explained_fine = edges(str(tmp_path), explain=True)
    # CREATE TABLE of what exists cannot be explained any more: that one is the parser's.
    assert {("src", "v"), ("src", "other")} <= explained_lines
    assert ("src", "region", "other", "r") in explained_fine
    assert engine.run(f"SELECT count(*) FROM {db}.other") == [before], "nothing was executed"
