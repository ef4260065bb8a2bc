"""Opens what a push needs inside a Dagster process: keys from the environment, or the sandbox where there are none."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from mc_push_dagster.config import PushConfig, home
from mc_push_dagster.errors import FixConfiguration

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station
    from mc_push_dagster.gateway.connection import Connection
    from mc_push_dagster.warehouses.base import Connect


@dataclass(frozen=True, kw_only=True)
class PushStation:
    """The Dagster resource `monte_carlo_<name>`: opens a warehouse's station for one run, check or tick.

    A plain object rather than a `ConfigurableResource`, because Dagster shows the latter's configuration in its UI and
    a warehouse's settings hold passwords.
    """

    config: PushConfig
    demo: bool = False

    @contextmanager
    def open(self, resource: Any = None) -> Iterator[Station]:
        """Open the station; `resource` is the user's own resource that opens the warehouse's connection, if configured.

        Raises:
            FixConfiguration: if keys, resource or settings are missing or contradict each other.
        """
        from mc_push_dagster.assembly import open_station

        if self.demo:
            _build_demo(Path(self.config.warehouse["path"]))
        connect = None if resource is None else connect_through(resource)
        with open_station(self.config, _connection(self.config, os.environ), connect=connect) as station:
            yield station


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


_sandboxes: dict[Path, Connection] = {}
_lock = Lock()


def _connection(config: PushConfig, environment: Mapping[str, str]) -> Connection:
    """Keys and endpoints from the environment; with none of them, this process's own sandbox."""
    from mc_push_dagster.gateway.connection import Connection

    connection = Connection.from_environment(config.monte_carlo, environment)
    if connection is not None:
        return connection
    folder = (home(environment) / "sandbox").absolute()
    with _lock:
        if folder not in _sandboxes:
            from mc_push_dagster.sandbox import serve

            serving = ExitStack()
            _sandboxes[folder] = Connection.to_sandbox(serving.enter_context(serve(folder)))
            atexit.register(serving.close)
        return _sandboxes[folder]


def _build_demo(path: Path) -> None:
    from mc_push_dagster.sandbox.demo import build

    with _lock:
        build(path, now=datetime.now(UTC))
