"""Did what was pushed arrive? Monte Carlo takes bodies in and works them off later, so "not there" is not yet "lost".

Tables are asked for by the invocation ids of their push, 500 to a page; lineage and queries by a spread-out sample.
Nothing is asked once per table unless `detectors_of` names tables.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from mc_push_dagster.flow.answers import EVENT_TYPES, CatalogEntry, PushStatus, full_table_id_of
from mc_push_dagster.flow.verification import LATENCY, Pushed, Reader, Sampled, Verdict, Verification
from mc_push_dagster.model import ColumnEdge, Feed, TableRef

__all__ = ["LATENCY", "Pushed", "Reader", "Sampled", "Verdict", "Verification", "verify", "wait_until_visible"]

_CLOCKS = timedelta(minutes=5)
"""How far our clock and Monte Carlo's may be apart."""
_BY_NAME = 10
"""So few tables are looked up by name even while it is too early: it costs a call each."""

Thing = TypeVar("Thing")


def verify(
    pushed: Pushed,
    *,
    reader: Reader,
    now: datetime,
    sample: int = 60,
    detectors_of: Collection[TableRef] = (),
) -> Verification:
    """Ask Monte Carlo what it shows of a push.

    Costs one call for `pushEvents`, one per 500 tables of each metadata body, one per 12 of at most `sample`
    destinations, one for each of a tenth as many column edges and of a twentieth as many queried tables, and one for
    each of `detectors_of`. Raises whatever the reader raises.
    """
    asked = _Question(pushed, reader, now, sample)
    tables = asked.tables()
    edges, columns, queries = asked.edges(), asked.column_edges(), asked.queries()
    return Verification(
        at=now,
        received=asked.received(),
        tables=tables,
        edges=edges,
        column_edges=columns,
        queries=queries,
        mcons={ref: asked.found[ref.full_table_id].mcon for ref in tables if ref.full_table_id in asked.found},
        detectors={ref: reader.detectors(entry.mcon) for ref, entry in asked.entries(detectors_of).items()},
    )


def wait_until_visible(
    pushed: Pushed,
    *,
    reader: Reader,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
    deadline: datetime,
    first_pause: float = 0.5,
    longest_pause: float = 60.0,
) -> Verification:
    """Verify again and again, with pauses (seconds) that double, until all is seen or the deadline has come."""
    pause = first_pause
    while True:
        seen = verify(pushed, reader=reader, now=clock())
        left = (deadline - clock()).total_seconds()
        if seen.complete or left <= 0:
            return seen
        sleep(min(pause, left))
        pause = min(longest_pause, pause * 2)


class _Question:
    """One verification under way; remembers which tables it has met, so that none is looked up twice."""

    def __init__(self, pushed: Pushed, reader: Reader, now: datetime, sample: int) -> None:
        self._pushed = pushed
        self._reader = reader
        self._now = now
        self._sample = sample
        self.found: dict[str, CatalogEntry] = {}

    def _verdict(self, seen: bool, *feeds: Feed) -> Verdict:
        if seen:
            return Verdict.SEEN
        accepted = [r.received_at + LATENCY[r.feed] for r in self._pushed.accepted(*feeds)]
        # Without a receipt nothing says when to expect it: it may be on its way.
        return Verdict.TOO_EARLY if not accepted or self._now < max(accepted) else Verdict.MISSING

    def received(self) -> dict[Feed, Verdict]:
        feeds = sorted({r.feed for r in self._pushed.receipts})
        if not feeds:
            return {}
        status = {s.event_type: s for s in self._reader.push_events(self._pushed.resource_uuid)}
        return {feed: self._verdict(self._reached(feed, status.get(EVENT_TYPES[feed])), feed) for feed in feeds}

    def _reached(self, feed: Feed, status: PushStatus | None) -> bool:
        ours = self._pushed.accepted(feed)
        if status is None or status.last_received is None:
            return False
        if status.last_invocation_id in {r.invocation_id for r in ours}:
            return True
        return status.last_received >= max(r.received_at for r in ours) - _CLOCKS

    def tables(self) -> dict[TableRef, Verdict]:
        wanted = {ref.full_table_id: ref for ref in self._pushed.tables}
        bodies = self._pushed.accepted(Feed.METADATA)
        ours = {body.invocation_id for body in bodies}
        for invocation_id in sorted(ours):
            if wanted.keys() <= self.found.keys():
                break
            for entry in self._reader.tables(self._pushed.resource_uuid, invocation_id=invocation_id):
                self.found[entry.full_table_id] = entry
        absent = wanted.keys() - self.found.keys()
        late = self._verdict(False, Feed.METADATA) is Verdict.MISSING
        if absent and (late or len(absent) <= _BY_NAME):
            # A later push of the same table puts its own invocation id in the place of ours.
            self._look_up(absent)
        since = min((b.received_at for b in bodies), default=self._now) - _CLOCKS
        return {
            ref: self._verdict(_shows(self.found.get(name), ours, since), Feed.METADATA) for name, ref in wanted.items()
        }

    def entries(self, refs: Iterable[TableRef]) -> dict[TableRef, CatalogEntry]:
        """The catalog entries of tables, those that there are."""
        wanted = {ref.full_table_id: ref for ref in refs}
        self._look_up(wanted.keys() - self.found.keys())
        return {ref: self.found[name] for name, ref in wanted.items() if name in self.found}

    def _look_up(self, names: Collection[str]) -> None:
        if names:
            for entry in self._reader.tables(self._pushed.resource_uuid, full_table_ids=names):
                self.found[entry.full_table_id] = entry

    def edges(self) -> Sampled:
        pairs = sorted({(e.destination, e.source) for e in self._pushed.edges})
        chosen = set(_spread(sorted({destination for destination, _ in pairs}), self._sample))
        entries = self.entries(chosen)
        shown = _sources(self._reader, [entry.mcon for entry in entries.values()])
        return self._sampled(
            len(pairs),
            (
                (f"{source} -> {destination}", source.full_table_id in shown.get(destination.full_table_id, ()))
                for destination, source in pairs
                if destination in chosen
            ),
            Feed.LINEAGE,
        )

    def column_edges(self) -> Sampled:
        chosen = _spread(self._pushed.column_edges, self._sample // 10)
        entries = self.entries({e.source for e in chosen})
        return self._sampled(
            len(self._pushed.column_edges),
            (
                (
                    f"{e.source}.{e.source_column} -> {e.destination}.{e.destination_column}",
                    e.source in entries and self._derives(entries[e.source].mcon, e),
                )
                for e in chosen
            ),
            Feed.COLUMN_LINEAGE,
        )

    def _derives(self, mcon: str, edge: ColumnEdge) -> bool:
        return any(
            edge.destination_column in d.columns and full_table_id_of(d.mcon) == edge.destination.full_table_id
            for d in self._reader.derived_columns(mcon, edge.source_column)
        )

    def queries(self) -> Sampled:
        window = self._pushed.query_window
        if window is None:
            return Sampled(total=0)
        chosen = _spread(sorted(self._pushed.queried), max(1, self._sample // 20))
        entries = self.entries(chosen)
        return self._sampled(
            len(self._pushed.queried),
            (
                (str(ref), ref in entries and any(self._reader.queries(entries[ref].mcon, "write", window)))
                for ref in chosen
            ),
            Feed.QUERY_LOG,
        )

    def _sampled(self, total: int, shown: Iterable[tuple[str, bool]], feed: Feed) -> Sampled:
        verdicts = [(name, self._verdict(seen, feed)) for name, seen in shown]
        return Sampled(
            total=total,
            seen=sum(v is Verdict.SEEN for _, v in verdicts),
            missing=tuple(name for name, v in verdicts if v is Verdict.MISSING),
            too_early=tuple(name for name, v in verdicts if v is Verdict.TOO_EARLY),
        )


def _shows(entry: CatalogEntry | None, ours: Collection[str], since: datetime) -> bool:
    """Whether the catalog shows the table as our push, or a later one, left it."""
    if entry is None or entry.is_deleted:
        return False
    return entry.invocation_id in ours or entry.last_observed is None or entry.last_observed >= since


def _sources(reader: Reader, mcons: Sequence[str]) -> dict[str, set[str]]:
    """The full table ids of what Monte Carlo shows upstream of tables, by their own."""
    shown: dict[str, set[str]] = {}
    if mcons:
        for mcon, others in reader.lineage(mcons, "upstream").connected.items():
            shown.setdefault(full_table_id_of(mcon), set()).update(map(full_table_id_of, others))
    return shown


def _spread(things: Sequence[Thing], most: int) -> list[Thing]:
    """At most `most` of the things, evenly spread over their order, the same ones each time."""
    if len(things) <= most:
        return list(things)
    return [things[i * len(things) // most] for i in range(most)]
