"""A sandbox that runs: uvicorn in a thread, bound to 127.0.0.1, and the object by which its owner steers it."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.sandbox.app import build_app
from mc_push_dagster.sandbox.contract import BODY_LIMIT, INGEST_SCOPE
from mc_push_dagster.sandbox.faults import Fault
from mc_push_dagster.sandbox.journal import SeenRequest, seen
from mc_push_dagster.sandbox.keys import IntegrationKey, add_key, add_warehouse
from mc_push_dagster.sandbox.world import Settings, World, open_world

HOST = "127.0.0.1"
_START_SECONDS = 30.0


class _Protocol(H11Protocol):
    """Hands a request its transport (`request.state.transport`), so that a fault can break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """Stops the moment it is told to; uvicorn looks only ten times a second, which tests with many sandboxes feel."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def main_loop(self) -> None:
        told = asyncio.Event()
        self._told = (asyncio.get_running_loop(), told)
        # Tick 0 renews the Date header.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), 1)

    def stop(self) -> None:
        """Tell it from another thread."""
        self.should_exit = True
        if self._told is not None:
            loop, told = self._told
            # The loop is closed if the server has ended by itself.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(told.set)


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A running sandbox."""

    url: str
    folder: Path
    world: World = field(repr=False)

    @property
    def ingest_endpoint(self) -> str:
        return self.url

    @property
    def api_endpoint(self) -> str:
        return f"{self.url}/graphql"

    @property
    def ingest_key(self) -> IntegrationKey:
        return self.world.account.ingest_key

    @property
    def api_key(self) -> IntegrationKey:
        return self.world.account.api_key

    @property
    def resource_uuid(self) -> str:
        """The warehouse `demo`, which every sandbox has."""
        return self.world.account.warehouse

    def environment(self) -> dict[str, str]:
        """The variables that point our clients at this sandbox."""
        return {
            "MC_PUSH_INGEST_ENDPOINT": self.ingest_endpoint,
            "MC_PUSH_API_ENDPOINT": self.api_endpoint,
            "MCD_INGEST_ID": self.ingest_key.id,
            "MCD_INGEST_TOKEN": self.ingest_key.secret,
            "MCD_ID": self.api_key.id,
            "MCD_TOKEN": self.api_key.secret,
            "MCD_RESOURCE_UUID": self.resource_uuid,
        }

    def add_fault(self, fault: Fault | None = None, /, **fields: Any) -> None:
        """Add a fault, given whole or by its fields: `add_fault(status=503, path="metadata", times=2)`."""
        self.world.faults.add(fault or Fault(**fields))

    def clear_faults(self) -> None:
        self.world.faults.clear()

    def add_warehouse(self, name: str, connection_type: str = "SNOWFLAKE") -> str:
        """Make a warehouse and return its UUID; `connection_type` is a `WarehouseModelConnectionType`."""
        with self.world.store.write() as db:
            return add_warehouse(db, name, connection_type, self.now())

    def add_key(self, *, scope: str = INGEST_SCOPE, warehouses: Collection[str] | None = None) -> IntegrationKey:
        """Make a key; without `warehouses` it may push to all."""
        with self.world.store.write() as db:
            return add_key(db, scope=scope, description="Made by a test", now=self.now(), warehouses=warehouses)

    def requests(self, path: str | None = None) -> list[SeenRequest]:
        """What arrived, the oldest first; `path` is its last part: metadata, lineage, querylogs, graphql."""
        with self.world.store.read() as db:
            found = [seen(row) for row in db.execute("SELECT * FROM request ORDER BY seq")]
        return [r for r in found if path is None or r.path.rsplit("/", 1)[-1] == path]

    def events(self, path: str) -> list[dict[str, Any]]:
        """Every event that was accepted on `path`, in order; what was stored twice is there twice."""
        taken = (r for r in self.requests(path) if r.invocation_id is not None and r.body is not None)
        return [event for r in taken for event in json.loads(r.body or b"")["events"]]

    def now(self) -> datetime:
        """The sandbox's time."""
        return self.world.clock.now()

    def advance(self, by: timedelta) -> datetime:
        """Move the sandbox's time forward and return the new time."""
        return self.world.clock.advance(by)


@contextmanager
def serve(
    folder: Path | None = None,
    *,
    port: int = 0,
    faults: Sequence[Fault] = (),
    clock: Callable[[], datetime] | None = None,
    visibility_delay: timedelta = timedelta(0),
    query_log_delay: timedelta | None = None,
    body_limit: int = BODY_LIMIT,
    measure: Literal["raw", "gzip"] = "raw",
    lenient: bool = False,
    keep_bodies: int = 5000,
) -> Iterator[Sandbox]:
    """Serve a sandbox on 127.0.0.1 until the block ends.

    `folder` keeps its data (None: a temporary one); several processes may serve the same. `port` 0 takes a free one.
    `clock` replaces the system's clock; for the other settings see `world.Settings`.

    Raises:
        FixConfiguration: if the port is taken.
        StorageFault: if the folder cannot be written.
    """
    settings = Settings(
        visibility_delay=visibility_delay,
        query_log_delay=query_log_delay,
        body_limit=body_limit,
        measure=measure,
        lenient=lenient,
        keep_bodies=keep_bodies,
    )
    with _place(folder) as home, _listen(port) as listener:
        world = _open(home, settings, faults, clock)
        try:
            with _running(world, listener):
                yield Sandbox(url=f"http://{HOST}:{listener.getsockname()[1]}", folder=home, world=world)
        finally:
            world.store.close()


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mc-push-sandbox-") as name:
        yield Path(name)


@contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise FixConfiguration(f"port {port} on {HOST} is taken: choose another one with --port") from error
        yield listener


def _open(folder: Path, settings: Settings, faults: Sequence[Fault], clock: Callable[[], datetime] | None) -> World:
    import sqlite3

    try:
        return open_world(folder, settings=settings, faults=faults, clock=clock)
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise StorageFault(f"the sandbox cannot keep its data in {folder}: {why}; name another folder") from error


@contextmanager
def _running(world: World, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        build_app(world),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        # A client that pauses between two batches keeps its connection.
        timeout_keep_alive=75,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="mc-push-sandbox", daemon=True)
    thread.start()
    end = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise StorageFault("the sandbox's server did not start")
        time.sleep(0.005)
    try:
        yield
    finally:
        world.stopping.set()
        server.stop()
        thread.join(15)
