"""Send bodies: the one place that retries, splits, isolates what the gateway refuses, and records every receipt at
once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event as Flag
from threading import Lock
from typing import Protocol

from mc_push_dagster.errors import MaybeDelivered, PushError, Rejected, SplitBatch, TryAgain
from mc_push_dagster.flow.batch import Batch, halves
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.flow.report import SetAside
from mc_push_dagster.ledger import BatchRecord, BatchState, Lease, Ledger, NewBatch
from mc_push_dagster.model import Feed

_log = logging.getLogger(__name__)


class Gateway(Protocol):
    """The door out: `gateway.ingest.IngestGateway`, or ten lines of a test."""

    def send(self, feed: Feed, body: bytes) -> str:
        """Send a body once and return its invocation id.

        Raises:
            FixAccess: 401, 403.
            Rejected: 400.
            SplitBatch: 413.
            MaybeDelivered: no answer after the body was sent, or a success without an invocation id.
            TryAgain: 408, 429, 5xx, no connection.
            FixConfiguration: if the endpoint cannot be right.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How hard delivery tries."""

    concurrency: int = 8
    deadline_seconds: float = 900.0
    """How long one body is tried."""
    first_delay: float = 0.5
    longest_delay: float = 30.0
    refusals: int = 64
    """Bodies refused one after the other before their events are no longer taken apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What delivery works with; time and chance are passed in."""

    gateway: Gateway
    ledger: Ledger
    outbox: Outbox
    lease: Lease
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A body that is durable, with its row in the ledger."""

    record: BatchRecord
    target_uuid: str
    body: bytes
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A body that is made durable by the thread that sends it, so that several are written at once."""

    batch: Batch
    seal: Callable[[Batch], Parcel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A body that the gateway took."""

    feed: Feed
    invocation_id: str
    events: int
    size: int


class _Stopped(Exception):
    """Another body's failure ended the delivery."""


class _Replaced(Exception):
    """Other bodies take a body's place."""

    def __init__(self, parts: list[Parcel]) -> None:
        super().__init__()
        self.parts = parts


@dataclass(frozen=True, slots=True)
class _Load:
    """What of a body decides whether another may be under way at the same time."""

    feed: Feed
    tables: frozenset[str]

    @classmethod
    def of(cls, item: Parcel | Draft) -> _Load:
        feed, names = (item.batch.feed, item.batch.names) if isinstance(item, Draft) else (item.record.feed, item.names)
        return cls(feed, frozenset() if feed is Feed.QUERY_LOG else frozenset(names))

    def bars(self, other: _Load) -> bool:
        return self.feed is not other.feed or not self.tables.isdisjoint(other.tables)


class Delivery:
    """One push's way out. `accepted` holds every id at any moment, also after a failure; after one, nothing more is
    sent.
    """

    def __init__(
        self,
        means: Means,
        policy: Policy,
        *,
        apply: Callable[[Parcel], None],
        sent: Callable[[int], None],
        admit: Callable[[Parcel], list[Parcel] | None] = lambda _: None,
    ) -> None:
        """`apply` is called with each body once its receipt is recorded, `sent` with the number of its events; `admit`
        before each attempt: what it returns, if not None, is sent in the body's place.
        """
        self._means = means
        self._policy = policy
        self._apply = apply
        self._sent = sent
        self._admit = admit
        self._lock = Lock()
        self._stop = Flag()
        self._failure: PushError | None = None
        self._last_success = float("-inf")
        self.accepted: list[Accepted] = []
        self.set_aside: list[SetAside] = []
        self.maybe_twice = 0
        self.undelivered: list[PushError] = []
        """Why bodies were given up while others went through."""

    def deliver(self, parcels: Iterable[Parcel | Draft]) -> None:
        """Send `parcels` as they come, at most `policy.concurrency` at once; returns when each is settled.

        The first body goes alone until one is accepted, so that a wrong key costs one attempt. Bodies of another feed
        wait until the feed before is through, and a table is never in two bodies under way (nothing documents their
        order).

        Raises:
            PushError: the first failure that ends all (rights, configuration, storage, a gateway that stays down, a
                lost lease); whatever was under way is settled and recorded before it is raised.
        """
        under_way: dict[Future[None], _Load] = {}
        with ThreadPoolExecutor(self._policy.concurrency, thread_name_prefix="deliver") as pool:
            try:
                for parcel in parcels:
                    load = _Load.of(parcel)
                    self._make_room(under_way, load)
                    if self._stop.is_set():
                        break
                    under_way[pool.submit(self._carry, parcel)] = load
                self._settle(under_way, until=lambda: not under_way)
            except BaseException:
                self._stop.set()  # reading broke off, or the user did: what is under way still ends and is recorded
                raise
        if self._failure is not None:
            raise self._failure

    def _make_room(self, under_way: dict[Future[None], _Load], load: _Load) -> None:
        def room() -> bool:
            if not under_way:
                return True
            return (
                bool(self.accepted)
                and len(under_way) < self._policy.concurrency
                and not any(other.bars(load) for other in under_way.values())
            )

        self._settle(under_way, until=room)

    def _settle(self, under_way: dict[Future[None], _Load], *, until: Callable[[], bool]) -> None:
        while not until():
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                del under_way[future]
                future.result()

    def _carry(self, item: Parcel | Draft) -> None:
        """Bring one body to its end: accepted, taken apart, set aside, or given up."""
        try:
            self._take_apart(item.seal(item.batch) if isinstance(item, Draft) else item)
        except _Stopped:
            return
        except PushError as error:
            with self._lock:
                self._failure = self._failure or error
            self._stop.set()

    def _take_apart(self, parcel: Parcel) -> None:
        """Send a body; if it is refused, its halves, breadth first, until what is refused is one event."""
        waiting = deque([parcel])
        refused_in_a_row = 0
        while waiting:
            part = waiting.popleft()
            try:
                if self._until_answered(part):
                    refused_in_a_row = 0
                continue
            except _Replaced as replaced:
                waiting.extend(replaced.parts)
                continue
            except (Rejected, SplitBatch) as error:
                refusal = error
            refused_in_a_row += 1
            hopeless = isinstance(refusal, Rejected) and refused_in_a_row >= self._policy.refusals
            if hopeless and not self.accepted:
                raise refusal  # whatever is wrong, it is wrong with all of them
            if part.record.events == 1 or hopeless:
                self._put_aside(part, refusal)
            else:
                waiting.extend(self._split(part))

    def _until_answered(self, parcel: Parcel) -> bool:
        """Send one body until it is accepted (True) or its deadline is over (False)."""
        means, record = self._means, parcel.record
        begun = means.monotonic()
        maybe = record.state is BatchState.SENDING  # a process that is gone may have sent it
        counted = False
        attempt = 0
        while True:
            if self._stop.is_set():
                raise _Stopped
            if (parts := self._admit(parcel)) is not None:
                raise _Replaced(parts)
            if maybe and not counted:
                counted = True
                with self._lock:
                    self.maybe_twice += 1
            means.ledger.begin_send(record.push_id, record.seq, means.lease, maybe_twice=maybe)
            try:
                invocation_id = means.gateway.send(record.feed, parcel.body)
            except TryAgain as error:
                again = error
                maybe = maybe or isinstance(error, MaybeDelivered)
            except PushError:
                self._certainly_not_there(parcel, maybe)
                raise
            else:
                self._accept(parcel, invocation_id)
                return True
            self._certainly_not_there(parcel, maybe)
            delay = self._delay(attempt, again)
            attempt += 1
            if means.monotonic() + delay - begun > self._policy.deadline_seconds:
                self._give_up(again, begun)
                return False
            self._rest(delay)

    def _certainly_not_there(self, parcel: Parcel, maybe: bool) -> None:
        if not maybe:
            self._means.ledger.not_sent(parcel.record.push_id, parcel.record.seq)

    def _delay(self, attempt: int, error: TryAgain) -> float:
        """Exponential backoff, jittered between a half and a whole; never less than the gateway asked for."""
        backoff = min(self._policy.longest_delay, self._policy.first_delay * 2 ** min(attempt, 30))
        jittered = backoff * (0.5 + self._means.random() / 2)
        return jittered if error.retry_after is None else error.retry_after + jittered

    def _rest(self, seconds: float) -> None:
        """Sleep in short pieces: another body's failure ends the wait."""
        while seconds > 0 and not self._stop.is_set():
            self._means.sleep(min(1.0, seconds))
            seconds -= 1.0

    def _give_up(self, error: TryAgain, begun: float) -> None:
        with self._lock:
            if self._last_success < begun:
                raise error  # nothing came through in all that time: the gateway is down
            self.undelivered.append(error)

    def _accept(self, parcel: Parcel, invocation_id: str) -> None:
        record = parcel.record
        with self._lock:
            self.accepted.append(
                Accepted(feed=record.feed, invocation_id=invocation_id, events=record.events, size=record.size)
            )
            self._last_success = self._means.monotonic()
        try:
            self._means.ledger.acknowledge(record.push_id, record.seq, invocation_id, self._means.clock())
        except PushError:
            # The log is the last place left for it; the caller gets it with PushIncomplete as well.
            _log.error("push %s: invocation id %s could not be recorded", record.push_id, invocation_id)
            raise
        self._apply(parcel)
        self._sent(record.events)

    def _put_aside(self, parcel: Parcel, refusal: PushError) -> None:
        record, reason = parcel.record, str(refusal)
        self._means.ledger.set_aside(record.push_id, record.seq, names=parcel.names, reason=reason)
        with self._lock:
            self.set_aside.extend(SetAside(feed=record.feed, name=name, reason=reason) for name in parcel.names)

    def _split(self, parcel: Parcel) -> list[Parcel]:
        record = parcel.record
        return replace_body(parcel, halves(record.feed, parcel.body), means=self._means)


def replace_body(parcel: Parcel, parts: Iterable[Batch], *, means: Means) -> list[Parcel]:
    """Let `parts` carry what is left of a body's events; durable before it is sent, like any body."""
    record = parcel.record
    parts = list(parts)
    new = [
        NewBatch(
            feed=record.feed,
            sha256=means.outbox.put(record.push_id, part.body),
            size=len(part.body),
            events=len(part.names),
            covers=record.covers,
            keys=part.keys,
        )
        for part in parts
    ]
    records = means.ledger.split_batch(record.push_id, record.seq, parcel.target_uuid, new)
    # A part of a body that may have arrived may have arrived, too.
    state = BatchState.SENDING if record.state is BatchState.SENDING else BatchState.PENDING
    return [
        replace(parcel, record=replace(child, state=state), body=part.body, names=part.names)
        for child, part in zip(records, parts, strict=True)
    ]
