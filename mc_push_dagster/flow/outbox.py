"""Bodies, durable before their first byte is sent, so that a push that broke off goes on where it stopped.

A body is a file named by its SHA-256 in the push's folder: it is written whole under another name and renamed, and its
digest is checked when it is read, so that half a body is never sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import orjson

from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.ledger import Ledger

KEEP_BYTES = 1_000_000_000
KEEP_FOR = timedelta(days=7)
"""Acknowledged bodies are kept as evidence for a week, at most 1 GB of them; digests and receipts stay for ever."""

_IDENTITY = "outbox-id"


class BodyLost(StorageFault):
    """A body is gone from the outbox, or is not what was written."""


class _Folder(Protocol):
    """Where files are kept, by relative name."""

    def write(self, name: str, data: bytes) -> str: ...
    def read(self, name: str) -> bytes: ...
    def remove(self, folder: str) -> None: ...


class Outbox:
    """Keeps bodies in a folder, or at any fsspec URL (`s3://bucket/prefix`); the ledger knows which.

    Raises:
        FixConfiguration: if the URL's protocol is unknown or its package is missing.
    """

    def __init__(
        self, url: str, ledger: Ledger, *, keep_bytes: int = KEEP_BYTES, keep_for: timedelta = KEEP_FOR
    ) -> None:
        self.url = url
        self._ledger = ledger
        self._keep_bytes = keep_bytes
        self._keep_for = keep_for
        remote = "://" in url and not url.startswith("file://")
        self._folder: _Folder = _Remote(url) if remote else _Local(Path(url.removeprefix("file://")))

    @cached_property
    def identity(self) -> str:
        """A name that the outbox itself holds: two deployments that share a ledger need not share an outbox.

        Raises:
            StorageFault: if it cannot be read or, the first time, written.
        """
        try:
            return self._folder.read(_IDENTITY).decode("ascii").strip()
        except BodyLost:
            self._folder.write(_IDENTITY, uuid4().hex.encode("ascii"))
            return self._folder.read(_IDENTITY).decode("ascii").strip()

    def put(self, push_id: str, body: bytes) -> str:
        """Write a body durably and return its SHA-256.

        Raises:
            StorageFault: if it cannot be written (disk full, read-only).
        """
        digest = hashlib.sha256(body).hexdigest()
        self._folder.write(f"{push_id}/{digest}.json", body)
        return digest

    def get(self, push_id: str, sha256: str) -> bytes:
        """Read a body back.

        Raises:
            BodyLost: if it is gone or damaged.
        """
        body = self._folder.read(f"{push_id}/{sha256}.json")
        if hashlib.sha256(body).hexdigest() != sha256:
            raise BodyLost(f"body {sha256[:12]} of push {push_id} in {self.url} is damaged: it is collected again")
        return body

    def write_manifest(self, push_id: str, document: Mapping[str, Any]) -> str:
        """Write what a push did beside its bodies and return the file's URI."""
        return self._folder.write(f"{push_id}/manifest.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))

    def tidy(self, now: datetime) -> int:
        """Remove bodies of pushes that arrived whole, oldest first, beyond a week or 1 GB; return how many bytes."""
        pushes: dict[str, tuple[int, datetime]] = {}
        for push_id, _, size, finished_at in self._ledger.stored_bodies():
            pushes[push_id] = (pushes.get(push_id, (0, finished_at))[0] + size, finished_at)
        left = sum(size for size, _ in pushes.values())
        removed = 0
        for push_id, (size, finished_at) in pushes.items():
            if left <= self._keep_bytes and finished_at > now - self._keep_for:
                break
            self._folder.remove(push_id)
            self._ledger.bodies_removed(push_id)
            left -= size
            removed += size
        return removed

    def check(self) -> str:
        """Write, read and remove a file; return in words what the outbox is.

        Raises:
            StorageFault: if that fails.
        """
        name = f"check-{uuid4().hex}"
        self._folder.write(f"{name}/probe.json", b"{}")
        self._folder.read(f"{name}/probe.json")
        self._folder.remove(name)
        return f"{self.url} can be written"


class _Local:
    """A folder of this machine; a file is whole and on the disk when `write` returns."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def write(self, name: str, data: bytes) -> str:
        path = self._root / name
        unfinished = path.with_name(f".{path.name}.{uuid4().hex}")
        with _told(f"the outbox {self._root} cannot be written"):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with unfinished.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.rename(path)
                _sync_folder(path.parent)
            except OSError:
                with contextlib.suppress(OSError):
                    unfinished.unlink(missing_ok=True)
                raise
        return path.as_uri()

    def read(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError as error:
            raise BodyLost(f"{name} is gone from the outbox {self._root}") from error
        except OSError as error:
            raise StorageFault(f"the outbox {self._root} cannot be read: {error.strerror}") from error

    def remove(self, folder: str) -> None:
        path = self._root / folder
        with _told(f"the outbox {self._root} cannot be tidied"):
            for file in path.iterdir() if path.is_dir() else ():
                file.unlink(missing_ok=True)
            if path.is_dir():
                path.rmdir()


class _Remote:
    """Any fsspec file system; object stores show a file only when it is whole."""

    def __init__(self, url: str) -> None:
        from upath import UPath

        try:
            self._root = UPath(url)
            self._root.fs  # noqa: B018  finds out whether the protocol's package is installed
        except (ValueError, ImportError) as error:
            raise FixConfiguration(f"the outbox {url} cannot be used: {error}") from error
        self._url = url

    def write(self, name: str, data: bytes) -> str:
        path = self._root / name
        with _told(f"the outbox {self._url} cannot be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return str(path)

    def read(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError as error:
            raise BodyLost(f"{name} is gone from the outbox {self._url}") from error
        except OSError as error:
            raise StorageFault(f"the outbox {self._url} cannot be read: {error}") from error

    def remove(self, folder: str) -> None:
        path = self._root / folder
        with _told(f"the outbox {self._url} cannot be tidied"):
            if path.exists():
                path.fs.rm(path.path, recursive=True)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageFault(f"{what}: {reason}; free space or mend its rights, or name another store") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX folders can be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
