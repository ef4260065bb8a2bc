"""The ledger: one object over all its parts."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import sqlalchemy as sa

from mc_push_dagster.ledger import lease, tables
from mc_push_dagster.ledger.database import MIGRATIONS, Database
from mc_push_dagster.ledger.graph import Graph
from mc_push_dagster.ledger.homes import Homes
from mc_push_dagster.ledger.inventory import Inventory
from mc_push_dagster.ledger.lease import Lease
from mc_push_dagster.ledger.pushes import Pushes


class Ledger(Pushes, Inventory, Graph, Homes):
    """What was pushed, when, and what came back; safe for any number of threads and processes.

    `url` is an SQLAlchemy URL of a SQLite file (`sqlite:////folder/ledger.sqlite`; WAL, full sync, its folder is made)
    or of a PostgreSQL database. Nothing is opened before the first use. Tables are known by the UUID of the Monte
    Carlo resource (`Target.resource_uuid`) and their name.

    Every method raises StorageFault if the database cannot be read or written, in one sentence with the way out.

    Raises:
        FixConfiguration: if the URL is not one of the two kinds, or (at first use) a newer version wrote the ledger.
        MissingExtra: at first use of PostgreSQL, if its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.url = self._database.shown
        """Without its password."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Ledger], tuple[str]]:
        # Another process opens the database by itself.
        return (type(self), (self._database.given,))

    def __repr__(self) -> str:
        return f"Ledger({self.url!r})"

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._database.close()

    def take_lease(self, name: str, now: datetime) -> Lease | None:
        """Take the lease `name` for three minutes, or return None if a process that may be alive holds it."""
        return lease.take(self._database, name, now)

    def exists(self) -> bool:
        """False only for a SQLite file that was not made yet."""
        file = self._database.file
        return file is None or file.exists()

    def check(self) -> str:
        """Write and take back one row; return in words what the ledger is.

        Raises:
            StorageFault: if it cannot be written.
        """
        with self._database.write() as connection:
            probe = connection.begin_nested()
            connection.execute(
                sa.insert(tables.leases).values(
                    name=f"check by {lease.process_identity()}", owner="", expires_at=tables.EPOCH
                )
            )
            probe.rollback()
            pushes = connection.scalar(sa.select(sa.func.count()).select_from(tables.pushes))
        return f"{self.url} can be written (schema {len(MIGRATIONS)}, {pushes:,} pushes)"
