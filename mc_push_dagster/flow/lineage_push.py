"""Lineage on its way out: edges are gathered in the ledger, and what is new or about to expire is pushed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

from mc_push_dagster.flow.events import Event, column_lineage_events, lineage_events
from mc_push_dagster.flow.run import Run
from mc_push_dagster.ledger import Due, EdgeRecord
from mc_push_dagster.lineage.graph import UNCONFIRMED, across
from mc_push_dagster.lineage.statement import Skipped
from mc_push_dagster.model import ColumnEdge, Feed, Gap, LineageEdge, Target

TABLE_EDGES_AGAIN = timedelta(days=7)
"""Pushed table lineage never expires; once a week it is confirmed all the same."""
COLUMN_EDGES_AGAIN = timedelta(hours=24)
"""Pushed column lineage expires after 10 days (push-ingest-api, "TTL summary")."""
ALIVE = timedelta(days=30)
"""An edge of the query log or of the warehouse's own lineage that was not seen for so long is no longer pushed."""

_DESTINATIONS = 200
"""Destinations whose edges stand in memory at once."""

Item = LineageEdge | ColumnEdge | Skipped | Gap


def push_edges(run: Run, items: Iterable[Item], *, views_complete: bool = True) -> None:
    """Remember the edges in `items`, then push the destinations that have one to be pushed, tables before columns.

    With `views_complete`, an edge of a view's text that is not among `items` counts as gone. What crosses resources
    goes last: a key that does not cover the other resource is refused, and all else has arrived by then.

    Raises:
        PushError: see `Delivery.deliver`.
    """
    gaps = run.tally.counts["gaps"]
    record_edges(run, items)
    whole = views_complete and run.tally.counts["gaps"] == gaps
    ledger, uuid, now = run.kit.ledger, run.target_uuid, run.kit.clock()
    ledger.settle_homes(uuid, partial(_home, run))
    dues = {feed: _due(run, feed, now, whole=whole) for feed in (Feed.LINEAGE, Feed.COLUMN_LINEAGE)}
    if doubted := sum(ledger.count_doubted(uuid, due) for due in dues.values()):
        run.tally.counts["edges_below_confidence"] += doubted
    # A body has one resource for all its assets or one for each: never both.
    for crossing in (False, True):
        for feed, due in dues.items():
            events = _events(run, due, feed, crossing=crossing)
            run.deliver(run.parcels(events, feed, cross_warehouse=crossing))


def _due(run: Run, feed: Feed, now: datetime, *, whole: bool) -> Due:
    again = TABLE_EDGES_AGAIN if feed is Feed.LINEAGE else COLUMN_EDGES_AGAIN
    return Due(
        columns=feed is Feed.COLUMN_LINEAGE,
        pushed_before=now - again,
        alive_since=now - ALIVE,
        views_since=run.started_at if whole else now - ALIVE,
        minimum_confidence=run.kit.config.minimum_confidence,
        unconfirmed=UNCONFIRMED,
    )


def record_edges(run: Run, items: Iterable[Item]) -> None:
    """Put the edges among `items` into the ledger, with the resources their sources live in; count the rest."""
    edges = across(_edges(run, items), lambda source: _home(run, source.database))
    run.kit.ledger.record_edges(run.target_uuid, edges, seen_at=run.kit.clock())


def _home(run: Run, database: str) -> Target | None:
    """The resource a database is declared to be; None for the one that is pushed to."""
    home = run.kit.config.other_resource(database)
    return None if home is None or home.resource_uuid == run.target_uuid else home


def _edges(run: Run, items: Iterable[Item]) -> Iterator[LineageEdge | ColumnEdge]:
    counts = run.tally.counts
    for item in items:
        if isinstance(item, Gap):
            run.tally.gap(item)
        elif isinstance(item, Skipped):
            counts[f"statements_skipped: {item.reason}"] += 1
        else:
            run.progress.advance("derived", 1)
            yield item


def _events(run: Run, due: Due, feed: Feed, *, crossing: bool) -> Iterator[Event]:
    for edges in _by_destinations(run.kit.ledger.due_edges(run.target_uuid, due)):
        if feed is Feed.LINEAGE:
            made = lineage_events((e for e in edges if isinstance(e, LineageEdge)), target=run.kit.target)
        else:
            made = column_lineage_events((e for e in edges if isinstance(e, ColumnEdge)), target=run.kit.target)
        for event in made:
            if event.cross_warehouse is crossing:
                _count(run, feed, event)
                yield event


def _by_destinations(records: Iterator[EdgeRecord]) -> Iterator[list[LineageEdge | ColumnEdge]]:
    """Yield the edges of whole destinations, some at a time."""
    edges: list[LineageEdge | ColumnEdge] = []
    destinations = 0
    for _, group in groupby(records, key=lambda record: record.edge.destination):
        edges += [record.edge for record in group]
        destinations += 1
        if destinations == _DESTINATIONS:
            yield edges
            edges, destinations = [], 0
    if edges:
        yield edges


def _count(run: Run, feed: Feed, event: Event) -> None:
    counts = run.tally.counts
    if feed is Feed.LINEAGE:
        counts["edges"] += len(event.wire["sources"])
    else:
        counts["column_edges"] += sum(len(field["source_fields"]) for field in event.wire["fields"])
