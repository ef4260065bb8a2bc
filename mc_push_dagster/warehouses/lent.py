"""Connections that a user's own resource opens: SnowflakeResource, BigQueryResource, DuckDBResource and the like."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mc_push_dagster.errors import FixConfiguration

if TYPE_CHECKING:
    from mc_push_dagster.warehouses.base import Connect


class Lent:
    """A connection of the user's resource; closing it closes what the resource opened with it."""

    def __init__(self, connection: Any, opened: ExitStack) -> None:
        self._connection = connection
        self._opened = opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def close(self) -> None:
        self._opened.close()


def connect_through(resource: Any) -> Connect:
    """Return a connection factory over a user's Dagster resource.

    Understood are: `get_connection()` (SnowflakeResource, DuckDBResource) and `get_client()` (BigQueryResource), as
    context managers or not, and a function without arguments.

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
            if hasattr(made, "__enter__") and not hasattr(made, "close"):
                return Lent(opened.enter_context(made), opened.pop_all())
            return made

    return connect
