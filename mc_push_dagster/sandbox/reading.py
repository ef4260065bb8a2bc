"""What a GraphQL resolver works with: the store at one moment, and the notes it leaves for the reader."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from mc_push_dagster.sandbox.clock import stamp
from mc_push_dagster.sandbox.world import World

Node = dict[str, Any]
Resolver = Callable[..., Any]
_CURSOR = "arrayconnection:"
MOST_PER_PAGE = 5000
"""Inferred: a page has at most this many rows; without `first` it has `PAGE`."""
PAGE = 100


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The context of one GraphQL request."""

    world: World
    db: sqlite3.Connection
    now: datetime
    notes: list[str] = field(default_factory=list)
    """Sent as `extensions.sandbox.notes`: what was not really done."""

    @property
    def stamp(self) -> str:
        return stamp(self.now)

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self.db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        return self.db.execute(sql, values).fetchone()


def reading(info: GraphQLResolveInfo) -> Reading:
    return info.context


def refuse_unserved(given: Mapping[str, Any], served: set[str]) -> None:
    """Refuse arguments that the sandbox would have to ignore.

    Raises:
        GraphQLError: naming them; a filter without effect would be a wrong answer.
    """
    if unserved := sorted(name for name, value in given.items() if value not in (None, []) and name not in served):
        raise GraphQLError(f"The sandbox does not serve the argument {', '.join(unserved)}")


def window(given: Mapping[str, Any]) -> tuple[int, int]:
    """Offset and length that `first`, `after` and `offset` ask for (relay's forward paging).

    Raises:
        GraphQLError: for backward paging, which the sandbox does not serve, and for cursors it did not give.
    """
    if given.get("last") is not None or given.get("before") is not None:
        raise GraphQLError("The sandbox pages forward only: use first and after")
    first = given.get("first")
    if first is not None and not 0 <= first <= MOST_PER_PAGE:
        raise GraphQLError(f"first must be between 0 and {MOST_PER_PAGE}")
    start = given.get("offset") or 0
    if after := given.get("after"):
        start += read_cursor(after) + 1
    return start, PAGE if first is None else first


def connection(nodes: Sequence[Node], start: int, *, more: bool) -> Node:
    """A relay connection over the nodes of one page that begins at `start`."""
    edges = [{"cursor": cursor(start + i), "node": node} for i, node in enumerate(nodes)]
    return {
        "pageInfo": {
            "hasNextPage": more,
            "hasPreviousPage": start > 0,
            "startCursor": edges[0]["cursor"] if edges else None,
            "endCursor": edges[-1]["cursor"] if edges else None,
        },
        "edges": edges,
    }


def page_of(nodes: Sequence[Node], given: Mapping[str, Any]) -> Node:
    """The page of `nodes` that the paging arguments ask for."""
    start, length = window(given)
    return connection(nodes[start : start + length], start, more=start + length < len(nodes))


def cursor(position: int) -> str:
    return base64.b64encode(f"{_CURSOR}{position}".encode()).decode()


def read_cursor(text: str) -> int:
    try:
        plain = base64.b64decode(text, validate=True).decode()
        if plain.startswith(_CURSOR):
            return int(plain.removeprefix(_CURSOR))
    except (binascii.Error, ValueError):
        pass
    raise GraphQLError(f"Not a cursor of this sandbox: {text}")
