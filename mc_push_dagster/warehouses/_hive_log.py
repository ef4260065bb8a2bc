"""Query log from HiveServer2's log files: the lines of `ql.Driver` that tell a statement's compilation, execution
and end.

    2026-11-21T01:48:02,027  INFO [Thread-73] ql.Driver: Compiling command(queryId=...): CREATE TABLE hv.x
      (a int)
    2026-11-21T01:48:02,100  INFO [Thread-73] ql.Driver: Completed executing command(queryId=...); Time taken: 0.032
    seconds

(genuine Hive 2.3.9, in the layout of its hive-log4j2.properties; other layouts of log4j differ in what stands
between the time and the message). The driver does not log who asked, nor how many rows came back: both are unknown.
"""

from __future__ import annotations

import gzip
import heapq
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import QueryRecord, Window
from mc_push_dagster.warehouses._thrift import OWN, first_sentence

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)[,.](\d{3})\b")
_THREAD = re.compile(r"\[([^\]]*)\]")
_COMMAND = re.compile(
    r"\b(Compiling|Executing|Completed compiling|Completed executing) command\(queryId=([^)]+)\)(.*)", re.S
)
_FAILED = re.compile(r"\bFAILED: (.*)", re.S)
_CODE = re.compile(r"\[Error (\d+)\]")
_SESSION = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
_SLACK = timedelta(hours=1)
_REORDER = timedelta(seconds=10)
"""Threads write their lines a little out of order."""


@dataclass(slots=True)
class _Open:
    text: str
    started_at: datetime
    session_id: str | None
    error: str | None = None


@dataclass(slots=True)
class _Entry:
    at: datetime
    head: str
    more: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        return "\n".join([self.head, *self.more])


class HiveLog:
    """HiveServer2's log: a file, or a folder of `*.log*` files with their rotated predecessors (`.gz` too)."""

    def __init__(self, url: str, *, zone: ZoneInfo | None = None) -> None:
        self.url = url
        self._zone = zone

    def records(self, window: Window) -> Iterator[QueryRecord]:
        """The statements that ended in `window`, by their end.

        Raises:
            FixConfiguration: if the log cannot be read.
        """
        servers = [self._of_server(files, window) for files in self._files(window.start - _SLACK)]
        yield from heapq.merge(*servers, key=_order)

    def check(self) -> tuple[bool, str]:
        """Whether the log can be read, and what is there."""
        try:
            found = sum(len(files) for files in self._files(datetime.fromtimestamp(0, UTC)))
        except FixConfiguration as error:
            return False, str(error)
        return found > 0, f"{found} log files at {self.url}"

    def _files(self, since: datetime) -> list[list[Any]]:
        """The files of each server in order of time, from the one before `since` on."""
        from upath import UPath

        root = UPath(self.url)
        try:
            entries = [p for p in root.iterdir() if ".log" in p.name] if root.is_dir() else [root]
            dated = sorted(((p.stat().st_mtime or math.inf, p) for p in entries), key=lambda d: (d[0], d[1].name))
        except OSError as error:
            raise FixConfiguration(f"query log {self.url} cannot be read: {error.strerror}") from error
        servers: dict[str, list[tuple[float, Any]]] = defaultdict(list)
        for touched, path in dated:
            servers[path.name.partition(".log")[0]].append((touched, path))
        chosen: list[list[Any]] = []
        for files in servers.values():
            recent = [i for i, (touched, _) in enumerate(files) if touched >= since.timestamp()]
            if recent:
                chosen.append([path for _, path in files[max(recent[0] - 1, 0) :]])
        return chosen

    def _of_server(self, files: list[Any], window: Window) -> Iterator[QueryRecord]:
        waiting: list[tuple[datetime, str, QueryRecord]] = []
        reader = _Reader(self._zone)
        for path in files:
            for record in reader.read(_lines(path)):
                if record.ended_at in window:
                    heapq.heappush(waiting, (*_order(record), record))
                while waiting and waiting[0][0] < record.ended_at - _REORDER:
                    yield heapq.heappop(waiting)[2]
        while waiting:
            yield heapq.heappop(waiting)[2]


class _Reader:
    """Follows the statements of one server through its lines."""

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone
        self._open: dict[str, _Open] = {}
        self._on_thread: dict[str, str] = {}

    def read(self, lines: Iterable[str]) -> Iterator[QueryRecord]:
        for entry in self._entries(lines):
            thread = _THREAD.search(entry.head)
            command = _COMMAND.search(entry.message)
            if command is not None:
                record = self._command(entry, thread[1] if thread else "", command)
                if record is not None:
                    yield record
                continue
            failed = _FAILED.search(entry.head)
            query = self._on_thread.get(thread[1] if thread else "")
            if failed is not None and query in self._open:
                self._open[query].error = self._open[query].error or failed[1]

    def _command(self, entry: _Entry, thread: str, command: re.Match[str]) -> QueryRecord | None:
        step, query, rest = command.groups()
        if step in ("Compiling", "Executing"):
            session = _SESSION.search(thread)
            text = rest.removeprefix(": ").strip()
            self._open.setdefault(query, _Open(text, entry.at, session[0] if session else None))
            self._on_thread[thread] = query
            return None
        opened = self._open.get(query)
        if opened is None or (step == "Completed compiling" and opened.error is None):
            return None
        del self._open[query]
        if opened.text.startswith(OWN.strip()):
            return None
        code = _CODE.search(opened.error or "")
        return QueryRecord(
            text=opened.text,
            query_id=query,
            started_at=opened.started_at,
            ended_at=entry.at,
            error_code=code[1] if code else None,
            error_text=first_sentence(opened.error) if opened.error else None,
            session_id=opened.session_id,
        )

    def _entries(self, lines: Iterable[str]) -> Iterator[_Entry]:
        """Lines joined to entries: a statement may have many."""
        entry: _Entry | None = None
        for line in lines:
            at = _TIME.match(line)
            if at is None:
                if entry is not None:
                    entry.more.append(line)
                continue
            if entry is not None:
                yield entry
            entry = _Entry(self._moment(at), line)
        if entry is not None:
            yield entry

    def _moment(self, found: re.Match[str]) -> datetime:
        local = datetime.fromisoformat(f"{found[1]}T{found[2]}.{found[3]}")
        return local.replace(tzinfo=self._zone or UTC).astimezone(UTC)


def _lines(path: Any) -> Iterator[str]:
    with path.open("rb") as raw, ExitStack() as stack:
        stream = stack.enter_context(gzip.open(raw)) if path.name.endswith(".gz") else raw
        for line in stream:
            yield line.decode("utf-8", errors="replace").rstrip("\r\n")


def _order(record: QueryRecord) -> tuple[datetime, str]:
    return (record.ended_at, record.query_id or "")
