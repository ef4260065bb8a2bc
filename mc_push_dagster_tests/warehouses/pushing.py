"""A push from a warehouse to the sandbox; the fixtures for it stand in `conftest.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mc_push_dagster.assembly import Station, open_station
from mc_push_dagster.config import parse
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.model import Window, hour_bucket
from mc_push_dagster.sandbox import Sandbox

HOUR = hour_bucket(datetime.now(UTC)) - timedelta(hours=4)
"""A full hour, old enough that its log is complete."""
WINDOW = Window(start=HOUR, end=HOUR + timedelta(hours=1))
WRITTEN = HOUR + timedelta(minutes=10)

StationOver = Callable[[Mapping[str, Any]], AbstractContextManager[Station]]


@contextmanager
def opened(sandbox: Sandbox, uuid: str, folder: Path, warehouse: Mapping[str, Any]) -> Iterator[Station]:
    """A station that pushes what a configuration's `warehouse` names to the sandbox's warehouse `uuid`."""
    config = parse(
        {
            "name": "shop",
            "warehouse": dict(warehouse),
            "monte_carlo": {"resource_uuid": uuid},
            "ledger": f"sqlite:///{folder / 'ledger.sqlite'}",
            "store": str(folder / "outbox"),
        },
        source="test",
    )
    connection = Connection.from_environment(config.monte_carlo, sandbox.environment())
    assert connection is not None
    with open_station(config, connection) as found:
        yield found


def arrived(sandbox: Sandbox, path: str, uuid: str, *, resource_type: str) -> list[dict[str, Any]]:
    """The events of a path that came for the warehouse `uuid`; none of them says another resource type."""
    bodies = [json.loads(r.body) for r in sandbox.requests(path) if r.invocation_id is not None and r.body]
    mine = [body for body in bodies if body["resource"]["uuid"] == uuid]
    assert {body["resource"].get("resource_type", resource_type) for body in mine} <= {resource_type}
    return [event.get("relational_asset", event) for body in mine for event in body["events"]]
