"""The catalog on its way out: schema where it is due, volume and freshness once an hour and table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from mc_push_dagster.flow.drift import changes, schema_digest
from mc_push_dagster.flow.events import Event, metadata_event
from mc_push_dagster.flow.run import Run
from mc_push_dagster.ledger import TableDigests
from mc_push_dagster.model import Feed, Gap, Scope, TableColumns, TableRef, TableSnapshot

CHUNK = 500
"""Tables whose claims are made in one transaction."""


def push_tables(
    run: Run,
    items: Iterable[TableSnapshot | Gap],
    *,
    scope: Scope,
    with_measures: bool = True,
    only: Collection[TableRef] | None = None,
) -> None:
    """Push what `items` says, as it comes; with `only`, nothing but the schemas of those tables.

    `items` is a whole catalog in scope: tables it does not list get a tombstone, unless it has gaps or lists nothing.

    Raises:
        PushError: see `Delivery.deliver`.
    """
    stage = _Stage(run, with_measures=with_measures, only=only)
    run.deliver(run.parcels(stage.events(items), Feed.METADATA))
    if stage.read and not stage.gaps:
        _bury(run, scope)


def _bury(run: Run, scope: Scope) -> None:
    now = run.kit.clock()
    for lost in run.kit.ledger.bury(run.target_uuid, not_seen_since=run.started_at, covered=scope.covers, at=now):
        change = changes(TableColumns(ref=lost.ref, columns=lost.columns or ()), None)
        if change is not None:
            run.tally.change(change)


class _Stage:
    def __init__(self, run: Run, *, with_measures: bool, only: Collection[TableRef] | None) -> None:
        self._run = run
        self._only = None if only is None else frozenset(only)
        self._with_measures = with_measures and only is None
        self._forbid = run.kit.config.forbid_change_sources
        # On the very first push every table is new, which is no drift.
        self._first = run.kit.ledger.table_count(run.target_uuid) == 0
        self.read = 0
        self.gaps = 0

    def events(self, items: Iterable[TableSnapshot | Gap]) -> Iterator[Event]:
        """Yield the events that are due, a chunk of tables at a time."""
        tables = self._tables(items)
        while chunk := list(islice(tables, CHUNK)):
            self._run.progress.advance("collected", len(chunk))
            yield from self._chunk(chunk)

    def _tables(self, items: Iterable[TableSnapshot | Gap]) -> Iterator[TableSnapshot]:
        for item in items:
            if isinstance(item, Gap):
                self.gaps += 1
                self._run.tally.gap(item)
            else:
                self.read += 1
                yield item

    def _chunk(self, chunk: list[TableSnapshot]) -> Iterator[Event]:
        run, ledger, uuid = self._run, self._run.kit.ledger, self._run.target_uuid
        refs = [snapshot.ref for snapshot in chunk]
        digests = {s.ref: schema_digest(s.columns) for s in chunk if s.columns is not None}
        before = ledger.digests(uuid, refs)
        self._note_changes(chunk, digests, before)
        ledger.note_tables(uuid, chunk, digests=digests, seen_at=run.kit.clock())
        if self._only is not None:
            for snapshot in chunk:
                if snapshot.ref in self._only:
                    run.tally.pushed_table(snapshot)
                    yield metadata_event(snapshot, with_measures=False)
            return
        held: frozenset[TableRef] = frozenset()
        if self._with_measures:
            held = ledger.claim(uuid, refs, hour=run.hour, push_id=run.push_id)
        rest = [s for s in chunk if s.ref not in held]
        under_way = self._hold_back(rest)
        # Read after the claims: a claim that is settled by now has its schema on record.
        known = ledger.digests(uuid, [s.ref for s in rest]) if rest else {}
        for snapshot in chunk:
            ref = snapshot.ref
            if ref in held:
                run.tally.pushed_table(snapshot)
                yield metadata_event(snapshot, forbid=self._forbid)
            elif self._schema_is_due(digests.get(ref), known.get(ref), claimed_elsewhere=ref in under_way):
                run.tally.pushed_table(snapshot)
                yield metadata_event(snapshot, with_measures=False)
            else:
                run.tally.counts["unchanged"] += 1

    def _schema_is_due(self, digest: str | None, known: TableDigests | None, *, claimed_elsewhere: bool) -> bool:
        if digest is None:
            return False  # the columns were not read: there is nothing to say
        pushed = known.pushed_digest if known is not None else None
        if pushed is None and claimed_elsewhere:
            return False  # the push that has claimed the table is bringing its schema right now
        return digest != pushed

    def _hold_back(self, snapshots: list[TableSnapshot]) -> set[TableRef]:
        """Count what another push has claimed; return the tables whose claim is not settled yet."""
        if not snapshots or not self._with_measures:
            return set()
        tally = self._run.tally
        claims = self._run.kit.ledger.claimants(self._run.target_uuid, [s.ref for s in snapshots], hour=self._run.hour)
        for snapshot in snapshots:
            if snapshot.ref in claims and self._has_measures(snapshot):
                tally.held_back += 1
                tally.holders[claims[snapshot.ref].push_id] += 1
        return {ref for ref, claim in claims.items() if not claim.settled}

    def _has_measures(self, snapshot: TableSnapshot) -> bool:
        change = snapshot.data_change
        fresh = change is not None and change.source not in self._forbid
        return fresh or snapshot.row_count is not None or snapshot.byte_count is not None

    def _note_changes(
        self, chunk: list[TableSnapshot], digests: dict[TableRef, str], before: dict[TableRef, TableDigests]
    ) -> None:
        """Note what differs from the schemas that were pushed before."""
        for snapshot in chunk:
            known = before.get(snapshot.ref)
            if known is None or known.gone:
                if not self._first:
                    self._change(None, snapshot)
            elif snapshot.ref in digests and known.pushed_digest not in (None, digests[snapshot.ref]):
                record = self._run.kit.ledger.schema_of(self._run.target_uuid, snapshot.ref)
                if record is not None and record.columns is not None:
                    self._change(TableColumns(ref=record.ref, columns=record.columns), snapshot)

    def _change(self, before: TableColumns | None, after: TableSnapshot) -> None:
        change = changes(before, after)
        if change is not None:
            self._run.tally.change(change)
