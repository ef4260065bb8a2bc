"""One push under way: its identity, its bodies, what it met, and the report at its end."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from mc_push_dagster.config import PushConfig
from mc_push_dagster.errors import PushError, PushIncomplete
from mc_push_dagster.flow.batch import Batch, batches
from mc_push_dagster.flow.consequences import applier
from mc_push_dagster.flow.deliver import Accepted, Delivery, Draft, Gateway, Means, Parcel, Policy
from mc_push_dagster.flow.events import Event, envelope
from mc_push_dagster.flow.hours import HourGate
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.flow.progress import Progress
from mc_push_dagster.flow.report import HeldBack, PushReport, SetAside, TableChange, TableLine
from mc_push_dagster.ledger import Lease, Ledger, NewBatch
from mc_push_dagster.model import Feed, Gap, TableSnapshot, Target, Window, hour_bucket
from mc_push_dagster.warehouses.base import Warehouse

MOST_SHOWN = 1_000
"""Gaps, changes and refused events that a report carries at most; `counts` tells how many there were."""
LARGEST_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What every push of one warehouse works with."""

    name: str
    warehouse: Warehouse
    target: Target
    gateway: Gateway
    ledger: Ledger
    outbox: Outbox
    config: PushConfig
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]
    rehearsing: bool = False
    """A dry run: ledger, outbox and gateway are stand-ins."""

    def delivery(self, lease: Lease, *, hour: datetime, sent: Callable[[int], None]) -> tuple[Delivery, Means]:
        """A way out for the push that holds `lease`."""
        means = Means(
            gateway=self.gateway,
            ledger=self.ledger,
            outbox=self.outbox,
            lease=lease,
            clock=self.clock,
            monotonic=self.monotonic,
            sleep=self.sleep,
            random=self.random,
        )
        policy = Policy(
            concurrency=1 if self.rehearsing else self.config.delivery.concurrency,
            deadline_seconds=self.config.delivery.deadline_seconds,
        )
        gate = HourGate(means, hour=hour, clock=self.clock)
        apply = applier(self.ledger, hour_of=gate.hour_of, clock=self.clock)
        return Delivery(means, policy, admit=gate.admit, apply=apply, sent=sent), means


@dataclass(kw_only=True)
class Tally:
    """What was met on the way, pushes that were completed first included."""

    counts: Counter[str] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    changes: list[TableChange] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    maybe_twice: int = 0
    held_back: int = 0
    holders: Counter[str] = field(default_factory=Counter)
    _taken: list[Delivery] = field(default_factory=list)
    _largest: list[tuple[int, int, int, TableLine]] = field(default_factory=list)

    def gap(self, gap: Gap) -> None:
        self.counts["gaps"] += 1
        if len(self.gaps) < MOST_SHOWN:
            self.gaps.append(gap)

    def aside(self, item: SetAside) -> None:
        self.counts["set_aside"] += 1
        if len(self.set_aside) < MOST_SHOWN:
            self.set_aside.append(item)

    def change(self, change: TableChange) -> None:
        self.counts["changes"] += 1
        if len(self.changes) < MOST_SHOWN:
            self.changes.append(change)

    def take(self, delivery: Delivery) -> None:
        """Add what a delivery did, at its end; adding it again is no change."""
        if delivery in self._taken:
            return
        self._taken.append(delivery)
        self.accepted += delivery.accepted
        self.maybe_twice += delivery.maybe_twice
        for item in delivery.set_aside:
            self.aside(item)

    def pushed_table(self, snapshot: TableSnapshot) -> None:
        """Count a table that is pushed, and remember it if it is one of the largest."""
        self.counts["tables" if snapshot.asset_type.value == "TABLE" else "views"] += 1
        self.counts["columns"] += len(snapshot.columns or ())
        line = TableLine(
            ref=snapshot.ref,
            native_type=snapshot.native_type,
            columns=None if snapshot.columns is None else len(snapshot.columns),
            row_count=snapshot.row_count,
            byte_count=snapshot.byte_count,
            last_change=snapshot.data_change.at if snapshot.data_change else None,
        )
        size = (snapshot.row_count or 0, snapshot.byte_count or 0, -self.counts["tables"] - self.counts["views"], line)
        if len(self._largest) < LARGEST_SHOWN:
            heapq.heappush(self._largest, size)
        else:
            heapq.heappushpop(self._largest, size)

    def largest(self) -> tuple[TableLine, ...]:
        return tuple(entry[3] for entry in sorted(self._largest, key=lambda entry: entry[:3], reverse=True))

    def invocation_ids(self) -> dict[Feed, tuple[str, ...]]:
        """Every id the gateway gave, by feed."""
        found: defaultdict[Feed, list[str]] = defaultdict(list)
        for body in self.accepted:
            found[body.feed].append(body.invocation_id)
        return {feed: tuple(ids) for feed, ids in found.items()}


class Run:
    """One push: `parcels` and `deliver` are what its stages use, `report` what remains of it."""

    def __init__(
        self,
        kit: Kit,
        *,
        push_id: str,
        started_at: datetime,
        lease: Lease,
        tally: Tally,
        progress: Progress,
    ) -> None:
        self.kit = kit
        self.push_id = push_id
        self.started_at = started_at
        self.hour = hour_bucket(started_at)
        self.lease = lease
        self.tally = tally
        self.progress = progress
        self.delivery, self._means = kit.delivery(
            lease, hour=self.hour, sent=lambda events: progress.advance("sent", events)
        )

    @property
    def target_uuid(self) -> str:
        return self.kit.target.resource_uuid

    def parcels(
        self, events: Iterable[Event], feed: Feed, *, covers: Window | None = None, cross_warehouse: bool = False
    ) -> Iterator[Draft]:
        """Cut events into bodies, each to be made durable in outbox and ledger before its first byte leaves."""
        settings = self.kit.config.delivery
        head = envelope(feed, None if cross_warehouse else self.kit.target)
        cut = batches(
            events, head, max_events=settings.max_events, max_bytes=settings.max_bytes, measure=settings.measure
        )
        for item in cut:
            if isinstance(item, SetAside):
                self.tally.aside(item)
            else:
                yield Draft(batch=item, seal=partial(self._seal, covers=covers))

    def _seal(self, batch: Batch, *, covers: Window | None) -> Parcel:
        kit = self.kit
        new = NewBatch(
            feed=batch.feed,
            sha256=kit.outbox.put(self.push_id, batch.body),
            size=len(batch.body),
            events=len(batch.names),
            covers=covers,
            keys=batch.keys,
        )
        record = kit.ledger.add_batch(self.push_id, self.target_uuid, new)
        return Parcel(record=record, target_uuid=self.target_uuid, body=batch.body, names=batch.names)

    def deliver(self, parcels: Iterable[Parcel | Draft]) -> None:
        """Send what a stage makes, while it makes it.

        Raises:
            PushError: see `Delivery.deliver`.
        """
        self.delivery.deliver(parcels)

    def incomplete(self, cause: PushError | None) -> PushIncomplete:
        """The error that says that not all of this push arrived; its cause says why."""
        return incomplete(self.push_id, self.tally, self.delivery, cause)

    def outcome(self, *, collected: bool, error: BaseException | None = None) -> dict[str, Any]:
        """What the ledger keeps of the push beyond its bodies and receipts; `collected` if all was read and stored."""
        report = self.report()
        document: dict[str, Any] = {
            "collected": collected,
            "counts": report.counts,
            "gaps": report.gaps[:100],
            "set_aside": report.set_aside[:100],
            "changes": report.changes[:100],
            "held_back": report.held_back,
            "maybe_twice": report.maybe_twice,
        }
        if error is not None:
            document["error"] = f"{type(error).__name__}: {error}"
        return orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))

    def report(self) -> PushReport:
        """What the push did."""
        kit, tally = self.kit, self.tally
        events: Counter[Feed] = Counter()
        for body in tally.accepted:
            events[body.feed] += body.events
        held = None
        if tally.held_back:
            pushes = tuple(push for push, _ in tally.holders.most_common(5))
            held = HeldBack(tables=tally.held_back, hour=self.hour, push_ids=pushes)
        return PushReport(
            push_id=self.push_id,
            warehouse=kit.name,
            target=kit.target,
            hour=self.hour,
            started_at=self.started_at,
            finished_at=kit.clock(),
            dry_run=kit.rehearsing,
            counts=dict(tally.counts),
            events=dict(events),
            requests=len(tally.accepted),
            raw_bytes=sum(body.size for body in tally.accepted),
            invocation_ids={} if kit.rehearsing else tally.invocation_ids(),
            gaps=tuple(tally.gaps),
            set_aside=tuple(tally.set_aside),
            held_back=held,
            changes=tuple(tally.changes),
            largest=tally.largest(),
            maybe_twice=tally.maybe_twice,
        )

    def finished(self) -> PushReport:
        """The report, with its copy in the outbox."""
        report = self.report()
        if self.kit.rehearsing:
            return report
        plain: Mapping[str, Any] = orjson.loads(orjson.dumps(report, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z))
        return replace(report, manifest=self.kit.outbox.write_manifest(self.push_id, plain))


def incomplete(push_id: str, tally: Tally, delivery: Delivery, cause: PushError | None) -> PushIncomplete:
    """The error of a push that did not arrive whole: it carries the ids of all that did."""
    tally.take(delivery)
    ids = tally.invocation_ids()
    arrived = sum(len(each) for each in ids.values())
    refused = len(delivery.set_aside)
    if cause is not None:
        why = f"{cause}. Run it again: only what is missing is sent"
    else:
        why = f"every one of its {refused} events was refused: {delivery.set_aside[0].reason}"
    error = PushIncomplete(
        f"push {push_id}: {arrived} requests arrived, not all. {why}", push_id=push_id, invocation_ids=ids
    )
    error.__cause__ = cause
    return error
