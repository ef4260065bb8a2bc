"""First step of the data's way: read a warehouse's catalog, one table at a time.

Tables and columns come from two statements, each ordered by (database, schema, name), and are merge-joined here: a
catalog of any size never stands in memory whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mc_push_dagster.errors import BrokenContract
from mc_push_dagster.model import Gap, TableColumns, TableRef, TableSnapshot

if TYPE_CHECKING:
    from mc_push_dagster.warehouses.base import Warehouse

Named = TypeVar("Named", TableSnapshot, TableColumns)
Item = TypeVar("Item")


def snapshots(warehouse: Warehouse, *, with_columns: bool = True) -> Iterator[TableSnapshot | Gap]:
    """Yield every table and view in scope in ascending order, with its columns, and what could not be read as gaps.

    A table whose columns were not read keeps `columns=None`, never an empty tuple, which would be pushed as an empty
    schema. Columns of a table that the table statement did not list (it was created in between, or is itself a gap)
    are passed over. Both streams are closed when the caller stops early.

    Raises:
        BrokenContract: if the warehouse yields tables or columns out of order, or one twice.
    """
    with ExitStack() as stack:
        tables = _closing(stack, warehouse.tables())
        if not with_columns:
            yield from _ordered(tables, "tables()")
            return
        yield from _joined(_ordered(tables, "tables()"), _ordered(_closing(stack, warehouse.columns()), "columns()"))


def _joined(
    tables: Iterator[TableSnapshot | Gap], columns: Iterator[TableColumns | Gap]
) -> Iterator[TableSnapshot | Gap]:
    explained: set[TableRef] = set()
    all_explained = False  # a gap of a whole schema or more explains every table without columns
    ahead: TableColumns | None = None
    for table in tables:
        if isinstance(table, Gap):
            yield table
            continue
        while ahead is None or ahead.ref < table.ref:
            item = next(columns, None)
            if item is None:
                break
            if isinstance(item, Gap):
                yield item
                if item.ref is None:
                    all_explained = True
                else:
                    explained.add(item.ref)
            else:
                ahead = item
        if ahead is not None and ahead.ref == table.ref:
            yield replace(table, columns=ahead.columns)
            continue
        yield replace(table, columns=None)
        if table.ref not in explained and not all_explained:
            yield Gap(subject=str(table.ref), reason=_VANISHED, ref=table.ref)
    yield from (item for item in columns if isinstance(item, Gap))


_VANISHED = (
    "no columns were listed for it: it was dropped or renamed while the catalog was read; the next push settles it"
)


def _ordered(items: Iterator[Named | Gap], stream: str) -> Iterator[Named | Gap]:
    last: TableRef | None = None
    for item in items:
        if not isinstance(item, Gap):
            if last is not None and item.ref <= last:
                raise BrokenContract(f"{stream} must ascend by (database, schema, name), but {item.ref} follows {last}")
            last = item.ref
        yield item


def _closing(stack: ExitStack, items: Iterator[Item]) -> Iterator[Item]:
    close = getattr(items, "close", None)  # generators have one; a plain iterator needs none
    if close is not None:
        stack.callback(close)
    return items
