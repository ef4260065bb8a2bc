"""A warehouse's station with nothing behind it, for tests of what Dagster does with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from mc_push_dagster.flow.report import PushReport
from mc_push_dagster.ledger import EdgeRecord, PushRecord, TableRecord, WindowRecord
from mc_push_dagster.model import (
    AssetType,
    Column,
    Evidence,
    EvidenceKind,
    Feed,
    LineageEdge,
    TableColumns,
    TableRef,
    TableSnapshot,
    Target,
    Window,
)

NOW = datetime(2026, 11, 20, 12, 34, tzinfo=UTC)
TARGET = Target(resource_uuid="11111111-2222-4333-8444-555555555555", resource_type="data-lake", log_type="generic")


def ref(text: str) -> TableRef:
    database, schema, name = text.split(".")
    return TableRef(database=database, schema=schema, name=name)


def table_record(text: str, *columns: tuple[str, str]) -> TableRecord:
    return TableRecord(
        ref=ref(text),
        asset_type="TABLE",
        native_type="BASE TABLE",
        columns=tuple(Column(name=n, type=t) for n, t in columns or [("id", "INTEGER"), ("at", "TIMESTAMP")]),
        digest=None,
        pushed_digest=None,
        pushed_at=NOW,
        first_seen=NOW,
        last_seen=NOW,
        gone_since=None,
    )


def edge_record(source: str, destination: str, *, pushed: bool = True) -> EdgeRecord:
    edge = LineageEdge(source=ref(source), destination=ref(destination), evidence=Evidence(kind=EvidenceKind.VIEW))
    return EdgeRecord(edge=edge, first_seen=NOW, last_seen=NOW, pushed_at=NOW if pushed else None, push_id="p")


def report(**changes: Any) -> PushReport:
    base = PushReport(
        push_id="push-1",
        warehouse="shop",
        target=TARGET,
        hour=NOW.replace(minute=0),
        started_at=NOW,
        finished_at=NOW.replace(second=2),
        counts={"tables": 3},
        events={Feed.METADATA: 3},
        requests=1,
        raw_bytes=1234,
        invocation_ids={Feed.METADATA: ("inv-1",)},
    )
    return replace(base, **changes)


@dataclass
class FakePusher:
    """Remembers what it was asked for; answers with a report or raises."""

    answer: PushReport | Exception = field(default_factory=report)
    calls: list[str] = field(default_factory=list)

    def _call(self, what: str) -> PushReport:
        self.calls.append(what)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def push_catalog(self, *, schema_only: Iterable[TableRef] | None = None, progress: Any = None) -> PushReport:
        only = "" if schema_only is None else f" schemas of {', '.join(map(str, schema_only))}"
        return self._call(f"catalog{only}")

    def push_lineage(self, *, progress: Any = None) -> PushReport:
        return self._call("lineage")

    def push_query_logs(self, window: Window, *, progress: Any = None) -> PushReport:
        return self._call(f"query logs {window}")


@dataclass
class FakeLedger:
    """Holds tables and edges in memory."""

    records: list[TableRecord] = field(default_factory=list)
    edge_records: list[EdgeRecord] = field(default_factory=list)
    window_records: list[WindowRecord] = field(default_factory=list)

    def tables(self, target_uuid: str, *, gone: bool | None = None) -> Iterator[TableRecord]:
        return iter(self.records)

    def edges(self, target_uuid: str, *, columns: bool = False) -> Iterator[EdgeRecord]:
        return iter([] if columns else self.edge_records)

    def digests(self, target_uuid: str, refs: Sequence[TableRef]) -> dict[TableRef, Any]:
        """Nothing was pushed yet, so that every table is new."""
        return {}

    def windows(self, target_uuid: str, *, within: Window) -> list[WindowRecord]:
        return [record for record in self.window_records if record.window == within]

    def pushes(self, **_: Any) -> tuple[PushRecord, ...]:
        return ()


def warehouse_of(*tables: TableRecord) -> Any:
    """A warehouse that holds `tables`."""
    listed = [
        TableSnapshot(ref=t.ref, asset_type=AssetType.TABLE, native_type="BASE TABLE")
        for t in sorted(tables, key=lambda t: t.ref)
    ]
    columns = {t.ref: TableColumns(ref=t.ref, columns=t.columns or ()) for t in tables}
    return SimpleNamespace(tables=lambda: iter(listed), columns=lambda: iter([columns[s.ref] for s in listed]))


@dataclass
class FakeStation:
    """Stands in for `PushStation`: the resource that opens everything."""

    pusher: FakePusher = field(default_factory=FakePusher)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    holds: Any = None
    """The warehouse."""
    lent: list[Any] = field(default_factory=list)

    def warehouse(self, resource: Any = None) -> Any:
        return self.holds

    @contextmanager
    def open(self, resource: Any = None) -> Iterator[Any]:
        self.lent.append(resource)
        yield SimpleNamespace(
            pusher=self.pusher,
            ledger=self.ledger,
            warehouse=self.holds,
            target=TARGET,
            config=SimpleNamespace(name="shop"),
            reader=None,
        )
