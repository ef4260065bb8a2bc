"""A ledger to try things out on: a copy of what a push reads, so that a dry run is the push itself, counted to the
byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from mc_push_dagster.ledger import tables as t
from mc_push_dagster.ledger.database import Database
from mc_push_dagster.ledger.store import Ledger
from mc_push_dagster.model import Window, hour_bucket

_CHUNK = 1_000


@contextmanager
def rehearsal(
    ledger: Ledger | None, *, target_uuid: str, now: datetime, windows: Window | None = None
) -> Iterator[Ledger]:
    """A throw-away ledger in a temporary folder with what `ledger` knows of a resource; without `ledger`, an empty
    one.

    `windows` is the stretch of query log whose seen ids are needed. The real ledger is only read; where there is none
    yet, none is made.
    """
    with (
        TemporaryDirectory(prefix="mc-push-rehearsal-") as folder,
        Ledger(f"sqlite:///{Path(folder) / 'ledger.sqlite'}") as copy,
    ):
        if ledger is not None and ledger.exists():
            for query in _wanted(target_uuid, now, windows):
                _copy(ledger._database, copy._database, query)
        yield copy


def _wanted(target_uuid: str, now: datetime, windows: Window | None) -> Iterator[sa.Select[Any]]:
    for table in (t.tables, t.edges, t.fingerprints):
        yield sa.select(table).where(table.c.target_uuid == target_uuid)
    # Names of tables in other resources, which edges refer to.
    mine = sa.select(t.edges.c.source_id).where(
        t.edges.c.target_uuid == target_uuid, t.edges.c.source_target.is_not(None)
    )
    yield sa.select(t.tables).where(t.tables.c.table_id.in_(mine), t.tables.c.target_uuid != target_uuid)
    yield sa.select(t.claims).where(t.claims.c.hour >= hour_bucket(now) - timedelta(hours=1))
    if windows is not None:
        yield sa.select(t.windows).where(
            t.windows.c.target_uuid == target_uuid,
            t.windows.c.window_end > windows.start,
            t.windows.c.window_start < windows.end,
        )
        yield sa.select(t.batches).where(
            t.batches.c.target_uuid == target_uuid,
            t.batches.c.covers_end > windows.start,
            t.batches.c.covers_start < windows.end,
        )


def _copy(source: Database, copy: Database, query: sa.Select[Any]) -> None:
    table = query.get_final_froms()[0]
    assert isinstance(table, sa.Table)
    with source.read() as reading:
        for rows in reading.execution_options(yield_per=_CHUNK).execute(query).mappings().partitions():
            with copy.write() as writing:
                writing.execute(sa.insert(table), [dict(row) for row in rows])
