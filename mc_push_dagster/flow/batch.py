"""Cut a stream of events into request bodies, by count and by exact bytes, one body at a time.

Each event is written as JSON once; a body is its envelope plus those pieces, so sizes are counted, never estimated.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson

from mc_push_dagster.flow.events import Event
from mc_push_dagster.flow.report import SetAside
from mc_push_dagster.ledger.tables import digest63
from mc_push_dagster.model import Feed

Measure = Literal["raw", "gzip"]

GZIP_MARGIN = 0.97
"""The gateway's compressor is not known; on hostile text compressors differ by 2 % (measured), so 3 % is kept free."""
GZIP_RAW_LIMIT = 10_000_000
"""Raw bytes of a body measured by its gzip size: more would outlast an ordinary client's 10 s timeout."""

_TAIL = b"]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One request body, ready to be sent."""

    feed: Feed
    body: bytes
    names: tuple[str, ...]
    """The events' names, in their order in the body."""
    keys: tuple[int, ...] = ()
    """For query logs, `query_key` of each event."""


def batches(
    events: Iterable[Event],
    envelope: Mapping[str, Any],
    *,
    max_events: int,
    max_bytes: int,
    measure: Measure = "raw",
) -> Iterator[Batch | SetAside]:
    """Yield bodies of at most `max_events` events and `max_bytes` bytes, in the events' order; holds one body at a
    time.

    `measure` says what `max_bytes` limits: the JSON itself, or its gzip size (push-ingest-api, "Error codes":
    "compressed body exceeds 1 MB"). An event that is over the limit by itself, or that JSON cannot hold, is yielded as
    `SetAside`.

    Raises:
        ValueError: if events of two feeds are mixed; one body carries one feed.
    """
    body = _Body(envelope, max_events=max_events, meter=_meter(max_bytes, measure))
    for event in events:
        try:
            piece = orjson.dumps(event.wire)
        except (TypeError, ValueError) as error:
            yield SetAside(feed=event.feed, name=event.name, reason=f"cannot be written as JSON: {error}")
            continue
        if body.names and not body.takes(piece):
            yield body.close()
        if not body.names and not body.takes(piece):
            body.reset()
            reason = (
                f"larger than one request may be: {len(piece):,} bytes of JSON, the limit is {max_bytes:,} ({measure})"
            )
            yield SetAside(feed=event.feed, name=event.name, reason=reason)
            continue
        body.add(event, piece)
    if body.names:
        yield body.close()


def rebuild(body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Take a body apart into its envelope and its events' wire dicts."""
    whole = orjson.loads(body)
    return {k: v for k, v in whole.items() if k != "events"}, whole["events"]


def event_name(feed: Feed, wire: Mapping[str, Any]) -> str:
    """Return the name that `flow.events` gave the event, from its wire dict alone."""
    if feed is Feed.QUERY_LOG:
        return wire.get("query_id") or f"query started {wire['start_time']}"
    asset = wire["relational_asset"]["metadata"] if feed is Feed.METADATA else wire["destination"]
    return f"{asset['database']}:{asset['schema']}.{asset['name']}"


def query_key(wire: Mapping[str, Any]) -> int:
    """Return 63 bits that stand for a query: its id, or, where the warehouse gives none, its text, user and times."""
    if wire.get("query_id"):
        return digest63(wire["query_id"])
    return digest63(wire["start_time"], wire["end_time"], wire.get("user") or "", wire["query_text"])


def halves(feed: Feed, body: bytes) -> list[Batch]:
    """Split a body's events into two bodies with the same envelope; a body of one event is returned as it is."""
    envelope, wires = rebuild(body)
    middle = (len(wires) + 1) // 2
    return [joined(feed, envelope, part) for part in (wires[:middle], wires[middle:]) if part]


def joined(feed: Feed, envelope: Mapping[str, Any], wires: list[dict[str, Any]]) -> Batch:
    """Put wire dicts into one body, whatever its size."""
    head = _head(envelope)
    body = head + b",".join(orjson.dumps(wire) for wire in wires) + _TAIL
    keys = tuple(query_key(wire) for wire in wires) if feed is Feed.QUERY_LOG else ()
    return Batch(feed=feed, body=body, names=tuple(event_name(feed, wire) for wire in wires), keys=keys)


def _head(envelope: Mapping[str, Any]) -> bytes:
    written = orjson.dumps(dict(envelope))
    return (written[:-1] + b"," if envelope else b"{") + b'"events":['


class _Meter(Protocol):
    """Says whether a body may grow by a piece; counts what was added."""

    def reset(self) -> None: ...
    def takes(self, piece: bytes) -> bool: ...
    def add(self, piece: bytes) -> None: ...


def _meter(max_bytes: int, measure: Measure) -> _Meter:
    return _Raw(max_bytes) if measure == "raw" else _Gzip(max_bytes)


class _Raw:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0

    def reset(self) -> None:
        self._used = 0

    def takes(self, piece: bytes) -> bool:
        return self._used + len(piece) <= self._limit

    def add(self, piece: bytes) -> None:
        self._used += len(piece)


class _Gzip:
    """Counts what a level 6 compressor has written; compresses exactly only where the bound does not settle it."""

    def __init__(self, limit: int) -> None:
        self._limit = int(limit * GZIP_MARGIN)
        self.reset()

    def reset(self) -> None:
        self._compressor = zlib.compressobj(6)
        self._written = 0
        self._pending = 0
        self._raw = 0

    def takes(self, piece: bytes) -> bool:
        if self._raw + len(piece) > GZIP_RAW_LIMIT:
            return False
        if self._written + _bound(self._pending + len(piece)) <= self._limit:
            return True
        self._written += len(self._compressor.flush(zlib.Z_SYNC_FLUSH))
        self._pending = 0
        if self._written + _bound(len(piece)) <= self._limit:
            return True
        trial = self._compressor.copy()
        return self._written + len(trial.compress(piece)) + len(trial.flush(zlib.Z_SYNC_FLUSH)) <= self._limit

    def add(self, piece: bytes) -> None:
        self._written += len(self._compressor.compress(piece))
        self._pending += len(piece)
        self._raw += len(piece)


def _bound(raw: int) -> int:
    """The most that `raw` bytes can become: deflate falls back to stored blocks (measured: 0.03 % and a trailer)."""
    return raw + raw // 1000 + 64


class _Body:
    def __init__(self, envelope: Mapping[str, Any], *, max_events: int, meter: _Meter) -> None:
        self._head = _head(envelope)
        self._max_events = max_events
        self._meter = meter
        self.reset()

    def reset(self) -> None:
        self.names: list[str] = []
        self._keys: list[int] = []
        self._pieces: list[bytes] = []
        self._feed: Feed | None = None
        self._meter.reset()
        self._meter.add(self._head + _TAIL)

    def takes(self, piece: bytes) -> bool:
        return len(self.names) < self._max_events and self._meter.takes(b"," + piece if self.names else piece)

    def add(self, event: Event, piece: bytes) -> None:
        if self._feed not in (None, event.feed):
            raise ValueError(f"events of two feeds in one body: {self._feed} and {event.feed}")
        self._feed = event.feed
        self._meter.add(b"," + piece if self.names else piece)
        self._pieces.append(piece)
        self.names.append(event.name)
        if event.feed is Feed.QUERY_LOG:
            self._keys.append(query_key(event.wire))

    def close(self) -> Batch:
        assert self._feed is not None
        body = self._head + b",".join(self._pieces) + _TAIL
        done = Batch(feed=self._feed, body=body, names=tuple(self.names), keys=tuple(self._keys))
        self.reset()
        return done
