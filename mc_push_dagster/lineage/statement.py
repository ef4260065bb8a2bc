"""What goes in, and what could not be used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mc_push_dagster.model import TableRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """SQL text with what is known of its surroundings; it may hold several statements.

    With `view` set, `sql` is the text of that view (with or without its `CREATE VIEW`).
    """

    sql: str
    query_id: str | None = None
    at: datetime | None = None
    session_id: str | None = None
    database: str | None = None
    """The session's default database."""
    schema: str | None = None
    """The session's default schema."""
    view: TableRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A statement, or a part of one, that gave no edges; reasons are few and fixed, so that they can be counted."""

    reason: str
    query_id: str | None = None
