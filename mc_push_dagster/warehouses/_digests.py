"""Fingerprints of databases, from their columns: for engines that cannot digest a schema themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import groupby

from mc_push_dagster.model import Fingerprint, Gap, TableColumns


def digests(columns: Iterable[TableColumns | Gap]) -> Iterator[Fingerprint | Gap]:
    """One digest a database of names and types, as `columns` streams by; what could not be read comes last, as gaps."""
    gaps: list[Gap] = []

    def readable() -> Iterator[TableColumns]:
        for item in columns:
            if isinstance(item, Gap):
                gaps.append(item)
            else:
                yield item

    for database, tables in groupby(readable(), key=lambda t: t.ref.database):
        digest = sha256()
        for table in tables:
            digest.update(repr((table.ref.parts, [(c.name, c.type) for c in table.columns])).encode())
        yield Fingerprint(database=database, digest=digest.hexdigest())
    yield from gaps
