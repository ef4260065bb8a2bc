"""DuckDB files: read truthfully, whatever is in them, and refused in one sentence where they cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from mc_push_dagster.config import parse
from mc_push_dagster.errors import BrokenContract, FixAccess, FixConfiguration, WarehouseUnavailable
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    DataChange,
    Gap,
    QueryRecord,
    Scope,
    TableColumns,
    TablePattern,
    TableRef,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses.base import Capability
from mc_push_dagster.warehouses.duckdb import QUERY_LOG_COLUMNS, DuckDB, DuckDBOptions, DuckDBSettings
from mc_push_dagster_tests.warehouses.contract import Loaded, WarehouseContract

EVERYTHING = Scope()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOG_DDL = "CREATE TABLE ops.query_log (" + ", ".join(f"{n} {t}" for n, t in QUERY_LOG_COLUMNS.items()) + ")"
HOSTILE = (
    'we"ird.name 🎈',
    "select",
    "O'Brien; DROP TABLE x --",
    " leading",
    "Zürich",
    "a%b_c",
    "tab\tbed",
    "back`tick",
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def over(path: Path, scope: Scope = EVERYTHING, **more) -> DuckDB:
    return DuckDB.from_settings(DuckDBSettings(path=str(path), **more), scope=scope)


def table(name: str, columns: dict[str, str], rows: int | None, *, schema: str = "main", **more) -> TableSnapshot:
    return TableSnapshot(
        ref=TableRef(database="shop", schema=schema, name=name),
        asset_type=AssetType.TABLE if rows is not None else AssetType.VIEW,
        native_type="BASE TABLE" if rows is not None else "VIEW",
        columns=tuple(Column(name=n, type=t) for n, t in columns.items()),
        row_count=rows,
        view_query="there is one" if rows is None else None,
        **more,
    )


LOG = [
    QueryRecord(
        text="INSERT INTO Orders SELECT * FROM range(5)",
        started_at=NOON - timedelta(seconds=2),
        ended_at=NOON,
        query_id="q1",
        user="loader",
        database="shop",
        schema="main",
        session_id="s1",
    ),
    QueryRecord(
        text="SELECT 1",
        started_at=NOON,
        ended_at=NOON + timedelta(microseconds=1),
        query_id="q2",
        user="ana",
        returned_rows=0,
    ),
    QueryRecord(
        text="INSERT INTO orders SELECT nope",
        started_at=NOON,
        ended_at=NOON + timedelta(minutes=61),
        query_id="q3",
        error_code="BinderException",
        error_text="no column nope",
    ),
]
WRITES = {
    "q1": [{"database": "SHOP", "schema": "main", "name": "orders"}],
    # A statement that failed has changed nothing, whatever its recorder wrote down.
    "q3": [{"database": "shop", "schema": "main", "name": "orders"}],
}


def record(connection: duckdb.DuckDBPyConnection, query: QueryRecord) -> None:
    values = (
        query.query_id,
        query.session_id,
        query.user,
        query.database,
        query.schema,
        query.text,
        query.started_at,
        query.ended_at,
        query.returned_rows,
        query.error_code,
        query.error_text,
        WRITES.get(query.query_id or ""),
    )
    connection.execute(f"INSERT INTO ops.query_log VALUES ({', '.join('?' * len(values))})", values)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    with writing(path) as connection:
        connection.execute(
            'CREATE TABLE Orders (Id BIGINT, "Line.Items" STRUCT(sku VARCHAR, n INT[])[], d DECIMAL(12,3))'
        )
        connection.execute("INSERT INTO orders (Id) SELECT * FROM range(5)")
        connection.execute("DELETE FROM orders WHERE id = 0")
        connection.execute("COMMENT ON TABLE Orders IS 'One row an order'; COMMENT ON COLUMN Orders.Id IS 'The key'")
        connection.execute("CREATE TABLE nothing (moment TIMESTAMPTZ)")
        connection.execute(
            "CREATE VIEW recent AS SELECT id AS Id FROM orders; CREATE VIEW twice AS SELECT * FROM recent"
        )
        connection.execute("CREATE TABLE gone (a INT); CREATE VIEW broken AS SELECT * FROM gone; DROP TABLE gone")
        connection.execute("CREATE TEMP TABLE scratch (a INT)")
        connection.execute('CREATE SCHEMA ops; CREATE SCHEMA "pg_catalog_mine"; CREATE TABLE pg_catalog_mine.t (a INT)')
        for name in HOSTILE:
            connection.execute(f"CREATE TABLE {quoted(name)} ({quoted(name)} INT)")
        connection.execute(LOG_DDL)
        for query in reversed(LOG):
            record(connection, query)
    return path


ORDERS = table(
    "Orders", {}, 4, description="One row an order", data_change=DataChange(at=NOON, source=ChangeSource.WRITE_LOG)
)
LOG_TYPES = {
    name: kind.removesuffix(" NOT NULL").replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")
    for name, kind in QUERY_LOG_COLUMNS.items()
}
EXPECTED = [
    replace(
        ORDERS,
        columns=(
            Column(name="Id", type="BIGINT", description="The key"),
            Column(name="Line.Items", type="STRUCT(sku VARCHAR, n INTEGER[])[]"),
            Column(name="d", type="DECIMAL(12,3)"),
        ),
    ),
    table("nothing", {"moment": "TIMESTAMP WITH TIME ZONE"}, 0),
    table("recent", {"Id": "BIGINT"}, None),
    table("twice", {"Id": "BIGINT"}, None),
    table("t", {"a": "INTEGER"}, 0, schema="pg_catalog_mine"),
    table("query_log", LOG_TYPES, 3, schema="ops"),
    *(table(name, {name: "INTEGER"}, 0) for name in HOSTILE),
]
BROKEN = TableRef(database="shop", schema="main", name="broken")


class TestDuckDB(WarehouseContract):
    warehouse = DuckDB
    driver = "duckdb"

    @pytest.fixture
    def loaded(self, shop: Path) -> Loaded:
        def run(sql: str) -> None:
            with writing(shop) as connection:
                connection.execute(sql)

        return Loaded(
            open=lambda scope: over(shop, scope, query_log_table="ops.query_log"),
            tables={snapshot.ref: snapshot for snapshot in EXPECTED},
            broken=frozenset({BROKEN}),
            queries=LOG,
            alter_schema=lambda: run("ALTER TABLE nothing ADD COLUMN more INT"),
            write_rows=lambda: run("INSERT INTO nothing VALUES (NULL)"),
        )


def names(items) -> list[str]:
    return [item.ref.name for item in items]


# What is in a file


def test_row_counts_are_true_after_deletes_where_the_engines_estimate_is_not(tmp_path):
    path = tmp_path / "shop.duckdb"
    with writing(path) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT * FROM range(200000); DELETE FROM t WHERE range % 2 = 0; CHECKPOINT"
        )
    with closing(duckdb.connect(str(path), read_only=True)) as connection:
        estimate = connection.execute("SELECT estimated_size FROM duckdb_tables()").fetchall()
    assert estimate == [(200_000,)], "DuckDB now estimates truly: the count may become cheaper"
    assert [snapshot.row_count for snapshot in over(path).tables()] == [100_000]


def test_an_empty_database_is_empty_and_has_a_fingerprint(tmp_path):
    path = tmp_path / "shop.duckdb"
    with writing(path):
        pass
    warehouse = over(path)
    assert list(snapshots(warehouse)) == []
    assert [f.database for f in warehouse.fingerprints()] == ["shop"]


def test_attached_files_are_read_under_their_names_and_named_by_the_scope(shop, tmp_path):
    other = tmp_path / "other.duckdb"
    with writing(other) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a; CREATE VIEW v AS SELECT a FROM t")
    attached = {'we"ird': str(other)}
    found = [s.ref for s in snapshots(over(shop, attach=attached)) if isinstance(s, TableSnapshot)]
    assert TableRef(database='we"ird', schema="main", name="t") in found
    only = Scope(include=(TablePattern(database='we"ird'),))
    assert [str(s.ref) for s in snapshots(over(shop, only, attach=attached))] == ['we"ird.main.t', 'we"ird.main.v']


def test_a_file_of_another_engine_is_listed_without_counting_its_rows(tmp_path):
    # count(*) is free in DuckDB's own files only; elsewhere it may read all there is.
    import sqlite3

    path, other = tmp_path / "shop.duckdb", tmp_path / "other.sqlite"
    with writing(path), closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
    try:
        with closing(duckdb.connect(config={"autoinstall_known_extensions": "false"})) as connection:
            connection.execute("ATTACH ? AS o (TYPE sqlite)", [str(other)])
    except duckdb.Error as error:
        pytest.skip(f"DuckDB's sqlite extension is not installed: {str(error)[:80]}")
    (snapshot,) = over(path, attach={"o": str(other)}).tables()
    assert snapshot.row_count is None


def test_a_table_of_2000_columns_keeps_their_order(tmp_path):
    path = tmp_path / "wide.duckdb"
    wanted = [f"c{i}" for i in range(2000)]
    with writing(path) as connection:
        connection.execute(f"CREATE TABLE wide ({', '.join(f'{name} INT' for name in wanted)})")
    (snapshot,) = snapshots(over(path))
    assert isinstance(snapshot, TableSnapshot)
    assert [column.name for column in snapshot.columns or ()] == wanted


def test_more_tables_than_are_counted_at_once_keep_each_its_own_count(tmp_path):
    path = tmp_path / "many.duckdb"
    with writing(path) as connection:
        for i in range(150):
            connection.execute(f"CREATE TABLE t{i:03} AS SELECT * FROM range({i})")
    assert [s.row_count for s in over(path).tables()] == list(range(150))


def test_a_view_whose_table_changed_under_it_is_a_gap(tmp_path):
    path = tmp_path / "shop.duckdb"
    with writing(path) as connection:
        connection.execute(
            "CREATE TABLE t (a INT, b INT); CREATE VIEW v AS SELECT a, b FROM t; ALTER TABLE t DROP COLUMN b"
        )
    gap = next(item for item in over(path).columns() if isinstance(item, Gap))
    assert gap.ref is not None
    assert gap.ref.name == "v"
    assert "recreate" in gap.reason


def test_a_view_over_a_file_that_is_out_of_reach_keeps_its_recorded_columns(tmp_path):
    path, data = tmp_path / "shop.duckdb", tmp_path / "x.csv"
    data.write_text("a,b\n1,2\n")
    with writing(path) as connection:
        connection.execute(f"CREATE VIEW v AS SELECT * FROM read_csv('{data}')")
    data.unlink()
    (listed,) = over(path).columns()
    assert isinstance(listed, TableColumns)
    assert [c.name for c in listed.columns] == ["a", "b"]


# A library user's own connection


def test_a_connection_that_writes_in_this_process_serves_by_its_cursors(tmp_path):
    with writing(tmp_path / "shop.duckdb") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        warehouse = DuckDB(connection.cursor)
        assert names(snapshots(warehouse)) == ["t"]
        connection.execute("INSERT INTO t VALUES (2)")
        assert [s.row_count for s in warehouse.tables()] == [2]
        assert connection.execute("SELECT 1").fetchall() == [(1,)], "the user's connection stays open"


def test_a_users_own_resource_lends_its_connections(shop):
    """As dagster_duckdb's DuckDBResource: `get_connection()` is a context manager that closes what it opened."""
    opened: list[duckdb.DuckDBPyConnection] = []

    class Resource:
        @contextmanager
        def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
            with writing(shop) as connection:
                opened.append(connection)
                yield connection

    warehouse = DuckDB.over(Resource(), options=DuckDBOptions(query_log_table="ops.query_log"))
    assert [s.ref for s in warehouse.tables()] == sorted({s.ref for s in EXPECTED} | {BROKEN})
    assert list(warehouse.queries(Window.hour(NOON))) == LOG[:2]
    assert len(opened) == 2
    for connection in opened:
        with pytest.raises(duckdb.ConnectionException, match="closed"):
            connection.execute("SELECT 1")


def test_tables_dropped_while_the_catalog_is_read_become_gaps_and_the_rest_goes_on(tmp_path):
    with writing(tmp_path / "shop.duckdb") as connection:
        for name in "abcde":
            connection.execute(f"CREATE TABLE {name} AS SELECT 1 AS x")

        class DropsAfterListing:
            """A cursor after whose first statement somebody drops two tables."""

            def __init__(self):
                self._inner = connection.cursor()

            def __getattr__(self, name):
                return getattr(self._inner, name)

            def execute(self, *arguments):
                self._inner.execute(*arguments)
                connection.execute("DROP TABLE IF EXISTS b; DROP TABLE IF EXISTS d")
                return self._inner

        items = list(DuckDB(DropsAfterListing).tables())
    assert [(item.ref.name, type(item)) for item in items if item.ref] == [
        ("a", TableSnapshot),
        ("b", Gap),
        ("c", TableSnapshot),
        ("d", Gap),
        ("e", TableSnapshot),
    ]
    assert [item.row_count for item in items if isinstance(item, TableSnapshot)] == [1, 1, 1]


# Files that cannot be read


def test_a_missing_file_is_a_matter_of_configuration_and_is_not_created(tmp_path):
    path = tmp_path / "no.duckdb"
    with pytest.raises(FixConfiguration, match=r"no\.duckdb does not exist"):
        next(over(path).tables())
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"x" * 9000], ids=["empty", "garbage"])
def test_a_file_of_something_else_is_a_matter_of_configuration(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(FixConfiguration, match="is no DuckDB file that this version reads"):
        next(over(path).tables())


def test_a_folder_is_a_matter_of_configuration(tmp_path):
    with pytest.raises(FixConfiguration, match="no readable file"):
        next(over(tmp_path).tables())


def test_a_file_without_permission_names_the_right_to_grant(shop):
    shop.chmod(0)
    with unprivileged(), pytest.raises(FixAccess, match="grant read access"):
        next(over(shop).tables())


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root reads everything: stop being root for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_another_process_writes_says_to_try_again(shop):
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(shop)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(
            WarehouseUnavailable, match=rf"written by another process \(process {writer.pid}\): try again"
        ):
            next(over(shop).tables())
        denied = list(over(shop).check_access())
        assert denied
        assert not any(access.granted for access in denied)
        writer.communicate("")
    assert names(over(shop).tables())


def test_a_file_that_this_process_writes_says_how_to_share_it(shop):
    with writing(shop), pytest.raises(FixConfiguration, match=r"connect=connection\.cursor"):
        next(over(shop).tables())


def test_a_file_with_damaged_blocks_breaks_off_in_one_sentence(shop):
    damaged = bytearray(shop.read_bytes())
    damaged[20_000:] = bytes(len(damaged) - 20_000)
    shop.write_bytes(damaged)
    with pytest.raises((WarehouseUnavailable, FixConfiguration)) as caught:
        list(snapshots(over(shop)))
    assert "\n" not in str(caught.value)


# The query log


def test_without_a_query_log_its_capabilities_say_so_and_nothing_is_invented(shop):
    warehouse = over(shop)
    denied = {a.capability: a.detail for a in warehouse.check_access() if not a.granted}
    assert denied.keys() == {Capability.QUERY_LOG, Capability.DATA_CHANGE}
    assert all("no query_log_table is set" in detail for detail in denied.values())
    assert list(warehouse.queries(Window(start=NOON, end=NOON + timedelta(days=1)))) == []
    assert {s.data_change for s in warehouse.tables() if isinstance(s, TableSnapshot)} == {None}


def test_a_query_log_that_does_not_exist_stops_queries_and_only_marks_the_catalog(shop):
    warehouse = over(shop, query_log_table="ops.nope")
    with pytest.raises(FixConfiguration, match=r"query_log_table ops\.nope cannot be read"):
        list(warehouse.queries(Window.hour(NOON)))
    first, *rest = warehouse.tables()
    assert isinstance(first, Gap)
    assert "no data-change times are known" in first.reason
    assert len(rest) == len(EXPECTED) + 1


def test_a_query_log_of_the_required_columns_alone_is_enough(tmp_path):
    path = tmp_path / "shop.duckdb"
    with writing(path) as connection:
        connection.execute('CREATE TABLE "my.log" (ENDED_AT TIMESTAMP, started_at TIMESTAMP, query_text VARCHAR)')
        connection.execute("INSERT INTO \"my.log\" VALUES ('2026-03-01 12:00:01', '2026-03-01 12:00:00', 'SELECT 1')")
    warehouse = over(path, query_log_table='"my.log"')
    # A time without zone is taken as UTC, on a machine of any zone.
    expected = QueryRecord(text="SELECT 1", started_at=NOON, ended_at=NOON + timedelta(seconds=1))
    assert list(warehouse.queries(Window.hour(NOON))) == [expected]
    assert len(list(warehouse.tables())) == 1


def test_a_query_log_without_a_required_column_names_it(tmp_path):
    path = tmp_path / "shop.duckdb"
    with writing(path) as connection:
        connection.execute("CREATE TABLE log (ended_at TIMESTAMPTZ, query_text VARCHAR)")
    with pytest.raises(FixConfiguration, match="query_log_table log has no column started_at"):
        list(over(path, query_log_table="log").queries(Window.hour(NOON)))


def test_a_query_log_row_without_text_is_loud(tmp_path):
    path = tmp_path / "shop.duckdb"
    with writing(path) as connection:
        connection.execute("CREATE TABLE log (ended_at TIMESTAMPTZ, started_at TIMESTAMPTZ, query_text VARCHAR)")
        connection.execute("INSERT INTO log VALUES ('2026-03-01 12:00:00+00', '2026-03-01 12:00:00+00', NULL)")
    with pytest.raises(BrokenContract, match="lacks query_text"):
        list(over(path, query_log_table="log").queries(Window.hour(NOON)))


@pytest.mark.parametrize("name", ["", "a.b.c.d", "a..b", '"open', ".a"])
def test_a_query_log_name_that_is_none_is_refused_when_it_is_configured(name):
    with pytest.raises(FixConfiguration, match="is no table name"):
        DuckDB(lambda: None, query_log_table=name)


def test_our_own_statements_are_left_out_where_the_log_records_them(shop):
    class Recording:
        """A connection whose statements are recorded, as a user's own wrapper might do it."""

        seen: list[str] = []  # noqa: RUF012

        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def cursor(self):
            return Recording(self._inner.cursor())

        def execute(self, sql, *arguments):
            Recording.seen.append(sql)
            return self._inner.execute(sql, *arguments)

    with writing(shop) as connection:
        warehouse = DuckDB(lambda: Recording(connection.cursor()), query_log_table="ops.query_log")
        list(snapshots(warehouse))
        list(warehouse.fingerprints())
        list(warehouse.check_access())
        list(warehouse.queries(Window.hour(NOON)))
        assert len(Recording.seen) > 10
        for sql in Recording.seen:
            record(connection, QueryRecord(text=sql, started_at=NOON, ended_at=NOON, query_id="ours"))
        assert [q.query_id for q in warehouse.queries(Window.hour(NOON))] == ["q1", "q2"]


def test_slices_of_a_window_keep_order_and_lose_nothing(shop, monkeypatch):
    monkeypatch.setattr("mc_push_dagster.warehouses._duckdb_log._SLICE", 7)
    with writing(shop) as connection:
        connection.execute("DELETE FROM ops.query_log")
        # Seconds with none, few and many queries, written in no order.
        connection.execute(
            """INSERT INTO ops.query_log BY NAME
               SELECT 'q' || i AS query_id, 'SELECT ' || i AS query_text, moment AS started_at, moment AS ended_at
               FROM (SELECT i, TIMESTAMPTZ '2026-03-01 12:00:00+00' + to_milliseconds((i * i * 7919) % 20000) AS moment
                     FROM range(300) t(i)) ORDER BY md5(i::VARCHAR)"""
        )
    got = list(over(shop, query_log_table="ops.query_log").queries(Window.hour(NOON)))
    assert len({q.query_id for q in got}) == len(got) == 300
    assert [(q.ended_at, q.query_id) for q in got] == sorted((q.ended_at, q.query_id) for q in got)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_memory_stays_constant_over_windows_of_millions(tmp_path):
    """A window of 900,000 queries (1.7 GB of text) needs no more memory than one of a third of it."""
    path = tmp_path / "shop.duckdb"
    with writing(path) as connection:
        connection.execute(f"CREATE SCHEMA ops; {LOG_DDL}")
        connection.execute(
            """INSERT INTO ops.query_log BY NAME
               SELECT 'q' || i AS query_id, repeat(md5(i::VARCHAR), 60) AS query_text,
                      moment AS started_at, moment AS ended_at
               FROM (SELECT i, TIMESTAMPTZ '2026-03-01 12:00:00+00' + to_milliseconds(2 * i) AS moment
                     FROM range(900000) t(i))"""
        )
    code = """
import re, sys
from datetime import timedelta
from mc_push_dagster.model import Scope, Window
from mc_push_dagster.warehouses.duckdb import DuckDB, DuckDBSettings, QUERY_LOG_COLUMNS
from datetime import datetime, UTC
start = datetime(2026, 3, 1, 12, tzinfo=UTC)
warehouse = DuckDB.from_settings(DuckDBSettings(path=sys.argv[1], query_log_table="ops.query_log"), scope=Scope())
window = Window(start=start, end=start + timedelta(seconds=float(sys.argv[2])))
count = sum(1 for _ in warehouse.queries(window))
# Not ru_maxrss: that begins at what the parent process held.
print(count, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""

    def run(seconds: int) -> tuple[int, int]:
        out = subprocess.run(
            [sys.executable, "-c", code, str(path), str(seconds)], check=True, capture_output=True, text=True
        )
        count, megabytes = out.stdout.split()
        return int(count), int(megabytes)

    small, large = run(600), run(1800)
    assert (small[0], large[0]) == (300_000, 900_000)
    assert large[1] < small[1] * 1.2 + 20, (small, large)
    assert large[1] < 350


# Configuration


def test_configuration_opens_the_warehouse_by_its_registry_name(shop):
    config = parse(
        {"name": "shop", "warehouse": {"type": "duckdb", "path": str(shop)}, "scope": {"include": "shop.main.or*"}},
        source="test",
    )
    assert names(config.open_warehouse().tables()) == ["Orders"]


def test_a_wrong_setting_is_refused_before_anything_is_opened():
    config = parse({"name": "shop", "warehouse": {"type": "duckdb", "file": "x"}}, source="test")
    with pytest.raises(FixConfiguration, match="path: field required"):
        config.open_warehouse()
