"""Who is at work: a lease is held by one process, renewed while it lives, and taken over at once when it is dead."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

import sqlalchemy as sa

from mc_push_dagster.errors import PushInProgress, StorageFault
from mc_push_dagster.ledger import tables as t
from mc_push_dagster.ledger.database import Database

LEASE = timedelta(minutes=3)
"""How long a lease outlives its holder on another machine, where nobody can see that it is dead."""
RENEW_SECONDS = 30.0

_given_up: set[str] = set()
"""Owners in this process that are through, also where the ledger could not be told so (its disk was full)."""


class Lease:
    """A lease that is held; `owner` is `host|pid|start|nonce`."""

    def __init__(self, database: Database, name: str, owner: str) -> None:
        self._database = database
        self.name = name
        self.owner = owner

    def renew(self, now: datetime) -> None:
        """Hold it for another three minutes from `now`.

        Raises:
            PushInProgress: if another process has taken it over meanwhile.
            StorageFault: if the ledger cannot be written.
        """
        with self._database.write() as connection:
            held = connection.execute(
                sa.update(t.leases)
                .where(t.leases.c.name == self.name, t.leases.c.owner == self.owner)
                .values(expires_at=now + LEASE)
            )
            if held.rowcount != 1:
                raise PushInProgress(
                    f"another process took over {self.name}, because this one did not answer for too long"
                )

    def release(self) -> None:
        """Give it back; where the ledger cannot be written, at least this process knows.

        Raises:
            StorageFault: if the ledger cannot be written.
        """
        _given_up.add(self.owner)
        with self._database.write() as connection:
            connection.execute(sa.delete(t.leases).where(t.leases.c.name == self.name, t.leases.c.owner == self.owner))


def take(database: Database, name: str, now: datetime) -> Lease | None:
    """Take the lease `name`, or return None if a process that may be alive holds it."""
    owner = f"{process_identity()}|{uuid4().hex}"
    with database.write() as connection:
        connection.execute(
            database.insert(t.leases)
            .values(name=name, owner=owner, expires_at=now + LEASE)
            .on_conflict_do_nothing(index_elements=["name"])
        )
        held = connection.execute(
            sa.select(t.leases.c.owner, t.leases.c.expires_at).where(t.leases.c.name == name).with_for_update()
        ).first()
        if held is not None and held.owner == owner:
            return Lease(database, name, owner)
        if held is not None and held.expires_at > now and not is_dead(held.owner):
            return None
        connection.execute(
            sa.update(t.leases).where(t.leases.c.name == name).values(owner=owner, expires_at=now + LEASE)
        )
    return Lease(database, name, owner)


@contextmanager
def keep(lease: Lease, clock: Callable[[], datetime]) -> Iterator[Lease]:
    """Renew `lease` in the background until the block is left, then release it.

    A renewal that fails is tried again; the holder finds out at its next write that needs the lease.
    """
    done = Event()

    def renew() -> None:
        while not done.wait(RENEW_SECONDS):
            with contextlib.suppress(StorageFault):
                try:
                    lease.renew(clock())
                except PushInProgress:
                    return

    thread = Thread(target=renew, name=f"lease {lease.name}", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(StorageFault):  # it expires by itself; the error under way says more
            lease.release()


def process_identity(pid: int | None = None) -> str:
    """Return `host|pid|start` of this process: the same text never means another process."""
    pid = pid or os.getpid()
    return f"{_host()}|{pid}|{_started(pid) or '-'}"


def is_dead(owner: str) -> bool:
    """True only if `owner` ran on this very host and runs no more, or is through."""
    if owner in _given_up:
        return True
    host, pid, start, *_ = [*owner.split("|"), "", "", ""]
    if host != _host() or not pid.isdigit():
        return False
    return start != (_started(int(pid)) or "-") if Path("/proc/self/stat").exists() else not _answers(int(pid))


@cache
def _host() -> str:
    """The host's name, and on Linux its boot and process namespace: containers may share a name but not their pids."""
    namespace = boot = ""
    with contextlib.suppress(OSError):
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    return "/".join(part for part in (socket.gethostname(), boot, namespace) if part)


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None where it cannot be told, or where it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
