"""Hive: genuine output of Hive 2.3.9 read truthfully, its log, and the contract over its own driver."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    DataChange,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableRef,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses._hive_catalog import HiveTable, _column, extended, formatted
from mc_push_dagster.warehouses._hive_log import HiveLog
from mc_push_dagster.warehouses._thrift import OWN
from mc_push_dagster.warehouses.hive import Hive, HiveSettings
from mc_push_dagster_tests.spark.engine import running_hive
from mc_push_dagster_tests.spark.replay import Answers, RefusedError, over_http
from mc_push_dagster_tests.warehouses.contract import Loaded, WarehouseContract

GOLDEN = Path(__file__).parents[1] / "golden" / "spark"
ANSWERS: dict[str, list[list[str]]] = json.loads((GOLDEN / "hive_2.3.9.json").read_text(encoding="utf-8"))
LOG = GOLDEN / "hive_2.3.9.log"
EVER = Window(start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2100, 1, 1, tzinfo=UTC))
EXTENDED = "SHOW TABLE EXTENDED IN hv LIKE '*'"


def rows(statement: str):
    return (tuple(row) for row in ANSWERS[statement])


# Genuine output


def test_bytes_and_the_last_file_change_come_without_statistics():
    found = extended(rows(EXTENDED))
    assert found["u"].byte_count == 359
    assert found["u"].changed_at is not None
    facts = dict(
        row[0].split(":", 1) for row in ANSWERS[EXTENDED] if row[0].startswith(("lastUpdateTime", "tableName"))
    )
    assert facts, "the golden file holds what we read"
    assert found["t"].byte_count == 1285


def test_a_table_without_files_holds_nothing_and_never_changed():
    assert extended(rows(EXTENDED))["nothing"] == HiveTable(name="nothing", byte_count=0, changed_at=None)


def test_views_have_no_measures():
    found = extended(rows(EXTENDED))
    assert (found["v"].byte_count, found["v"].changed_at) == (None, None)


def test_an_empty_database_has_no_tables():
    assert extended(rows("SHOW TABLE EXTENDED IN empty_db LIKE '*'")) == {}


def test_a_row_count_that_the_metastore_left_at_zero_is_unknown():
    """Hive says numRows 0 of a table with files, because whoever wrote them did not update its statistics."""
    before = extended(rows(EXTENDED))["u"]
    assert formatted(rows("DESCRIBE FORMATTED hv.u"), before, zone=None).row_count is None


def test_a_row_count_of_zero_without_bytes_is_true():
    before = extended(rows(EXTENDED))["nothing"]
    assert formatted(rows("DESCRIBE FORMATTED hv.nothing"), before, zone=None).row_count == 0


def test_a_view_tells_its_text_and_created_time():
    found = formatted(rows("DESCRIBE FORMATTED hv.v"), HiveTable(name="v", kind="VIEW"), zone=None)
    assert found.view_text == "SELECT id, v FROM hv.u WHERE id > 3"
    assert found.kind == "VIRTUAL_VIEW"
    assert found.created_at is not None


def test_unlistable_files_are_unknown():
    listed = [("tableName:x",), ("totalNumberFiles:unknown",), ("totalFileSize:unknown",), ("lastUpdateTime:unknown",)]
    assert extended(iter(listed)) == {"x": HiveTable(name="x")}


@pytest.mark.parametrize(
    ("kind", "size", "digits", "shown"),
    [
        ("DECIMAL", 10, 2, "DECIMAL(10,2)"),
        ("VARCHAR", 20, None, "VARCHAR(20)"),
        ("BIGINT", 19, 0, "BIGINT"),
        ("map<string,int>", None, None, "map<string,int>"),
    ],
)
def test_types_are_whole(kind, size, digits, shown):
    row = ("", "d", "t", "c", 0, kind, size, None, digits, None, 1, "note")
    assert _column(row) == Column(name="c", type=shown, description="note")


# The log


def test_the_servers_log_gives_text_times_and_errors():
    found = {r.text: r for r in HiveLog(str(LOG)).records(EVER)}
    made = found["CREATE DATABASE hv"]
    assert (made.user, made.returned_rows, made.failed) == (None, None, False)
    assert made.started_at < made.ended_at
    failed = found["SELECT nope FROM hv.u"]
    assert failed.error_code == "10004"
    assert failed.error_text is not None
    assert failed.error_text.startswith("SemanticException [Error 10004]: Line 1:7 Invalid table alias")
    assert "CREATE TABLE hv.lines\n  (a int)" in found


def test_records_come_by_their_end_and_our_own_are_left_out():
    found = list(HiveLog(str(LOG)).records(EVER))
    assert [r.ended_at for r in found] == sorted(r.ended_at for r in found)
    assert not [r for r in found if r.text.startswith(OWN.strip())]
    assert len({r.query_id for r in found}) == len(found)


def test_the_clock_of_the_server_is_taken_into_account():
    from zoneinfo import ZoneInfo

    [utc] = [r for r in HiveLog(str(LOG)).records(EVER) if r.text == "CREATE DATABASE hv"]
    [local] = [r for r in HiveLog(str(LOG), zone=ZoneInfo("Asia/Kolkata")).records(EVER) if r.text == utc.text]
    assert utc.ended_at - local.ended_at == timedelta(hours=5, minutes=30)


def entry(second: int, message: str, *, thread: str = "HiveServer2-Background-Pool: Thread-61") -> str:
    """The layout of other distributions, with file and line between."""
    return f"2026-01-01 10:00:{second:02d},000 INFO  [{thread}]: ql.Driver (Driver.java:execute(1735)) - {message}\n"


def statement(id: str, text: str, start: int, end: int) -> tuple[str, str]:
    return (
        entry(start, f"Compiling command(queryId={id}): {text}"),
        entry(end, f"Completed executing command(queryId={id}); Time taken: 1.0 seconds"),
    )


def test_a_statement_that_runs_across_a_rotation_is_whole(tmp_path):
    begin, end = statement("q1", "SELECT 1", 1, 30)
    (tmp_path / "hive.log.1.gz").write_bytes(gzip.compress(begin.encode()))
    (tmp_path / "hive.log").write_text(end)
    old = datetime(2026, 1, 1, 10, 0, 5, tzinfo=UTC).timestamp()
    os.utime(tmp_path / "hive.log.1.gz", (old, old))
    assert [(r.query_id, r.text) for r in HiveLog(str(tmp_path)).records(EVER)] == [("q1", "SELECT 1")]


def test_two_servers_in_one_folder_are_merged_by_time(tmp_path):
    (tmp_path / "a.log").write_text("".join(statement("a1", "SELECT 1", 1, 4) + statement("a2", "SELECT 2", 5, 8)))
    (tmp_path / "b.log").write_text("".join(statement("b1", "SELECT 3", 1, 6)))
    assert [r.query_id for r in HiveLog(str(tmp_path)).records(EVER)] == ["a1", "b1", "a2"]


def test_a_session_named_by_its_thread_is_kept(tmp_path):
    session = "b5f1c2d0-1111-2222-3333-444455556666"
    text = "".join(statement("q", "SELECT 1", 1, 2)).replace(
        "HiveServer2-Background", f"{session} HiveServer2-Background"
    )
    (tmp_path / "hive.log").write_text(text)
    assert [r.session_id for r in HiveLog(str(tmp_path)).records(EVER)] == [session]


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(FixConfiguration, match="nowhere"):
        list(HiveLog(str(tmp_path / "nowhere")).records(EVER))


# Over the wire, from golden output


def replayed() -> Answers:
    def answer(sql: str) -> list[tuple]:
        plain = sql.replace("`", "")
        if plain not in ANSWERS:
            raise RefusedError(f"Error while compiling statement: FAILED: no such answer: {plain}")
        return list(rows(plain))

    kinds = {"v": "VIEW", "w": "VIEW"}
    names = ["nothing", "t", "u", "v", "w"]
    tables = [("", "hv", n, kinds.get(n, "TABLE"), "two columns" if n == "u" else None) for n in names]
    return Answers(answer, tables=lambda pattern: tables)


def hive(url: str, **more) -> Hive:
    return Hive.from_settings(HiveSettings(url=url, username="alice", password="pw", **more), scope=Scope())


def test_genuine_output_becomes_a_catalog_in_the_vendors_shape_of_names():
    with over_http(replayed()) as url:
        items = list(hive(url).tables())
    gaps = [item for item in items if isinstance(item, Gap)]
    tables = {item.ref.name: item for item in items if not isinstance(item, Gap)}
    assert [gap.subject for gap in gaps] == ["default"], "the golden file has no answer for it"
    assert tables["u"].ref == TableRef(database="hv", schema="hv", name="u")
    assert tables["u"].description == "two columns"
    assert tables["v"].view_query == "SELECT id, v FROM hv.u WHERE id > 3"
    assert tables["v"].asset_type is AssetType.VIEW
    assert tables["v"].data_change is None
    change = tables["u"].data_change
    assert change is not None
    assert change.source is ChangeSource.FILE


def test_a_views_own_sources_are_its_edges_and_not_their_sources():
    with over_http(replayed()) as url:
        edges = [e for e in hive(url).lineage(EVER) if isinstance(e, LineageEdge)]
    assert [(e.source.name, e.source_type, e.destination.name) for e in edges] == [("v", AssetType.VIEW, "w")]


def test_a_hive_log_is_read_through_the_warehouse():
    with over_http(replayed()) as url:
        assert len(list(hive(url, query_log=str(LOG)).queries(EVER))) > 5
        assert list(hive(url).queries(EVER)) == []


# The contract, over Hive's own driver


def expected_log() -> Sequence[QueryRecord]:
    """The golden log, read by a second and simpler reading: whole entries, by query id."""
    import re

    text = LOG.read_text(encoding="utf-8")
    entries = re.findall(r"(?ms)^(\d{4}-\d\d-\d\dT[\d:,]+) +\w+ \[[^]]*\] \S+: (.*?)(?=\n\d{4}-\d\d-\d\dT|\Z)", text)
    begun: dict[str, tuple[datetime, str]] = {}
    failed: dict[str, str] = {}
    found: list[QueryRecord] = []
    last = ""
    for at, message in entries:
        moment = datetime.strptime(at, "%Y-%m-%dT%H:%M:%S,%f").replace(tzinfo=UTC)
        command = re.match(r"(?s)(\w+(?: \w+)?) command\(queryId=(.*?)\)(?:: (.*))?", message)
        if command and command[1] == "Compiling":
            last = command[2]
            begun[last] = (moment, command[3])
        elif message.startswith("FAILED: "):
            failed.setdefault(last, message.splitlines()[0].removeprefix("FAILED: "))
        elif command and (command[1] == "Completed executing" or command[2] in failed) and command[2] in begun:
            start, sql = begun.pop(command[2])
            if OWN.strip() in sql:
                continue
            error = failed.get(command[2])
            code = re.search(r"\[Error (\d+)\]", error or "")
            found.append(
                QueryRecord(
                    text=sql,
                    query_id=command[2],
                    started_at=start,
                    ended_at=moment,
                    error_code=code[1] if code else None,
                    error_text=error,
                    database="hive",
                )
            )
    return found


def hive_table(name: str, columns: dict[str, str], *, files: Path | None = None, **more) -> TableSnapshot:
    change = None
    if files is not None:
        places = [files, *(p for p in files.rglob("*") if not p.name.startswith("."))]
        at = datetime.fromtimestamp(max(int(p.stat().st_mtime * 1000) for p in places) / 1000, UTC)
        change = DataChange(at=at, source=ChangeSource.FILE)
    defaults = {"asset_type": AssetType.TABLE, "native_type": "MANAGED_TABLE", "byte_count": 1, "row_count": None}
    return TableSnapshot(
        ref=TableRef(database="hv", schema="hv", name=name),
        columns=tuple(
            Column(name=n, type=t, description="the id" if (name, n) == ("t", "id") else None)
            for n, t in columns.items()
        ),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        data_change=change,
        **(defaults | more),
    )


@pytest.mark.spark
@pytest.mark.timeout(300)
class TestHive(WarehouseContract):
    warehouse = Hive
    driver = "pyhive"
    examples = 3

    @pytest.fixture(scope="class")
    def loaded(self) -> Loaded:
        port, folder = running_hive()
        home = folder / "warehouse" / "hv.db"
        view = {
            "asset_type": AssetType.VIEW,
            "native_type": "VIRTUAL_VIEW",
            "byte_count": None,
            "view_query": "there is one",
        }
        tables = [
            hive_table("nothing", {"a": "INT"}, row_count=0, byte_count=0),
            hive_table(
                "t", {"id": "BIGINT", "amt": "DECIMAL(10,2)", "m": "map<string,int>", "dt": "STRING"}, files=home / "t"
            ),
            hive_table("u", {"id": "BIGINT", "v": "STRING"}, files=home / "u", description="two columns"),
            hive_table("v", {"id": "BIGINT", "v": "STRING"}, description="a view", **view),
            hive_table("w", {"id": "BIGINT"}, **view),
        ]
        settings = {"host": "127.0.0.1", "port": port, "auth": "NOSASL", "username": "alice", "row_counts": True}

        def alter() -> None:
            from mc_push_dagster.warehouses._thrift import Session

            connection = HiveSettings(**settings).connect()
            Session(connection).run("ALTER TABLE hv.nothing ADD COLUMNS (b int)")
            connection.close()

        return Loaded(
            open=lambda scope: Hive.from_settings(HiveSettings(**settings, query_log=str(LOG)), scope=scope),
            tables={t.ref: t for t in tables},
            queries=expected_log(),
            alter_schema=alter,
        )
