"""What `collect` writes and `push_manifest` reads: one file that can be carried to another machine.

NDJSON. The first line is the header: what was collected, when, by which pattern, where each section begins, and the
SHA-256 of everything after it. The other lines are the model's own objects, one a line, so that the file names no
Monte Carlo resource: it can be pushed to any. Hours, repeated queries and known edges are settled when it is pushed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal
from uuid import uuid4

import orjson
from pydantic import TypeAdapter, ValidationError

from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.model import ColumnEdge, Gap, LineageEdge, QueryRecord, Scope, TableSnapshot, Window

FORMAT = 1
_BLOCK = 1 << 20

Kind = Literal["tables", "lineage", "queries"]
_LINES: dict[Kind, TypeAdapter[Any]] = {
    "tables": TypeAdapter(TableSnapshot | Gap),
    "lineage": TypeAdapter(LineageEdge | ColumnEdge | Gap),
    "queries": TypeAdapter(QueryRecord),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Some lines of one kind; for queries, those of one stretch of the query log."""

    kind: Kind
    offset: int
    """Bytes after the header line."""
    lines: int
    window: Window | None = None
    closed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a manifest."""

    warehouse: str
    collected_at: datetime
    scope: Scope
    sections: tuple[Section, ...]
    size: int
    sha256: str
    format: int = FORMAT


_HEADER = TypeAdapter(Header)


@dataclass(kw_only=True)
class Draft:
    """A manifest that is being written."""

    warehouse: str
    collected_at: datetime
    scope: Scope
    _file: BinaryIO
    _sections: list[Section] = field(default_factory=list)
    _digest: Any = field(default_factory=hashlib.sha256)
    _size: int = 0

    def write(self, kind: Kind, items: Iterable[Any], *, window: Window | None = None, closed: bool = True) -> None:
        """Write a section; holds one line at a time.

        Raises:
            StorageFault: if the disk is full.
        """
        dump, offset, lines = _LINES[kind].dump_json, self._size, 0
        for item in items:
            line = dump(item, exclude_defaults=True) + b"\n"
            with _told("the manifest cannot be written"):
                self._file.write(line)
            self._digest.update(line)
            self._size += len(line)
            lines += 1
        self._sections.append(Section(kind=kind, offset=offset, lines=lines, window=window, closed=closed))

    def header(self) -> Header:
        return Header(
            warehouse=self.warehouse,
            collected_at=self.collected_at,
            scope=self.scope,
            sections=tuple(self._sections),
            size=self._size,
            sha256=self._digest.hexdigest(),
        )


@contextmanager
def writing(path: Path, *, warehouse: str, collected_at: datetime, scope: Scope) -> Iterator[Draft]:
    """Write a manifest; `path` appears, whole, when the block is left, and not at all if it is left by an error.

    Raises:
        StorageFault: if it cannot be written.
    """
    lines = path.with_name(f".{path.name}.{uuid4().hex}")
    whole = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with _told(f"the manifest {path} cannot be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = lines.open("wb")
        with file:
            draft = Draft(warehouse=warehouse, collected_at=collected_at, scope=scope, _file=file)
            yield draft
            with _told(f"the manifest {path} cannot be written"):
                file.flush()
        with _told(f"the manifest {path} cannot be written"):
            with whole.open("wb") as out, lines.open("rb") as content:
                out.write(_HEADER.dump_json(draft.header()) + b"\n")
                shutil.copyfileobj(content, out, _BLOCK)
                out.flush()
                os.fsync(out.fileno())
            whole.rename(path)
    finally:
        for leftover in (lines, whole):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)


class Manifest:
    """A manifest that was read and found whole."""

    def __init__(self, path: Path, header: Header, start: int) -> None:
        self.path = path
        self.header = header
        self._start = start

    @classmethod
    def open(cls, path: Path) -> Manifest:
        """Read the header and check that the rest is what was written.

        Raises:
            FixConfiguration: if it is no manifest, of a newer format, cut short or changed.
        """
        try:
            with path.open("rb") as file:
                first = file.readline()
                header = _header(path, first)
                digest = hashlib.sha256()
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise FixConfiguration(f"the manifest {path} cannot be read: {error.strerror}") from error
        if digest.hexdigest() != header.sha256:
            size = path.stat().st_size - len(first)
            was = "is cut short" if size < header.size else "was changed after it was written"
            raise FixConfiguration(f"the manifest {path} {was}: copy or collect it again")
        return cls(path, header, len(first))

    def sections(self, kind: Kind) -> Iterator[Section]:
        return (section for section in self.header.sections if section.kind == kind)

    def read(self, section: Section) -> Iterator[Any]:
        """Yield a section's objects, one at a time."""
        load = _LINES[section.kind].validate_json
        with self.path.open("rb") as file:
            file.seek(self._start + section.offset)
            for _ in range(section.lines):
                yield load(file.readline())


class Lines:
    """A section's objects, read each time they are iterated."""

    def __init__(self, manifest: Manifest, section: Section) -> None:
        self._manifest = manifest
        self._section = section

    def __iter__(self) -> Iterator[Any]:
        return self._manifest.read(self._section)


def _header(path: Path, line: bytes) -> Header:
    try:
        plain = orjson.loads(line)
        found = plain.get("format") if isinstance(plain, dict) else None
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, int):
        raise FixConfiguration(f"{path} is no manifest: `mc-push collect` writes them")
    if found > FORMAT:
        raise FixConfiguration(f"{path} was written by a newer mc-push-dagster: upgrade, or collect it again")
    try:
        return _HEADER.validate_json(line)
    except ValidationError as error:
        raise FixConfiguration(f"{path} is no manifest: `mc-push collect` writes them") from error


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFault(f"{what}: {error.strerror or error}") from error
