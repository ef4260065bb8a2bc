"""The lineage room's view of the catalog, out of the ledger: names in memory, columns read when asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mc_push_dagster.lineage.catalog import DictCatalog
from mc_push_dagster.model import TableRef

if TYPE_CHECKING:
    from mc_push_dagster.ledger.store import Ledger

_MISSING = object()


class LedgerCatalog:
    """A `lineage.Catalog` over the tables that a resource's catalogs listed and that are not gone.

    Names (some 300 bytes a table) are read once and stand in memory; the columns of the `kept` tables used last do,
    too.
    """

    def __init__(self, ledger: Ledger, target_uuid: str, *, kept: int = 5_000) -> None:
        self._ledger = ledger
        self._target_uuid = target_uuid
        self._kept = kept
        self._columns: OrderedDict[TableRef, Mapping[str, str] | None] = OrderedDict()
        self._names = DictCatalog({record.ref: None for record in ledger.tables(target_uuid, gone=False)})

    def columns(self, ref: TableRef) -> Mapping[str, str] | None:
        """Column name -> type, in the table's order; None if the table or its columns are unknown."""
        found = self._columns.get(ref, _MISSING)
        if found is not _MISSING:
            self._columns.move_to_end(ref)
            return found  # type: ignore[return-value]
        record = self._ledger.schema_of(self._target_uuid, ref)
        columns = None if record is None or record.columns is None else {c.name: c.type for c in record.columns}
        self._columns[ref] = columns
        if len(self._columns) > self._kept:
            self._columns.popitem(last=False)
        return columns

    def find(self, parts: Sequence[str], database: str | None, schema: str | None) -> TableRef | None:
        """The table that a name of one to three parts means in a session with these defaults; None if there is none."""
        return self._names.find(parts, database, schema)
