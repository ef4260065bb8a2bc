"""One push from the warehouse to the last receipt: the seam that Dagster's assets and the command line call."""

from __future__ import annotations

import random as chance
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from mc_push_dagster.config import PushConfig
from mc_push_dagster.errors import PushError, PushInProgress
from mc_push_dagster.flow.catalog_push import push_tables
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.flow.deliver import Gateway
from mc_push_dagster.flow.lineage_push import Item, push_edges
from mc_push_dagster.flow.manifest import Lines, Manifest, writing
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.flow.progress import Progress, Silent
from mc_push_dagster.flow.query_push import Piece, pieces, push_pieces, reach
from mc_push_dagster.flow.recovery import open_refs, push_lease, recover
from mc_push_dagster.flow.rehearsed import RehearsedGateway, RehearsedOutbox
from mc_push_dagster.flow.report import PushReport
from mc_push_dagster.flow.run import Kit, Run, Tally
from mc_push_dagster.flow.sources import lineage_items, note_catalog
from mc_push_dagster.ledger import BatchState, Ledger, PushKind, PushState
from mc_push_dagster.ledger.lease import Lease, keep
from mc_push_dagster.ledger.rehearsal import rehearsal
from mc_push_dagster.model import Gap, TableRef, Target, Window
from mc_push_dagster.warehouses.base import Warehouse

MANIFEST_MEASURES = timedelta(hours=1)
"""Volume and freshness of a manifest that is older are no longer true, and are left out."""
CLAIMS_KEPT = timedelta(hours=48)

_TOGETHER: dict[PushKind, tuple[PushKind, ...]] = {
    PushKind.CATALOG: (PushKind.CATALOG, PushKind.SCHEMA),
    PushKind.SCHEMA: (PushKind.CATALOG, PushKind.SCHEMA),
}
"""Kinds that complete each other's broken pushes; any other completes its own."""
_ONE_AT_A_TIME = (PushKind.LINEAGE, PushKind.QUERY_LOGS, PushKind.MANIFEST)
"""Catalog pushes may run side by side: each table's hour goes to exactly one. The others wait for each other."""


def _now() -> datetime:
    return datetime.now(UTC)


class Pusher:
    """Walks the data's way for one warehouse and one target. Holds no open connection between calls.

    Each call first completes what an earlier process of its kind left unfinished, then reads afresh; bodies are durable
    before they are sent, and what the gateway acknowledged is never sent again.
    """

    def __init__(
        self,
        *,
        name: str,
        warehouse: Warehouse,
        target: Target,
        gateway: Gateway,
        ledger: Ledger,
        outbox: Outbox,
        config: PushConfig,
        clock: Callable[[], datetime] = _now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._kit = Kit(
            name=name,
            warehouse=warehouse,
            target=target,
            gateway=gateway,
            ledger=ledger,
            outbox=outbox,
            config=config,
            clock=clock,
            monotonic=monotonic,
            sleep=sleep,
            random=random,
        )

    def push_catalog(
        self,
        *,
        schema_only: Iterable[TableRef] | None = None,
        dry_run: bool = False,
        progress: Progress = Silent(),  # noqa: B008
    ) -> PushReport:
        """Read the catalog and push it; with `schema_only`, only those tables and without volume and freshness
        (drift).

        Volume and freshness go out at most once an hour and table; a table whose hour is taken is pushed again only if
        its schema changed.

        Raises:
            PushIncomplete: if some bodies were not accepted; it carries every id that was.
            PushError: if nothing was accepted, by its cause.
        """
        only = None if schema_only is None else frozenset(schema_only)
        kind = PushKind.CATALOG if only is None else PushKind.SCHEMA
        warehouse = self._kit.warehouse

        def work(run: Run) -> None:
            push_tables(run, snapshots(warehouse), scope=warehouse.scope, only=only)

        return self._push(kind, work, dry_run=dry_run, progress=progress)

    def push_lineage(self, *, dry_run: bool = False, progress: Progress = Silent()) -> PushReport:  # noqa: B008
        """Derive table and column lineage and push what is new or about to expire.

        Sources are the warehouse's own lineage, the text of its views, and the query log of the last
        `lineage_window_hours`. Edges below `minimum_confidence` stay in the ledger.

        Raises:
            PushIncomplete: if some bodies were not accepted; it carries every id that was.
            PushError: if nothing was accepted, by its cause.
        """

        def work(run: Run) -> None:
            push_edges(run, self._lineage(run))

        return self._push(PushKind.LINEAGE, work, dry_run=dry_run, progress=progress)

    def push_query_logs(self, window: Window, *, dry_run: bool = False, progress: Progress = Silent()) -> PushReport:  # noqa: B008
        """Push the queries that ended in `window` and were not pushed yet, and late ones of the windows before.

        Where the log may still grow (`query_log_latency`), it is pushed as it stands, and the report has a gap that
        says when to push it again.

        Raises:
            FixConfiguration: if the window has not begun yet.
            PushIncomplete: if some bodies were not accepted; it carries every id that was.
            PushError: if nothing was accepted, by its cause.
        """
        warehouse = self._kit.warehouse

        def work(run: Run) -> None:
            parts = pieces(warehouse, window, run.kit.ledger, run.target_uuid, run.started_at)
            push_pieces(run, parts, latency=warehouse.query_log_latency)

        return self._push(PushKind.QUERY_LOGS, work, window=window, dry_run=dry_run, progress=progress)

    def collect(self, folder: Path, *, windows: Iterable[Window] = (), progress: Progress = Silent()) -> Path:  # noqa: B008
        """Write everything that a push would carry to a manifest in `folder`; nothing is sent, the ledger is not
        touched.

        Raises:
            StorageFault: if the manifest cannot be written.
        """
        kit, now = self._kit, self._kit.clock()
        path = folder / f"{kit.name}-{now:%Y%m%dT%H%M%SZ}.ndjson"
        scope = kit.warehouse.scope
        with ExitStack() as stack:
            ledger = stack.enter_context(rehearsal(None, target_uuid=kit.target.resource_uuid, now=now))
            run = self._rehearsing(ledger, progress)
            draft = stack.enter_context(writing(path, warehouse=kit.name, collected_at=now, scope=scope))
            draft.write("tables", note_catalog(run, snapshots(kit.warehouse)))
            draft.write("lineage", self._kept(self._lineage(run), run))
            for window in windows:
                for piece in pieces(kit.warehouse, window, ledger, run.target_uuid, now):
                    draft.write("queries", piece.records, window=piece.window, closed=piece.closed)
                    progress.advance("windows", 1)
        return path

    def push_manifest(self, manifest: Path, *, dry_run: bool = False, progress: Progress = Silent()) -> PushReport:  # noqa: B008
        """Push what `collect` wrote, perhaps on another machine.

        Hours are claimed now. Volume and freshness that are more than an hour old are left out, and the report says so.

        Raises:
            FixConfiguration: if the file is no manifest, cut short or changed.
            PushIncomplete: if some bodies were not accepted; it carries every id that was.
            PushError: if nothing was accepted, by its cause.
        """
        read = Manifest.open(manifest)

        def work(run: Run) -> None:
            self._push_sections(run, read)

        sections = [s.window for s in read.sections("queries") if s.window is not None]
        window = Window(start=min(w.start for w in sections), end=max(w.end for w in sections)) if sections else None
        return self._push(PushKind.MANIFEST, work, window=window, dry_run=dry_run, progress=progress)

    def _push_sections(self, run: Run, manifest: Manifest) -> None:
        header = manifest.header
        fresh = run.started_at - header.collected_at <= MANIFEST_MEASURES
        if not fresh:
            run.tally.gap(
                Gap(
                    subject="volume and freshness",
                    reason=f"collected at {header.collected_at:%Y-%m-%d %H:%M} UTC, which is more than an hour ago: "
                    "they are no longer true and were left out",
                )
            )
        for section in manifest.sections("tables"):
            push_tables(run, manifest.read(section), scope=header.scope, with_measures=fresh)
        for section in manifest.sections("lineage"):
            push_edges(run, manifest.read(section))
        latency = self._kit.warehouse.query_log_latency
        parts = (
            Piece(window=section.window, records=Lines(manifest, section), closed=section.closed)
            for section in manifest.sections("queries")
            if section.window is not None
        )
        push_pieces(run, parts, latency=latency)

    def _lineage(self, run: Run) -> Iterator[Item]:
        now = run.started_at
        window = Window(start=now - timedelta(hours=self._kit.config.lineage_window_hours), end=now)
        return lineage_items(run, window)

    @staticmethod
    def _kept(items: Iterable[Item], run: Run) -> Iterator[object]:
        """Gather edges in the run's ledger, then yield each once, with all that could not be read."""
        from mc_push_dagster.flow.lineage_push import record_edges

        before = len(run.tally.gaps)
        record_edges(run, items)
        yield from run.tally.gaps[before:]
        for columns in (False, True):
            for record in run.kit.ledger.edges(run.target_uuid, columns=columns):
                yield record.edge

    def _push(
        self,
        kind: PushKind,
        work: Callable[[Run], None],
        *,
        dry_run: bool,
        progress: Progress,
        window: Window | None = None,
    ) -> PushReport:
        kit = self._kit
        if dry_run:
            windows = reach(kit.warehouse, window) if window is not None else None
            uuid = kit.target.resource_uuid
            with rehearsal(kit.ledger, target_uuid=uuid, now=kit.clock(), windows=windows) as ledger:
                run = self._rehearsing(ledger, progress, kind=kind, window=window)
                work(run)
                run.tally.take(run.delivery)
                return run.report()
        with self._alone(kind):
            tally = Tally()
            recover(kit, _TOGETHER.get(kind, (kind,)), tally, progress)
            return self._complete(kind, work, window=window, tally=tally, progress=progress)

    def _complete(
        self, kind: PushKind, work: Callable[[Run], None], *, window: Window | None, tally: Tally, progress: Progress
    ) -> PushReport:
        kit = self._kit
        with self._begun(kit, kind, window=window, tally=tally, progress=progress) as run:
            collected = False
            try:
                work(run)
                collected = True
                tally.take(run.delivery)
                if run.delivery.undelivered:
                    raise run.delivery.undelivered[0]
                report = run.finished()
            except BaseException as error:
                self._leave(run, error, collected=collected)
                if isinstance(error, PushError) and tally.accepted:
                    raise run.incomplete(error) from error
                raise
            if run.delivery.set_aside and not tally.accepted:
                error = run.incomplete(None)
                self._leave(run, error, collected=True)
                raise error
            kit.ledger.finish_push(
                run.push_id,
                state=PushState.COMPLETE,
                finished_at=report.finished_at,
                outcome=run.outcome(collected=True),
                manifest=report.manifest,
            )
        kit.ledger.forget_claims(kit.clock() - CLAIMS_KEPT)
        kit.outbox.tidy(kit.clock())
        return report

    def _leave(self, run: Run, error: BaseException, *, collected: bool) -> None:
        """Write down that the push stays incomplete; give back the hours of tables that certainly did not arrive."""
        kit = self._kit
        run.tally.take(run.delivery)
        try:
            kit.ledger.release(run.target_uuid, run.push_id, keep=open_refs(kit, run.push_id, (BatchState.SENDING,)))
            kit.ledger.finish_push(
                run.push_id,
                state=PushState.INCOMPLETE,
                finished_at=kit.clock(),
                outcome=run.outcome(collected=collected, error=error),
            )
        except PushError as second:
            # The ledger cannot be written: the next run finds a push whose holder is dead, which says the same.
            error.add_note(f"and it could not be noted: {second}")

    @contextmanager
    def _begun(
        self, kit: Kit, kind: PushKind, *, window: Window | None, tally: Tally, progress: Progress
    ) -> Iterator[Run]:
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
            )
            yield run

    def _rehearsing(
        self, ledger: Ledger, progress: Progress, *, kind: PushKind = PushKind.MANIFEST, window: Window | None = None
    ) -> Run:
        """A run that counts everything and leaves nothing behind."""
        kit = replace(self._kit, ledger=ledger, outbox=RehearsedOutbox(), gateway=RehearsedGateway(), rehearsing=True)
        now = kit.clock()
        lease = ledger.take_lease("rehearsal", now)
        assert lease is not None, "the copy is nobody else's"
        ledger.begin_push(
            "rehearsal",
            kind=kind,
            warehouse=kit.name,
            target=kit.target,
            hour=now,
            started_at=now,
            window=window,
        )
        return Run(kit, push_id="rehearsal", started_at=now, lease=lease, tally=Tally(), progress=progress)

    @contextmanager
    def _alone(self, kind: PushKind) -> Iterator[None]:
        """Wait until no other process pushes this kind to this target.

        Raises:
            PushInProgress: if it has not ended after the delivery's deadline.
        """
        if kind not in _ONE_AT_A_TIME:
            yield
            return
        kit = self._kit
        with ExitStack() as stack:
            for one in _ONE_AT_A_TIME if kind is PushKind.MANIFEST else (kind,):
                stack.enter_context(keep(self._wait(one), kit.clock))
            yield

    def _wait(self, kind: PushKind) -> Lease:
        kit = self._kit
        name = f"{kind.value} {kit.target.resource_uuid}"
        give_up = kit.monotonic() + kit.config.delivery.deadline_seconds
        while (lease := kit.ledger.take_lease(name, kit.clock())) is None:
            if kit.monotonic() > give_up:
                what = kind.value.replace("_", " ")
                raise PushInProgress(
                    f"another process is still pushing {what} of {kit.name}: try again when it is done"
                )
            kit.sleep(0.5)
        return lease
