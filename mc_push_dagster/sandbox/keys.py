"""Accounts, warehouses and keys: what a new sandbox starts with, and who may do what.

Key ids begin with `sandbox-`, so that our own clients can tell them from real ones and refuse to mix the two.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sqlite3
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mc_push_dagster.sandbox.clock import stamp
from mc_push_dagster.sandbox.contract import API_SCOPE, INGEST_SCOPE, SECRET_BYTES
from mc_push_dagster.sandbox.store import Store

ID_PREFIX = "sandbox-"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationKey:
    """A key of the sandbox; the secret opens nothing but the sandbox."""

    id: str
    secret: str = field(repr=False)
    scope: str
    warehouses: frozenset[str] | None = None
    """The warehouses it may push to; None is all of them."""

    def may_push_to(self, warehouse: str) -> bool:
        return self.warehouses is None or warehouse in self.warehouses


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What every sandbox has from its first start."""

    uuid: str
    warehouse: str
    ingest_key: IntegrationKey
    api_key: IntegrationKey


def seed(store: Store, now: datetime) -> Account:
    """Read the account, after making it if the folder is new; processes that start together get the same one."""
    with store.write() as db:
        if _setting(db, "account") is None:
            warehouse = add_warehouse(db, "demo", "CUSTOM_INTEGRATION", now)
            values = {
                "account": str(uuid.uuid4()),
                "warehouse": warehouse,
                "ingest_key": add_key(db, scope=INGEST_SCOPE, description="Made with the sandbox", now=now).id,
                "api_key": add_key(db, scope=API_SCOPE, description="Made with the sandbox", now=now).id,
            }
            db.executemany("INSERT INTO setting VALUES (?, ?)", values.items())
        return Account(
            uuid=str(_setting(db, "account")),
            warehouse=str(_setting(db, "warehouse")),
            ingest_key=_key(db, str(_setting(db, "ingest_key"))),
            api_key=_key(db, str(_setting(db, "api_key"))),
        )


def add_warehouse(db: sqlite3.Connection, name: str, connection_type: str, now: datetime) -> str:
    identity = str(uuid.uuid4())
    db.execute("INSERT INTO warehouse VALUES (?, ?, ?, ?)", (identity, name, connection_type, stamp(now)))
    return identity


def add_key(
    db: sqlite3.Connection,
    *,
    scope: str,
    description: str,
    now: datetime,
    warehouses: Collection[str] | None = None,
) -> IntegrationKey:
    """Make a key; `warehouses` empty or None means all (push-ingest-api: "omit to allow all warehouses")."""
    key = IntegrationKey(
        id=ID_PREFIX + uuid.uuid4().hex,
        secret=secrets.token_urlsafe(SECRET_BYTES),
        scope=scope,
        warehouses=frozenset(warehouses) if warehouses else None,
    )
    allowed = json.dumps(sorted(key.warehouses)) if key.warehouses else None
    db.execute(
        "INSERT INTO integration_key VALUES (?, ?, ?, ?, ?, ?)",
        (key.id, key.secret, scope, description, allowed, stamp(now)),
    )
    return key


def authenticate(db: sqlite3.Connection, headers: Mapping[str, str], scope: str) -> IntegrationKey | None:
    """The key that the headers name, if its secret and scope are right."""
    row = db.execute("SELECT * FROM integration_key WHERE id = ?", (headers.get("x-mcd-id", ""),)).fetchone()
    given = headers.get("x-mcd-token", "")
    if row is None or row["scope"] != scope or not hmac.compare_digest(row["secret"].encode(), given.encode()):
        return None
    return _read(row)


def _read(row: sqlite3.Row) -> IntegrationKey:
    allowed = frozenset(json.loads(row["warehouses"])) if row["warehouses"] else None
    return IntegrationKey(id=row["id"], secret=row["secret"], scope=row["scope"], warehouses=allowed)


def _key(db: sqlite3.Connection, identity: str) -> IntegrationKey:
    return _read(db.execute("SELECT * FROM integration_key WHERE id = ?", (identity,)).fetchone())


def _setting(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None
