"""Query log from Spark's event log: statement, user, start, end and error of every operation of the Thrift server.

An index (SQLite) remembers how far each file was read and where each operation's events stand, so that any window is
answered without reading old bytes again, and operations that are still open are carried to the window in which they
end. It holds offsets and times, no statement: the log stays the only copy of what users wrote.

Events: SparkListenerThriftServer* of `HiveThriftServer2EventManager` (the same in Spark 3.5 and 4).
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mc_push_dagster.errors import FixConfiguration, PushError, StorageFault
from mc_push_dagster.model import QueryRecord, Window
from mc_push_dagster.warehouses._spark_eventfiles import EventFolder, LogFile, lines, lines_at
from mc_push_dagster.warehouses._thrift import OWN, first_sentence

_EVENT = b"org.apache.spark.sql.hive.thriftserver.ui.SparkListenerThriftServer"
_PREFIX = b'{"Event":"' + _EVENT
_ENDS = {
    "OperationFinish": ("finished", "finishTime"),
    "OperationError": ("error", "finishTime"),
    "OperationCanceled": ("canceled", "finishTime"),
    "OperationTimeout": ("timeout", "finishTime"),
    "OperationClosed": ("closed", "closeTime"),
}
_METADATA = re.compile(r"Listing (?:catalogs|databases|tables|columns|functions|table types|type info)(?: '.*)?", re.S)
"""What the server notes for Thrift's metadata calls: no SQL that anyone wrote."""
_USE = re.compile(r"\s*USE\s+(?:(?:DATABASE|SCHEMA|NAMESPACE)\s+)?(?:`((?:[^`]|``)+)`|([\w.]+))\s*;?\s*", re.I)
_ERROR_CLASS = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")
_SLACK = timedelta(hours=1)
"""A file's modification time may lag behind the times in it (clocks of other machines, lazy object stores)."""
_SLAB = 500
"""Operations whose lines are read together."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
  id INTEGER PRIMARY KEY, log TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, offset INTEGER NOT NULL,
  UNIQUE (log, name));
CREATE TABLE IF NOT EXISTS operation (
  log TEXT NOT NULL, id TEXT NOT NULL, session TEXT, namespace TEXT, uses TEXT,
  start_file INTEGER NOT NULL, start_offset INTEGER NOT NULL, plan_file INTEGER, plan_offset INTEGER,
  end_file INTEGER, end_offset INTEGER, end_ms INTEGER, state TEXT,
  PRIMARY KEY (log, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS operation_end ON operation (end_ms, log, id);
CREATE TABLE IF NOT EXISTS session (
  log TEXT NOT NULL, id TEXT NOT NULL, namespace TEXT, own INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (log, id)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A finished statement, the namespace its session used, and its analysed plan where that was asked for."""

    record: QueryRecord
    namespace: str | None
    plan: str | None = None


class EventLog:
    """The query log in an event-log folder. Answers any window, from any thread."""

    def __init__(self, url: str, *, index: str | None = None, ignore_users: tuple[str, ...] = ()) -> None:
        self._folder = EventFolder(url)
        self._index = index
        self._ignored = frozenset(ignore_users)
        self._lock = threading.RLock()
        self._memory: sqlite3.Connection | None = None

    def operations(self, window: Window, *, with_plans: bool = False) -> Iterator[Operation]:
        """The operations that ended in `window`, by their end.

        Raises:
            FixConfiguration: if the folder or the index cannot be read, or a log is packed by another codec than zstd.
        """
        files = self._refresh(window.start - _SLACK)
        after: tuple[int, str, str] = (_millis(window.start) - 1, "\U0010ffff", "")
        while slab := self._slab(after, _millis(window.end)):
            yield from self._read(slab, files, with_plans)
            last = slab[-1]
            after = (last["end_ms"], last["log"], last["id"])

    def check(self) -> tuple[bool, str]:
        """Whether the folder can be read, and what is in it."""
        try:
            found = list(self._folder.logs(datetime.fromtimestamp(0, UTC)))
        except PushError as error:
            return False, str(error)
        return bool(found), f"{len(found)} event logs in {self._folder.url}"

    # -- the index ------------------------------------------------------------------------------------------------

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._index is None:
                if self._memory is None:
                    self._memory = _open(":memory:")
                    weakref.finalize(self, self._memory.close)
                yield self._memory
                return
            database = _open(self._index)
            try:
                yield database
            except sqlite3.Error as error:  # locked for a minute, disk full
                raise StorageFault(f"event_log_index {self._index}: {error}") from error
            finally:
                database.close()

    def _refresh(self, since: datetime) -> dict[int, LogFile]:
        """Read what was written to the logs since the last time; return the files by their number in the index."""
        files: dict[int, LogFile] = {}
        with self._database() as database:
            for log in self._folder.logs(since):
                database.execute("BEGIN IMMEDIATE")
                try:
                    for file in log:
                        scanner = _Scanner(database, file)
                        scanner.read()
                        files[scanner.number] = file
                    database.execute("COMMIT")
                except BaseException:
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                    raise
        return files

    def _slab(self, after: tuple[int, str, str], end: int) -> list[sqlite3.Row]:
        with self._database() as database:
            found = database.execute(
                "SELECT o.* FROM operation o LEFT JOIN session s ON s.log = o.log AND s.id = o.session "
                "WHERE (o.end_ms, o.log, o.id) > (?, ?, ?) AND o.end_ms < ? AND coalesce(s.own, 0) = 0 "
                "ORDER BY o.end_ms, o.log, o.id LIMIT ?",
                (*after, end, _SLAB),
            )
            return found.fetchall()

    def _read(self, slab: list[sqlite3.Row], files: dict[int, LogFile], with_plans: bool) -> Iterator[Operation]:
        wanted: dict[int, set[int]] = defaultdict(set)
        for row in slab:
            wanted[row["start_file"]].add(row["start_offset"])
            if row["state"] == "error":
                wanted[row["end_file"]].add(row["end_offset"])
            if with_plans and row["plan_file"] is not None:
                wanted[row["plan_file"]].add(row["plan_offset"])
        events: dict[tuple[int, int], dict[str, Any]] = {}
        for number, offsets in wanted.items():
            if number not in files:
                continue  # the server cleaned the file away; what it held was read in its time
            for offset, line in lines_at(files[number], sorted(offsets)).items():
                events[number, offset] = json.loads(line)
        for row in slab:
            start = events.get((row["start_file"], row["start_offset"]))
            if start is not None and start["userName"] not in self._ignored:
                failure = events.get((row["end_file"], row["end_offset"])) if row["state"] == "error" else None
                plan = events.get((row["plan_file"], row["plan_offset"])) if with_plans else None
                yield Operation(
                    record=_record(row, start, failure),
                    namespace=row["namespace"],
                    plan=plan["executionPlan"] if plan else None,
                )


def _open(path: str) -> sqlite3.Connection:
    try:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        database.row_factory = sqlite3.Row
        database.executescript(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise FixConfiguration(f"event_log_index {path} cannot be used: {error}") from error
    return database


class _Scanner:
    """Reads one file's new lines into the index."""

    def __init__(self, database: sqlite3.Connection, file: LogFile) -> None:
        self._database = database
        self._file = file
        row = database.execute(
            "INSERT INTO file (log, name, size, offset) VALUES (?, ?, -1, 0) "
            "ON CONFLICT (log, name) DO UPDATE SET name = excluded.name RETURNING *",
            (file.log, file.name),
        ).fetchone()
        self.number: int = row["id"]
        self._offset: int = row["offset"]
        self._size: int = row["size"]

    def read(self) -> None:
        if self._file.size == self._size:
            return
        if self._file.size < self._size:
            self._forget()  # replaced by another file of the same name
        offset = self._offset
        for at, line in lines(self._file, offset):
            offset = at + len(line)
            if line.startswith(_PREFIX):
                self._take(at, json.loads(line))
        update = "UPDATE file SET size = ?, offset = ? WHERE id = ?"
        self._database.execute(update, (self._file.size, offset, self.number))

    def _forget(self) -> None:
        self._offset = 0
        self._database.execute("DELETE FROM operation WHERE start_file = ?", (self.number,))

    def _take(self, at: int, event: dict[str, Any]) -> None:
        kind = event["Event"][len(_EVENT) :]
        if kind == "OperationStart":
            self._start(at, event)
        elif kind == "OperationParsed":
            self._database.execute(
                "UPDATE operation SET plan_file = ?, plan_offset = ? WHERE log = ? AND id = ?",
                (self.number, at, self._file.log, event["id"]),
            )
        elif kind in _ENDS:
            self._end(at, event, *_ENDS[kind])

    def _start(self, at: int, event: dict[str, Any]) -> None:
        statement: str = event["statement"]
        log, session = self._file.log, event.get("sessionId")
        if statement.startswith(OWN):
            # All of the session is ours, also the USE with which the driver opened it.
            own = "INSERT INTO session (log, id, own) VALUES (?, ?, 1) ON CONFLICT (log, id) DO UPDATE SET own = 1"
            self._database.execute(own, (log, session))
            return
        if _METADATA.fullmatch(statement):
            return
        uses = _USE.fullmatch(statement)
        known = self._database.execute("SELECT namespace FROM session WHERE log = ? AND id = ?", (log, session))
        row = known.fetchone()
        self._database.execute(
            # Spark may rewrite old files (`.compact`): the newest place counts.
            "INSERT INTO operation (log, id, session, namespace, uses, start_file, start_offset) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (log, id) DO UPDATE "
            "SET start_file = excluded.start_file, start_offset = excluded.start_offset",
            (
                log,
                event["id"],
                session,
                row["namespace"] if row else None,
                (uses[1] or uses[2]).replace("``", "`") if uses else None,
                self.number,
                at,
            ),
        )

    def _end(self, at: int, event: dict[str, Any], state: str, time_key: str) -> None:
        log = self._file.log
        # The first end counts: Closed follows Finish and Error.
        ended = self._database.execute(
            "UPDATE operation SET end_ms = ?, state = ?, end_file = ?, end_offset = ? "
            "WHERE log = ? AND id = ? AND end_ms IS NULL RETURNING session, uses",
            (event[time_key], state, self.number, at, log, event["id"]),
        ).fetchone()
        if ended and ended["uses"] and state == "finished":
            self._database.execute(
                "INSERT INTO session (log, id, namespace) VALUES (?, ?, ?) "
                "ON CONFLICT (log, id) DO UPDATE SET namespace = excluded.namespace",
                (log, ended["session"], ended["uses"]),
            )


def _record(row: sqlite3.Row, start: dict[str, Any], failure: dict[str, Any] | None) -> QueryRecord:
    message = failure.get("errorMsg") or "" if failure else ""
    code = _ERROR_CLASS.search(message)
    text = {"canceled": "canceled", "timeout": "timed out"}.get(row["state"])
    if failure is not None:
        text = first_sentence(message)
    return QueryRecord(
        text=start["statement"],
        query_id=row["id"],
        user=start["userName"] or None,
        started_at=datetime.fromtimestamp(start["startTime"] / 1000, UTC),
        ended_at=datetime.fromtimestamp(row["end_ms"] / 1000, UTC),
        error_code=code.group(1) if code else None,
        error_text=text,
        session_id=row["session"],
    )


def _millis(moment: datetime) -> int:
    """The first millisecond that is not before `moment`."""
    return -((datetime.fromtimestamp(0, UTC) - moment) // timedelta(milliseconds=1))
