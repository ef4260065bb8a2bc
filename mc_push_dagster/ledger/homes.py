"""Edges between Monte Carlo resources, after it was declared anew to which resource a database belongs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from itertools import islice

import sqlalchemy as sa

from mc_push_dagster.ledger import tables as t
from mc_push_dagster.ledger.database import Database
from mc_push_dagster.ledger.graph import EdgeKey, read_edges
from mc_push_dagster.ledger.records import EdgeRecord
from mc_push_dagster.model import EvidenceKind, Target

_CHUNK = 500


class Homes:
    """The part of the ledger that keeps each source in one resource."""

    _database: Database

    def settle_homes(self, target_uuid: str, home_of: Callable[[str], Target | None]) -> None:
        """Forget the edges whose source was taken for a table of another resource than `home_of` its database says.

        Without that they would be pushed beside the right ones for as long as they live. To be called once the edges of
        a run are recorded. Where `home_of` is None, an edge keeps the resource it came with, unless it was seen without
        one since.
        """
        with self._database.read() as connection:
            names = connection.scalars(
                sa.select(t.tables.c.database_name).where(t.tables.c.target_uuid == target_uuid).distinct()
            ).all()
        elsewhere = [name for name in names if home_of(name) is not None]
        wrong: list[int] = []
        plain: dict[int, EdgeRecord] = {}
        for record in self._crossing(target_uuid):
            number, declared = EdgeKey.of(record.edge).number(target_uuid), home_of(record.edge.source.database)
            if declared is None:
                plain[number] = record
            elif record.edge.source_target is None or declared.resource_uuid != record.edge.source_target.resource_uuid:
                wrong.append(number)
        wrong += self._overtaken(target_uuid, plain)
        c = t.edges.c
        with self._database.write() as connection:
            for name in elsewhere:
                theirs = sa.select(t.tables.c.table_id).where(
                    t.tables.c.target_uuid == target_uuid, t.tables.c.database_name == name
                )
                connection.execute(
                    sa.delete(t.edges).where(
                        c.target_uuid == target_uuid, c.source_target.is_(None), c.source_id.in_(theirs)
                    )
                )
            for chunk in _chunks(wrong):
                connection.execute(sa.delete(t.edges).where(c.edge_id.in_(chunk)))

    def _crossing(self, target_uuid: str) -> Iterable[EdgeRecord]:
        for columns in (False, True):
            yield from read_edges(
                self._database, target_uuid, columns=columns, where=t.edges.c.source_target.is_not(None)
            )

    def _overtaken(self, target_uuid: str, crossing: dict[int, EdgeRecord]) -> list[int]:
        """Those of `crossing` that were seen without a resource of their own at the same time or later."""
        twins: defaultdict[int, list[int]] = defaultdict(list)
        for number, record in crossing.items():
            twins[replace(EdgeKey.of(record.edge), source_uuid=None).number(target_uuid)].append(number)
        found: list[int] = []
        query = sa.select(t.edges.c.edge_id, t.edges.c.last_seen)
        with self._database.read() as connection:
            for chunk in _chunks(twins):
                for row in connection.execute(query.where(t.edges.c.edge_id.in_(chunk))):
                    found += [n for n in twins[row.edge_id] if _is_older(crossing[n], row.last_seen)]
        return found


def _is_older(crossing: EdgeRecord, seen: datetime) -> bool:
    """True if an edge seen at `seen`, of one resource, takes the place of `crossing`."""
    if crossing.edge.evidence.kind is EvidenceKind.NATIVE:
        # A warehouse may report a table of each resource under one name.
        return crossing.last_seen < seen
    return crossing.last_seen <= seen


def _chunks(numbers: Iterable[int]) -> Iterable[list[int]]:
    numbers = iter(numbers)
    while chunk := list(islice(numbers, _CHUNK)):
        yield chunk
