"""Query log from event logs: every window right, every byte read once, whatever form the files have."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.model import QueryRecord, Window
from mc_push_dagster.warehouses import _spark_eventfiles, _spark_eventlog
from mc_push_dagster.warehouses._spark_eventlog import EventLog, Operation
from mc_push_dagster.warehouses._thrift import OWN

GOLDEN = Path(__file__).parents[1] / "golden" / "spark" / "eventlog_3.5.9.jsonl"
EVENT = "org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServer"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EVER = Window(start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2100, 1, 1, tzinfo=UTC))


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def millis(seconds: float) -> int:
    return int(at(seconds).timestamp() * 1000)


def event(kind: str, **fields) -> bytes:
    return json.dumps({"Event": EVENT + kind, **fields}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def start(id: str, statement: str, seconds: float, *, user: str = "etl", session: str = "s1") -> bytes:
    fields = {"id": id, "sessionId": session, "statement": statement, "groupId": id}
    return event("OperationStart", **fields, startTime=millis(seconds), userName=user)


def finish(id: str, seconds: float) -> bytes:
    return event("OperationFinish", id=id, finishTime=millis(seconds))


def closed(id: str, seconds: float) -> bytes:
    return event("OperationClosed", id=id, closeTime=millis(seconds))


def write(folder: Path, lines: Sequence[bytes], name: str = "local-1") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(lines))
    return path


def read(log: EventLog, window: Window = EVER) -> list[QueryRecord]:
    return [operation.record for operation in log.operations(window)]


def expected_of_golden() -> list[tuple[str, str, int]]:
    """An independent reading: whole file in memory, statements with their first end."""
    starts, ends = {}, {}
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        if "statement" in found:
            starts[found["id"]] = found["statement"]
        for key in ("finishTime", "closeTime"):
            if key in found and "id" in found:
                ends.setdefault(found["id"], found[key])
    return sorted((end, starts[id], id) for id, end in ends.items())


def test_a_genuine_log_gives_every_statement_once_by_its_end(tmp_path):
    (tmp_path / "local-1").write_bytes(GOLDEN.read_bytes())
    found = read(EventLog(str(tmp_path)))
    assert [(int(r.ended_at.timestamp() * 1000), r.text, r.query_id) for r in found] == expected_of_golden()
    assert {r.user for r in found} == {"etl_user", "alice"}


def test_a_failed_statement_carries_the_servers_words_without_plan_and_stack(tmp_path):
    (tmp_path / "local-1").write_bytes(GOLDEN.read_bytes())
    [failed] = [r for r in read(EventLog(str(tmp_path))) if r.text == "SELECT * FROM nope.nope"]
    assert failed.error_code == "TABLE_OR_VIEW_NOT_FOUND"
    assert failed.error_text is not None
    assert failed.error_text.startswith("[TABLE_OR_VIEW_NOT_FOUND] The table or view `nope`.`nope` cannot be found.")
    assert "\n" not in failed.error_text
    assert "Project" not in failed.error_text


def test_a_statement_over_several_lines_stays_whole(tmp_path):
    (tmp_path / "local-1").write_bytes(GOLDEN.read_bytes())
    [found] = [r for r in read(EventLog(str(tmp_path))) if "/* multi\nline" in r.text]
    assert found.text.startswith("INSERT INTO lin.part")


def test_an_operation_that_is_open_is_carried_to_the_window_in_which_it_ends(tmp_path):
    path = write(tmp_path, [start("a", "SELECT 1", 10)])
    log = EventLog(str(tmp_path))
    first, second = (Window(start=at(3600 * n), end=at(3600 * (n + 1))) for n in (0, 1))
    assert read(log, first) == []
    with path.open("ab") as more:
        more.write(finish("a", 4000) + closed("a", 4100))
    assert read(log, first) == []
    assert [r.ended_at for r in read(log, second)] == [at(4000)]


def test_the_first_end_counts_and_a_close_alone_is_an_end(tmp_path):
    write(
        tmp_path, [start("a", "SELECT 1", 1), finish("a", 2), closed("a", 9), start("b", "SELECT 2", 1), closed("b", 5)]
    )
    assert [(r.query_id, r.ended_at) for r in read(EventLog(str(tmp_path)))] == [("a", at(2)), ("b", at(5))]


def test_canceled_and_timed_out_statements_failed(tmp_path):
    lines = [start("a", "SELECT 1", 1), event("OperationCanceled", id="a", finishTime=millis(2))]
    lines += [start("b", "SELECT 2", 1), event("OperationTimeout", id="b", finishTime=millis(3))]
    write(tmp_path, lines)
    assert [r.error_text for r in read(EventLog(str(tmp_path)))] == ["canceled", "timed out"]


def test_metadata_calls_and_all_of_our_own_sessions_are_left_out(tmp_path):
    lines = [start("u", "USE `default`", 1, session="ours"), finish("u", 1.1)]
    lines += [start("o", OWN + "SHOW DATABASES", 2, session="ours"), finish("o", 2.1)]
    lines += [start("m", "Listing columns 'catalog : null, schemaPattern : d1'", 3), finish("m", 3.1)]
    lines += [start("c", "Listing catalogs", 3), finish("c", 3.1)]
    lines += [start("h", "SELECT 'Listing catalogs'", 4), finish("h", 4.1)]
    write(tmp_path, lines)
    assert [r.query_id for r in read(EventLog(str(tmp_path)))] == ["h"]


def test_users_can_be_left_out(tmp_path):
    write(tmp_path, [start("a", "SELECT 1", 1, user="bot"), finish("a", 2), start("b", "SELECT 2", 1), finish("b", 3)])
    assert [r.query_id for r in read(EventLog(str(tmp_path), ignore_users=("bot",)))] == ["b"]


def test_a_session_remembers_the_database_that_it_uses(tmp_path):
    lines = [start("a", "SELECT 1", 1), finish("a", 2), start("u", "use `od``d`", 3), finish("u", 4)]
    lines += [start("b", "SELECT 2", 5), finish("b", 6), start("x", "SELECT 3", 5, session="s2"), finish("x", 7)]
    lines += [
        start("w", "USE nope", 8),
        event("OperationError", id="w", errorMsg="[SCHEMA_NOT_FOUND] no", finishTime=millis(9)),
    ]
    lines += [start("c", "SELECT 4", 10), finish("c", 11)]
    write(tmp_path, lines)
    found = {o.record.query_id: o.namespace for o in EventLog(str(tmp_path)).operations(EVER)}
    assert (found["a"], found["b"], found["x"], found["c"]) == (None, "od`d", None, "od`d")


def test_a_plan_is_read_where_it_is_asked_for(tmp_path):
    plan = event("OperationParsed", id="a", executionPlan="== Analyzed Logical Plan ==\nX")
    write(tmp_path, [start("a", "SELECT 1", 1), plan, finish("a", 2)])
    log = EventLog(str(tmp_path))
    assert [o.plan for o in log.operations(EVER, with_plans=True)] == ["== Analyzed Logical Plan ==\nX"]
    assert [o.plan for o in log.operations(EVER)] == [None]


# Files: rolling, compressed, renamed, cleaned away


def rolling(folder: Path, parts: Sequence[Sequence[bytes]], *, packed: bool = False, whole: bool = True) -> Path:
    home = folder / "eventlog_v2_local-1"
    home.mkdir(parents=True, exist_ok=True)
    (home / "appstatus_local-1.inprogress").touch()
    for number, lines in enumerate(parts, 1):
        content = b"".join(lines)
        if packed:
            content = pack(content, whole=whole or number < len(parts))
        (home / f"events_{number}_local-1{'.zstd' if packed else ''}").write_bytes(content)
    return home


def pack(content: bytes, *, whole: bool = True) -> bytes:
    import zstandard

    packer = zstandard.ZstdCompressor().compressobj()
    head = packer.compress(content[: len(content) // 2]) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    tail = packer.compress(content[len(content) // 2 :]) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return head + tail + (packer.flush() if whole else b"")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_rolling_files_are_one_log(tmp_path, packed, whole):
    """Also a file of which the last frame is not closed, as a running server leaves it."""
    parts = [
        [start("a", "SELECT 'ü'", 1), start("b", "SELECT 2", 2)],
        [finish("b", 3)],
        [event("OperationError", id="a", errorMsg="boom", finishTime=millis(4))],
    ]
    rolling(tmp_path, parts, packed=packed, whole=whole)
    found = read(EventLog(str(tmp_path)))
    assert [(r.query_id, r.text, r.error_text) for r in found] == [("b", "SELECT 2", None), ("a", "SELECT 'ü'", "boom")]


def test_ten_files_are_read_in_the_order_of_their_numbers(tmp_path):
    parts: list[list[bytes]] = [[start("a", "SELECT 1", 1)], *[[] for _ in range(8)], [finish("a", 2)]]
    rolling(tmp_path, parts)
    assert [r.query_id for r in read(EventLog(str(tmp_path)))] == ["a"]


def test_a_finished_file_that_spark_renames_stays_the_same_log(tmp_path):
    index = str(tmp_path / "index" / "log.sqlite")
    path = write(tmp_path / "logs", [start("a", "SELECT 1", 1), finish("a", 2)], "local-1.inprogress")
    assert len(read(EventLog(str(tmp_path / "logs"), index=index))) == 1
    with path.open("ab") as more:
        more.write(start("b", "SELECT 2", 3) + finish("b", 4))
    path.rename(path.with_suffix(""))
    assert [r.query_id for r in read(EventLog(str(tmp_path / "logs"), index=index))] == ["a", "b"]


def test_a_log_that_spark_compacted_is_read_from_its_new_place(tmp_path):
    index = str(tmp_path / "log.sqlite")
    home = rolling(tmp_path / "logs", [[start("a", "SELECT 1", 1)], [finish("a", 2)]])
    assert len(read(EventLog(str(tmp_path / "logs"), index=index))) == 1
    (home / "events_1_local-1.compact").write_bytes(b"x" * 50 + b"\n" + start("a", "SELECT 1", 1))
    (home / "events_1_local-1").unlink()
    assert [r.text for r in read(EventLog(str(tmp_path / "logs"), index=index))] == ["SELECT 1"]


def test_a_log_that_was_cleaned_away_is_no_error(tmp_path):
    index = str(tmp_path / "log.sqlite")
    path = write(tmp_path / "logs", [start("a", "SELECT 1", 1), finish("a", 2)])
    log = EventLog(str(tmp_path / "logs"), index=index)
    assert len(read(log)) == 1
    path.unlink()
    assert read(log) == []


def test_another_codec_is_named_with_the_way_out(tmp_path):
    write(tmp_path, [], "local-1.lz4")
    with pytest.raises(FixConfiguration, match=r"lz4.*spark.eventLog.compression.codec=zstd"):
        read(EventLog(str(tmp_path)))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FixConfiguration, match="nowhere"):
        read(EventLog(str(tmp_path / "nowhere")))
    assert EventLog(str(tmp_path / "nowhere")).check()[0] is False


def test_an_index_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("no database, but long enough to look at" * 100)
    write(tmp_path / "logs", [])
    with pytest.raises(FixConfiguration, match="event_log_index"):
        read(EventLog(str(tmp_path / "logs"), index=str(tmp_path / "file")))


def test_an_index_on_a_full_disk_is_a_storage_fault(tmp_path):
    index = tmp_path / "log.sqlite"
    write(tmp_path / "logs", [start(f"q{n}", "SELECT 1", n) for n in range(3000)])
    log = EventLog(str(tmp_path / "logs"), index=str(index))
    real = _spark_eventlog._open

    def small(path: str) -> sqlite3.Connection:
        database = real(path)
        database.execute("PRAGMA max_page_count = 8")
        return database

    with patch.object(_spark_eventlog, "_open", small), pytest.raises(StorageFault, match="event_log_index"):
        read(log)
    assert read(log) == [], "the next process begins where the last whole log ended"


def test_any_fsspec_url_serves(tmp_path):
    from upath import UPath

    home = UPath("memory://spark-events-test")
    home.mkdir(parents=True, exist_ok=True)
    (home / "local-1").write_bytes(start("a", "SELECT 1", 1) + finish("a", 2))
    assert [r.query_id for r in read(EventLog("memory://spark-events-test"))] == ["a"]


# Incremental


class Meter:
    """Counts the bytes that are scanned."""

    def __init__(self) -> None:
        self.bytes = 0

    def lines(self, file: _spark_eventfiles.LogFile, offset: int) -> Iterator[tuple[int, bytes]]:
        for place, line in _spark_eventfiles.lines(file, offset):
            self.bytes += len(line)
            yield place, line


def test_old_bytes_are_not_read_again_by_another_process(tmp_path):
    index = str(tmp_path / "log.sqlite")
    path = write(tmp_path / "logs", [start(f"q{n}", f"SELECT {n}", n) + finish(f"q{n}", n + 0.5) for n in range(200)])
    size = path.stat().st_size
    meter = Meter()
    with patch.object(_spark_eventlog, "lines", meter.lines):
        assert len(read(EventLog(str(tmp_path / "logs"), index=index))) == 200
        assert meter.bytes == size
        assert len(read(EventLog(str(tmp_path / "logs"), index=index))) == 200
        assert meter.bytes == size
        with path.open("ab") as more:
            more.write(start("new", "SELECT 'new'", 300))
        read(EventLog(str(tmp_path / "logs"), index=index))
        assert meter.bytes == path.stat().st_size


def test_logs_that_ended_before_the_window_are_not_scanned(tmp_path):
    path = write(tmp_path, [start("a", "SELECT 1", 1), finish("a", 2)])
    os.utime(path, (at(10).timestamp(), at(10).timestamp()))
    meter = Meter()
    with patch.object(_spark_eventlog, "lines", meter.lines):
        assert read(EventLog(str(tmp_path)), Window(start=at(90_000), end=at(93_600))) == []
    assert meter.bytes == 0


def test_a_line_that_is_still_being_written_waits(tmp_path):
    line = finish("a", 2)
    path = write(tmp_path, [start("a", "SELECT 1", 1), line[:20]])
    log = EventLog(str(tmp_path))
    assert read(log) == []
    with path.open("ab") as more:
        more.write(line[20:])
    assert [r.query_id for r in read(log)] == ["a"]


def test_the_index_holds_no_statement(tmp_path):
    index = tmp_path / "log.sqlite"
    write(tmp_path / "logs", [start("a", "SELECT 'very secret words'", 1), finish("a", 2)])
    assert read(EventLog(str(tmp_path / "logs"), index=str(index)))
    assert b"very secret words" not in index.read_bytes()


def test_a_reading_that_breaks_off_leaves_the_index_as_it_was(tmp_path):
    index = str(tmp_path / "log.sqlite")
    write(
        tmp_path / "logs", [start("a", "SELECT 1", 1), b'{"Event":"' + EVENT.encode() + b'OperationFinish", broken\n']
    )
    with pytest.raises(json.JSONDecodeError):
        read(EventLog(str(tmp_path / "logs"), index=index))
    database = sqlite3.connect(index)
    assert database.execute("SELECT count(*) FROM operation").fetchone() == (0,)
    database.close()


def test_threads_share_one_log(tmp_path):
    write(tmp_path, [start(f"q{n}", f"SELECT {n}", n) + finish(f"q{n}", n + 0.5) for n in range(300)])
    log = EventLog(str(tmp_path))
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(read(log)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [300] * 8


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_a_log_grows_and_is_cut_into_windows_each_query_comes_once(tmp_path_factory, data):
    """Any interleaving, any places where the writer is caught, any windows: the union is the whole, in order."""
    folder = tmp_path_factory.mktemp("grow")
    count = data.draw(st.integers(1, 12))
    ends = {n: data.draw(st.integers(0, 50), label=f"end of q{n}") for n in range(count)}
    pieces = [start(f"q{n}", f"SELECT {n}", -1) for n in range(count)]
    pieces += [finish(f"q{n}", end) for n, end in sorted(ends.items(), key=lambda item: item[1])]
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    log = EventLog(str(folder), index=str(folder / "x" / "index.sqlite") if data.draw(st.booleans()) else None)
    (folder / "local-1").touch()
    for cut in [*cuts, len(whole)]:
        (folder / "local-1").write_bytes(whole[:cut])
        so_far = read(log)
        assert len({r.query_id for r in so_far}) == len(so_far)
    edges = sorted({0, 51, *data.draw(st.lists(st.integers(1, 50), max_size=4))})
    found: list[Operation] = []
    for left, right in pairwise(edges):
        found += log.operations(Window(start=at(left), end=at(right)))
    assert [o.record.ended_at for o in found] == sorted(at(e) for e in ends.values())
    assert {o.record.query_id for o in found} == {f"q{n}" for n in ends}
