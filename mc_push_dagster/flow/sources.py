"""Where lineage comes from: the warehouse's own edges, the text of views, the query log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from mc_push_dagster.flow.catalog_push import CHUNK
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.flow.drift import schema_digest
from mc_push_dagster.flow.lineage_push import Item
from mc_push_dagster.flow.run import Run
from mc_push_dagster.flow.written import derived
from mc_push_dagster.ledger import LedgerCatalog
from mc_push_dagster.lineage.opinion import second_opinion
from mc_push_dagster.lineage.statement import Statement
from mc_push_dagster.model import Gap, TableSnapshot, Window


def lineage_items(run: Run, window: Window) -> Iterator[Item]:
    """Yield every edge that can be found, in no order; names resolve by the catalog that the ledger knows.

    A ledger that knows no catalog yet is given one first, so that lineage alone works, too.

    Raises:
        MissingExtra: if a second opinion is wanted and its parser is not installed.
    """
    warehouse, config = run.kit.warehouse, run.kit.config
    opinion = second_opinion(config.lineage_second_opinion, warehouse.dialect)
    if run.kit.ledger.table_count(run.target_uuid) == 0:
        for item in note_catalog(run, snapshots(warehouse)):
            if isinstance(item, Gap):
                yield item
    yield from warehouse.lineage(window)
    gaps: list[Gap] = []
    statements = chain(_views(run, gaps), _queries(run, window))
    catalog = LedgerCatalog(run.kit.ledger, run.target_uuid)
    yield from derived(warehouse, statements, catalog=catalog, workers=config.lineage_workers, opinion=opinion)
    yield from gaps


def note_catalog(run: Run, items: Iterable[TableSnapshot | Gap]) -> Iterator[TableSnapshot | Gap]:
    """Pass a catalog on, and let the run's ledger know its tables and schemas."""
    items = iter(items)
    while chunk := list(islice(items, CHUNK)):
        tables = [item for item in chunk if isinstance(item, TableSnapshot)]
        digests = {s.ref: schema_digest(s.columns) for s in tables if s.columns is not None}
        run.kit.ledger.note_tables(run.target_uuid, tables, digests=digests, seen_at=run.kit.clock())
        run.progress.advance("collected", len(tables))
        yield from chunk


def _views(run: Run, gaps: list[Gap]) -> Iterator[Statement]:
    for item in snapshots(run.kit.warehouse, with_columns=False):
        if isinstance(item, Gap):
            gaps.append(item)
        elif item.view_query:
            ref = item.ref
            yield Statement(sql=item.view_query, database=ref.database, schema=ref.schema, view=ref)


def _queries(run: Run, window: Window) -> Iterator[Statement]:
    for record in run.kit.warehouse.queries(window):
        if record.failed:
            continue
        run.tally.counts["statements"] += 1
        yield Statement(
            sql=record.text,
            query_id=record.query_id,
            at=record.ended_at,
            session_id=record.session_id,
            database=record.database,
            schema=record.schema,
        )
