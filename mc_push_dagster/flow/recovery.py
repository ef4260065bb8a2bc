"""Finish what an earlier process began: its bodies are sent, or, where their numbers are no longer true, given up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from mc_push_dagster.errors import PushError
from mc_push_dagster.flow.batch import event_name, rebuild
from mc_push_dagster.flow.consequences import applier, pushed_tables
from mc_push_dagster.flow.deliver import Means, Parcel
from mc_push_dagster.flow.hours import claimed
from mc_push_dagster.flow.outbox import BodyLost
from mc_push_dagster.flow.progress import Progress
from mc_push_dagster.flow.run import Kit, Tally, incomplete
from mc_push_dagster.ledger import BatchRecord, BatchState, Lease, PushKind, PushRecord, PushState
from mc_push_dagster.ledger.lease import keep
from mc_push_dagster.model import Feed, TableRef, hour_bucket

OTHERS_TIME = timedelta(hours=24)
"""How long a push whose bodies are in another outbox is left to who can read it."""
OPEN = (BatchState.PENDING, BatchState.SENDING)


def recover(kit: Kit, kinds: Iterable[PushKind], tally: Tally, progress: Progress) -> None:
    """Complete the pushes of these kinds that broke off and that no living process holds, the oldest first.

    Raises:
        PushError: if a body cannot be delivered; as PushIncomplete where some were.
    """
    broken = kit.ledger.pushes(
        target_uuid=kit.target.resource_uuid,
        kinds=kinds,
        states=(PushState.RUNNING, PushState.INCOMPLETE),
        limit=10_000,
    )
    for push in reversed(broken):
        lease = kit.ledger.take_lease(push_lease(push.push_id), kit.clock())
        if lease is None:
            continue
        with keep(lease, kit.clock):
            now = kit.ledger.push(push.push_id)
            if now is None or now.state not in (PushState.RUNNING, PushState.INCOMPLETE):
                continue
            if now.outbox in (None, kit.outbox.identity) or now.started_at < kit.clock() - OTHERS_TIME:
                _complete(kit, now, lease, tally, progress)


def push_lease(push_id: str) -> str:
    """The name of the lease that a push's holder has."""
    return f"push {push_id}"


def open_refs(kit: Kit, push_id: str, states: Iterable[BatchState]) -> Iterator[TableRef]:
    """Tables in a push's metadata bodies of these states; bodies that are lost name none."""
    for record in kit.ledger.batches(push_id, states=states):
        if record.feed is Feed.METADATA:
            try:
                body = kit.outbox.get(push_id, record.sha256)
            except BodyLost:
                continue
            yield from (table.ref for table in pushed_tables(body))


def _complete(kit: Kit, push: PushRecord, lease: Lease, tally: Tally, progress: Progress) -> None:
    _apply_receipts(kit, push)
    # What a dead process claimed without a body is free again; bodies claim anew below.
    kit.ledger.release(kit.target.resource_uuid, push.push_id)
    delivery, means = kit.delivery(lease, hour=push.hour, sent=lambda events: progress.advance("sent", events))
    try:
        delivery.deliver(_parcels(kit, push, means))
    except PushError as error:
        _leave(kit, push)
        if not (tally.accepted or delivery.accepted):
            raise
        raise incomplete(push.push_id, tally, delivery, error) from error
    tally.counts["resumed_requests"] += len(delivery.accepted)
    tally.take(delivery)
    if delivery.undelivered:
        _leave(kit, push)
        raise incomplete(push.push_id, tally, delivery, delivery.undelivered[0])
    whole = push.state is PushState.INCOMPLETE and push.outcome.get("collected", False)
    kit.ledger.finish_push(
        push.push_id,
        state=PushState.COMPLETE if whole else PushState.SUPERSEDED,
        finished_at=kit.clock(),
        outcome=push.outcome,
        manifest=push.manifest,
    )


def _leave(kit: Kit, push: PushRecord) -> None:
    """Give back what did not arrive; it may have, where a body is being sent."""
    kit.ledger.release(kit.target.resource_uuid, push.push_id, keep=open_refs(kit, push.push_id, (BatchState.SENDING,)))


def _apply_receipts(kit: Kit, push: PushRecord) -> None:
    """Record the consequences of receipts that the process had no time for."""
    apply = applier(kit.ledger, hour_of=lambda _: push.hour, clock=kit.clock)
    for record in kit.ledger.batches(push.push_id, states=(BatchState.ACKNOWLEDGED,)):
        if record.applied or record.feed is Feed.QUERY_LOG:
            continue
        try:
            parcel = _load(kit, record)
        except BodyLost:
            continue  # it arrived; only our own notes of it are poorer, and the next push notes the tables again
        apply(parcel)


def _parcels(kit: Kit, push: PushRecord, means: Means) -> Iterator[Parcel]:
    for record in kit.ledger.batches(push.push_id, states=OPEN):
        try:
            parcel = _load(kit, record)
        except BodyLost as error:
            kit.ledger.supersede(push.push_id, record.seq, reason=str(error))
            continue
        if record.feed is Feed.METADATA:
            yield from _still_true(kit, push, parcel, means)
        else:
            yield parcel


def _still_true(kit: Kit, push: PushRecord, parcel: Parcel, means: Means) -> Iterator[Parcel]:
    """A metadata body as far as it may still go out.

    Volume and freshness of a past hour are no longer true: a fresh collection takes their place. Of the present hour,
    a table that another push has claimed meanwhile is left out.
    """
    record = parcel.record
    if push.hour != hour_bucket(kit.clock()):
        if any(table.measured for table in pushed_tables(parcel.body)):
            reason = "its volume and freshness are of a past hour"
            kit.ledger.supersede(push.push_id, record.seq, reason=reason)
        else:
            yield parcel
        return
    left = claimed(parcel, push.hour, means)
    if left is None:
        yield parcel
    else:
        yield from left


def _load(kit: Kit, record: BatchRecord) -> Parcel:
    body = kit.outbox.get(record.push_id, record.sha256)
    names = tuple(event_name(record.feed, wire) for wire in rebuild(body)[1])
    return Parcel(record=record, target_uuid=kit.target.resource_uuid, body=body, names=names)
