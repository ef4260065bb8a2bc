"""What Spark and Hive do alike as warehouses: sessions over Thrift, names in another shape, digests from columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

from mc_push_dagster.model import Fingerprint, Gap, Scope
from mc_push_dagster.warehouses._digests import digests
from mc_push_dagster.warehouses._spark_names import Names
from mc_push_dagster.warehouses._thrift import Session, opened
from mc_push_dagster.warehouses.base import Connect, Warehouse


class ThriftWarehouse(Warehouse):
    """A warehouse over Thrift. `connect` opens a pyhive connection (or anything with `client` and `sessionHandle`)."""

    drift_interval = timedelta(minutes=15)

    def __init__(self, connect: Connect, *, scope: Scope | None, names: Names, where: str) -> None:
        """`names` says how tables are pushed; `where` names the server in messages."""
        super().__init__(connect, scope=scope)
        self._names = names
        self._where = where

    @property
    def names(self) -> Names:
        return self._names

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        """A digest of each database's columns; costs what `columns()` costs."""
        yield from digests(self.columns())

    def _session(self) -> AbstractContextManager[Session]:
        return opened(self._connect, where=self._where)
