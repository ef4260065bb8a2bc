"""Schema drift: what counts as a changed schema, and how the change reads.

A schema is the set of a table's column names and types, both as the warehouse writes them. The order of columns and
their comments are no part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b

from mc_push_dagster.flow.report import TableChange
from mc_push_dagster.model import Column, TableColumns, TableSnapshot


def schema_digest(columns: Iterable[Column]) -> str:
    """Return a digest of 32 hexadecimal digits of column names and types; equal digests, equal schemas."""
    pairs = sorted((column.name, column.type) for column in columns)
    return blake2b(json.dumps(pairs).encode(), digest_size=16).hexdigest()


def changes(
    before: TableColumns | TableSnapshot | None, after: TableColumns | TableSnapshot | None
) -> TableChange | None:
    """Return how one table's schema changed, or None if it did not.

    A side that is None means that there is no such table. A side whose columns were not read (`columns=None`) tells
    nothing, so nothing counts as changed.

    Raises:
        ValueError: if the two are different tables.
    """
    if before is None or after is None:
        only = before or after
        if only is None:
            return None
        names = tuple(column.name for column in only.columns or ())
        if before is None:
            return TableChange(ref=only.ref, change="added", columns_added=names)
        return TableChange(ref=only.ref, change="removed", columns_removed=names)
    if before.ref != after.ref:
        raise ValueError(f"two tables compared as one: {before.ref} and {after.ref}")
    if before.columns is None or after.columns is None:
        return None
    old, new = _types(before.columns), _types(after.columns)
    if old == new:
        return None
    return TableChange(
        ref=after.ref,
        change="changed",
        columns_added=tuple(name for name in new if name not in old),
        columns_removed=tuple(name for name in old if name not in new),
        columns_retyped=tuple(name for name in new if name in old and old[name] != new[name]),
    )


def _types(columns: Iterable[Column]) -> dict[str, list[str]]:
    """Types by name, in the columns' order; a view may hold one name twice."""
    out: dict[str, list[str]] = {}
    for column in columns:
        out.setdefault(column.name, []).append(column.type)
    return {name: sorted(types) for name, types in out.items()}
