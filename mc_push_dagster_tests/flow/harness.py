"""A shop that tests can change at will, and pushers of it, over HTTP or to a gateway of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import orjson

from mc_push_dagster.config import PushConfig
from mc_push_dagster.flow.deliver import Gateway
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.flow.push import Pusher
from mc_push_dagster.ledger import Ledger
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    ColumnEdge,
    DataChange,
    Feed,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableColumns,
    TableRef,
    TableSnapshot,
    Target,
    Window,
)
from mc_push_dagster.warehouses.base import Capability, Settings, Support, Warehouse

UUID = "11111111-2222-4333-8444-555555555555"
TARGET = Target(resource_uuid=UUID, resource_type="data-lake", log_type="hive-s3")
NOON = datetime(2026, 11, 20, 12, 10, tzinfo=UTC)


class Clock:
    """Time that stands until a test, or somebody's sleep, moves it."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.slept: list[float] = []
        self._lock = Lock()

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.now += timedelta(seconds=seconds)


def ref(name: str, *, schema: str = "main", database: str = "shop") -> TableRef:
    return TableRef(database=database, schema=schema, name=name)


def table(
    name: str, *columns: str, rows: int | None = 10, changed: datetime | None = None, **more: Any
) -> TableSnapshot:
    return TableSnapshot(
        ref=ref(name),
        asset_type=AssetType.TABLE,
        native_type="BASE TABLE",
        columns=tuple(Column(name=c, type="INTEGER") for c in columns or ("id",)),
        row_count=rows,
        data_change=DataChange(at=changed, source=ChangeSource.STORAGE) if changed else None,
        **more,
    )


def view(name: str, query: str, *columns: str) -> TableSnapshot:
    return replace(table(name, *columns, rows=None), asset_type=AssetType.VIEW, native_type="VIEW", view_query=query)


def query(number: int, ended_at: datetime, text: str | None = None, **more: Any) -> QueryRecord:
    return QueryRecord(
        text=text or f"SELECT {number}",
        started_at=ended_at - timedelta(seconds=1),
        ended_at=ended_at,
        query_id=f"q{number:07d}",
        database="shop",
        schema="main",
        **more,
    )


class Shop(Warehouse):
    """Holds what a test puts into it; its streams keep the contract."""

    name = "shop"
    dialect = "duckdb"
    resource_type = "data-lake"
    log_type = "hive-s3"
    capabilities: ClassVar[dict[Capability, Support]] = {}
    settings = Settings

    def __init__(self, *stock: TableSnapshot | Gap, scope: Scope | None = None) -> None:
        super().__init__(lambda: None, scope=scope)
        self.stock: list[TableSnapshot | Gap] = list(stock)
        self.log: list[QueryRecord] = []
        self.native: list[LineageEdge | ColumnEdge | Gap] = []
        self.while_reading: Callable[[int], None] = lambda _: None

    @classmethod
    def from_settings(cls, settings: Any, *, scope: Scope) -> Shop:
        return cls(scope=scope)

    def _sorted(self) -> list[TableSnapshot]:
        found = [s for s in self.stock if isinstance(s, TableSnapshot) and self.scope.covers(s.ref)]
        return sorted(found, key=lambda s: s.ref)

    def tables(self) -> Iterator[TableSnapshot | Gap]:
        yield from (item for item in self.stock if isinstance(item, Gap))
        for number, snapshot in enumerate(self._sorted()):
            self.while_reading(number)
            yield replace(snapshot, columns=None)

    def columns(self) -> Iterator[TableColumns | Gap]:
        for snapshot in self._sorted():
            if snapshot.columns is not None:
                yield TableColumns(ref=snapshot.ref, columns=snapshot.columns)

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        found = (q for q in self.log if q.ended_at in window)
        yield from sorted(found, key=lambda q: q.ended_at)

    def lineage(self, window: Window) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        yield from self.native


@dataclass
class Recorder:
    """A gateway in memory: takes everything, or does what `answers` says for the n-th call (0 is the first)."""

    answers: Callable[[int, Feed, bytes], str | Exception | None] = lambda *_: None
    bodies: list[tuple[Feed, bytes]] = field(default_factory=list)
    """What was accepted."""
    calls: int = 0
    _lock: Lock = field(default_factory=Lock)

    def send(self, feed: Feed, body: bytes) -> str:
        with self._lock:
            call, self.calls = self.calls, self.calls + 1
        answer = self.answers(call, feed, body)
        if isinstance(answer, Exception):
            raise answer
        with self._lock:
            self.bodies.append((feed, body))
        return answer or f"id-{call}"

    def events(self, feed: Feed) -> list[dict[str, Any]]:
        return [event for f, body in self.bodies if f is feed for event in orjson.loads(body)["events"]]


def assets(events: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the tables in metadata events."""
    return [event["relational_asset"]["metadata"]["name"] for event in events]


def measured(events: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the tables in metadata events that carry volume or freshness."""
    found = (event["relational_asset"] for event in events)
    return [a["metadata"]["name"] for a in found if "volume" in a or "freshness" in a]


def query_ids(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["query_id"] for event in events]


def config(**delivery: Any) -> PushConfig:
    return PushConfig.model_validate(
        {"name": "shop", "warehouse": {"type": "duckdb"}, "delivery": {"concurrency": 4, **delivery}}
    )


@dataclass
class Desk:
    """A pusher with everything it stands on."""

    shop: Shop
    gateway: Gateway
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    pusher: Pusher


def desk(
    folder: Path,
    *,
    shop: Shop,
    gateway: Gateway,
    clock: Clock | None = None,
    target: Target = TARGET,
    settings: PushConfig | None = None,
    url: str | None = None,
) -> Desk:
    """Open a pusher whose ledger and outbox are in `folder`; the same folder means the same state."""
    clock = clock or Clock()
    ledger = Ledger(url or f"sqlite:///{folder / 'ledger.sqlite'}")
    outbox = Outbox(str(folder / "outbox"), ledger)
    pusher = Pusher(
        name="shop",
        warehouse=shop,
        target=target,
        gateway=gateway,
        ledger=ledger,
        outbox=outbox,
        config=settings or config(),
        clock=clock,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
        random=lambda: 0.5,
    )
    return Desk(shop=shop, gateway=gateway, clock=clock, ledger=ledger, outbox=outbox, pusher=pusher)
