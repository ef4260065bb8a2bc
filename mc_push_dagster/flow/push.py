"""One push from the warehouse to the last receipt: the seam that Dagster's assets and the command line call."""

from __future__ import annotations

import random as chance
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mc_push_dagster.config import PushConfig
from mc_push_dagster.flow.catalog_push import push_tables
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.flow.conduct import Work, conduct, rehearse, rehearsing
from mc_push_dagster.flow.deliver import Gateway
from mc_push_dagster.flow.lineage_push import Item, push_edges, record_edges
from mc_push_dagster.flow.manifest import Lines, Manifest, writing
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.flow.progress import Progress, Silent
from mc_push_dagster.flow.query_push import Piece, pieces, push_pieces
from mc_push_dagster.flow.redaction import as_configured
from mc_push_dagster.flow.report import PushReport
from mc_push_dagster.flow.run import Kit, Run
from mc_push_dagster.flow.schemas import look, remember
from mc_push_dagster.flow.sources import lineage_items, note_catalog
from mc_push_dagster.ledger import Ledger, PushKind
from mc_push_dagster.ledger.rehearsal import rehearsal
from mc_push_dagster.model import Gap, TableRef, Target, Window
from mc_push_dagster.warehouses.base import Warehouse

MANIFEST_MEASURES = timedelta(hours=1)
"""Volume and freshness of a manifest that is older are no longer true, and are left out."""


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
        its schema changed. Columns are read once in `schema_every_hours`, and when a fingerprint says that one changed.

        Raises:
            PushIncomplete: if some bodies were not accepted; it carries every id that was.
            PushError: if nothing was accepted, by its cause.
        """
        only = None if schema_only is None else frozenset(schema_only)
        kind = PushKind.CATALOG if only is None else PushKind.SCHEMA
        warehouse = self._kit.warehouse

        def work(run: Run) -> None:
            if only is not None:
                push_tables(run, snapshots(warehouse), scope=warehouse.scope, only=only)
                return
            seen = look(run)
            push_tables(run, snapshots(warehouse, with_columns=seen.due), scope=warehouse.scope)
            remember(run, seen)

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
            run = rehearsing(kit, ledger, progress)
            draft = stack.enter_context(writing(path, warehouse=kit.name, collected_at=now, scope=scope))
            draft.write("tables", note_catalog(run, snapshots(kit.warehouse)))
            draft.write("lineage", self._kept(self._lineage(run), run))
            for window in windows:
                for piece in pieces(kit.warehouse, window, ledger, run.target_uuid, now):
                    records = as_configured(piece.records, kit.config, kit.warehouse.dialect)
                    draft.write("queries", records, window=piece.window, closed=piece.closed)
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
        before = len(run.tally.gaps)
        record_edges(run, items)
        yield from run.tally.gaps[before:]
        for columns in (False, True):
            for record in run.kit.ledger.edges(run.target_uuid, columns=columns):
                yield record.edge

    def _push(
        self, kind: PushKind, work: Work, *, dry_run: bool, progress: Progress, window: Window | None = None
    ) -> PushReport:
        act = rehearse if dry_run else conduct
        return act(self._kit, kind, work, progress=progress, window=window)
