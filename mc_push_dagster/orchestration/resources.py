"""Opens what a push needs inside a Dagster process: keys from the environment, or the sandbox where there are none."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mc_push_dagster.config import PushConfig, home, one_sentence
from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.warehouses import load

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station
    from mc_push_dagster.gateway.connection import Connection
    from mc_push_dagster.warehouses.base import Warehouse


@dataclass(frozen=True, kw_only=True)
class PushStation:
    """The Dagster resource `monte_carlo_<name>`: opens a warehouse's station for one run, check or tick.

    A plain object rather than a `ConfigurableResource`, because Dagster shows the latter's configuration in its UI and
    a warehouse's settings hold passwords.
    """

    config: PushConfig

    @contextmanager
    def open(self, resource: Any = None) -> Iterator[Station]:
        """Open the station; `resource` is the user's own resource that opens the warehouse's connection, if configured.

        Raises:
            FixConfiguration: if keys, resource or settings are missing or contradict each other.
        """
        from mc_push_dagster.assembly import open_station

        warehouse = self.warehouse(resource)
        with open_station(self.config, connection_for(self.config, os.environ), warehouse=warehouse) as station:
            yield station

    def warehouse(self, resource: Any = None) -> Warehouse:
        """Build the warehouse alone, for those who only look at it: no key is needed and nothing is started.

        Raises:
            FixConfiguration: if a setting is wrong or the resource cannot open a connection.
        """
        if self.config.demo:
            _build_demo(Path(self.config.warehouse["path"]))
        return self.config.open_warehouse() if resource is None else warehouse_over(self.config, resource)


def warehouse_over(config: PushConfig, resource: Any) -> Warehouse:
    """Build the configured warehouse over a user's own resource; settings for connecting are then not needed.

    Raises:
        FixConfiguration: if a setting is wrong or the resource cannot open a connection.
    """
    cls = load(config.warehouse_type)
    given = {name: value for name, value in config.warehouse.items() if name != "type"}
    try:
        options = (cls.lent_settings or cls.settings).model_validate(given)
    except ValidationError as error:
        raise FixConfiguration(f"warehouse {config.name!r} ({cls.name}): {one_sentence(error)}") from error
    return cls.over(resource, scope=config.scope.scope(), options=options)


_sandboxes: dict[Path, Connection] = {}
_lock = Lock()


def connection_for(config: PushConfig, environment: Mapping[str, str]) -> Connection:
    """Keys and endpoints from the environment; with none of them, this process's own sandbox.

    The demo's made-up tables never go to a real account, whatever keys are set.
    """
    from mc_push_dagster.gateway.connection import Connection

    connection = Connection.from_environment(config.monte_carlo, environment)
    if connection is not None and (connection.is_sandbox or not config.demo):
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
