"""Everything one serving process shares among its requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from mc_push_dagster.sandbox.clock import VirtualClock, system_time
from mc_push_dagster.sandbox.contract import BODY_LIMIT
from mc_push_dagster.sandbox.faults import Fault, FaultPlan
from mc_push_dagster.sandbox.intake import Intake
from mc_push_dagster.sandbox.keys import Account, seed
from mc_push_dagster.sandbox.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How strict and how slow the sandbox is."""

    visibility_delay: timedelta = timedelta(0)
    """From 202 to visible, for metadata and lineage (push-ingest-api: up to 15 minutes)."""
    query_log_delay: timedelta | None = None
    """The same for query logs (push-ingest-api: 15 to 60 minutes); None: as `visibility_delay`."""
    body_limit: int = BODY_LIMIT
    measure: Literal["raw", "gzip"] = "raw"
    """What `body_limit` limits: the body as sent, or its gzip size."""
    lenient: bool = False
    """Take the longer documented list of asset types, and drop the rules that are only inferred."""
    keep_bodies: int = 5000
    """How many requests keep their bodies in the journal."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The parts of a running sandbox."""

    store: Store
    clock: VirtualClock
    account: Account
    intake: Intake
    faults: FaultPlan
    settings: Settings
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server stops: hanging requests end."""


def open_world(
    folder: Path,
    *,
    settings: Settings | None = None,
    faults: Sequence[Fault] = (),
    clock: Callable[[], datetime] | None = None,
) -> World:
    """Open the sandbox's data in `folder`, and make it if there is none."""
    settings = settings or Settings()
    store = Store(folder)
    virtual = VirtualClock(store, clock or system_time)
    account = seed(store, virtual.now())
    delay = settings.visibility_delay
    intake = Intake(
        store,
        virtual,
        account=account.uuid,
        delay=delay,
        query_log_delay=delay if settings.query_log_delay is None else settings.query_log_delay,
        lenient=settings.lenient,
    )
    return World(
        store=store, clock=virtual, account=account, intake=intake, faults=FaultPlan(faults), settings=settings
    )
