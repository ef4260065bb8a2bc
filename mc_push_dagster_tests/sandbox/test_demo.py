"""The demo shop holds what it promises, tells the truth about it, and survives being built by two at once."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from mc_push_dagster.errors import FixConfiguration, WarehouseUnavailable
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.flow.drift import changes
from mc_push_dagster.model import ChangeSource, QueryRecord, TableSnapshot, Window, hour_bucket
from mc_push_dagster.sandbox import demo
from mc_push_dagster.sandbox.demo import QUERY_LOG_TABLE, SCOPE, build, evolve
from mc_push_dagster.sandbox.recorder import Recorder
from mc_push_dagster.warehouses.duckdb import DuckDB, DuckDBSettings

NOW = datetime(2026, 3, 10, 13, 20, tzinfo=UTC)
HOSTILE = 'Kunden-Feedback (v2) "final".xlsx 🎈'


def shop_at(path: Path) -> DuckDB:
    return DuckDB.from_settings(DuckDBSettings(path=str(path), query_log_table=QUERY_LOG_TABLE), scope=SCOPE)


def catalog(path: Path) -> dict[str, TableSnapshot]:
    items = list(snapshots(shop_at(path)))
    assert all(isinstance(item, TableSnapshot) for item in items), "the demo has no gaps"
    return {f"{s.ref.schema}.{s.ref.name}": s for s in items if isinstance(s, TableSnapshot)}


def log(path: Path, hours: int = 12, until: datetime = NOW) -> list[QueryRecord]:
    return list(shop_at(path).queries(Window(start=until - timedelta(hours=hours), end=until)))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "shop.duckdb"
    return build(path, now=NOW)


@pytest.fixture
def path(built, tmp_path) -> Path:
    """A copy to change."""
    copy = tmp_path / "shop.duckdb"
    copy.write_bytes(built.path.read_bytes())
    return copy


# What is in it


def test_the_shop_is_as_large_as_promised(built):
    tables = catalog(built.path)
    assert len(tables) >= 40
    assert {s.ref.schema for s in tables.values()} == {"raw", "staging", "marts"}
    assert {s.ref.database for s in tables.values()} == {"shop"}
    assert 800_000 < sum(s.row_count or 0 for s in tables.values()) < 1_200_000
    assert built.path.stat().st_size < 100_000_000


def test_facts_are_counted_in_the_file(built):
    tables = catalog(built.path).values()
    assert built.tables == sum(s.view_query is None for s in tables)
    assert built.views == sum(s.view_query is not None for s in tables)
    with closing(duckdb.connect(str(built.path), read_only=True)) as connection:
        rows = 0
        for snapshot in tables:
            if snapshot.view_query is None:
                quoted = ".".join('"' + p.replace('"', '""') + '"' for p in snapshot.ref.parts)
                rows += connection.execute(f"SELECT count(*) FROM (FROM {quoted})").fetchall()[0][0]
        assert built.rows == rows
        assert connection.execute("SELECT count(*) FROM ops.query_log").fetchall() == [(built.statements,)]
    assert built.failed == sum(q.failed for q in log(built.path)) >= 1
    assert not built.reused


def test_the_shop_has_what_makes_catalogs_hard(built):
    tables = catalog(built.path)
    assert tables["raw.gift_cards"].row_count == 0
    hostile = tables[f"raw.{HOSTILE}"]
    assert [c.name for c in hostile.columns or ()] == ["order.id", "select", "Ihr Kommentar 😀"]
    assert "staging.tmp_backfill" not in tables
    assert "marts.product_performance" in tables
    assert not any(name.endswith(("__new", "__old", ".recent_orders")) for name in tables)
    types = {c.type.partition("(")[0] for s in tables.values() for c in s.columns or ()}
    assert {"DECIMAL", "TIMESTAMP WITH TIME ZONE", "VARCHAR[]", "BOOLEAN", "DATE"} <= types
    assert any(t.startswith("STRUCT") for t in types)
    assert any(t.startswith("MAP") for t in types)
    assert tables["raw.customers"].description
    assert any(c.description for c in tables["marts.fct_orders"].columns or ())


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE raw.customers AS",
        "CREATE VIEW executive_dashboard AS",
        "CREATE TEMP TABLE recent_orders AS",
        "INSERT INTO int_customer_orders\nSELECT",
        "MERGE INTO customer_history",
        "UPDATE dim_customers SET",
        "DELETE FROM raw.web_events",
        "COPY raw.fx_rates FROM",
        "ALTER TABLE product_performance__new RENAME TO product_performance",
        "DROP TABLE tmp_backfill",
        "USE marts",
        "COMMENT ON TABLE",
        "WITH repeat_buyers AS",
    ],
)
def test_the_log_holds_each_kind_of_statement(built, statement):
    assert any(statement in q.text for q in log(built.path))


def test_failed_statements_carry_the_engines_error_and_no_result(built):
    failed = [q for q in log(built.path) if q.failed]
    assert {q.error_code for q in failed} == {"BinderException"}
    assert all("Binder Error" in (q.error_text or "") for q in failed)
    assert all(q.returned_rows is None for q in failed)


def test_reads_say_how_many_rows_came_back(built):
    (query,) = [q for q in log(built.path) if q.text.startswith("SELECT * FROM top_customers")]
    assert (query.user, query.returned_rows, query.schema, query.database) == ("ben.okafor", 20, "marts", "shop")


# Its clock


def test_the_hours_before_now_all_have_queries(built):
    for back in range(1, 7):
        hour = Window.hour(NOW - timedelta(hours=back))
        assert len(list(shop_at(built.path).queries(hour))) >= 5, hour


@pytest.mark.parametrize("minute", [0, 59])
def test_the_hours_before_now_have_queries_at_any_minute(tmp_path, minute):
    now = NOW.replace(minute=minute)
    path = tmp_path / "shop.duckdb"
    build(path, now=now)
    for back in range(1, 7):
        assert list(shop_at(path).queries(Window.hour(now - timedelta(hours=back))))
    assert all(q.ended_at <= now for q in log(path, until=now + timedelta(days=1)))


def test_nothing_happened_in_the_future_and_sessions_do_one_thing_at_a_time(built):
    queries = log(built.path)
    assert len(queries) == built.statements
    assert all(q.started_at < q.ended_at <= NOW for q in queries)
    sessions: dict[str | None, list[QueryRecord]] = {}
    for query in queries:
        sessions.setdefault(query.session_id, []).append(query)
    for session in sessions.values():
        assert all(one.ended_at < other.started_at for one, other in pairwise(session))


def test_dashboards_repeat_by_the_hour(built):
    hours = {
        hour_bucket(q.ended_at)
        for q in log(built.path)
        if q.user == "svc_dashboard" and "FROM executive_dash" in q.text
    }
    assert len(hours) >= 4


def test_data_change_is_the_end_of_the_last_statement_that_wrote_the_table(built):
    tables = catalog(built.path)
    queries = log(built.path)

    def last(*begins: str) -> datetime:
        return max(q.ended_at for q in queries if q.text.startswith(begins) and not q.failed)

    expected = {
        "raw.customers": last("CREATE TABLE raw.customers"),
        "raw.gift_cards": last("-- Bought with the gift shop"),
        "raw.fx_rates": last("COPY raw.fx_rates"),
        "raw.web_events": last("DELETE FROM raw.web_events"),
        "raw.orders": last("INSERT INTO raw.orders "),
        "staging.customer_history": last("MERGE INTO customer_history"),
        "marts.daily_revenue": last("MERGE INTO marts.daily_revenue"),
        "marts.dim_customers": last("UPDATE dim_customers"),
        "marts.product_performance": last("ALTER TABLE product_performance__new RENAME"),
        f"raw.{HOSTILE}": last('CREATE TABLE raw."Kunden'),
    }
    for name, at in expected.items():
        change = tables[name].data_change
        assert change is not None, name
        assert (change.at, change.source) == (at, ChangeSource.WRITE_LOG), name
    for name, snapshot in tables.items():
        assert (snapshot.data_change is None) == (snapshot.view_query is not None), name


# Building


def test_two_builds_of_one_moment_are_the_same_shop(built, tmp_path):
    other = tmp_path / "shop.duckdb"
    build(other, now=NOW)
    one, two = catalog(built.path), catalog(other)
    assert {n: (s.columns, s.row_count, s.view_query) for n, s in one.items()} == {
        n: (s.columns, s.row_count, s.view_query) for n, s in two.items()
    }
    told = [
        [(q.query_id, q.text, q.user, q.session_id) for q in sorted(log(p), key=lambda q: str(q.query_id))]
        for p in (built.path, other)
    ]
    assert told[0] == told[1]


def test_a_shop_that_is_there_is_used_again(path):
    before = path.read_bytes()
    facts = build(path, now=NOW + timedelta(seconds=30))
    assert facts.reused
    assert facts.built_at == NOW
    assert {q.query_id for q in log(path)} == {q.query_id for q in log(path)}
    assert len(before) == path.stat().st_size


def test_a_shop_that_is_there_goes_on_working_by_the_hour(path, built):
    later = NOW + timedelta(hours=3)
    facts = build(path, now=later)
    assert facts.reused
    assert facts.statements > built.statements
    for back in (1, 2):
        assert list(shop_at(path).queries(Window.hour(later - timedelta(hours=back))))
    assert (catalog(path)["raw.orders"].row_count or 0) > (catalog(built.path)["raw.orders"].row_count or 0)
    again = build(path, now=later)
    assert again.statements == facts.statements, "no hour is worked twice"
    ids = [q.query_id for q in log(path, until=later)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("days", [2, -1], ids=["of another day", "from the future"])
def test_a_shop_of_another_time_is_built_anew(path, days):
    now = NOW + timedelta(days=days)
    facts = build(path, now=now)
    assert not facts.reused
    assert facts.built_at == now


def test_a_shop_of_another_recipe_is_built_anew(path):
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("UPDATE ops.build SET recipe = 'older'")
    assert not build(path, now=NOW).reused


def test_a_damaged_shop_is_built_anew(path):
    path.write_bytes(b"not a database")
    assert not build(path, now=NOW).reused
    assert len(catalog(path)) >= 40


def test_a_shop_that_somebody_reads_is_used_as_it_is(path, built):
    with shop_at(path).connection():
        facts = build(path, now=NOW + timedelta(hours=3))
    assert facts.reused
    assert facts.statements == built.statements


def test_a_shop_that_another_program_writes_is_left_alone(path):
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(WarehouseUnavailable, match="another process"):
            build(path, now=NOW)
        writer.communicate("")


def test_a_build_that_breaks_off_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(self, session):
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "run", broken)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "new" / "shop.duckdb", now=NOW)
    assert [name for name in os.listdir(tmp_path / "new") if not name.endswith(".lock")] == []


def test_processes_that_build_at_once_make_one_shop(tmp_path):
    path = tmp_path / "shop.duckdb"
    code = (
        "import sys; from pathlib import Path; from datetime import datetime;"
        "from mc_push_dagster.sandbox.demo import build;"
        "print(build(Path(sys.argv[1]), now=datetime.fromisoformat(sys.argv[2])).reused)"
    )
    command = [sys.executable, "-c", code, str(path), NOW.isoformat()]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = sorted(process.communicate(timeout=60)[0].strip() for process in running)
    assert answers == ["False", "True"]
    assert sorted(os.listdir(tmp_path)) == [".shop.duckdb.lock", "shop.duckdb"]


# Drift


def test_evolve_changes_schemas_and_rows_for_real(path):
    before, prints = catalog(path), list(shop_at(path).fingerprints())
    evolve(path, now=NOW + timedelta(minutes=1))
    after = catalog(path)
    found = {name: changes(before.get(name), after.get(name)) for name in before.keys() | after.keys()}
    drift = {name: change for name, change in found.items() if change is not None}
    assert {name: change.change for name, change in drift.items()} == {
        "raw.orders": "changed",
        "raw.suppliers": "changed",
        "raw.campaigns": "changed",
        "raw.loyalty_members": "added",
        "raw.orders_rejected": "removed",
    }
    assert drift["raw.orders"].columns_added == ("loyalty_tier",)
    assert drift["raw.suppliers"].columns_removed == ("lead_time_weeks",)
    assert drift["raw.campaigns"].columns_retyped == ("budget",)
    assert list(shop_at(path).fingerprints()) != prints
    assert after["raw.orders"].row_count == (before["raw.orders"].row_count or 0) + 500
    change = after["raw.orders"].data_change
    assert change is not None
    assert change.at > NOW


def test_an_evolved_shop_goes_on_working_and_evolves_again(path):
    evolve(path, now=NOW)
    evolve(path, now=NOW + timedelta(minutes=5))
    facts = build(path, now=NOW + timedelta(hours=2))
    assert facts.reused
    assert "raw.loyalty_members" in catalog(path)


def test_evolving_without_a_shop_says_to_build_it(tmp_path):
    with pytest.raises(FixConfiguration, match="build it first"):
        evolve(tmp_path / "shop.duckdb", now=NOW)


def test_the_module_imports_no_driver_and_no_server():
    heavy = "{'duckdb', 'starlette', 'graphql', 'dagster'}"
    code = f"import sys, {demo.__name__}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
