"""The record of every request: what came, what it was answered, and why."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mc_push_dagster.sandbox.clock import moment, stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One request as it arrived, and what became of it."""

    seq: int
    at: datetime
    method: str
    path: str
    status: int | None
    """None where no answer was given (reset, hang, close)."""
    outcome: str
    invocation_id: str | None
    reason: Any
    """Why it was refused: the answer's `details` or message."""
    body: bytes | None
    """None once it was cleared away, or when it never arrived."""
    size: int
    trace_id: str | None
    label: str | None
    """The `event_type`, or the GraphQL operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a request when it is answered."""

    at: datetime
    method: str
    path: str
    status: int | None
    outcome: str
    invocation: str | None = None
    reason: Any = None
    body: bytes | None = None
    key_id: str | None = None
    trace_id: str | None = None
    label: str | None = None
    milliseconds: float | None = None


def record(db: sqlite3.Connection, entry: Entry, *, keep_bodies: int) -> None:
    """Write a request down; only the newest `keep_bodies` requests keep their bodies."""
    reason = None if entry.reason is None else json.dumps(entry.reason)
    cursor = db.execute(
        "INSERT INTO request (at, method, path, status, outcome, invocation, reason, body, size, key_id, trace_id,"
        " label, milliseconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(stamp(entry.at), entry.method, entry.path, entry.status, entry.outcome, entry.invocation, reason),
            *(entry.body, len(entry.body or b""), entry.key_id, entry.trace_id, entry.label, entry.milliseconds),
        ),
    )
    oldest = (cursor.lastrowid or 0) - keep_bodies
    if oldest > 0:
        db.execute("UPDATE request SET body = NULL WHERE seq = ?", (oldest,))


def seen(row: sqlite3.Row) -> SeenRequest:
    return SeenRequest(
        seq=row["seq"],
        at=moment(row["at"]),
        method=row["method"],
        path=row["path"],
        status=row["status"],
        outcome=row["outcome"],
        invocation_id=row["invocation"],
        reason=json.loads(row["reason"]) if row["reason"] else None,
        body=row["body"],
        size=row["size"],
        trace_id=row["trace_id"],
        label=row["label"],
    )
