"""Query logs on their way out: half-open windows on the end time, each query once, late ones included."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from mc_push_dagster.errors import BrokenContract, FixConfiguration
from mc_push_dagster.flow.batch import query_key
from mc_push_dagster.flow.events import Event, query_event
from mc_push_dagster.flow.redaction import as_configured
from mc_push_dagster.flow.report import SetAside
from mc_push_dagster.flow.run import Run
from mc_push_dagster.ledger import Ledger
from mc_push_dagster.model import Feed, Gap, QueryRecord, Window
from mc_push_dagster.warehouses.base import Warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of query log within one UTC hour."""

    window: Window
    records: Iterable[QueryRecord]
    closed: bool
    """The log was complete up to its end when it was read."""
    late: bool = False
    """It was pushed before and is read again for rows that came late."""


def pieces(warehouse: Warehouse, window: Window, ledger: Ledger, target_uuid: str, now: datetime) -> Iterator[Piece]:
    """The hours of `window`, after what was pushed of the hours before and may have got late rows.

    Raises:
        FixConfiguration: if the window has not begun yet.
    """
    if window.start >= now:
        raise FixConfiguration(f"the window {window} has not begun yet: push it once it is over")
    first = Window.hour(window.start).start
    for back in range(warehouse.late_windows, 0, -1):
        hour = Window.hour(first - timedelta(hours=back))
        for pushed in ledger.windows(target_uuid, within=hour):
            yield _piece(warehouse, pushed.window, now, late=True)
    for hour in window.hours():
        part = Window(start=max(hour.start, window.start), end=min(hour.end, window.end))
        if part.start < now:
            yield _piece(warehouse, part, now, late=False)


def reach(warehouse: Warehouse, window: Window) -> Window:
    """All that `pieces` may look at."""
    return Window(start=Window.hour(window.start).start - timedelta(hours=warehouse.late_windows), end=window.end)


def _piece(warehouse: Warehouse, window: Window, now: datetime, *, late: bool) -> Piece:
    closed = window.end + warehouse.query_log_latency <= now
    return Piece(window=window, records=_Queries(warehouse, window), closed=closed, late=late)


class _Queries:
    """The queries of a window, read when they are iterated."""

    def __init__(self, warehouse: Warehouse, window: Window) -> None:
        self._warehouse = warehouse
        self._window = window

    def __iter__(self) -> Iterator[QueryRecord]:
        return self._warehouse.queries(self._window)


def push_pieces(run: Run, items: Iterable[Piece], *, latency: timedelta) -> None:
    """Push the queries of each piece that were not pushed yet, and remember how far the log was.

    A piece whose log may still grow is pushed as it stands and reported as a gap; it is complete once it is pushed
    again after `latency`.

    Raises:
        PushError: see `Delivery.deliver`.
    """
    for piece in items:
        # Late rows of a log that is still open are found when it is pushed itself.
        run.deliver(run.parcels(_unseen(run, piece), Feed.QUERY_LOG, covers=piece.window))
        if run.delivery.undelivered:
            return
        run.kit.ledger.record_window(
            run.target_uuid, piece.window, push_id=run.push_id, complete=piece.closed, at=run.kit.clock()
        )
        if not piece.closed and not piece.late:
            ready = piece.window.end + latency
            run.tally.gap(
                Gap(
                    subject=f"query log {piece.window}",
                    reason=f"it may still grow: push it again after {ready:%Y-%m-%d %H:%M} UTC; none goes out twice",
                )
            )


def _unseen(run: Run, piece: Piece) -> Iterator[Event]:
    seen = _Seen(run.kit.ledger.seen_keys(run.target_uuid, piece.window))
    counts = run.tally.counts
    for record in as_configured(piece.records, run.kit.config, run.kit.warehouse.dialect):
        run.progress.advance("collected", 1)
        try:
            event = query_event(record)
        except (BrokenContract, ValueError) as error:
            name = record.query_id or "a query without an id"
            run.tally.aside(SetAside(feed=Feed.QUERY_LOG, name=name, reason=str(error)))
            continue
        if seen and query_key(event.wire) in seen:
            counts["queries_seen_before"] += 1
            continue
        counts["queries"] += 1
        if piece.late:
            counts["late_queries"] += 1
        yield event


class _Seen:
    """Keys that were pushed, in 8 bytes each."""

    def __init__(self, keys: array[int]) -> None:
        self._keys = array("Q", sorted(keys))

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __contains__(self, key: int) -> bool:
        place = bisect_left(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key
