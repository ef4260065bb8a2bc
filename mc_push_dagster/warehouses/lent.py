"""Connections that a user's own resource opens: SnowflakeResource, BigQueryResource, DuckDBResource and the like."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from mc_push_dagster.errors import FixConfiguration


class _Leave(Exception):
    """Ends a resource's context as an error would, and goes no further."""


class Lent:
    """A connection of the user's resource; closing it closes what the resource opened with it."""

    def __init__(self, connection: Any, opened: ExitStack, *, abandon: bool) -> None:
        self._connection = connection
        self._opened = opened
        self._abandon = abandon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def close(self) -> None:
        with suppress(_Leave), self._opened:
            if self._abandon:
                raise _Leave


def connect_through(
    resource: Any,
    *,
    prepare: Callable[[Any], None] | None = None,
    end: Callable[[Any], None] | None = None,
    abandon: bool = False,
) -> Callable[[], Any]:
    """Return a connection factory over a user's Dagster resource.

    Understood are: `get_connection()` (SnowflakeResource, DuckDBResource) and `get_client()` (BigQueryResource), as
    context managers or not, and a function without arguments.

    `prepare` looks at each new connection and may refuse it by raising. `end` closes a connection before the
    resource's context is left, for resources that leave theirs open. With `abandon` that context is left as after an
    error, for resources that would use the connection once more, e.g. to commit.

    Raises:
        FixConfiguration: if the resource is none of these.
    """
    opener: Callable[[], Any] | None = None
    for method in ("get_connection", "get_client"):
        if callable(found := getattr(resource, method, None)):
            opener = found
            break
    if opener is None:
        if not callable(resource):
            raise FixConfiguration(
                f"connection_resource: a {type(resource).__name__} has neither get_connection() nor get_client() "
                "and is no function without arguments"
            )
        opener = resource

    def connect() -> Any:
        with ExitStack() as opened:
            made = opener()
            entered = hasattr(made, "__enter__") and not hasattr(made, "close")
            connection = opened.enter_context(made) if entered else made
            if end is not None or not entered:
                opened.callback(end or close, connection)
            if prepare is not None:
                prepare(connection)
            return Lent(connection, opened.pop_all(), abandon=abandon)

    return connect


def close(connection: Any) -> None:
    """Close whatever a resource gave, if that can be closed; it may be nothing we know."""
    if hasattr(connection, "close"):
        connection.close()
