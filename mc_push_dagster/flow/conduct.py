"""How one push begins and ends, whatever happens in between: locks, leases, what is left to the next run, dry runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from mc_push_dagster.errors import PushError, PushInProgress
from mc_push_dagster.flow.progress import Progress
from mc_push_dagster.flow.query_push import reach
from mc_push_dagster.flow.recovery import open_refs, push_lease, recover
from mc_push_dagster.flow.rehearsed import RehearsedGateway, RehearsedOutbox
from mc_push_dagster.flow.report import PushReport
from mc_push_dagster.flow.run import Kit, Run, Tally
from mc_push_dagster.ledger import BatchState, Ledger, PushKind, PushState
from mc_push_dagster.ledger.lease import Lease, keep
from mc_push_dagster.ledger.rehearsal import rehearsal
from mc_push_dagster.model import Window

Work = Callable[[Run], None]

CLAIMS_KEPT = timedelta(hours=48)
_TOGETHER: dict[PushKind, tuple[PushKind, ...]] = {
    PushKind.CATALOG: (PushKind.CATALOG, PushKind.SCHEMA),
    PushKind.SCHEMA: (PushKind.CATALOG, PushKind.SCHEMA),
}
"""Kinds that complete each other's broken pushes; any other completes its own."""
_ONE_AT_A_TIME = (PushKind.LINEAGE, PushKind.QUERY_LOGS, PushKind.MANIFEST)
"""Catalog pushes may run side by side: each table's hour goes to exactly one. The others wait for each other."""


def conduct(kit: Kit, kind: PushKind, work: Work, *, progress: Progress, window: Window | None = None) -> PushReport:
    """Complete what earlier processes left of this kind, then do `work` as a push of its own.

    Raises:
        PushIncomplete: if some bodies were not accepted; it carries every id that was.
        PushInProgress: if another process holds this kind for longer than the delivery's deadline.
        PushError: if nothing was accepted, by its cause.
    """
    with _alone(kit, kind):
        tally = Tally()
        recover(kit, _TOGETHER.get(kind, (kind,)), tally, progress)
        report = _complete(kit, kind, work, window=window, tally=tally, progress=progress)
    kit.ledger.forget_claims(kit.clock() - CLAIMS_KEPT)
    kit.outbox.tidy(kit.clock())
    return report


def rehearse(kit: Kit, kind: PushKind, work: Work, *, progress: Progress, window: Window | None = None) -> PushReport:
    """Do `work` on a copy of the ledger and with stand-ins for outbox and gateway: all is counted, nothing is left."""
    windows = reach(kit.warehouse, window) if window is not None else None
    uuid = kit.target.resource_uuid
    with rehearsal(kit.ledger, target_uuid=uuid, now=kit.clock(), windows=windows) as ledger:
        run = rehearsing(kit, ledger, progress, kind=kind, window=window)
        work(run)
        run.tally.take(run.delivery)
        return run.report()


def rehearsing(
    kit: Kit, ledger: Ledger, progress: Progress, *, kind: PushKind = PushKind.MANIFEST, window: Window | None = None
) -> Run:
    """A run on a throw-away ledger."""
    kit = replace(kit, ledger=ledger, outbox=RehearsedOutbox(), gateway=RehearsedGateway(), rehearsing=True)
    now = kit.clock()
    lease = ledger.take_lease("rehearsal", now)
    assert lease is not None, "the copy is nobody else's"
    ledger.begin_push(
        "rehearsal", kind=kind, warehouse=kit.name, target=kit.target, hour=now, started_at=now, window=window
    )
    return Run(kit, push_id="rehearsal", started_at=now, lease=lease, tally=Tally(), progress=progress)


def _complete(
    kit: Kit, kind: PushKind, work: Work, *, window: Window | None, tally: Tally, progress: Progress
) -> PushReport:
    with _begun(kit, kind, window=window, tally=tally, progress=progress) as run:
        collected = False
        try:
            work(run)
            collected = True
            tally.take(run.delivery)
            if run.delivery.undelivered:
                raise run.delivery.undelivered[0]
            if run.delivery.set_aside and not tally.accepted:
                raise run.incomplete(None)
            report = run.finished()
        except BaseException as error:
            _leave(run, error, collected=collected)
            if isinstance(error, PushError) and tally.accepted:
                raise run.incomplete(error) from error
            raise
        kit.ledger.finish_push(
            run.push_id,
            state=PushState.COMPLETE,
            finished_at=report.finished_at,
            outcome=run.outcome(collected=True),
            manifest=report.manifest,
        )
    return report


def _leave(run: Run, error: BaseException, *, collected: bool) -> None:
    """Write down that the push stays incomplete; give back the hours of tables that certainly did not arrive."""
    kit = run.kit
    run.tally.take(run.delivery)
    try:
        maybe_there = open_refs(kit, run.push_id, (BatchState.SENDING,))
        kit.ledger.release(run.target_uuid, run.push_id, keep=maybe_there)
        kit.ledger.finish_push(
            run.push_id,
            state=PushState.INCOMPLETE,
            finished_at=kit.clock(),
            outcome=run.outcome(collected=collected, error=error),
        )
    except PushError as second:
        # The ledger cannot be written: the next run finds a push whose holder is through, which says the same.
        error.add_note(f"and it could not be noted: {second}")


@contextmanager
def _begun(kit: Kit, kind: PushKind, *, window: Window | None, tally: Tally, progress: Progress) -> Iterator[Run]:
    now = kit.clock()
    push_id = f"{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:12]}"
    lease = kit.ledger.take_lease(push_lease(push_id), now)
    assert lease is not None, "a fresh id is nobody else's"
    run = Run(kit, push_id=push_id, started_at=now, lease=lease, tally=tally, progress=progress)
    with keep(lease, kit.clock):
        kit.ledger.begin_push(
            push_id,
            kind=kind,
            warehouse=kit.name,
            target=kit.target,
            hour=run.hour,
            started_at=now,
            window=window,
            outbox=kit.outbox.identity,
        )
        yield run


@contextmanager
def _alone(kit: Kit, kind: PushKind) -> Iterator[None]:
    """Wait until no other process pushes this kind to this target; a manifest waits for all of them.

    Raises:
        PushInProgress: if it has not ended after the delivery's deadline.
    """
    with ExitStack() as stack:
        if kind in _ONE_AT_A_TIME:
            for one in _ONE_AT_A_TIME if kind is PushKind.MANIFEST else (kind,):
                stack.enter_context(keep(_wait(kit, one), kit.clock))
        yield


def _wait(kit: Kit, kind: PushKind) -> Lease:
    name = f"{kind.value} {kit.target.resource_uuid}"
    give_up = kit.monotonic() + kit.config.delivery.deadline_seconds
    while (lease := kit.ledger.take_lease(name, kit.clock())) is None:
        if kit.monotonic() > give_up:
            what = kind.value.replace("_", " ")
            raise PushInProgress(f"another process is still pushing {what} of {kit.name}: try again when it is done")
        kit.sleep(0.5)
    return lease
