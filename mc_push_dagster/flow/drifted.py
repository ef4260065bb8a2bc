"""Which tables' schemas differ from what Monte Carlo was given last: what a push after drift carries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.flow.drift import schema_digest
from mc_push_dagster.model import TableRef, TableSnapshot

if TYPE_CHECKING:
    from mc_push_dagster.ledger import Ledger
    from mc_push_dagster.warehouses.base import Warehouse

_CHUNK = 500
"""Tables that are looked up in the ledger at once."""


def drifted(warehouse: Warehouse, ledger: Ledger, target_uuid: str) -> Iterator[TableRef]:
    """Read the catalog once; yield the tables whose schema differs from the last one acknowledged, new ones included.

    A table whose columns could not be read tells nothing and is left out, as is one that is gone: no push can say so.
    """
    read = (item for item in snapshots(warehouse) if isinstance(item, TableSnapshot) and item.columns is not None)
    while chunk := list(islice(read, _CHUNK)):
        known = ledger.digests(target_uuid, [snapshot.ref for snapshot in chunk])
        for snapshot in chunk:
            before = known.get(snapshot.ref)
            if before is None or before.pushed_digest != schema_digest(snapshot.columns or ()):
                yield snapshot.ref
