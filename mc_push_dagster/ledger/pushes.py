"""Pushes, their bodies, and the receipts that the gateway gave for them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mc_push_dagster.errors import PushInProgress
from mc_push_dagster.ledger import tables as t
from mc_push_dagster.ledger.database import Database
from mc_push_dagster.ledger.lease import Lease
from mc_push_dagster.ledger.records import (
    BatchRecord,
    BatchState,
    NewBatch,
    PushKind,
    PushRecord,
    PushState,
    Receipt,
)
from mc_push_dagster.model import Feed, Target, Window

_BATCH_COLUMNS = [c for c in t.batches.c if c.name not in ("seen_keys", "target_uuid", "stored")]

_LONGEST_COVER = timedelta(hours=1)
"""A body of queries never reaches beyond one UTC hour; this bounds the rows that are looked at."""


class Pushes:
    """The part of the ledger that follows one push from its first body to its last receipt."""

    _database: Database

    def begin_push(
        self,
        push_id: str,
        *,
        kind: PushKind,
        warehouse: str,
        target: Target,
        hour: datetime,
        started_at: datetime,
        window: Window | None = None,
        outbox: str | None = None,
    ) -> None:
        """Write down that a push begins; `outbox` is the identity of the outbox that holds its bodies."""
        with self._database.write() as connection:
            connection.execute(
                sa.insert(t.pushes).values(
                    push_id=push_id,
                    kind=kind.value,
                    warehouse=warehouse,
                    target_uuid=target.resource_uuid,
                    resource_type=target.resource_type,
                    log_type=target.log_type,
                    hour=hour,
                    window_start=window.start if window else None,
                    window_end=window.end if window else None,
                    started_at=started_at,
                    state=PushState.RUNNING.value,
                    outbox=outbox,
                    outcome="{}",
                )
            )

    def finish_push(
        self,
        push_id: str,
        *,
        state: PushState,
        finished_at: datetime,
        outcome: Mapping[str, Any],
        manifest: str | None = None,
    ) -> None:
        """Write down how a push ended; `outcome` is JSON for people and machines."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(t.pushes)
                .where(t.pushes.c.push_id == push_id)
                .values(
                    state=state.value,
                    finished_at=finished_at,
                    outcome=orjson.dumps(dict(outcome)).decode(),
                    manifest=manifest,
                )
            )

    def push(self, push_id: str) -> PushRecord | None:
        """One push by its id."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(t.pushes).where(t.pushes.c.push_id == push_id)).first()
        return _push(row) if row is not None else None

    def pushes(
        self,
        *,
        target_uuid: str | None = None,
        warehouse: str | None = None,
        kinds: Iterable[PushKind] = (),
        states: Iterable[PushState] = (),
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[PushRecord, ...]:
        """The newest pushes first, at most `limit`; empty `kinds` or `states` mean all."""
        query = sa.select(t.pushes).order_by(t.pushes.c.started_at.desc(), t.pushes.c.push_id.desc()).limit(limit)
        if target_uuid is not None:
            query = query.where(t.pushes.c.target_uuid == target_uuid)
        if warehouse is not None:
            query = query.where(t.pushes.c.warehouse == warehouse)
        if since is not None:
            query = query.where(t.pushes.c.started_at >= since)
        if of_kind := [kind.value for kind in kinds]:
            query = query.where(t.pushes.c.kind.in_(of_kind))
        if in_state := [state.value for state in states]:
            query = query.where(t.pushes.c.state.in_(in_state))
        with self._database.read() as connection:
            return tuple(_push(row) for row in connection.execute(query))

    def last_push(
        self, *, target_uuid: str, kinds: Iterable[PushKind] = (), states: Iterable[PushState] = (PushState.COMPLETE,)
    ) -> PushRecord | None:
        """The newest push of a resource, by default the newest that arrived whole."""
        found = self.pushes(target_uuid=target_uuid, kinds=kinds, states=states, limit=1)
        return found[0] if found else None

    def add_batch(self, push_id: str, target_uuid: str, batch: NewBatch) -> BatchRecord:
        """Enter a body that is durable in the outbox; nothing is sent that does not stand here."""
        with self._database.write() as connection:
            return _insert(connection, push_id, target_uuid, [batch])[0]

    def split_batch(self, push_id: str, seq: int, target_uuid: str, parts: Iterable[NewBatch]) -> list[BatchRecord]:
        """Let other bodies carry a body's events, in one transaction: each event always stands in exactly one."""
        with self._database.write() as connection:
            _set_state(connection, push_id, seq, BatchState.SPLIT)
            return _insert(connection, push_id, target_uuid, list(parts))

    def begin_send(self, push_id: str, seq: int, lease: Lease, *, maybe_twice: bool = False) -> None:
        """Write down, before its first byte leaves, that a body is being sent.

        Raises:
            PushInProgress: if `lease` is lost or the body is not to be sent any more: another process is at work on it.
        """
        values: dict[str, Any] = {"state": BatchState.SENDING.value, "attempts": t.batches.c.attempts + 1}
        if maybe_twice:
            values["maybe_twice"] = True
        held = sa.exists().where(t.leases.c.name == lease.name, t.leases.c.owner == lease.owner)
        with self._database.write() as connection:
            begun = connection.execute(
                sa.update(t.batches)
                .where(t.batches.c.push_id == push_id, t.batches.c.seq == seq, held)
                .where(t.batches.c.state.in_([BatchState.PENDING.value, BatchState.SENDING.value]))
                .values(values)
            )
            if begun.rowcount != 1:
                raise PushInProgress(f"another process took over push {push_id}; this one stopped sending")

    def not_sent(self, push_id: str, seq: int) -> None:
        """Write down that a body is certain not to have arrived (the gateway refused it for now)."""
        with self._database.write() as connection:
            _set_state(connection, push_id, seq, BatchState.PENDING)

    def acknowledge(self, push_id: str, seq: int, invocation_id: str, received_at: datetime) -> None:
        """Record the gateway's receipt in a transaction of its own, durable on return."""
        with self._database.write() as connection:
            connection.execute(
                self._database.insert(t.receipts)
                .values(push_id=push_id, seq=seq, invocation_id=invocation_id, received_at=received_at)
                .on_conflict_do_nothing(index_elements=["push_id", "seq"])
            )
            _set_state(connection, push_id, seq, BatchState.ACKNOWLEDGED)

    def set_aside(self, push_id: str, seq: int, *, names: Sequence[str], reason: str) -> None:
        """Write down that a body's events cannot be sent, by their names."""
        self._refuse(push_id, seq, BatchState.SET_ASIDE, names, reason)

    def supersede(self, push_id: str, seq: int, *, reason: str) -> None:
        """Write down that a body is not sent any more, because a fresh collection takes its place."""
        self._refuse(push_id, seq, BatchState.SUPERSEDED, (), reason)

    def _refuse(self, push_id: str, seq: int, state: BatchState, names: Sequence[str], reason: str) -> None:
        with self._database.write() as connection:
            _set_state(connection, push_id, seq, state, note=orjson.dumps([names, reason]).decode())

    def batches(self, push_id: str, *, states: Iterable[BatchState] = ()) -> tuple[BatchRecord, ...]:
        """The bodies of a push in their order; empty `states` mean all."""
        query = sa.select(*_BATCH_COLUMNS).where(t.batches.c.push_id == push_id).order_by(t.batches.c.seq)
        if wanted := [state.value for state in states]:
            query = query.where(t.batches.c.state.in_(wanted))
        with self._database.read() as connection:
            return tuple(_batch(row) for row in connection.execute(query))

    def receipts(self, push_id: str) -> tuple[Receipt, ...]:
        """The receipts of a push, in its bodies' order."""
        query = (
            sa.select(t.receipts, t.batches.c.feed, t.batches.c.events, t.batches.c.size)
            .join(
                t.batches,
                sa.and_(t.batches.c.push_id == t.receipts.c.push_id, t.batches.c.seq == t.receipts.c.seq),
            )
            .where(t.receipts.c.push_id == push_id)
            .order_by(t.receipts.c.seq)
        )
        with self._database.read() as connection:
            return tuple(
                Receipt(
                    push_id=row.push_id,
                    seq=row.seq,
                    feed=Feed(row.feed),
                    invocation_id=row.invocation_id,
                    events=row.events,
                    size=row.size,
                    received_at=row.received_at,
                )
                for row in connection.execute(query)
            )

    def stored_bodies(self) -> Iterator[tuple[str, str, int, datetime]]:
        """Push id, sha256, size and end of the push for each body kept although its push is over, oldest first."""
        query = (
            sa.select(t.batches.c.push_id, t.batches.c.sha256, t.batches.c.size, t.pushes.c.finished_at)
            .join(t.pushes, t.pushes.c.push_id == t.batches.c.push_id)
            .where(t.batches.c.stored, t.pushes.c.state.in_([PushState.COMPLETE.value, PushState.SUPERSEDED.value]))
            .order_by(t.pushes.c.finished_at, t.batches.c.push_id, t.batches.c.seq)
        )
        with self._database.read() as connection:
            for row in connection.execute(query):
                yield row.push_id, row.sha256, row.size, row.finished_at

    def bodies_removed(self, push_id: str) -> None:
        """Write down that the outbox keeps no body of a push any more."""
        with self._database.write() as connection:
            connection.execute(sa.update(t.batches).where(t.batches.c.push_id == push_id).values(stored=False))

    def seen_keys(self, target_uuid: str, window: Window) -> array[int]:
        """Keys of the queries in `window` that Monte Carlo has, or that it refused by name; unordered, 8 bytes each."""
        keys: array[int] = array("Q")
        states = [BatchState.ACKNOWLEDGED.value, BatchState.SET_ASIDE.value]
        with self._database.read() as connection:
            for blob in connection.scalars(
                sa.select(t.batches.c.seen_keys).where(
                    t.batches.c.target_uuid == target_uuid,
                    t.batches.c.covers_end > window.start,
                    t.batches.c.covers_end < window.end + _LONGEST_COVER,
                    t.batches.c.covers_start < window.end,
                    t.batches.c.state.in_(states),
                )
            ):
                keys.frombytes(blob)
        return keys


def _insert(connection: Connection, push_id: str, target_uuid: str, new: list[NewBatch]) -> list[BatchRecord]:
    last = connection.scalar(sa.select(sa.func.max(t.batches.c.seq)).where(t.batches.c.push_id == push_id)) or 0
    records = [
        BatchRecord(
            push_id=push_id,
            seq=seq,
            feed=batch.feed,
            state=BatchState.PENDING,
            sha256=batch.sha256,
            size=batch.size,
            events=batch.events,
            attempts=0,
            maybe_twice=False,
            applied=False,
            covers=batch.covers,
        )
        for seq, batch in enumerate(new, start=last + 1)
    ]
    rows = [
        {
            "push_id": push_id,
            "seq": record.seq,
            "target_uuid": target_uuid,
            "feed": batch.feed.value,
            "state": record.state.value,
            "sha256": batch.sha256,
            "size": batch.size,
            "events": batch.events,
            "attempts": 0,
            "maybe_twice": False,
            "applied": False,
            "stored": True,
            "covers_start": batch.covers.start if batch.covers else None,
            "covers_end": batch.covers.end if batch.covers else None,
            "seen_keys": array("Q", batch.keys).tobytes() if batch.keys else b"",
        }
        for record, batch in zip(records, new, strict=True)
    ]
    if rows:
        connection.execute(sa.insert(t.batches), rows)
    return records


def _set_state(connection: Connection, push_id: str, seq: int, state: BatchState, *, note: str | None = None) -> None:
    connection.execute(
        sa.update(t.batches)
        .where(t.batches.c.push_id == push_id, t.batches.c.seq == seq)
        # What is acknowledged stays so, whatever a slower thread or process thinks.
        .where(t.batches.c.state != BatchState.ACKNOWLEDGED.value)
        .values(state=state.value, note=note)
    )


def _push(row: Any) -> PushRecord:
    return PushRecord(
        push_id=row.push_id,
        kind=PushKind(row.kind),
        warehouse=row.warehouse,
        target=Target(resource_uuid=row.target_uuid, resource_type=row.resource_type, log_type=row.log_type),
        hour=row.hour,
        window=Window(start=row.window_start, end=row.window_end) if row.window_start is not None else None,
        started_at=row.started_at,
        finished_at=row.finished_at,
        state=PushState(row.state),
        manifest=row.manifest,
        outbox=row.outbox,
        outcome=orjson.loads(row.outcome),
    )


def _batch(row: Any) -> BatchRecord:
    note = orjson.loads(row.note) if row.note else ((), None)
    return BatchRecord(
        push_id=row.push_id,
        seq=row.seq,
        feed=Feed(row.feed),
        state=BatchState(row.state),
        sha256=row.sha256,
        size=row.size,
        events=row.events,
        attempts=row.attempts,
        maybe_twice=row.maybe_twice,
        applied=row.applied,
        covers=Window(start=row.covers_start, end=row.covers_end) if row.covers_start is not None else None,
        refused=tuple(note[0]),
        reason=note[1],
    )
