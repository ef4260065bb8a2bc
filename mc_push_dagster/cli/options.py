"""Options that several commands share, and how they open what they need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click

from mc_push_dagster.assembly import Station, open_station
from mc_push_dagster.config import PushConfig, home, read
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.model import Window, hour_bucket

CONFIG_VARIABLE = "MC_PUSH_CONFIG"
Command = TypeVar("Command", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar=CONFIG_VARIABLE,
    help="A configuration file, or a Dagster component's defs.yaml. Default: the demo shop.",
    show_envvar=True,
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document for machines instead of tables."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Read and count everything; write nothing, send nothing.")


def hours_option(command: Command) -> Command:
    """How many closed hours of the query log are meant."""
    return click.option(
        "--hours",
        type=click.IntRange(1, 24 * 31),
        default=1,
        show_default=True,
        help="Query-log windows: the last so many hours that the warehouse's log is sure to hold.",
    )(command)


def demo_config_path() -> Path:
    """The configuration of the demo that comes with the package."""
    return Path(str(files("mc_push_dagster") / "defs" / "demo" / "defs.yaml"))


def open_config(path: Path | None, *, dry_run: bool = False) -> PushConfig:
    """Read the named configuration, the demo's where none is named; the demo's shop is built on first use, by a dry run
    in a folder that is gone when the command ends.

    Raises:
        StorageFault: if the demo's shop cannot be kept where it is configured.
    """
    config = read(path or demo_config_path())
    if config.demo:
        from mc_push_dagster.sandbox.demo import build

        shop = Path(config.warehouse["path"])
        if dry_run:
            if shop.exists():
                return config
            folder = click.get_current_context().with_resource(TemporaryDirectory(prefix="mc-push-demo-"))
            # The file's name is the database's.
            shop = Path(folder) / shop.name
            config = config.model_copy(update={"warehouse": config.warehouse | {"path": str(shop)}})
        build(shop, now=datetime.now(UTC))
    return config


@contextmanager
def opened_connection(config: PushConfig, *, sending: bool = True) -> Iterator[Connection]:
    """Yield whom to talk to: Monte Carlo by the environment's keys, or a sandbox served for the time being.

    The demo's made-up tables never go to a real account, whatever keys are set. A sandbox of which there is nothing yet
    is left no trace of where nothing is sent.
    """
    connection = Connection.from_environment(config.monte_carlo, os.environ)
    if connection is not None and (connection.is_sandbox or not config.demo):
        yield connection
        return
    from mc_push_dagster.sandbox import serve

    folder = home() / "sandbox"
    with serve(folder if sending or folder.exists() else None) as box:
        yield Connection.to_sandbox(box)


@contextmanager
def opened_station(config: PushConfig, *, sending: bool = True) -> Iterator[Station]:
    """Open everything a push needs (see `opened_connection`); if nothing is sent, no ingestion key is needed."""
    with (
        opened_connection(config, sending=sending) as connection,
        open_station(config, connection, sending=sending) as station,
    ):
        yield station


def place(connection: Connection) -> str:
    """Whom a connection pushes to, in words."""
    return connection.ingest_endpoint + (" (a sandbox, NOT Monte Carlo)" if connection.is_sandbox else "")


def closed_hours(latency: timedelta, hours: int, *, now: datetime) -> list[Window]:
    """The last `hours` full UTC hours whose queries are sure to stand in a log of this latency, the earliest first."""
    end = hour_bucket(now - latency)
    return [Window.hour(end - timedelta(hours=n)) for n in range(hours, 0, -1)]
